package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"perigee/object"
)

// What a site uses is counted in one row of this server, in the transactions that change it:
//
//	bytes  of all versions that are kept, current or not, and of reservations under way. The bytes that several versions of
//	       one path share, as a rollback does, count once; two paths with the same content count twice.
//	files  that are live, and those that reservations are going to make
//
// Reserve adds to them and refuses what would go beyond the quota, so that changes which run at the same time cannot exceed
// it in sum; Release takes its part away again, and Commit takes away what a deletion frees. A quota that is set below what
// is used takes nothing away: nothing more can be added until enough is deleted.
//
// The row is this server's share: where a site is spread over several, each has a quota of its own, and who divides the
// site's quota among them moves parts of it with SetQuota. That row is also the bottleneck: changes of one site wait for one
// another from their last statement to the end of the commit.

// Quota is what a site may use. Zero sets no limit.
type Quota struct {
	Bytes int64 `json:"bytes,omitempty"` // of all kept versions
	Files int64 `json:"files,omitempty"` // that are live
	// File is the largest file in bytes, Form how many files one form may bring. They are not counted.
	File int64 `json:"file,omitempty"`
	Form int   `json:"form,omitempty"`
}

// Usage is what a site uses of its Quota.
type Usage struct {
	Site  object.Site `json:"site"`
	Quota Quota       `json:"quota"`
	Bytes int64       `json:"bytes"`
	Files int64       `json:"files"`
}

// Left returns how many bytes and files can be added; -1 where there is no limit.
func (u Usage) Left() (bytes, files int64) {
	left := func(most, used int64) int64 {
		if most == 0 {
			return -1
		}
		return max(0, most-used)
	}
	return left(u.Quota.Bytes, u.Bytes), left(u.Quota.Files, u.Files)
}

// ErrQuota says that a change would exceed a site's quota; see QuotaError. Nothing was changed.
var ErrQuota = errors.New("the quota of the site is exceeded")

// QuotaError is an ErrQuota that tells how the site stands.
type QuotaError struct {
	Usage Usage
	Bytes int64 // that the change would have added
}

// Error says how much is left.
func (e *QuotaError) Error() string {
	bytes, files := e.Usage.Left()
	if files == 0 && (bytes < 0 || bytes >= e.Bytes) {
		return fmt.Sprintf("%v: site %s has %d files and may have %d", ErrQuota, e.Usage.Site, e.Usage.Files, e.Usage.Quota.Files)
	}
	return fmt.Sprintf("%v: %d bytes of %d are left in site %s, and the file has %d", ErrQuota, bytes, e.Usage.Quota.Bytes, e.Usage.Site, e.Bytes)
}

// Unwrap makes errors.Is(err, ErrQuota) true.
func (e *QuotaError) Unwrap() error { return ErrQuota }

func (s *server) usage(ctx context.Context, site object.Site) (Usage, error) {
	u, err := usageRow(ctx, s.read, site)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Usage{}, fmt.Errorf("usage of site %s: %w", site, err)
	}
	u.Site = site
	return u, nil
}

func (s *server) usages(ctx context.Context, first, last object.Site) ([]Usage, error) {
	us, err := collect(ctx, s.read, scanUsage, usageColumns+` WHERE site >= $1 AND site <= $2 ORDER BY site LIMIT $3`, first, last, maxPage)
	if err != nil {
		return nil, fmt.Errorf("list usage: %w", err)
	}
	return us, nil
}

// Usage returns what a site uses, and its quota. A site that has never had a file uses nothing.
func (c *Catalog) Usage(ctx context.Context, site object.Site) (Usage, error) {
	return c.home().usage(ctx, site)
}

// Usages returns what sites use whose names are from first to last, at most 1,000 of them. Those that were never counted are left out.
func (c *Catalog) Usages(ctx context.Context, first, last object.Site) ([]Usage, error) {
	return c.home().usages(ctx, first, last)
}

// SetQuota sets what a site may use. A missing site is fs.ErrNotExist; a negative number wraps object.ErrInvalid.
func (c *Catalog) SetQuota(ctx context.Context, site object.Site, q Quota) (Usage, error) {
	return c.home().setQuota(ctx, site, q)
}

// Recount counts anew what a site uses and corrects the row; it returns what was there before as well. Changes of the
// site wait meanwhile.
func (c *Catalog) Recount(ctx context.Context, site object.Site) (before, after Usage, err error) {
	return c.home().recount(ctx, site)
}

const usageColumns = `SELECT site, max_bytes, max_files, max_file, max_form, bytes, files FROM site_usage`

func usageRow(ctx context.Context, q querier, site object.Site) (Usage, error) {
	u, err := scanUsage(q.QueryRowContext(ctx, usageColumns+` WHERE site = $1`, site))
	return u, missing(err)
}

func scanUsage(s scanner) (Usage, error) {
	var u Usage
	err := s.Scan(&u.Site, &u.Quota.Bytes, &u.Quota.Files, &u.Quota.File, &u.Quota.Form, &u.Bytes, &u.Files)
	return u, err
}

func (s *server) setQuota(ctx context.Context, site object.Site, q Quota) (u Usage, err error) {
	if min(q.Bytes, q.Files, q.File, int64(q.Form)) < 0 {
		return Usage{}, fmt.Errorf("quota of site %s: %w: a number is negative", site, object.ErrInvalid)
	}
	var entry AuditEntry
	err = s.change(ctx, "set quota of site "+string(site), func(tx *sql.Tx) error {
		if _, err := siteRow(ctx, tx, site); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx,
			`INSERT INTO site_usage (site, max_bytes, max_files, max_file, max_form, bytes, files) VALUES ($1, $2, $3, $4, $5, 0, 0)
			ON CONFLICT (site) DO UPDATE SET max_bytes = excluded.max_bytes, max_files = excluded.max_files,
			max_file = excluded.max_file, max_form = excluded.max_form`,
			site, q.Bytes, q.Files, q.File, q.Form)
		if err != nil {
			return err
		}
		if u, err = usageRow(ctx, tx, site); err != nil {
			return err
		}
		entry, err = s.audit(ctx, tx, AuditEntry{Action: QuotaSet, Site: site,
			Detail: fmt.Sprintf("bytes %d, files %d, file %d, form %d; 0 is no limit", q.Bytes, q.Files, q.File, q.Form)})
		return err
	})
	if err == nil {
		s.told(entry)
	}
	return u, err
}

func (s *server) recount(ctx context.Context, site object.Site) (before, after Usage, err error) {
	var entry AuditEntry
	err = s.change(ctx, "recount site "+string(site), func(tx *sql.Tx) error {
		if _, err := siteRow(ctx, tx, site); err != nil {
			return err
		}
		if err := addUsage(ctx, tx, site, 0, 0); err != nil { // holds the row
			return err
		}
		if before, err = usageRow(ctx, tx, site); err != nil {
			return err
		}
		after = before
		// One statement, so that what moves from a reservation to a version meanwhile is seen once.
		err := tx.QueryRowContext(ctx, `SELECT
			(SELECT COALESCE(SUM(size), 0) FROM (SELECT DISTINCT path, blob, size FROM versions WHERE site = $1 AND blob <> '') AS kept)
			+ (SELECT COALESCE(SUM(charged_bytes), 0) FROM reservations WHERE site = $1),
			(SELECT COUNT(*) FROM files WHERE site = $1 AND state = 'live')
			+ (SELECT COALESCE(SUM(charged_files), 0) FROM reservations WHERE site = $1)`, site).Scan(&after.Bytes, &after.Files)
		if err != nil || after == before {
			return err
		}
		if err := addUsage(ctx, tx, site, after.Bytes-before.Bytes, after.Files-before.Files); err != nil {
			return err
		}
		entry, err = s.audit(ctx, tx, AuditEntry{Action: QuotaRecounted, Site: site,
			Detail: fmt.Sprintf("bytes %d to %d, files %d to %d", before.Bytes, after.Bytes, before.Files, after.Files)})
		return err
	})
	if err == nil {
		s.told(entry)
	}
	return before, after, err
}

// charge is what a change adds to a site's usage.
type charge struct{ bytes, files int64 }

// chargeOf returns what it adds to make p the current state of its path, whose state now is cur (nil for none).
func chargeOf(ctx context.Context, q querier, p *object.Pointer, cur *File) (charge, error) {
	var ch charge
	live := cur != nil && cur.Pointer.State == object.Live
	switch {
	case p.State == object.Live && !live:
		ch.files = 1
	case p.State != object.Live && live:
		ch.files = -1
	}
	if p.Blob == "" {
		return ch, nil
	}
	shared, err := keepsBlob(ctx, q, p.Site, p.Path, p.Blob)
	if !shared {
		ch.bytes = p.Size
	}
	return ch, err
}

// keepsBlob reports whether a version of the path has its bytes under blob.
func keepsBlob(ctx context.Context, q querier, site object.Site, path object.Path, blob object.Key) (bool, error) {
	var n int
	err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM versions WHERE site = $1 AND path = $2 AND blob = $3 LIMIT 1) AS one`,
		site, path, blob).Scan(&n)
	return n > 0, err
}

// reserveUsage adds ch to what a site uses, unless that exceeds its quota: then the error is a *QuotaError. What it frees
// is not taken away before the commit.
func reserveUsage(ctx context.Context, tx *sql.Tx, site object.Site, ch charge) error {
	if ch.bytes == 0 && ch.files == 0 {
		return nil
	}
	for {
		res, err := tx.ExecContext(ctx,
			`UPDATE site_usage SET bytes = bytes + $2, files = files + $3
			WHERE site = $1 AND (max_bytes = 0 OR bytes + $2 <= max_bytes OR $2 = 0) AND (max_files = 0 OR files + $3 <= max_files OR $3 = 0)`,
			site, ch.bytes, ch.files)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n > 0 || err != nil {
			return err
		}
		u, err := usageRow(ctx, tx, site)
		if err == nil {
			return &QuotaError{u, ch.bytes}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := addUsage(ctx, tx, site, 0, 0); err != nil {
			return err
		}
	}
}

// settleUsage is addUsage that leaves the row alone when there is nothing to add.
func settleUsage(ctx context.Context, tx *sql.Tx, site object.Site, ch charge) error {
	if ch == (charge{}) {
		return nil
	}
	return addUsage(ctx, tx, site, ch.bytes, ch.files)
}

// addUsage adds to what a site uses, whatever its quota is.
func addUsage(ctx context.Context, tx *sql.Tx, site object.Site, bytes, files int64) error {
	_, err := tx.ExecContext(ctx,
		`INSERT INTO site_usage (site, max_bytes, max_files, max_file, max_form, bytes, files) VALUES ($1, 0, 0, 0, 0, $2, $3)
		ON CONFLICT (site) DO UPDATE SET bytes = site_usage.bytes + excluded.bytes, files = site_usage.files + excluded.files`,
		site, bytes, files)
	return err
}

// freeVersion takes the bytes of a version that was just deleted out of what its site uses, unless another version of the path has them.
func freeVersion(ctx context.Context, tx *sql.Tx, p *object.Pointer) error {
	if p.Blob == "" {
		return nil
	}
	shared, err := keepsBlob(ctx, tx, p.Site, p.Path, p.Blob)
	if err != nil || shared {
		return err
	}
	return settleUsage(ctx, tx, p.Site, charge{bytes: -p.Size})
}

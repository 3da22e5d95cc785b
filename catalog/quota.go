package catalog

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

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
// Where a catalogue has several servers, each counts what it is told; only their sum means something, since moves of slots do
// not touch it. Each has a share of the quota, the shares never add up to more than it, and the one that runs out takes from
// what the others do not need (see divide). The row is also the bottleneck: changes of one site on one server wait for one another
// from their last statement to the end of the commit.

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

// Quota returns a site's quota; the zero Quota if none was ever set.
func (c *Catalog) Quota(ctx context.Context, site object.Site) (q Quota, err error) {
	home, err := c.home(ctx)
	if err == nil {
		q, err = look(ctx, home, func(ctx context.Context, db database) (Quota, error) { return quotaRow(ctx, db, site) })
		err = c.members[0].fault(err)
	}
	if err != nil {
		return q, fmt.Errorf("quota of site %s: %w", site, err)
	}
	return q, nil
}

func quotaRow(ctx context.Context, q querier, site object.Site) (Quota, error) {
	var x Quota
	err := q.QueryRowContext(ctx, `SELECT max_bytes, max_files, max_file, max_form FROM site_quota WHERE site = $1`, site).
		Scan(&x.Bytes, &x.Files, &x.File, &x.Form)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return x, err
}

// Usage returns what a site uses, and its quota. A site that has never had a file uses nothing.
func (c *Catalog) Usage(ctx context.Context, site object.Site) (Usage, error) {
	q, err := c.Quota(ctx, site)
	if err != nil {
		return Usage{}, err
	}
	us, err := c.Usages(ctx, site, site)
	u := Usage{Site: site, Quota: q}
	if len(us) > 0 {
		u = us[0]
	}
	return u, err
}

// Usages returns what sites use whose names are from first to last, at most 1,000 of them, in their order. Those that have
// neither used anything nor got a quota are left out.
func (c *Catalog) Usages(ctx context.Context, first, last object.Site) ([]Usage, error) {
	sum := map[object.Site]Usage{}
	err := c.each(ctx, func(s *server) error {
		us, err := lookAll(ctx, s, scanUsage, `SELECT site, bytes, files, 0, 0, 0, 0 FROM site_usage WHERE site >= $1 AND site <= $2 ORDER BY site LIMIT $3`, first, last, maxPage)
		for _, u := range us {
			have := sum[u.Site]
			sum[u.Site] = Usage{Site: u.Site, Bytes: have.Bytes + u.Bytes, Files: have.Files + u.Files}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list usage: %w", err)
	}
	home, err := c.home(ctx)
	if err != nil {
		return nil, err
	}
	quotas, err := lookAll(ctx, home, scanUsage, `SELECT site, 0, 0, max_bytes, max_files, max_file, max_form FROM site_quota
		WHERE site >= $1 AND site <= $2 ORDER BY site LIMIT $3`, first, last, maxPage)
	if err != nil {
		return nil, fmt.Errorf("list quotas: %w", c.members[0].fault(err))
	}
	for _, q := range quotas {
		u := sum[q.Site]
		u.Site, u.Quota = q.Site, q.Quota
		sum[q.Site] = u
	}
	all := slices.SortedFunc(maps.Values(sum), func(a, b Usage) int { return cmp.Compare(a.Site, b.Site) })
	return all[:min(len(all), maxPage)], nil
}

func scanUsage(s scanner) (Usage, error) {
	var u Usage
	err := s.Scan(&u.Site, &u.Bytes, &u.Files, &u.Quota.Bytes, &u.Quota.Files, &u.Quota.File, &u.Quota.Form)
	return u, err
}

// SetQuota sets what a site may use. A missing site is fs.ErrNotExist, one that stores nothing here object.ErrKind; a negative number wraps
// object.ErrInvalid.
func (c *Catalog) SetQuota(ctx context.Context, site object.Site, q Quota) (Usage, error) {
	if min(q.Bytes, q.Files, q.File, int64(q.Form)) < 0 {
		return Usage{}, fmt.Errorf("quota of site %s: %w: a number is negative", site, object.ErrInvalid)
	}
	home, err := c.home(ctx)
	if err != nil {
		return Usage{}, err
	}
	var entry AuditEntry
	err = home.change(ctx, "set quota of site "+string(site), func(tx *sql.Tx) error {
		rec, err := siteRow(ctx, tx, site)
		if err == nil {
			err = rec.Stored()
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx,
			`INSERT INTO site_quota (site, max_bytes, max_files, max_file, max_form) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (site) DO UPDATE SET max_bytes = excluded.max_bytes, max_files = excluded.max_files,
			max_file = excluded.max_file, max_form = excluded.max_form`, site, q.Bytes, q.Files, q.File, q.Form)
		if err != nil {
			return err
		}
		if err := c.divide(ctx, tx, site, q, home, charge{}); err != nil {
			return err
		}
		entry, err = home.audit(ctx, tx, AuditEntry{Action: QuotaSet, Site: site,
			Detail: fmt.Sprintf("bytes %d, files %d, file %d, form %d; 0 is no limit", q.Bytes, q.Files, q.File, q.Form)})
		return err
	})
	if err != nil {
		return Usage{}, c.members[0].fault(err)
	}
	home.told(entry)
	return c.Usage(ctx, site)
}

// Recount counts anew what a site uses and corrects what was counted; it returns what that was as well. Changes of the site
// wait meanwhile, one server after the other. It is refused while slots move. Errors are SetQuota's.
func (c *Catalog) Recount(ctx context.Context, site object.Site) (before, after Usage, err error) {
	home, err := c.home(ctx)
	if err != nil {
		return before, after, err
	}
	rec, err := c.Site(ctx, site)
	if err == nil {
		err = rec.Stored()
	}
	if err != nil {
		return before, after, err
	}
	var moves int
	if err := home.newest().QueryRowContext(ctx, `SELECT COUNT(*) FROM moves`).Scan(&moves); err != nil || moves > 0 {
		return before, after, errors.Join(err, fmt.Errorf("recount site %s: %w: %d slots are being moved between servers, try again when they have settled", site, ErrBusy, moves))
	}
	q, err := c.Quota(ctx, site)
	if err != nil {
		return before, after, err
	}
	before, after = Usage{Site: site, Quota: q}, Usage{Site: site, Quota: q}
	err = c.each(ctx, func(s *server) error {
		was, is, err := s.recount(ctx, site)
		before.Bytes, before.Files = before.Bytes+was.bytes, before.Files+was.files
		after.Bytes, after.Files = after.Bytes+is.bytes, after.Files+is.files
		return err
	})
	if err == nil && before != after {
		err = c.Note(ctx, AuditEntry{Action: QuotaRecounted, Site: site,
			Detail: fmt.Sprintf("bytes %d to %d, files %d to %d", before.Bytes, after.Bytes, before.Files, after.Files)})
	}
	return before, after, err
}

// recount is Catalog.Recount of this server.
func (s *server) recount(ctx context.Context, site object.Site) (before, after charge, err error) {
	err = s.change(ctx, "recount site "+string(site), func(tx *sql.Tx) error {
		if err := addUsage(ctx, tx, site, 0, 0); err != nil { // holds the row
			return err
		}
		if err := tx.QueryRowContext(ctx, `SELECT bytes, files FROM site_usage WHERE site = $1`, site).Scan(&before.bytes, &before.files); err != nil {
			return err
		}
		// One statement, so that what moves from a reservation to a version meanwhile is seen once.
		const here = ` AND slot IN (SELECT slot FROM slots WHERE state <> 'coming')`
		err := tx.QueryRowContext(ctx, `SELECT
			(SELECT COALESCE(SUM(size), 0) FROM (SELECT DISTINCT path, blob, size FROM versions WHERE site = $1 AND blob <> ''`+here+`) AS kept)
			+ (SELECT COALESCE(SUM(charged_bytes), 0) FROM reservations WHERE site = $1`+here+`),
			(SELECT COUNT(*) FROM files WHERE site = $1 AND state = 'live'`+here+`)
			+ (SELECT COALESCE(SUM(charged_files), 0) FROM reservations WHERE site = $1`+here+`)`, site).Scan(&after.bytes, &after.files)
		if err != nil {
			return err
		}
		return settleUsage(ctx, tx, site, charge{after.bytes - before.bytes, after.files - before.files})
	})
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

const keepsQuery = `SELECT COUNT(*) FROM (SELECT 1 FROM versions WHERE slot = $1 AND site = $2 AND path = $3 AND blob = $4 LIMIT 1) AS one`

// keepsBlob reports whether a version of the path has its bytes under blob.
func keepsBlob(ctx context.Context, q querier, site object.Site, path object.Path, blob object.Key) (bool, error) {
	var n int
	err := q.QueryRowContext(ctx, keepsQuery, object.SlotOf(site, path), site, path, blob).Scan(&n)
	return n > 0, err
}

// shareError says that this server's share of a quota is used up; Catalog looks whether others have some left.
type shareError struct{ need charge }

// Error implements error.
func (e *shareError) Error() string { return "the share of the quota is used up" }

// reserveUsage adds ch to what a site uses, unless that exceeds the server's share: then the error is a *shareError.
func reserveUsage(ctx context.Context, tx *sql.Tx, site object.Site, ch charge) error {
	if ch == (charge{}) {
		return nil
	}
	if err := addUsage(ctx, tx, site, ch.bytes, ch.files); err != nil {
		return err
	}
	var over int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM site_usage WHERE site = $1 AND (CAST($2 AS BIGINT) > 0 AND bytes > share_bytes OR CAST($3 AS BIGINT) > 0 AND files > share_files)`,
		site, ch.bytes, ch.files).Scan(&over)
	if err == nil && over > 0 {
		return &shareError{ch} // and the transaction is rolled back
	}
	return err
}

// settleUsage is addUsage that leaves the row alone when there is nothing to add.
func settleUsage(ctx context.Context, tx *sql.Tx, site object.Site, ch charge) error {
	if ch == (charge{}) {
		return nil
	}
	return addUsage(ctx, tx, site, ch.bytes, ch.files)
}

// addUsage adds to what a site uses, whatever its share is, and holds the row until the transaction ends.
func addUsage(ctx context.Context, tx *sql.Tx, site object.Site, bytes, files int64) error {
	_, err := tx.ExecContext(ctx,
		`INSERT INTO site_usage (site, bytes, files, share_bytes, share_files) VALUES ($1, $2, $3, 0, 0)
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

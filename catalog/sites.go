package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"perigee/object"
	"perigee/purge"
)

// A site record is first changed here, then written to the bucket, then confirmed with SiteStored, which also
// enqueues its log entry. UnstoredSites finds the ones whose writer died in between.

// CreateSite adds a site and returns rec with its Version set. It is not announced before SiteStored. A name or host
// that is taken is fs.ErrExist.
func (c *Catalog) CreateSite(ctx context.Context, rec object.SiteRecord) (object.SiteRecord, error) {
	rec.Version = object.NextVersion(c.cfg.Clock.Now(), c.cfg.Writer, "")
	if err := rec.Validate(); err != nil {
		return object.SiteRecord{}, err
	}
	var entry AuditEntry
	err := c.change(ctx, "create site "+string(rec.Site), func(tx *sql.Tx) error {
		_, err := siteRow(ctx, tx, rec.Site)
		if err == nil {
			return fmt.Errorf("the name is taken: %w", fs.ErrExist)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO sites (site, version, record, stored) VALUES ($1, $2, $3, 0)`,
			rec.Site, rec.Version, string(object.MarshalSite(rec))); err != nil {
			return err
		}
		if err := setHosts(ctx, tx, rec); err != nil {
			return err
		}
		entry, err = c.audit(ctx, tx, AuditEntry{Action: SiteCreated, Site: rec.Site, Detail: "version " + string(rec.Version)})
		return err
	})
	if err == nil {
		c.told(entry)
	}
	return rec, err
}

// UpdateSite replaces a site's record and returns rec with its Version set. match, unless empty, must be the current
// version, else the error wraps ErrPrecondition. A missing site is fs.ErrNotExist, a host of another site fs.ErrExist.
func (c *Catalog) UpdateSite(ctx context.Context, rec object.SiteRecord, match object.Version) (object.SiteRecord, error) {
	var entry AuditEntry
	err := c.change(ctx, "update site "+string(rec.Site), func(tx *sql.Tx) error {
		old, err := siteRow(ctx, tx, rec.Site)
		if err != nil {
			return err
		}
		if match != "" && match != old.Version {
			return fmt.Errorf("%w: the current version is %s", ErrPrecondition, old.Version)
		}
		if old.Kind != rec.Kind {
			return fmt.Errorf("the kind of a site cannot be changed from %s to %s: %w", old.Kind, rec.Kind, object.ErrInvalid)
		}
		rec.Version = object.NextVersion(c.cfg.Clock.Now(), c.cfg.Writer, old.Version)
		if err := rec.Validate(); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE sites SET version = $2, record = $3, stored = 0 WHERE site = $1`,
			rec.Site, rec.Version, string(object.MarshalSite(rec))); err != nil {
			return err
		}
		if err := setHosts(ctx, tx, rec); err != nil {
			return err
		}
		entry, err = c.audit(ctx, tx, AuditEntry{Action: SiteUpdated, Site: rec.Site, Detail: "version " + string(rec.Version)})
		return err
	})
	if err == nil {
		c.told(entry)
	}
	return rec, err
}

// setHosts makes rec.Hosts the hosts of its site.
func setHosts(ctx context.Context, tx *sql.Tx, rec object.SiteRecord) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM hosts WHERE site = $1`, rec.Site); err != nil {
		return err
	}
	for _, h := range rec.Hosts {
		var owner object.Site
		err := tx.QueryRowContext(ctx, `SELECT site FROM hosts WHERE host = $1`, h).Scan(&owner)
		if err == nil {
			return fmt.Errorf("host %s belongs to site %s: %w", h, owner, fs.ErrExist)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO hosts (host, site) VALUES ($1, $2)`, h, rec.Site); err != nil {
			return err
		}
	}
	return nil
}

// SiteStored says that the bucket has this version of the site's record, and enqueues its log entry, both once: for
// a version that was confirmed before, the outbox id is 0. If the record has changed since, the error wraps ErrLost.
func (c *Catalog) SiteStored(ctx context.Context, site object.Site, version object.Version) (outbox int64, err error) {
	err = c.change(ctx, "confirm site "+string(site), func(tx *sql.Tx) error {
		rec, err := siteRow(ctx, tx, site)
		if err != nil {
			return err
		}
		if rec.Version != version {
			return fmt.Errorf("%w: its version is %s now", ErrLost, rec.Version)
		}
		res, err := tx.ExecContext(ctx, `UPDATE sites SET stored = 1 WHERE site = $1 AND stored = 0`, site)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n == 0 || err != nil {
			return err
		}
		outbox, err = c.enqueue(ctx, tx, purge.Entry{Kind: purge.KindRules, Site: site, Record: &rec})
		return err
	})
	if err == nil {
		c.wake()
	}
	return outbox, err
}

// Site returns a site's record; fs.ErrNotExist if there is none.
func (c *Catalog) Site(ctx context.Context, site object.Site) (object.SiteRecord, error) {
	rec, err := siteRow(ctx, c.read, site)
	if err != nil {
		return object.SiteRecord{}, fmt.Errorf("site %s: %w", site, err)
	}
	return rec, nil
}

// Sites returns up to limit sites in the order of their names, those after the given one.
func (c *Catalog) Sites(ctx context.Context, after object.Site, limit int) ([]object.SiteRecord, error) {
	recs, err := collect(ctx, c.read, scanSite, `SELECT record FROM sites WHERE site > $1 ORDER BY site LIMIT $2`, after, page(limit))
	if err != nil {
		return nil, fmt.Errorf("list sites: %w", err)
	}
	return recs, nil
}

// UnstoredSites returns the sites whose record was changed and not confirmed with SiteStored since.
func (c *Catalog) UnstoredSites(ctx context.Context) ([]object.SiteRecord, error) {
	recs, err := collect(ctx, c.read, scanSite, `SELECT record FROM sites WHERE stored = 0 ORDER BY site LIMIT $1`, maxPage)
	if err != nil {
		return nil, fmt.Errorf("list unconfirmed sites: %w", err)
	}
	return recs, nil
}

func siteRow(ctx context.Context, q querier, site object.Site) (object.SiteRecord, error) {
	rec, err := scanSite(q.QueryRowContext(ctx, `SELECT record FROM sites WHERE site = $1`, site))
	return rec, missing(err)
}

func scanSite(s scanner) (object.SiteRecord, error) {
	var record string
	if err := s.Scan(&record); err != nil {
		return object.SiteRecord{}, err
	}
	return object.UnmarshalSite([]byte(record))
}

// enqueue adds a row to the outbox. Who calls it calls wake after the commit.
func (c *Catalog) enqueue(ctx context.Context, tx *sql.Tx, e purge.Entry) (int64, error) {
	e.Format, e.At = 1, c.cfg.Clock.Now().UTC().Truncate(time.Microsecond)
	text, err := encodeEntry(e)
	if err != nil {
		return 0, err
	}
	var id int64
	err = tx.QueryRowContext(ctx, `INSERT INTO outbox (entry) VALUES ($1) RETURNING id`, text).Scan(&id)
	return id, err
}

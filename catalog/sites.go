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

// createSite is Catalog.CreateSite of this server.
func (s *server) createSite(ctx context.Context, rec object.SiteRecord) (object.SiteRecord, error) {
	rec.Version = object.NextVersion(s.now(), s.cfg.Writer, "")
	if err := rec.Validate(); err != nil {
		return object.SiteRecord{}, err
	}
	err := s.changeAgain(ctx, "create site "+string(rec.Site), func(tx *sql.Tx, again bool) error {
		fresh, err := affected(tx.ExecContext(ctx, `INSERT INTO sites (site, version, record, stored) VALUES ($1, $2, $3, 0)
			ON CONFLICT (site) DO NOTHING`, rec.Site, rec.Version, string(object.MarshalSite(rec))))
		if err != nil {
			return err
		}
		if fresh {
			return setHosts(ctx, tx, rec)
		}
		if have, err := siteRow(ctx, tx, rec.Site); err != nil || again && have.Version == rec.Version {
			return err
		}
		return fmt.Errorf("the name is taken: %w", fs.ErrExist)
	})
	return rec, err
}

// updateSite is Catalog.UpdateSite of this server.
func (s *server) updateSite(ctx context.Context, rec object.SiteRecord, match object.Version) (object.SiteRecord, error) {
	var tried object.Version
	err := s.changeAgain(ctx, "update site "+string(rec.Site), func(tx *sql.Tx, again bool) error {
		old, err := siteRow(ctx, tx, rec.Site)
		if err != nil || again && old.Version == tried {
			return err
		}
		if match != "" && match != old.Version {
			return fmt.Errorf("%w: the current version is %s", ErrPrecondition, old.Version)
		}
		if old.Kind != rec.Kind {
			return fmt.Errorf("the kind of a site cannot be changed from %s to %s: %w", old.Kind, rec.Kind, object.ErrInvalid)
		}
		if old.Bucket != nil && rec.Bucket != nil && (old.Bucket.Store != rec.Bucket.Store || old.Bucket.Prefix != rec.Bucket.Prefix) {
			return fmt.Errorf("where a bucket site's objects lie cannot be changed, for all that is known of them would be wrong; make another site: %w", object.ErrInvalid)
		}
		rec.Version = object.NextVersion(s.now(), s.cfg.Writer, old.Version)
		tried = rec.Version
		if err := rec.Validate(); err != nil {
			return err
		}
		same, err := affected(tx.ExecContext(ctx, `UPDATE sites SET version = $2, record = $3, stored = 0 WHERE site = $1 AND version = $4`,
			rec.Site, rec.Version, string(object.MarshalSite(rec)), old.Version))
		if err != nil {
			return err
		}
		if !same {
			return errConflict
		}
		return setHosts(ctx, tx, rec)
	})
	return rec, err
}

// setHosts makes rec.Hosts the hosts of its site.
func setHosts(ctx context.Context, tx *sql.Tx, rec object.SiteRecord) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM hosts WHERE site = $1`, rec.Site); err != nil {
		return err
	}
	for _, h := range rec.Hosts {
		free, err := affected(tx.ExecContext(ctx, `INSERT INTO hosts (host, site) VALUES ($1, $2) ON CONFLICT (host) DO NOTHING`, h, rec.Site))
		if err != nil {
			return err
		}
		if free {
			continue
		}
		var owner object.Site
		err = tx.QueryRowContext(ctx, `SELECT site FROM hosts WHERE host = $1`, h).Scan(&owner)
		if errors.Is(err, sql.ErrNoRows) {
			return errConflict // it was given up at this moment
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("host %s belongs to site %s: %w", h, owner, fs.ErrExist)
	}
	return nil
}

// siteStored is Catalog.SiteStored of this server.
func (s *server) siteStored(ctx context.Context, site object.Site, version object.Version) (entry string, err error) {
	err = s.changeAgain(ctx, "confirm site "+string(site), func(tx *sql.Tx, _ bool) error {
		entry = ""
		rec, err := siteRow(ctx, tx, site)
		if err != nil {
			return err
		}
		if rec.Version != version {
			return fmt.Errorf("%w: its version is %s now", ErrLost, rec.Version)
		}
		first, err := affected(tx.ExecContext(ctx, `UPDATE sites SET stored = 1 WHERE site = $1 AND version = $2 AND stored = 0`, site, version))
		if !first || err != nil {
			return err
		}
		entry, err = s.enqueue(ctx, tx, noSlot, purge.Entry{Kind: purge.KindRules, Site: site, Record: &rec})
		return err
	})
	if err == nil {
		s.wake()
	}
	return entry, err
}

// site is Catalog.Site of this server.
func (s *server) site(ctx context.Context, site object.Site) (object.SiteRecord, error) {
	rec, err := look(ctx, s, func(ctx context.Context, q database) (object.SiteRecord, error) { return siteRow(ctx, q, site) })
	if err != nil {
		return object.SiteRecord{}, fmt.Errorf("site %s: %w", site, err)
	}
	return rec, nil
}

// sites is Catalog.Sites of this server.
func (s *server) sites(ctx context.Context, after object.Site, limit int) ([]object.SiteRecord, error) {
	recs, err := look(ctx, s, func(ctx context.Context, q database) ([]object.SiteRecord, error) {
		return collect(ctx, q, scanSite, `SELECT record FROM sites WHERE site > $1 ORDER BY site LIMIT $2`, after, page(limit))
	})
	if err != nil {
		return nil, fmt.Errorf("list sites: %w", err)
	}
	return recs, nil
}

// unstoredSites is Catalog.UnstoredSites of this server.
func (s *server) unstoredSites(ctx context.Context) ([]object.SiteRecord, error) {
	recs, err := fromPrimary(ctx, s, func(ctx context.Context, q database) ([]object.SiteRecord, error) {
		return collect(ctx, q, scanSite, `SELECT record FROM sites WHERE stored = 0 ORDER BY site LIMIT $1`, maxPage)
	})
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

// noSlot is the slot of entries that are not about one path.
const noSlot = -1

// enqueue adds a row to the outbox and returns the id of its log entry. Who calls it calls wake after the commit.
func (s *server) enqueue(ctx context.Context, tx *sql.Tx, slot int, e purge.Entry) (entry string, err error) {
	e.Format, e.At = 1, s.cfg.Clock.Now().UTC().Truncate(time.Microsecond)
	text, err := encodeEntry(e)
	if err != nil {
		return "", err
	}
	var id int64
	err = tx.QueryRowContext(ctx, `INSERT INTO outbox (slot, entry) VALUES ($1, $2) RETURNING id`, slot, text).Scan(&id)
	return entryID(s.id, id), err
}

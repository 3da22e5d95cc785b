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

// recordObject is Catalog.RecordObject of this server.
func (s *server) recordObject(ctx context.Context, o Observation) (changed bool, entry string, err error) {
	slot := object.SlotOf(o.Site, o.Path)
	err = s.changeIn(ctx, fmt.Sprintf("record object %s of site %s", o.Path, o.Site), []unit{unitOfPath(o.Site, o.Path)}, func(tx *sql.Tx) error {
		changed, entry = false, ""
		cur, err := fileRow(ctx, tx, o.Site, o.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var after object.Version
		if cur != nil {
			after = cur.Pointer.Version
		}
		if after != o.After {
			return fmt.Errorf("%w: the current version is %s", ErrLost, after)
		}
		p := s.observed(o, cur)
		if p == nil && (!o.Passing || o.Found != nil) {
			return nil
		}
		if p == nil {
			entry, err = s.enqueue(ctx, tx, int(slot), purge.Entry{Kind: purge.KindURL, Site: o.Site, Path: o.Path})
			return err
		}
		changed = true
		if !o.Quiet {
			if entry, err = s.enqueue(ctx, tx, int(slot), purge.Entry{Kind: purge.KindPointer, Site: o.Site, Pointer: p}); err != nil {
				return err
			}
		}
		return replaceObject(ctx, tx, p, o.After)
	})
	if err != nil {
		return false, "", err // whatever the transaction that was rolled back had set
	}
	if entry != "" {
		s.wake()
	}
	return changed, entry, nil
}

// replaceObject writes the row of p in place of the one with version after, "" for none. The condition is in the statement, for databases that let two
// transactions read the same row.
func replaceObject(ctx context.Context, tx *sql.Tx, p *object.Pointer, after object.Version) error {
	text, slot := string(object.MarshalPointer(p)), object.SlotOf(p.Site, p.Path)
	query, args := `UPDATE files SET version = $4, state = $5, etag = $6, pointer = $7 WHERE slot = $1 AND site = $2 AND path = $3 AND version = $8`,
		[]any{slot, p.Site, p.Path, p.Version, p.State, p.ETag, text, after}
	if after == "" {
		query, args = `INSERT INTO files (slot, site, path, version, state, etag, pointer) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (slot, site, path) DO NOTHING`, args[:7]
	}
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); n == 0 || err != nil {
		return errors.Join(ErrLost, err)
	}
	return nil
}

// observed returns the pointer to record, nil if the row says all of it already.
func (s *server) observed(o Observation, cur *File) *object.Pointer {
	live := cur != nil && cur.Pointer.State == object.Live
	if o.Found == nil {
		if !live {
			return nil
		}
		return &object.Pointer{
			Format: 1, Site: o.Site, Path: o.Path, State: object.Gone, Modified: cur.Pointer.Modified,
			Version: object.RecordedVersion(time.Time{}, s.cfg.Writer, cur.Pointer.Version),
		}
	}
	p := *o.Found
	if live {
		p.Version = cur.Pointer.Version
		if string(object.MarshalPointer(&p)) == string(object.MarshalPointer(&cur.Pointer)) {
			return nil
		}
	}
	p.Version = object.RecordedVersion(p.Modified, s.cfg.Writer, o.After)
	return &p
}

// announceSite is Catalog.AnnounceSite of this server.
func (s *server) announceSite(ctx context.Context, site object.Site) (entry string, err error) {
	err = s.change(ctx, "announce site "+string(site), func(tx *sql.Tx) error {
		entry, err = s.enqueue(ctx, tx, noSlot, purge.Entry{Kind: purge.KindSite, Site: site, Soft: true})
		return err
	})
	if err == nil {
		s.wake()
	}
	return entry, err
}

// holdWatch is Catalog.HoldWatch of this server.
func (s *server) holdWatch(ctx context.Context, site object.Site, holder string, hold time.Duration) (w Watch, err error) {
	now := s.cfg.Clock.Now()
	err = s.change(ctx, "watch site "+string(site), func(tx *sql.Tx) error {
		row := tx.QueryRowContext(ctx, `INSERT INTO watches (site, holder, until, state, event, source) VALUES ($1, $2, $3, '', 0, '')
			ON CONFLICT (site) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE watches.holder = excluded.holder OR watches.until <= $4
			RETURNING site, holder, until, state, event, source`,
			site, holder, now.Add(hold).UnixMicro(), now.UnixMicro())
		w, err = scanWatch(row)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrLost
		}
		return err
	})
	return w, err
}

// saveWatch is Catalog.SaveWatch of this server.
func (s *server) saveWatch(ctx context.Context, site object.Site, holder, state string) error {
	return s.change(ctx, "keep the state of watching site "+string(site), func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE watches SET state = $3 WHERE site = $1 AND holder = $2`, site, holder, state)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n == 0 || err != nil {
			return errors.Join(ErrLost, err)
		}
		return nil
	})
}

// releaseWatch is Catalog.ReleaseWatch of this server.
func (s *server) releaseWatch(ctx context.Context, site object.Site, holder string) error {
	return s.change(ctx, "stop watching site "+string(site), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE watches SET until = 0 WHERE site = $1 AND holder = $2`, site, holder)
		return err
	})
}

// noteEvent is Catalog.NoteEvent of this server.
func (s *server) noteEvent(ctx context.Context, site object.Site, at time.Time, source string) error {
	return s.change(ctx, "note an event of site "+string(site), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE watches SET event = $2, source = $3 WHERE site = $1 AND event < $2`, site, at.UnixMicro(), source)
		return err
	})
}

// watches is Catalog.Watches of this server.
func (s *server) watches(ctx context.Context, after object.Site) ([]Watch, error) {
	ws, err := lookAll(ctx, s, scanWatch,
		`SELECT site, holder, until, state, event, source FROM watches WHERE site > $1 ORDER BY site LIMIT $2`, after, maxPage)
	if err != nil {
		return nil, fmt.Errorf("list watches: %w", err)
	}
	return ws, nil
}

func scanWatch(s scanner) (Watch, error) {
	var w Watch
	var until, event int64
	if err := s.Scan(&w.Site, &w.Holder, &until, &w.State, &event, &w.Source); err != nil {
		return Watch{}, err
	}
	w.Until, w.Event = fromMicros(until), fromMicros(event)
	return w, nil
}

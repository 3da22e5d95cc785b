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

// The objects of bucket sites are rows of files, as those of published sites are, and their changes rows of the outbox. They have no reservations, for nobody
// here writes them, and no versions, for what was overwritten is gone.
//
// A row says what the store was seen to have. Who looks reads the row's version first, then asks the store, and then records what it said on the condition
// that the row still has that version: so of two who look at the same time the later answer counts, whatever their clocks say.

// Observation is what a store said of an object.
type Observation struct {
	Site object.Site
	Path object.Path
	// After is the version that the row had before the store was asked; "" for none.
	After object.Version
	// Found is the object as it is now; nil if there is none. Its Version is set by RecordObject.
	Found *object.Pointer
	// Quiet leaves the log out: an entry for all of the site follows.
	Quiet bool
	// Passing says that there was a notification: an object without a row that is gone by now may be held by edges.
	Passing bool
}

// RecordObject makes the catalogue say what the store said. It reports whether that is new; outbox is the id of the outbox row, 0 if there is none. ErrLost says that
// the row has changed since: look again.
func (c *Catalog) RecordObject(ctx context.Context, o Observation) (changed bool, outbox int64, err error) {
	err = c.change(ctx, fmt.Sprintf("record object %s of site %s", o.Path, o.Site), func(tx *sql.Tx) error {
		changed, outbox = false, 0
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
		p := c.observed(o, cur)
		if p == nil {
			if o.Passing && o.Found == nil {
				outbox, err = c.enqueue(ctx, tx, purge.Entry{Kind: purge.KindURL, Site: o.Site, Path: o.Path})
			}
			return err
		}
		changed = true
		if !o.Quiet {
			if outbox, err = c.enqueue(ctx, tx, purge.Entry{Kind: purge.KindPointer, Site: o.Site, Pointer: p}); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx,
			`INSERT INTO files (site, path, version, state, etag, pointer) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (site, path) DO UPDATE SET version = excluded.version, state = excluded.state,
			etag = excluded.etag, pointer = excluded.pointer`,
			p.Site, p.Path, p.Version, p.State, p.ETag, string(object.MarshalPointer(p)))
		return err
	})
	if err == nil && outbox != 0 {
		c.wake()
	}
	return changed, outbox, err
}

// observed returns the pointer to record, nil if the row says all of it already.
func (c *Catalog) observed(o Observation, cur *File) *object.Pointer {
	live := cur != nil && cur.Pointer.State == object.Live
	if o.Found == nil {
		if !live {
			return nil
		}
		return &object.Pointer{
			Format: 1, Site: o.Site, Path: o.Path, State: object.Gone, Modified: cur.Pointer.Modified,
			Version: object.RecordedVersion(time.Time{}, c.cfg.Writer, cur.Pointer.Version),
		}
	}
	p := *o.Found
	if live {
		p.Version = cur.Pointer.Version
		if string(object.MarshalPointer(&p)) == string(object.MarshalPointer(&cur.Pointer)) {
			return nil
		}
	}
	p.Version = object.RecordedVersion(p.Modified, c.cfg.Writer, o.After)
	return &p
}

// AnnounceSite enqueues an entry by which every edge confirms what it has of a site before it uses it again.
func (c *Catalog) AnnounceSite(ctx context.Context, site object.Site) (outbox int64, err error) {
	err = c.change(ctx, "announce site "+string(site), func(tx *sql.Tx) error {
		outbox, err = c.enqueue(ctx, tx, purge.Entry{Kind: purge.KindSite, Site: site, Soft: true})
		return err
	})
	if err == nil {
		c.wake()
	}
	return outbox, err
}

// Watch is what is kept of the watching of a bucket site, over restarts and for all API nodes.
type Watch struct {
	Site   object.Site
	Holder string    // the node that watches it
	Until  time.Time // when another node may take over
	State  string    // the watcher's own
	// Event is when the last notification came, to whichever node, and Source how.
	Event  time.Time
	Source string
}

// HoldWatch makes holder the one who watches a site for the time given, if nobody else does or the other one's time is over; ErrLost if not. Clocks of
// nodes may differ: two may then watch at the same time, which costs requests and harms nothing.
func (c *Catalog) HoldWatch(ctx context.Context, site object.Site, holder string, hold time.Duration) (w Watch, err error) {
	now := c.cfg.Clock.Now()
	err = c.change(ctx, "watch site "+string(site), func(tx *sql.Tx) error {
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

// SaveWatch keeps the state of a site's watcher, if holder still is the one.
func (c *Catalog) SaveWatch(ctx context.Context, site object.Site, holder, state string) error {
	return c.change(ctx, "keep the state of watching site "+string(site), func(tx *sql.Tx) error {
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

// ReleaseWatch lets another node watch a site at once.
func (c *Catalog) ReleaseWatch(ctx context.Context, site object.Site, holder string) error {
	return c.change(ctx, "stop watching site "+string(site), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE watches SET until = 0 WHERE site = $1 AND holder = $2`, site, holder)
		return err
	})
}

// NoteEvent records that a notification came.
func (c *Catalog) NoteEvent(ctx context.Context, site object.Site, at time.Time, source string) error {
	return c.change(ctx, "note an event of site "+string(site), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE watches SET event = $2, source = $3 WHERE site = $1 AND event < $2`, site, at.UnixMicro(), source)
		return err
	})
}

// Watches returns what is kept of all sites that were ever watched, up to 1,000, in the order of their names, those after the given one.
func (c *Catalog) Watches(ctx context.Context, after object.Site) ([]Watch, error) {
	ws, err := collect(ctx, c.read, scanWatch,
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

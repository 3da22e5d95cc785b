package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"perigee/object"
	"perigee/purge"
)

// Row is a row of the outbox.
type Row struct {
	ID int64
	// Entry is complete but for Prev, which the log sets.
	Entry purge.Entry
	// Position is where the log has the entry; zero before it was appended.
	Position purge.Position
	Appended time.Time
}

// EntryID is the Entry.ID of an outbox row: stable, and no other catalogue's.
func (c *Catalog) EntryID(row int64) string { return fmt.Sprintf("%s-%d", c.id, row) }

// encodeEntry checks e and encodes it without its ID, which follows from the row it is going to be.
func encodeEntry(e purge.Entry) (string, error) {
	e.ID = "x"
	if err := e.Validate(); err != nil {
		return "", err
	}
	e.ID = ""
	b, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encode log entry: %w", err)
	}
	return string(b), nil
}

// wake tells the outbox that there may be new rows.
func (c *Catalog) wake() {
	select {
	case c.enqueued <- struct{}{}:
	default:
	}
}

const rowColumns = `SELECT id, entry, position, appended FROM outbox`

// Rows returns up to limit outbox rows with ids above after, appended or not, in order: the log, to be built anew.
func (c *Catalog) Rows(ctx context.Context, after int64, limit int) ([]Row, error) {
	rows, err := collect(ctx, c.read, c.scanRow, rowColumns+` WHERE id > $1 ORDER BY id LIMIT $2`, after, page(limit))
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return rows, nil
}

// Row returns one row of the outbox; fs.ErrNotExist if there is none.
func (c *Catalog) Row(ctx context.Context, id int64) (Row, error) {
	if r, ok := c.notedAppend(id); ok {
		return r, nil
	}
	r, err := c.scanRow(c.read.QueryRowContext(ctx, rowColumns+` WHERE id = $1`, id))
	if err != nil {
		return Row{}, fmt.Errorf("outbox row %d: %w", id, missing(err))
	}
	return r, nil
}

// pending returns the oldest rows that are not recorded as appended.
func (c *Catalog) pending(ctx context.Context, limit int) ([]Row, error) {
	rows, err := collect(ctx, c.read, c.scanRow, rowColumns+` WHERE position = '' ORDER BY id LIMIT $1`, page(limit))
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return rows, nil
}

// noteAppended makes a row that is in the log known to Row until recordAppended has recorded it.
func (c *Catalog) noteAppended(r Row) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.appended[r.ID] = r
}

func (c *Catalog) notedAppend(id int64) (Row, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.appended[id]
	return r, ok
}

// recordAppended records where rows are in the log.
func (c *Catalog) recordAppended(ctx context.Context, rows []Row) error {
	err := c.change(ctx, "record positions", func(tx *sql.Tx) error {
		for _, r := range rows {
			if _, err := tx.ExecContext(ctx, `UPDATE outbox SET position = $2, appended = $3 WHERE id = $1`,
				r.ID, r.Position.String(), r.Appended.UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range rows {
		delete(c.appended, r.ID)
	}
	return nil
}

func (c *Catalog) scanRow(s scanner) (Row, error) {
	var r Row
	var entry, position string
	var appended int64
	if err := s.Scan(&r.ID, &entry, &position, &appended); err != nil {
		return Row{}, err
	}
	if err := json.Unmarshal([]byte(entry), &r.Entry); err != nil {
		return Row{}, fmt.Errorf("row %d: %w", r.ID, err)
	}
	r.Entry.ID = c.EntryID(r.ID)
	var err error
	if r.Position, err = purge.ParsePosition(position); err != nil {
		return Row{}, fmt.Errorf("row %d: %w", r.ID, err)
	}
	r.Appended = fromMicros(appended)
	return r, nil
}

// PurgeRequest is what is to be purged of a site: everything it names, or All.
type PurgeRequest struct {
	Paths    []object.Path   `json:"paths,omitempty"`
	Prefixes []object.Prefix `json:"prefixes,omitempty"`
	Tags     []object.Tag    `json:"tags,omitempty"`
	All      bool            `json:"all,omitempty"`
	// Soft asks caches to revalidate instead of to drop.
	Soft bool `json:"soft,omitempty"`
}

// MaxPurgeItems is how many paths, prefixes and tags one PurgeRequest may name together.
const MaxPurgeItems = 1000

func (r PurgeRequest) entries(site object.Site) ([]purge.Entry, error) {
	n := len(r.Paths) + len(r.Prefixes) + len(r.Tags)
	switch {
	case n == 0 && !r.All:
		return nil, fmt.Errorf("purge: %w: it names nothing; give urls, prefixes, tags or all", object.ErrInvalid)
	case n > MaxPurgeItems:
		return nil, fmt.Errorf("purge: %w: it names %d things, the limit is %d", object.ErrInvalid, n, MaxPurgeItems)
	}
	if r.All {
		return []purge.Entry{{Kind: purge.KindSite, Site: site, Soft: r.Soft}}, nil
	}
	es := make([]purge.Entry, 0, n)
	for _, p := range r.Paths {
		es = append(es, purge.Entry{Kind: purge.KindURL, Site: site, Path: p, Soft: r.Soft})
	}
	for _, p := range r.Prefixes {
		es = append(es, purge.Entry{Kind: purge.KindPrefix, Site: site, Prefix: p, Soft: r.Soft})
	}
	for _, t := range r.Tags {
		es = append(es, purge.Entry{Kind: purge.KindTag, Site: site, Tag: t, Soft: r.Soft})
	}
	return es, nil
}

// Purge is a purge that was ordered.
type Purge struct {
	// ID is the Entry.ID of the last of its entries: when that one is applied, all are.
	ID      string
	Site    object.Site
	Request PurgeRequest
	Created time.Time
	// Outbox is the row of the last of its entries.
	Outbox int64
}

// EnqueuePurge records a purge and its outbox rows. A missing site is fs.ErrNotExist; a request that names nothing or
// too much wraps object.ErrInvalid.
func (c *Catalog) EnqueuePurge(ctx context.Context, site object.Site, r PurgeRequest) (Purge, error) {
	entries, err := r.entries(site)
	if err != nil {
		return Purge{}, err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return Purge{}, fmt.Errorf("encode purge: %w", err)
	}
	p := Purge{Site: site, Request: r, Created: fromMicros(c.cfg.Clock.Now().UnixMicro())}
	var entry AuditEntry
	err = c.change(ctx, "record purge of site "+string(site), func(tx *sql.Tx) error {
		if _, err := siteRow(ctx, tx, site); err != nil {
			return err
		}
		for _, e := range entries {
			if p.Outbox, err = c.enqueue(ctx, tx, e); err != nil {
				return err
			}
		}
		p.ID = c.EntryID(p.Outbox)
		_, err := tx.ExecContext(ctx, `INSERT INTO purges (id, site, request, created, outbox_id) VALUES ($1, $2, $3, $4, $5)`,
			p.ID, site, string(text), p.Created.UnixMicro(), p.Outbox)
		if err != nil {
			return err
		}
		entry, err = c.audit(ctx, tx, AuditEntry{Action: PurgeOrdered, Site: site, Object: p.ID, Detail: string(text)})
		return err
	})
	if err != nil {
		return Purge{}, err
	}
	c.told(entry)
	c.wake()
	return p, nil
}

// Purge returns a purge by its id; fs.ErrNotExist if there is none.
func (c *Catalog) Purge(ctx context.Context, id string) (Purge, error) {
	p, err := scanPurge(c.read.QueryRowContext(ctx, `SELECT id, site, request, created, outbox_id FROM purges WHERE id = $1`, id))
	if err != nil {
		return Purge{}, fmt.Errorf("purge %q: %w", id, missing(err))
	}
	return p, nil
}

// Purges returns up to limit (at most 1,000) purges of a site ("" for all), the newest first, those ordered before the one of
// the given outbox row (0 for all).
func (c *Catalog) Purges(ctx context.Context, site object.Site, before int64, limit int) ([]Purge, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	query, args := `SELECT id, site, request, created, outbox_id FROM purges WHERE outbox_id < $1`, []any{before, page(limit)}
	if site != "" {
		query, args = query+` AND site = $3`, append(args, site)
	}
	ps, err := collect(ctx, c.read, scanPurge, query+` ORDER BY outbox_id DESC LIMIT $2`, args...)
	if err != nil {
		return nil, fmt.Errorf("list purges: %w", err)
	}
	return ps, nil
}

func scanPurge(s scanner) (Purge, error) {
	var p Purge
	var text string
	var created int64
	if err := s.Scan(&p.ID, &p.Site, &text, &created, &p.Outbox); err != nil {
		return Purge{}, err
	}
	p.Created = fromMicros(created)
	return p, json.Unmarshal([]byte(text), &p.Request)
}

package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"perigee/object"
	"perigee/purge"
)

// Row is a row of the outbox.
type Row struct {
	id int64 // in its server's outbox
	// Entry is complete but for Prev, which the log sets.
	Entry purge.Entry
	// Position is where the log has the entry; zero before it was appended.
	Position purge.Position
	Appended time.Time
}

// entryID is the Entry.ID of a row of a server's outbox: stable, and no other server's.
func entryID(server string, row int64) string { return fmt.Sprintf("%s-%d", server, row) }

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

// wake tells the outbox that there may be new rows, here and, of PostgreSQL, in every other process.
func (s *server) wake() {
	signal(s.enqueued)
	if s.wire != nil {
		signal(s.wire.news)
	}
}

const rowColumns = `SELECT id, entry, position, appended FROM outbox`

// rows returns up to limit rows with ids above after, in order.
func (s *server) rows(ctx context.Context, after int64, limit int) ([]Row, error) {
	rows, err := fromPrimary(ctx, s, func(ctx context.Context, db database) ([]Row, error) {
		return collect(ctx, db, s.scanRow, rowColumns+` WHERE id > $1 ORDER BY id LIMIT $2`, after, page(limit))
	})
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return rows, nil
}

// row returns one row; fs.ErrNotExist if there is none.
func (s *server) row(ctx context.Context, id int64) (Row, error) {
	if r, ok := s.notedAppend(id); ok {
		return r, nil
	}
	r, err := fromPrimary(ctx, s, func(ctx context.Context, db database) (Row, error) {
		return s.scanRow(db.QueryRowContext(ctx, rowColumns+` WHERE id = $1`, id))
	})
	if err != nil {
		return Row{}, fmt.Errorf("outbox row %d: %w", id, missing(err))
	}
	return r, nil
}

// pending returns the oldest rows that are not recorded as appended.
func (s *server) pending(ctx context.Context, limit int) ([]Row, error) {
	rows, err := fromPrimary(ctx, s, func(ctx context.Context, db database) ([]Row, error) {
		return collect(ctx, db, s.scanRow, rowColumns+` WHERE position = '' ORDER BY id LIMIT $1`, page(limit))
	})
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return rows, nil
}

// lastAppended returns the row that was recorded as appended last, which need not be the one with the highest id; the zero
// Row if there is none.
func (s *server) lastAppended(ctx context.Context) (Row, error) {
	r, err := fromPrimary(ctx, s, func(ctx context.Context, db database) (Row, error) {
		return s.scanRow(db.QueryRowContext(ctx, rowColumns+` WHERE id = (SELECT written FROM catalogue)`))
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Row{}, nil
	}
	if err != nil {
		return Row{}, fmt.Errorf("read outbox: %w", err)
	}
	return r, nil
}

// noteAppended makes a row that is in the log known to Row until recordAppended has recorded it.
func (s *server) noteAppended(r Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appended[r.id] = r
}

func (s *server) notedAppend(id int64) (Row, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.appended[id]
	return r, ok
}

// recordAppended records where rows are in the log.
func (s *server) recordAppended(ctx context.Context, rows []Row) error {
	err := s.changeAgain(ctx, "record positions", func(tx *sql.Tx, _ bool) error {
		for _, r := range rows {
			if _, err := tx.ExecContext(ctx, `UPDATE outbox SET position = $2, appended = $3 WHERE id = $1`,
				r.id, r.Position.String(), r.Appended.UnixMicro()); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `UPDATE catalogue SET written = $1`, rows[len(rows)-1].id)
		return err
	})
	if err != nil {
		return err
	}
	if s.wire != nil {
		signal(s.wire.moved)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		delete(s.appended, r.id)
	}
	return nil
}

func (s *server) scanRow(in scanner) (Row, error) {
	var r Row
	var entry, position string
	var appended int64
	if err := in.Scan(&r.id, &entry, &position, &appended); err != nil {
		return Row{}, err
	}
	if err := json.Unmarshal([]byte(entry), &r.Entry); err != nil {
		return Row{}, fmt.Errorf("row %d: %w", r.id, err)
	}
	r.Entry.ID = entryID(s.id, r.id)
	var err error
	if r.Position, err = purge.ParsePosition(position); err != nil {
		return Row{}, fmt.Errorf("row %d: %w", r.id, err)
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
}

// enqueuePurge is Catalog.EnqueuePurge of this server.
func (s *server) enqueuePurge(ctx context.Context, site object.Site, r PurgeRequest) (Purge, error) {
	entries, err := r.entries(site)
	if err != nil {
		return Purge{}, err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return Purge{}, fmt.Errorf("encode purge: %w", err)
	}
	p := Purge{Site: site, Request: r, Created: fromMicros(s.now().UnixMicro())}
	var audited AuditEntry
	// Should it be recorded twice, because an outcome was not known, everything is purged twice.
	err = s.changeAgain(ctx, "record purge of site "+string(site), func(tx *sql.Tx, _ bool) error {
		if _, err := siteRow(ctx, tx, site); err != nil {
			return err
		}
		for _, e := range entries {
			if p.ID, err = s.enqueue(ctx, tx, noSlot, e); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO purges (id, site, request, created) VALUES ($1, $2, $3, $4)`,
			p.ID, site, string(text), p.Created.UnixMicro())
		if err != nil {
			return err
		}
		audited, err = s.audit(ctx, tx, AuditEntry{Action: PurgeOrdered, Site: site, Object: p.ID, Detail: string(text)})
		return err
	})
	if err != nil {
		return Purge{}, err
	}
	s.told(audited)
	s.wake()
	return p, nil
}

// purge is Catalog.Purge of this server.
func (s *server) purge(ctx context.Context, id string) (Purge, error) {
	p, err := look(ctx, s, func(ctx context.Context, db database) (Purge, error) {
		p, err := scanPurge(db.QueryRowContext(ctx, purgeColumns+` WHERE id = $1`, id))
		return p, missing(err)
	})
	if err != nil {
		return Purge{}, fmt.Errorf("purge %q: %w", id, err)
	}
	return p, nil
}

// PurgeMark is a place in the list of purges: before what was ordered then, and of those of one microsecond, before the one with that id.
type PurgeMark struct {
	Created time.Time
	ID      string
}

// Purges returns up to limit (at most 1,000) purges of a site ("" for all), the newest first, those before the mark (zero for all).
func (c *Catalog) Purges(ctx context.Context, site object.Site, before PurgeMark, limit int) ([]Purge, error) {
	s, err := c.home(ctx)
	if err != nil {
		return nil, err
	}
	ps, err := s.purges(ctx, site, before, limit)
	return ps, c.members[0].fault(err)
}

const (
	purgeColumns  = `SELECT id, site, request, created FROM purges`
	purgesQuery   = purgeColumns + ` WHERE (created, id) < ($1, $2) ORDER BY created DESC, id DESC LIMIT $3`
	purgesInQuery = purgeColumns + ` WHERE (created, id) < ($1, $2) AND site = $4 ORDER BY created DESC, id DESC LIMIT $3`
)

func (s *server) purges(ctx context.Context, site object.Site, before PurgeMark, limit int) ([]Purge, error) {
	created := int64(math.MaxInt64)
	if !before.Created.IsZero() {
		created = before.Created.UnixMicro()
	}
	query, args := purgesQuery, []any{created, before.ID, page(limit)}
	if site != "" {
		query, args = purgesInQuery, append(args, site)
	}
	ps, err := lookAll(ctx, s, scanPurge, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list purges: %w", err)
	}
	return ps, nil
}

func scanPurge(s scanner) (Purge, error) {
	var p Purge
	var text string
	var created int64
	if err := s.Scan(&p.ID, &p.Site, &text, &created); err != nil {
		return Purge{}, err
	}
	p.Created = fromMicros(created)
	return p, json.Unmarshal([]byte(text), &p.Request)
}

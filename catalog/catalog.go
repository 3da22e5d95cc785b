package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"perigee/object"
	"perigee/purge"
)

// Catalog is an open catalogue: one or more servers, and the knowledge of which one has what. Its methods are safe for
// concurrent use.
type Catalog struct {
	cfg Config
	// members are the servers, the home server first.
	members []*member
	layout  atomic.Pointer[layout]
	// ordered has a value when there may be new moves.
	ordered chan struct{}
	lookups *lookups // nil if nothing is kept in memory

	mu sync.Mutex
	// waiters are closed when a reservation of the path ends.
	waiters map[pathKey]chan struct{}
	// known are records of sites as they were last read, for when the home server does not answer.
	known map[object.Site]object.SiteRecord
}

type pathKey struct {
	site object.Site
	path object.Path
}

// HomeName is the name of the home server. The others have those of the configuration.
const HomeName = "home"

// newCatalog makes a catalogue of its home server and of others that are not open yet.
func newCatalog(cfg Config, home *server, others ...*member) *Catalog {
	c := &Catalog{
		cfg: cfg, members: append([]*member{{name: HomeName, server: home, id: home.id}}, others...),
		ordered: make(chan struct{}, 1), waiters: map[pathKey]chan struct{}{}, known: map[object.Site]object.SiteRecord{},
	}
	for i, m := range c.members {
		m.index, m.clock = i, cfg.Clock
	}
	if home.lease != nil {
		c.lookups = newLookups(cfg)
	}
	return c
}

// start makes the layout known, and the first one if there is none, and opens the servers. Only for the first layout all must
// be there. An error leaves everything to Close.
func (c *Catalog) start(ctx context.Context) error {
	home := c.members[0].server
	l, err := c.loadLayout(ctx, home.newest())
	if err != nil {
		return err
	}
	first := l == nil
	if first {
		for _, m := range c.members[1:] {
			if m.server, err = m.open(ctx); err != nil {
				return fmt.Errorf("open server %s, without which no first layout can be made: %w", m.name, err)
			}
		}
		if err := c.found(ctx, home); err != nil {
			return err
		}
	}
	if err := c.relearn(ctx); err != nil {
		return err
	}
	if err := c.identify(ctx, home); err != nil {
		return err
	}
	for _, m := range c.members {
		if m.server != nil {
			if err := c.register(ctx, home, m, m.server); err != nil {
				return fmt.Errorf("open server %s: %w", m.name, err)
			}
		}
		open := m.open
		m.open = func(ctx context.Context) (*server, error) {
			s, err := open(ctx)
			if err == nil {
				if err = c.register(ctx, home, m, s); err != nil {
					err = errors.Join(err, s.close())
				}
			}
			return s, err
		}
		if _, err := m.get(ctx); errors.Is(err, errStranger) {
			return err
		} else if err != nil {
			c.cfg.Log.Warn("a server of the catalogue does not answer; what it has is not available until it does", "server", m.name, "err", err)
		}
	}
	return nil
}

// ID names this catalogue: random, made with it. The ids of the entries of its home server start with it.
func (c *Catalog) ID() string { return c.members[0].id }

// Close closes the databases and lets another process open them.
func (c *Catalog) Close() error {
	var errs []error
	for _, m := range c.members {
		if s := m.opened(); s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// home returns the server that has what belongs to no path: the layout and the moves, sites, hosts and purges.
func (c *Catalog) home(ctx context.Context) (*server, error) { return c.members[0].get(ctx) }

// ofEntry finds the outbox row behind the id of a log entry; fs.ErrNotExist if no server of this catalogue gave it.
func (c *Catalog) ofEntry(entry string) (*member, int64, error) {
	id, number, ok := strings.Cut(entry, "-")
	row, err := strconv.ParseInt(number, 10, 64)
	if ok && err == nil && entryID(id, row) == entry {
		for _, m := range c.members {
			if m.identity() == id {
				return m, row, nil
			}
		}
	}
	return nil, 0, fmt.Errorf("log entry %q: %w", entry, fs.ErrNotExist)
}

// Rows returns up to limit rows of the outboxes, appended or not: those after the entry of that id, from the first one if it is
// "". They come server by server, and of one server in order: the log, to be built anew. See docs/catalogue-sharding.md for
// why that order suffices.
func (c *Catalog) Rows(ctx context.Context, after string, limit int) ([]Row, error) {
	m, row := c.members[0], int64(0)
	if after != "" {
		var err error
		if m, row, err = c.ofEntry(after); err != nil {
			return nil, err
		}
	}
	limit = page(limit)
	var out []Row
	for ; ; m, row = c.members[m.index+1], 0 {
		s, err := m.get(ctx)
		if err != nil {
			return nil, err
		}
		rows, err := s.rows(ctx, row, limit-len(out))
		if err != nil {
			return nil, m.fault(err)
		}
		if out = append(out, rows...); len(out) == limit || m.index == len(c.members)-1 {
			return out, nil
		}
	}
}

// appendedElsewhere returns a channel that is closed when another process may have appended the entry; nil where there is no
// other.
func (c *Catalog) appendedElsewhere(ctx context.Context, entry string) (<-chan struct{}, error) {
	m, _, err := c.ofEntry(entry)
	if err != nil {
		return nil, err
	}
	s, err := m.get(ctx)
	if err != nil {
		return nil, err
	}
	return s.changedRows(), nil
}

// Row returns the row of the outbox that has the log entry of that id; fs.ErrNotExist if there is none.
func (c *Catalog) Row(ctx context.Context, entry string) (Row, error) {
	m, row, err := c.ofEntry(entry)
	if err != nil {
		return Row{}, err
	}
	s, err := m.get(ctx)
	if err != nil {
		return Row{}, err
	}
	r, err := s.row(ctx, row)
	return r, m.fault(err)
}

// PositionOf returns where the log has the entry of that id; the zero Position while it is still in the outbox. An id that is
// not of this catalogue is fs.ErrNotExist.
func (c *Catalog) PositionOf(ctx context.Context, entry string) (purge.Position, error) {
	r, err := c.Row(ctx, entry)
	return r.Position, err
}

// LastPosition returns the position of the newest entry that is recorded as appended; the zero Position if there is none.
// A log that ends before it has lost entries. Servers that do not answer are passed over.
func (c *Catalog) LastPosition(ctx context.Context) (purge.Position, error) {
	var last Row
	for _, p := range ask(ctx, c, func(s *server) ([]Row, *possession, error) {
		r, err := s.lastAppended(ctx)
		return []Row{r}, nil, err
	}) {
		if p.err != nil && !errors.Is(p.err, ErrUnavailable) {
			return purge.Position{}, p.err
		}
		for _, r := range p.rows {
			if r.Position.Covers(last.Position) && !last.Position.Covers(r.Position) || r.Appended.After(last.Appended) && !last.Position.Covers(r.Position) {
				last = r
			}
		}
	}
	return last.Position, nil
}

package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"perigee/object"
	"perigee/purge"
)

// Catalog is an open catalogue: one or more servers, and the knowledge of which one has what. Its methods are safe for
// concurrent use.
type Catalog struct {
	cfg Config
	// servers are the databases, the home server first; see the package comment.
	servers []*server

	mu sync.Mutex
	// waiters are closed when a reservation of the path ends.
	waiters map[pathKey]chan struct{}
}

type pathKey struct {
	site object.Site
	path object.Path
}

// newCatalog joins open servers, the home server first, into a catalogue that owns them.
func newCatalog(cfg Config, servers ...*server) *Catalog {
	return &Catalog{cfg: cfg, servers: servers, waiters: map[pathKey]chan struct{}{}}
}

// ID names this catalogue: random, made with it. The ids of the entries of its home server start with it.
func (c *Catalog) ID() string { return c.home().id }

// Close closes the databases and lets another process open them.
func (c *Catalog) Close() error {
	var errs []error
	for _, s := range c.servers {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// home is the server that has what belongs to no path: sites, hosts and purges.
func (c *Catalog) home() *server { return c.servers[0] }

// of is the server that has everything about a path: its file, versions, reservation and outbox rows.
func (c *Catalog) of(object.Site, object.Path) *server { return c.servers[0] }

// ofUpload is the server that has an upload, which is that of its path.
func (c *Catalog) ofUpload(object.UploadID) *server { return c.servers[0] }

// ofEntry finds the outbox row behind the id of a log entry; fs.ErrNotExist if no server of this catalogue gave it.
func (c *Catalog) ofEntry(entry string) (*server, int64, error) {
	id, number, ok := strings.Cut(entry, "-")
	row, err := strconv.ParseInt(number, 10, 64)
	if ok && err == nil {
		for _, s := range c.servers {
			if s.id == id && s.entryID(row) == entry {
				return s, row, nil
			}
		}
	}
	return nil, 0, fmt.Errorf("log entry %q: %w", entry, fs.ErrNotExist)
}

// Rows returns up to limit rows of the outboxes, appended or not: those after the entry of that id, from the first one
// if it is "". Of one server they come in order: the log, to be built anew.
func (c *Catalog) Rows(ctx context.Context, after string, limit int) ([]Row, error) {
	if after == "" {
		return c.home().rows(ctx, 0, limit)
	}
	s, row, err := c.ofEntry(after)
	if err != nil {
		return nil, err
	}
	return s.rows(ctx, row, limit)
}

// Row returns the row of the outbox that has the log entry of that id; fs.ErrNotExist if there is none.
func (c *Catalog) Row(ctx context.Context, entry string) (Row, error) {
	s, row, err := c.ofEntry(entry)
	if err != nil {
		return Row{}, err
	}
	return s.row(ctx, row)
}

// PositionOf returns where the log has the entry of that id; the zero Position while it is still in the outbox. An id that is
// not of this catalogue is fs.ErrNotExist.
func (c *Catalog) PositionOf(ctx context.Context, entry string) (purge.Position, error) {
	r, err := c.Row(ctx, entry)
	return r.Position, err
}

// LastPosition returns the position of the newest entry that is recorded as appended; the zero Position if there is none.
// A log that ends before it has lost entries.
func (c *Catalog) LastPosition(ctx context.Context) (purge.Position, error) {
	return c.home().lastPosition(ctx)
}

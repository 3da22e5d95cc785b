package catalog

import (
	"context"
	"time"

	"perigee/object"
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

// RecordObject makes the catalogue say what the store said. It reports whether that is new; entry is the id of the log entry, "" if there is none. ErrLost says that
// the row has changed since: look again.
func (c *Catalog) RecordObject(ctx context.Context, o Observation) (changed bool, entry string, err error) {
	err = c.write(ctx, object.SlotOf(o.Site, o.Path), moveWait, func(s *server) (err error) {
		changed, entry, err = s.recordObject(ctx, o)
		return err
	})
	return changed, entry, err
}

// AnnounceSite enqueues an entry by which every edge confirms what it has of a site before it uses it again, and returns its id.
func (c *Catalog) AnnounceSite(ctx context.Context, site object.Site) (entry string, err error) {
	s, err := c.home(ctx)
	if err != nil {
		return "", err
	}
	entry, err = s.announceSite(ctx, site)
	return entry, c.members[0].fault(err)
}

// HoldWatch makes holder the one who watches a site for the time given, if nobody else does or the other one's time is over; ErrLost if not. Clocks of
// nodes may differ: two may then watch at the same time, which costs requests and harms nothing.
func (c *Catalog) HoldWatch(ctx context.Context, site object.Site, holder string, hold time.Duration) (Watch, error) {
	s, err := c.home(ctx)
	if err != nil {
		return Watch{}, err
	}
	w, err := s.holdWatch(ctx, site, holder, hold)
	return w, c.members[0].fault(err)
}

// SaveWatch keeps the state of a site's watcher; ErrLost if another one holds the site by now.
func (c *Catalog) SaveWatch(ctx context.Context, site object.Site, holder, state string) error {
	s, err := c.home(ctx)
	if err != nil {
		return err
	}
	return c.members[0].fault(s.saveWatch(ctx, site, holder, state))
}

// ReleaseWatch lets another node watch a site at once.
func (c *Catalog) ReleaseWatch(ctx context.Context, site object.Site, holder string) error {
	s, err := c.home(ctx)
	if err != nil {
		return err
	}
	return c.members[0].fault(s.releaseWatch(ctx, site, holder))
}

// NoteEvent records when a notification came, and how.
func (c *Catalog) NoteEvent(ctx context.Context, site object.Site, at time.Time, source string) error {
	s, err := c.home(ctx)
	if err != nil {
		return err
	}
	return c.members[0].fault(s.noteEvent(ctx, site, at, source))
}

// Watches returns what is kept of all sites that were ever watched, up to 1,000, in the order of their names, those after the given one.
func (c *Catalog) Watches(ctx context.Context, after object.Site) ([]Watch, error) {
	s, err := c.home(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.watches(ctx, after)
	return list, c.members[0].fault(err)
}

package watch

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"perigee/object"
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// counters count over all sites, since the start.
type counters struct{ looks, changes, events, missed atomic.Int64 }

// Counts are what a Watcher has done since the start.
type Counts struct {
	Looks   int64 // objects looked at
	Changes int64 // of them new, changed or gone
	Events  int64 // named by notifications
	Missed  int64 // changes that the listing found, after the first one
}

// Counts returns the counts.
func (w *Watcher) Counts() Counts {
	c := &w.stats
	return Counts{c.looks.Load(), c.changes.Load(), c.events.Load(), c.missed.Load()}
}

// The sources of events.
const (
	SourceListening = "listening"
	SourceWebhook   = "webhook"
	SourceStorage   = "storage" // the embedded server, by a way of its own
)

// hint is an object to be looked at.
type hint struct {
	rec  *object.SiteRecord
	path object.Path
}

// Take looks at the objects that events name, and returns when all is recorded: how many of them belong to a site, and an error if one of them could not be looked
// at. Then it is for the sender to send all of them again.
func (w *Watcher) Take(ctx context.Context, source string, events []Event) (taken int, err error) {
	hints, err := w.meant(events)
	if err != nil {
		return 0, err
	}
	var work sync.WaitGroup
	errs := make([]error, len(hints))
	for i, h := range hints {
		w.note(ctx, h.rec.Site, source)
		work.Go(func() {
			_, err := w.look(ctx, h.rec, h.path, false, true)
			if errors.Is(err, errUnreadable) { // to send it again would not help
				w.cfg.Log.Warn("an object that has changed cannot be read", "site", h.rec.Site, "path", h.path, "err", err)
				err = nil
			}
			errs[i] = err
		})
	}
	work.Wait()
	w.stats.events.Add(int64(len(hints)))
	return len(hints), errors.Join(errs...)
}

// errSites says that events came before the sites were known.
var errSites = errors.New("the sites could not be read yet")

// meant returns what events mean: the objects of sites, each once.
func (w *Watcher) meant(events []Event) ([]hint, error) {
	w.mu.Lock()
	sites := w.sites
	w.mu.Unlock()
	if sites == nil {
		return nil, errSites
	}
	type name struct {
		site object.Site
		path object.Path
	}
	seen := map[name]bool{}
	var hints []hint
	for _, e := range events {
		for _, key := range e.keys() {
			for _, rec := range sites {
				store := w.cfg.Stores[rec.Bucket.Store]
				if store == nil || store.Bucket() != e.Bucket {
					continue
				}
				path, ok := rec.Bucket.PathOf(key)
				if n := (name{rec.Site, path}); ok && !seen[n] {
					seen[n] = true
					hints = append(hints, hint{&rec, path})
				}
			}
		}
	}
	return hints, nil
}

// note records that an event came, at most once a second for each site: people look at it.
func (w *Watcher) note(ctx context.Context, site object.Site, source string) {
	now := w.cfg.Clock.Now()
	w.mu.Lock()
	due := now.Sub(w.noted[site]) >= time.Second
	if due {
		w.noted[site] = now
	}
	w.mu.Unlock()
	if !due {
		return
	}
	if err := w.cfg.Book.NoteEvent(ctx, site, now, source); err != nil && ctx.Err() == nil {
		w.cfg.Log.Debug("the time of an event was not kept", "site", site, "err", err)
	}
}

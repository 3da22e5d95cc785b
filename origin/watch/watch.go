package watch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"perigee/clock"
	"perigee/object"
	"perigee/origin"
)

// Store is a bucket that sites have objects in; *origin.Reader is one, and its documentation names the outcomes.
type Store interface {
	Bucket() string
	Describe(ctx context.Context, key object.Key) (object.Info, error)
	ListFrom(ctx context.Context, prefix, after string) iter.Seq2[origin.Info, error]
	Listen(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Sighting is what a store said of an object.
type Sighting struct {
	Site  object.Site
	Path  object.Path
	After object.Version  // what Book.Version said before the store was asked
	Found *object.Pointer // nil for nothing
	// Quiet records without telling the edges, for Announce follows. Passing says that a notification named the object.
	Quiet, Passing bool
}

// What a Book answers.
var (
	// ErrMoved says that a row has changed since it was asked for: look again.
	ErrMoved = errors.New("the catalogue has recorded something else meanwhile")
	// ErrHeld says that another node watches the site.
	ErrHeld = errors.New("another node watches this site")
)

// Book is the catalogue. Safe for concurrent use.
type Book interface {
	// Sites returns the records of all bucket sites.
	Sites(ctx context.Context) ([]object.SiteRecord, error)
	// Version returns the version that is recorded of a path, "" if none is.
	Version(ctx context.Context, site object.Site, path object.Path) (object.Version, error)
	// Record records a sighting, for the edges to hear of it, and reports whether it was new; ErrMoved if the version is not After.
	Record(ctx context.Context, s Sighting) (changed bool, err error)
	// Page returns up to limit live objects of a site in the order of the bytes of their paths, those after the one given.
	Page(ctx context.Context, site object.Site, after object.Path, limit int) ([]object.Pointer, error)
	// Announce makes the edges confirm what they have of a site.
	Announce(ctx context.Context, site object.Site) error
	// Hold makes holder the one that watches a site for a while, and returns what the last one saved; ErrHeld if another one does.
	Hold(ctx context.Context, site object.Site, holder string, hold time.Duration) (state string, err error)
	// Save keeps the watcher's state; ErrHeld if another node watches by now.
	Save(ctx context.Context, site object.Site, holder, state string) error
	// Release ends a hold.
	Release(ctx context.Context, site object.Site, holder string) error
	// NoteEvent records when and how a notification came.
	NoteEvent(ctx context.Context, site object.Site, at time.Time, source string) error
	// Held returns what is kept of every site that was ever watched.
	Held(ctx context.Context) ([]Held, error)
}

// Held is what a Book keeps of a watched site.
type Held struct {
	Site   object.Site
	Holder string
	Until  time.Time
	State  string
	Event  time.Time
	Source string
}

// Config is what New needs.
type Config struct {
	// Node names this process among all that watch; it must differ between them.
	Node   string
	Book   Book
	Stores map[string]Store // by the name of the configuration; "" is Perigee's bucket
	Clock  clock.Clock
	Log    *slog.Logger
}

// The pace of a watcher.
const (
	holdTime    = 15 * time.Second
	refreshTime = time.Second // how often the list of sites is read
	// lookers is how many objects are looked at at a time, over all sites.
	lookers = 32
	// lookTries is how often an object is looked at again because others recorded something meanwhile.
	lookTries = 8
	// pageSize is how many keys are listed between two savings of the place.
	pageSize = 1000
)

// Watcher watches all bucket sites. Make one with New. Safe for concurrent use.
type Watcher struct {
	cfg   Config
	room  *semaphore.Weighted
	stats counters

	mu    sync.Mutex
	noted map[object.Site]time.Time         // when the last event was recorded as such
	sites map[object.Site]object.SiteRecord // nil until they were read
}

// New checks cfg. It starts nothing.
func New(cfg Config) (*Watcher, error) {
	if cfg.Node == "" || cfg.Book == nil || cfg.Clock == nil || cfg.Log == nil {
		return nil, errors.New("watch: Config needs Node, Book, Clock and Log")
	}
	return &Watcher{
		cfg: cfg, room: semaphore.NewWeighted(lookers), noted: map[object.Site]time.Time{},
	}, nil
}

// running is the goroutine of a site.
type running struct {
	record object.SiteRecord
	cancel context.CancelFunc
	done   chan struct{}
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	all := map[object.Site]*running{}
	defer func() {
		for _, r := range all {
			r.cancel()
		}
		for _, r := range all {
			<-r.done
		}
	}()
	t := w.cfg.Clock.NewTicker(refreshTime)
	defer t.Stop()
	for failed := false; ; {
		err := w.refresh(ctx, all)
		if err != nil && !failed && ctx.Err() == nil {
			w.cfg.Log.Warn("bucket sites cannot be looked up; those known are watched on", "err", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}

// refresh starts what is new, and ends what is gone or has changed.
func (w *Watcher) refresh(ctx context.Context, all map[object.Site]*running) error {
	list, err := w.cfg.Book.Sites(ctx)
	if err != nil {
		return err
	}
	now := map[object.Site]object.SiteRecord{}
	for _, rec := range list {
		now[rec.Site] = rec
	}
	w.mu.Lock()
	w.sites = now
	w.mu.Unlock()
	for name, r := range all {
		if rec, ok := now[name]; !ok || *rec.Bucket != *r.record.Bucket {
			r.cancel()
			<-r.done
			delete(all, name)
		}
	}
	for name, rec := range now {
		if all[name] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		r := &running{rec, cancel, make(chan struct{})}
		all[name] = r
		go func() {
			defer close(r.done)
			w.watch(ctx, rec)
		}()
	}
	return nil
}

// watch holds a site, or waits until it can.
func (w *Watcher) watch(ctx context.Context, rec object.SiteRecord) {
	store := w.cfg.Stores[rec.Bucket.Store]
	if store == nil {
		w.cfg.Log.Error("a bucket site cannot be watched: its store is not configured here", "site", rec.Site, "store", rec.Bucket.Store)
		return
	}
	for ctx.Err() == nil {
		saved, err := w.cfg.Book.Hold(ctx, rec.Site, w.cfg.Node, holdTime)
		if err == nil {
			s := newSite(w, rec, store, saved)
			s.run(ctx)
		} else if !errors.Is(err, ErrHeld) && ctx.Err() == nil {
			w.cfg.Log.Warn("a bucket site cannot be held", "site", rec.Site, "err", err)
		}
		_ = clock.Sleep(ctx, w.cfg.Clock, holdTime/5)
	}
}

// look asks a store for an object and has recorded what it says; see the package comment.
func (w *Watcher) look(ctx context.Context, rec *object.SiteRecord, path object.Path, quiet, passing bool) (changed bool, err error) {
	key, ok := rec.Bucket.Key(path)
	store := w.cfg.Stores[rec.Bucket.Store]
	if !ok || store == nil {
		return false, fmt.Errorf("look at %s of site %s: %w: it has no object", path, rec.Site, object.ErrInvalid)
	}
	if err := w.room.Acquire(ctx, 1); err != nil {
		return false, err
	}
	defer w.room.Release(1)
	for range lookTries {
		s := Sighting{Site: rec.Site, Path: path, Quiet: quiet, Passing: passing}
		if s.After, err = w.cfg.Book.Version(ctx, rec.Site, path); err != nil {
			return false, err
		}
		if s.Found, err = found(ctx, store, rec, path, key); err != nil {
			return false, err
		}
		w.stats.looks.Add(1)
		changed, err = w.cfg.Book.Record(ctx, s)
		if !errors.Is(err, ErrMoved) {
			break
		}
	}
	if changed {
		w.stats.changes.Add(1)
	}
	return changed, err
}

// errUnreadable says that a store does not let us look at one object, such as one that is encrypted with a key of its owner's. What is recorded of it stays: it is not known to be gone.
var errUnreadable = errors.New("the store does not let the object be looked at")

// found returns the object as it is now; nil if there is none that can be served.
func found(ctx context.Context, store Store, rec *object.SiteRecord, path object.Path, key object.Key) (*object.Pointer, error) {
	info, err := store.Describe(ctx, key)
	switch {
	case isMissing(err):
		return nil, nil
	case err != nil && !errors.Is(err, origin.ErrUnavailable) && ctx.Err() == nil:
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	case err != nil:
		return nil, err
	}
	p, err := info.Pointer(rec.Site, path, rec.Bucket.Store, key)
	if errors.Is(err, object.ErrInvalid) {
		return nil, nil
	}
	return p, err
}

package catalog

import (
	"container/list"
	"context"
	"hash/maphash"
	"sync"
	"time"

	"perigee/clock"
	"perigee/purge"
)

// lookups keep site records and the heads of files in memory, for readers of a PostgreSQL catalogue who have written
// nothing themselves. The purge log tells what has changed (Catalog.Applied): that is forgotten at once, and what was being
// read meanwhile is not kept.
//
// What a reader can get that is not true any more: a change that the log has not told this process yet, which takes
// milliseconds, and one that a replica did not have when it was asked, at most Config.LookupFor plus Postgres.MaxLag old;
// while the log cannot be reached, anything at most that old. Absence is never kept. A reader with a session that has seen
// something is never answered from here, nor is anybody who decides on a change.
type lookups struct {
	clock clock.Clock
	limit int
	keep  time.Duration
	seed  maphash.Seed

	mu      sync.Mutex
	entries map[pathKey]*list.Element // a site's record has the key with no path
	recent  *list.List                // of *lookup, the one used last first
	// changes counts what was forgotten, by a hash of the key: who began to read before must not keep it after.
	changes [256]uint32
	count   LookupCounts
}

type lookup struct {
	key   pathKey
	value any // object.SiteRecord or File
	until time.Time
}

// LookupCounts says how look-ups that may be answered from memory were answered.
type LookupCounts struct {
	Hits, Misses uint64
	// Forgotten counts what the log told to have changed.
	Forgotten uint64
	Entries   int // now
}

func newLookups(cfg Config) *lookups {
	if cfg.Lookups <= 0 || cfg.LookupFor <= 0 {
		return nil
	}
	return &lookups{clock: cfg.Clock, limit: cfg.Lookups, keep: cfg.LookupFor, seed: maphash.MakeSeed(),
		entries: map[pathKey]*list.Element{}, recent: list.New()}
}

// may reports whether a reader may be answered from memory.
func (l *lookups) may(ctx context.Context) bool {
	if l == nil {
		return false
	}
	s, deciding := sessionOf(ctx)
	return s != nil && !deciding && s.Token() == ""
}

func (l *lookups) slot(k pathKey) *uint32 {
	return &l.changes[uint8(maphash.Comparable(l.seed, k))]
}

// get returns what is kept, and else a mark for put.
func (l *lookups) get(k pathKey) (v any, mark uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[k]; e != nil {
		if x := e.Value.(*lookup); l.clock.Now().Before(x.until) {
			l.recent.MoveToFront(e)
			l.count.Hits++
			return x.value, 0
		}
		l.drop(e)
	}
	l.count.Misses++
	return nil, *l.slot(k)
}

// put keeps what was read after get gave mark, unless the key has changed since.
func (l *lookups) put(k pathKey, mark uint32, v any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *l.slot(k) != mark {
		return
	}
	if e := l.entries[k]; e != nil {
		l.drop(e)
	}
	l.entries[k] = l.recent.PushFront(&lookup{k, v, l.clock.Now().Add(l.keep)})
	if l.recent.Len() > l.limit {
		l.drop(l.recent.Back())
	}
}

// drop removes one; l.mu is held.
func (l *lookups) drop(e *list.Element) {
	l.recent.Remove(e)
	delete(l.entries, e.Value.(*lookup).key)
}

// forget drops what has changed.
func (l *lookups) forget(k pathKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.slot(k)++
	if e := l.entries[k]; e != nil {
		l.drop(e)
		l.count.Forgotten++
	}
}

// forgetAll drops everything.
func (l *lookups) forgetAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.changes {
		l.changes[i]++
	}
	l.count.Forgotten += uint64(len(l.entries))
	clear(l.entries)
	l.recent.Init()
}

// remembered answers from memory if it may, else by read, whose answer it keeps.
func remembered[T any](ctx context.Context, l *lookups, k pathKey, read func() (T, error)) (T, error) {
	if !l.may(ctx) {
		return read()
	}
	v, mark := l.get(k)
	if v != nil {
		return v.(T), nil
	}
	answer, err := read()
	if err == nil {
		l.put(k, mark, answer)
	}
	return answer, err
}

// Applied tells the catalogue of an entry of the log, so that what it keeps in memory of the changed is forgotten. Whoever
// opens a catalogue with look-ups follows the log for it.
func (c *Catalog) Applied(r purge.Record) {
	switch {
	case c.lookups == nil:
	case r.Pointer != nil:
		c.lookups.forget(pathKey{r.Pointer.Site, r.Pointer.Path})
	case r.Record != nil:
		c.lookups.forget(pathKey{site: r.Record.Site})
	case r.Path != "":
		c.lookups.forget(pathKey{r.Site, r.Path})
	}
}

// Forget drops everything that is kept in memory: the log does not say what has changed.
func (c *Catalog) Forget() {
	if c.lookups != nil {
		c.lookups.forgetAll()
	}
}

package pull

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"perigee/clock"
	"perigee/edge/cache/ram"
	"perigee/edge/cache/store"
	"perigee/object"
)

// Records is where stored responses lie; *store.Store is one.
type Records interface {
	Find(k store.Key) (store.Ref, bool)
	Touch(k store.Key)
	Read(k store.Key, r store.Ref, buf []byte) (store.Whole, error)
	Open(k store.Key, r store.Ref) (*store.Record, error)
	Put(c store.Class, k store.Key, meta, body []byte) (store.Ref, error)
	Drop(k store.Key, r store.Ref)
}

// Purges knows what the log of changes says of names.
type Purges interface {
	// Position grows with each change.
	Position() uint64
	// Purged reports whether a purge since a position covers a path of a site, or a tag of what is stored there.
	Purged(site object.Site, path string, tags []string, since uint64) (hard, soft bool)
}

// Config says what a Cache works with.
type Config struct {
	Name    string // in Cache-Status: a token
	Records Records
	Purges  Purges // may be nil
	RAM     int64  // bytes in memory for heads, and for small bodies that are asked for often; 0 for none
	Clock   clock.Clock
	Log     *slog.Logger
	// Answered is told of each answer when it is over; may be nil.
	Answered func(r *http.Request, a Answer)
}

// Answer is what became of a request.
type Answer struct {
	Began   time.Time
	Took    time.Duration
	Status  int
	Sent    int64 // bytes of the body
	Broken  bool  // cut off
	Outcome Outcome
}

// headShare is the part of the memory that heads have, as a divisor.
const headShare = 8

// fillMemory is how many bytes of chunks may be on their way from origins to the store at once, whatever the number of fills and readers.
const fillMemory = 48 << 20

// Cache is a shared HTTP cache. It is safe for concurrent use.
type Cache struct {
	name    string
	records Records
	ram     *ram.Cache // nil for none
	heads   *remembered[*head]
	known   *remembered[keyRecord]
	purges  Purges
	clock   clock.Clock
	log     *slog.Logger
	told    func(r *http.Request, a Answer)
	via     string // our name in Via, which tells our own requests when they come back

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	keys sync.Mutex // one change of a keyRecord at a time

	transfers atomic.Int64

	room *semaphore.Weighted // bytes of chunks on their way to the store

	mu      sync.Mutex
	closed  bool
	last    int64              // stamp
	waiting map[string]*call   // requests under way that others may wait for
	fills   map[string][]*fill // by primary key
	counts  Stats
}

// Stats counts what a cache has done.
type Stats struct {
	Requests, Hits, Stored, OriginRequests, OriginBytes, Collapsed, Stale, Broken int64
	Fills                                                                         int // running now
}

// New makes a cache; it starts nothing.
func New(cfg Config) *Cache {
	c := &Cache{
		name: cfg.Name, records: cfg.Records, purges: cfg.Purges, clock: cfg.Clock, log: cfg.Log, told: cfg.Answered, via: newVia(),
		waiting: map[string]*call{}, fills: map[string][]*fill{}, room: semaphore.NewWeighted(fillMemory),
	}
	c.heads = newRemembered[*head](cfg.RAM / headShare * 3 / 4)
	c.known = newRemembered[keyRecord](cfg.RAM / headShare / 4)
	if cfg.RAM > 0 {
		c.ram = ram.New(ram.Config{Size: cfg.RAM - cfg.RAM/headShare})
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends all fills and waits for them. Readers see their transfers break.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
	if c.ram != nil {
		c.ram.Close()
	}
}

// start runs f in a goroutine that Close waits for; false after Close.
func (c *Cache) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.startLocked(f)
}

// startLocked is start with c.mu held.
func (c *Cache) startLocked(f func()) bool {
	if c.closed {
		return false
	}
	c.work.Go(f)
	return true
}

// stamp returns a number that grows with each call, and over restarts as the clock does.
func (c *Cache) stamp() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stampLocked()
}

// stampLocked is stamp with c.mu held.
func (c *Cache) stampLocked() int64 {
	c.last = max(c.clock.Now().UnixNano(), c.last+1)
	return c.last
}

// count changes the counters.
func (c *Cache) count(change func(s *Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.counts)
}

// Stats returns the counters of now.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.counts
	for _, list := range c.fills {
		s.Fills += len(list)
	}
	return s
}

// position returns how far the log is.
func (c *Cache) position() uint64 {
	if c.purges == nil {
		return 0
	}
	return c.purges.Position()
}

// Handler returns the handler of a site's requests.
func (c *Cache) Handler(site *Site) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.Serve(w, r, site) })
}

package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"perigee/clock"
	"perigee/edge/cache/policy"
	"perigee/edge/cache/ram"
	"perigee/edge/cache/store"
	"perigee/object"
	"perigee/purge"
)

// Origin is where an engine's bytes come from: the bucket, or a node that has it behind it.
type Origin interface {
	// Get opens length bytes of the object from offset; length -1 means to the end. Three things happen: the body is returned,
	// and reading it ends with io.EOF exactly at its declared end; the object does not exist (wraps fs.ErrNotExist);
	// or the origin cannot say (any other error). The caller closes the body.
	Get(ctx context.Context, key object.Key, offset, length int64) (io.ReadCloser, error)
	// Sites yields every site record. An error that wraps object.ErrInvalid is of one record; any other ends it.
	Sites(ctx context.Context) iter.Seq2[object.SiteRecord, error]
}

// Config says what an Engine works with.
type Config struct {
	Dir    string        // made if missing; belongs to this engine alone
	Size   int64         // bytes on disk for everything below Dir; at least MinSize
	RAM    int64         // bytes in memory for prepared answers
	Names  int           // how many names are in memory beside the store's index; 0 means 65,536 (about 600 bytes each)
	Lease  time.Duration // how long the log's last word is good; 0 means 30 s
	Origin Origin
	// Objects is where bucket sites' objects come from; nil if there are none.
	Objects Objects
	Clock   clock.Clock
	Log     *slog.Logger
	// OnPartition is for sites whose rules do not say; empty means object.Serve.
	OnPartition object.OnPartition
	// Moved is called, not holding any lock, after the position or the lease moved. May be nil. It must not block.
	Moved func()
}

// DefaultLease is how long a pointer may be used after the log was last known to be fully applied.
const DefaultLease = 30 * time.Second

// MinSize is the smallest Config.Size, in bytes.
const MinSize = 32 << 20

const defaultNames = 65_536

// Engine is one edge's cache. Its methods are safe for concurrent use.
type Engine struct {
	origin  Origin
	objects Objects // nil if there are none
	clock   clock.Clock
	log     *slog.Logger
	lease   time.Duration
	onMove  func()
	onCut   object.OnPartition
	never   time.Time // the zero time, named for what it means as a confirmation
	// started is when the engine was opened: nothing was confirmed before that.
	started time.Time
	lock    *os.File

	ctx    context.Context // ends with Close; fills and fetches live in it
	cancel context.CancelFunc
	work   sync.WaitGroup

	sites *object.SiteTable
	// sitesWanted counts the reasons to read the bucket's site records, sitesListed how many of them the last reading answered.
	sitesWanted, sitesListed atomic.Int64

	store       *store.Store
	ram         *ram.Cache
	diskFailing atomic.Bool // whether the log has been told

	// What a prepared answer is checked against without a lock: the tick that the table has or is about to have, and when the
	// lease began, in nanoseconds since started, plus one; 0 if it never did.
	tick      atomic.Uint64
	leaseFrom atomic.Int64

	fillRoom *semaphore.Weighted // bytes of chunks on their way from the origin to the disk

	counters counters

	mu        sync.Mutex
	table     *table
	calls     map[nameKey]*call
	position  purge.Position
	confirmed time.Time // the log was fully applied at this moment; zero if never since the start
	// failed is, by store ("" is Perigee's bucket), when it failed to answer, or was asked since; without one that answered last time.
	failed        map[string]time.Time
	seed          [2]uint64 // keys the hash of names; set once, at the start
	buf           []byte
	journal       *journal
	journalRoom   int64
	journalFailed bool
	journalTried  time.Time // when a rewrite was last tried
	volatile      bool      // names are not kept: see begin
	closed        bool

	flightsMu sync.Mutex
	flights   map[blobID]*flight

	// fence is held for reading by who gives bytes of a fill to the store, for writing by who marks fills as erased. It comes before flightsMu.
	fence sync.RWMutex
	// erasures counts the entries that destroyed bytes: a prepared answer that was begun before one is not kept.
	erasures atomic.Int64
}

type counters struct {
	originBytes, originReads, pointerReads, diskFailures, healed, resets atomic.Int64
}

// Stats is what an engine holds and has done since the start.
type Stats struct {
	Names, Absent int         // in memory
	Store         store.Stats // on disk
	RAM           ram.Stats   // prepared answers
	OriginBytes   int64       // bytes of blobs and hash trees read from the origin
	OriginReads   int64       // blob reads begun at the origin
	PointerReads  int64       // pointers read from the bucket
	DiskFailures  int64       // records that the disk did not take or give
	Healed        int64       // records found damaged, and fetched again when they were wanted
	Resets        int64       // breaks in the log
	Fills         int         // blobs on their way from the origin
	JournalFailed bool
}

// Open makes an engine on cfg.Dir with what the last one left there.
func Open(cfg Config) (*Engine, error) {
	if cfg.Size < MinSize {
		return nil, fmt.Errorf("open cache: a size of %d bytes is too small: give it %d MiB at least", cfg.Size, MinSize>>20)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		origin: cfg.Origin, objects: cfg.Objects, failed: map[string]time.Time{}, clock: cfg.Clock, log: cfg.Log, lease: cfg.Lease, onMove: cfg.Moved, onCut: cfg.OnPartition, lock: lock,
		sites: object.NewSiteTable(), calls: map[nameKey]*call{}, flights: map[blobID]*flight{}, started: cfg.Clock.Now(),
		fillRoom: semaphore.NewWeighted(fillMemory), journalRoom: min(max(cfg.Size/16, 4<<20), 64<<20),
	}
	if e.lease == 0 {
		e.lease = DefaultLease
	}
	if cfg.Names == 0 {
		cfg.Names = defaultNames
	}
	e.table = newTable(cfg.Names, int(e.journalRoom/4))
	e.sitesWanted.Store(1)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if err := e.openDisk(cfg); err != nil {
		e.cancel()
		lock.Close()
		return nil, fmt.Errorf("open cache in %s: %w", cfg.Dir, err)
	}
	e.ram = ram.New(ram.Config{Size: cfg.RAM})
	return e, nil
}

// openDisk opens the store, reads the journal into it and begins a new run.
func (e *Engine) openDisk(cfg Config) error {
	size := cfg.Size - e.journalRoom
	var err error
	e.store, err = store.Open(store.Config{
		Dir: filepath.Join(cfg.Dir, "store"), Size: size, Clock: cfg.Clock, Log: cfg.Log, Policy: policy.New(policy.Config{Size: size}),
	})
	if err != nil {
		return err
	}
	if e.journal, err = openJournal(filepath.Join(cfg.Dir, "journal"), e.replay); err != nil {
		return errors.Join(err, e.store.Close())
	}
	e.begin()
	return nil
}

// ErrInUse says that another engine has the directory.
var ErrInUse = errors.New("another process uses this cache directory")

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("open cache in %s: %w", dir, ErrInUse)
	}
	return f, nil
}

// Run keeps the list of sites current until ctx ends: it reads the bucket's site records until that has worked once,
// and again after a reset.
//
// Meanwhile it keeps the journal short, and the store scrubbed and saved.
func (e *Engine) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work.Go(func() {
		if err := e.store.Run(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("the store's upkeep has ended", "err", err)
		}
	})
	t := e.clock.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for failures := 0; ; {
		if e.sitesListed.Load() < e.sitesWanted.Load() {
			err := e.loadSites(ctx)
			if err != nil && ctx.Err() == nil && failures == 0 {
				e.log.Warn("the sites cannot be read from the bucket yet; trying on", "err", err)
			}
			failures++
			if err == nil {
				failures = 0
			}
		}
		e.keepJournal()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}

// Close ends fills and fetches, waits for them and writes the journal out. Bodies must not be used any more.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	e.mu.Unlock()
	e.cancel()
	e.work.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	err := errors.Join(e.end(), e.store.Close(), e.lock.Close())
	e.ram.Close()
	return err
}

// start runs f in a goroutine that Close waits for; false after Close.
func (e *Engine) start(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.startLocked(f)
}

func (e *Engine) startLocked(f func()) bool {
	if e.closed {
		return false
	}
	e.work.Go(f)
	return true
}

func (e *Engine) moved() {
	if e.onMove != nil {
		e.onMove()
	}
}

// Stats returns the engine's figures.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	s := Stats{Names: e.table.names.len(), Absent: e.table.absent.len(), JournalFailed: e.journalFailed}
	e.mu.Unlock()
	e.flightsMu.Lock()
	s.Fills = len(e.flights)
	e.flightsMu.Unlock()
	c := &e.counters
	s.OriginBytes, s.OriginReads, s.PointerReads = c.originBytes.Load(), c.originReads.Load(), c.pointerReads.Load()
	s.DiskFailures, s.Healed, s.Resets = c.diskFailures.Load(), c.healed.Load(), c.resets.Load()
	s.Store, s.RAM = e.store.Stats(), e.ram.Stats()
	return s
}

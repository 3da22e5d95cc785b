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

	"perigee/clock"
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
	Size   int64         // bytes on disk for blobs and fills
	RAM    int64         // bytes in memory for small blobs
	Names  int           // how many names are remembered; 0 means 262,144 (about 600 bytes each)
	Lease  time.Duration // how long the log's last word is good; 0 means 30 s
	Origin Origin
	Clock  clock.Clock
	Log    *slog.Logger
	// OnPartition is for sites whose rules do not say; empty means object.Serve.
	OnPartition object.OnPartition
	// Moved is called, not holding any lock, after the position or the lease moved. May be nil. It must not block.
	Moved func()
}

// DefaultLease is how long a pointer may be used after the log was last known to be fully applied.
const DefaultLease = 30 * time.Second

const defaultNames = 262_144

// Engine is one edge's cache. Its methods are safe for concurrent use.
type Engine struct {
	origin Origin
	clock  clock.Clock
	log    *slog.Logger
	lease  time.Duration
	onMove func()
	onCut  object.OnPartition
	never  time.Time // the zero time, named for what it means as a confirmation
	// started is when the engine was opened: nothing was confirmed before that.
	started time.Time
	lock    *os.File

	ctx    context.Context // ends with Close; fills and fetches live in it
	cancel context.CancelFunc
	work   sync.WaitGroup

	sites *object.SiteTable
	// sitesWanted counts the reasons to read the bucket's site records, sitesListed how many of them the last reading answered.
	sitesWanted, sitesListed atomic.Int64
	blobs                    *blobs

	counters counters

	mu            sync.Mutex
	table         *table
	calls         map[nameKey]*call
	position      purge.Position
	confirmed     time.Time // the log was fully applied at this moment; zero if never since the start
	bucketFailed  time.Time // when the bucket failed to answer, or was asked since; zero if it answered last time
	journal       *journal
	journalFailed bool
	journalTried  time.Time // when a rewrite was last tried
	closed        bool
}

type counters struct {
	originBytes, originReads, pointerReads, diskFailures, healed, resets atomic.Int64
}

// Stats is what an engine holds and has done since the start.
type Stats struct {
	Names, Absent        int
	Blobs                int64
	DiskBytes, DiskLimit int64
	RAMBytes, RAMLimit   int64
	OriginBytes          int64 // bytes of blobs and hash trees read from the origin
	OriginReads          int64 // blob reads begun at the origin
	PointerReads         int64 // pointers read from the bucket
	DiskFailures, Healed int64
	Resets               int64 // breaks in the log
	JournalFailed        bool
}

// Open makes an engine on cfg.Dir with what the last one left there.
func Open(cfg Config) (*Engine, error) {
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "blobs"), 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		origin: cfg.Origin, clock: cfg.Clock, log: cfg.Log, lease: cfg.Lease, onMove: cfg.Moved, onCut: cfg.OnPartition, lock: lock,
		sites: object.NewSiteTable(), calls: map[nameKey]*call{}, started: cfg.Clock.Now(),
	}
	if e.lease == 0 {
		e.lease = DefaultLease
	}
	if cfg.Names == 0 {
		cfg.Names = defaultNames
	}
	e.table = newTable(cfg.Names)
	e.sitesWanted.Store(1)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if e.journal, err = openJournal(filepath.Join(cfg.Dir, "journal"), e.replay); err == nil {
		e.blobs, err = openBlobs(cfg.Dir, cfg.Size, cfg.RAM)
	}
	if err != nil {
		e.cancel()
		if e.journal != nil {
			e.journal.close()
		}
		lock.Close()
		return nil, fmt.Errorf("open cache in %s: %w", cfg.Dir, err)
	}
	return e, nil
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
func (e *Engine) Run(ctx context.Context) error {
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
	var err error
	if !e.journalFailed {
		err = e.journal.file.Sync()
	}
	return errors.Join(err, e.journal.close(), e.lock.Close())
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
	c := &e.counters
	s.OriginBytes, s.OriginReads, s.PointerReads = c.originBytes.Load(), c.originReads.Load(), c.pointerReads.Load()
	s.DiskFailures, s.Healed, s.Resets = c.diskFailures.Load(), c.healed.Load(), c.resets.Load()
	e.blobs.stats(&s)
	return s
}

package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/edge/cache/policy"
)

// Key names a record. Keys must be distributed uniformly: they are hashes.
type Key [16]byte

// Class tells the two kinds of records apart.
type Class uint8

// The classes.
const (
	Names  Class = iota // small and mutable: the newest wins; made durable by Sync
	Bodies              // immutable: any whole copy is as good as another
)

const (
	// MaxBody is the size of the largest body in bytes.
	MaxBody = 1 << 20
	// MaxMeta is the size of the largest meta part in bytes.
	MaxMeta = 32 << 10
	// MinSize is the least Config.Size in bytes.
	MinSize = 16 << 20
	// alwaysChecked is the size of the largest body that is checked at each read, in bytes.
	alwaysChecked = 256 << 10
	// DefaultScrubRate is how fast bodies are checked in the background, in bytes per second.
	DefaultScrubRate = 8 << 20
	// DefaultSaveEvery is how often heat and policy state are saved.
	DefaultSaveEvery = 30 * time.Second
)

// Ref says where a record lies. It is a hint: by the time it is used the record may have moved or gone.
type Ref uint64

// Errors of Put, Read and Open. Missing records are fs.ErrNotExist.
var (
	// ErrFailing says that the disk does not take records at the moment, or that the store is closed. It wraps the cause.
	ErrFailing = errors.New("the cache disk is failing")
	// ErrTooLarge says that a body or meta part is too large.
	ErrTooLarge = errors.New("the record is too large")
	// ErrNotAdmitted says that the policy does not want the record.
	ErrNotAdmitted = errors.New("the record is not worth its room")
	// ErrDamaged says that a record was not what was written. It has been dropped.
	ErrDamaged = errors.New("the record is damaged")
)

var errClosed = errors.New("the store is closed")

// Policy decides what is kept; package edge/cache/policy has the real one, and the words of this interface.
type Policy interface {
	// Hit returns the heat of a record after a hit. It is called with a lock held.
	Hit(heat uint8, size int64) uint8
	// Admit says which log a new body goes to, or that it is refused.
	Admit(tag uint64, size int64) policy.Admission
	// Reclaim sets Keep and Heat of the records of a segment; one call at a time.
	Reclaim(l policy.Log, seg []policy.Candidate)
	// ProbationShare is the share of the space that probation is to have.
	ProbationShare() float64
	// Save and Load carry state over a restart. Save's pieces, SavedSize bytes together, are good until the next one, and may be read while other methods run. Load of
	// anything else than these bytes is an error and changes nothing.
	Save() iter.Seq[[]byte]
	SavedSize() int
	Load(b []byte) error
}

// Config says what a Store works with.
type Config struct {
	Dir    string // made if missing; belongs to the store alone
	Size   int64  // bytes of all files below Dir, in blocks of 4 KiB; at least MinSize
	Clock  clock.Clock
	Log    *slog.Logger
	Policy Policy
	Files  Files // nil means the operating system's
	// ScrubRate is in bytes per second; 0 means DefaultScrubRate.
	ScrubRate int64
	// SaveEvery is how often heat is saved; 0 means DefaultSaveEvery.
	SaveEvery time.Duration
}

// Store is a log-structured store of records.
type Store struct {
	cfg       Config
	files     Files
	policy    Policy
	id        uint64
	limit     int64 // bytes for segments
	stateRoom int64 // bytes for each of two state files, and for the successor of one
	segSize   int64
	maxList   int // records in a segment

	index    index
	slots    [maxSlots]atomic.Pointer[segment]
	seq      atomic.Uint64
	nextID   uint64 // of segments; grow
	nextSlot int    // where a free one is looked for; grow

	stripes  [256]sync.Mutex // one Put at a time for a key
	logs     [logCount]segLog
	grow     sync.Mutex // held by who opens, reclaims, erases or removes segments
	kick     chan struct{}
	closed   atomic.Bool
	saving   sync.Mutex
	syncing  sync.Mutex
	deciding sync.Mutex // held while the policy reclaims or saves

	space  sync.Mutex // guards used, sealed lists and slot allocation
	used   int64
	dirNew bool // a segment of names was removed since the directory was last synced

	health   health
	debts    debts
	counters counters
}

type counters struct {
	reclaims, written, relocated, damaged, failures, scrubbed, removed atomic.Int64
}

// Stats is what a store has and did. Counts begin with Open.
type Stats struct {
	Entries    int64 // records in the index
	Names      int64
	Bodies     int64
	Bytes      int64 // on disk, in blocks; an active segment counts as full
	Limit      int64 // Config.Size
	IndexBytes int64 // of memory
	Segments   int64
	Reclaims   int64 // segments
	Written    int64 // bytes of records, relocated ones too
	Relocated  int64 // bytes of records written again by reclaims
	Damaged    int64 // records dropped because they were not what was written
	Failures   int64 // of writing
	Failing    bool
	Scrubbed   int64 // bytes of bodies
}

// Stats returns the figures of now.
func (s *Store) Stats() Stats {
	c := &s.counters
	out := Stats{
		Limit: s.cfg.Size, Reclaims: c.reclaims.Load(), Written: c.written.Load(), Relocated: c.relocated.Load(),
		Damaged: c.damaged.Load(), Failures: c.failures.Load(), Failing: s.health.failing(), Scrubbed: c.scrubbed.Load(),
	}
	out.Names, out.Bodies, out.IndexBytes = s.index.stats()
	out.Entries = out.Names + out.Bodies
	s.space.Lock()
	out.Bytes = s.used
	s.space.Unlock()
	for i := range s.slots {
		if s.slots[i].Load() != nil {
			out.Segments++
		}
	}
	return out
}

// Open recovers what the directory has. It starts no goroutine that outlives it.
func Open(cfg Config) (*Store, error) {
	if cfg.Size < MinSize {
		return nil, fmt.Errorf("open store: a size of %d bytes is too small: give it %d MiB at least", cfg.Size, MinSize>>20)
	}
	s := &Store{cfg: cfg, files: cfg.Files, policy: cfg.Policy, kick: make(chan struct{}, 1)}
	if s.files == nil {
		s.files = osFiles{}
	}
	if cfg.ScrubRate <= 0 {
		s.cfg.ScrubRate = DefaultScrubRate
	}
	if cfg.SaveEvery <= 0 {
		s.cfg.SaveEvery = DefaultSaveEvery
	}
	s.health.clock = cfg.Clock
	stateSpace := min(max(cfg.Size/32, 1<<20), 512<<20) / blockSize * blockSize
	s.stateRoom = (stateSpace - 2*blockSize) / 3 / blockSize * blockSize // two blocks are for the id
	s.limit = cfg.Size - stateSpace
	s.maxList = maxListed
	s.segSize = min(max(cfg.Size/256, minSegment), maxSegment) / blockSize * blockSize
	if err := s.recover(); err != nil {
		s.closeFiles()
		return nil, fmt.Errorf("open store in %s: %w", cfg.Dir, err)
	}
	return s, nil
}

// Run scrubs, reclaims ahead of need and saves heat until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() { s.scrub(ctx) })
	work.Go(func() { s.reclaimAhead(ctx) })
	defer work.Wait()
	t := s.cfg.Clock.NewTicker(s.cfg.SaveEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
			if err := s.saveState(); err != nil {
				s.cfg.Log.Warn("the heat of the cache cannot be saved; it is tried again", "err", err)
			}
		}
	}
}

// Close saves heat, syncs names and closes the files; records that are open stay readable. It is idempotent.
func (s *Store) Close() error {
	s.grow.Lock()
	defer s.grow.Unlock()
	if s.closed.Swap(true) {
		return nil
	}
	err := errors.Join(s.syncNames(nil), s.saveState())
	s.closeFiles()
	return err
}

// closeFiles lets go of all segments.
func (s *Store) closeFiles() {
	for i := range s.slots {
		if seg := s.slots[i].Swap(nil); seg != nil {
			seg.unpin()
		}
	}
}

// Find returns where the record of k lies, by the index alone: about 50 ns and no I/O.
func (s *Store) Find(k Key) (Ref, bool) {
	if s.closed.Load() {
		return 0, false
	}
	w := s.index.get(k.tag())
	return w.ref(), w != 0
}

// Touch counts a hit of k.
func (s *Store) Touch(k Key) { s.index.touch(k.tag(), s.policy) }

// Drop forgets the record of k, if it is still the one at r. A name is forgotten for good: it does not come back at a restart.
func (s *Store) Drop(k Key, r Ref) {
	w, ok := s.index.remove(k.tag(), r)
	if !ok || w.class() != Names {
		return
	}
	seg := s.pin(w)
	if seg == nil {
		return
	}
	defer seg.unpin()
	s.kill(seg, w.offset())
}

// pin returns the segment of w pinned, or nil if it has gone.
func (s *Store) pin(w word) *segment {
	seg := s.slots[w.slot()].Load()
	if seg == nil || !seg.pin() {
		return nil
	}
	return seg
}

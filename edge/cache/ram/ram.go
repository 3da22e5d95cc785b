// Package ram keeps small hot answers in memory: the bytes to send, made ready once, found by a key.
//
// An entry is a key, up to MaxParts parts that lie one behind the other in memory, two words that never change and one that may. Entries are
// appended to slabs of anonymous memory, which the garbage collector neither scans nor counts. An index of 8 bytes a slot, in shards
// with a lock each, says where an entry is. When room is needed the oldest slab that nobody reads is reclaimed: the better part of its entries,
// by requests per square root of size, is appended anew, at least a quarter of the bytes is evicted. Once the memory is full a newcomer gets in
// only if it was asked for at least twice lately and is worth more than what gives way; so a walk over keys that are asked for once leaves what is
// hot where it is.
//
// It is not the engine: it knows no names, no rules of freshness and no disk, and nothing survives the process.
//
// Life cycle: New, use by any number of goroutines, Close. It starts no goroutine and owns no file; the caller of Put reclaims when it must. A
// View pins its slab: a slab is not written again, nor given back to the system, before the last Release. A View that is never released costs
// its slab for good; with all slabs pinned Put answers false and Get goes on.
//
// Failure: if the system refuses memory, less is held and Put answers false. Nothing panics but the use of a View after its Release.
package ram

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	// MaxEntry is the largest entry in bytes, key and parts together, where Size allows; see Cache.MaxEntry.
	MaxEntry = 512 << 10
	// MaxKey is the longest key in bytes.
	MaxKey = math.MaxUint16
	// MaxParts is the largest number of parts of an entry.
	MaxParts = 16
	// MaxSize is the largest Config.Size that is made use of, in bytes: positions have 36 bits and count words.
	MaxSize = 1 << 38
)

// Config describes a Cache.
type Config struct {
	// Size bounds all memory held, in bytes: slabs, index and the counts that admission needs. 0, or too little for four slabs of a page,
	// holds nothing; what is beyond MaxSize is not used.
	Size int64
	// OnEvict is told of each entry that is evicted for room, not of those replaced or dropped: its key, valid during the call, and how often
	// it was asked for (recent requests weigh more, 255 means that or more). It is called by the Put that needs the room, with no lock held, and
	// may use the Cache. It may be nil. A Put that was under way at Close may still call it afterwards.
	OnEvict func(key []byte, hits uint8)
}

// Cache is the memory tier. Its methods may be called by any number of goroutines at once, also during and after Close.
type Cache struct {
	limit    int64
	onEvict  func(key []byte, hits uint8)
	mem      memory
	slabSize int
	locShift uint // a position is slab<<locShift | offset in words
	maxEntry int

	shardShift uint
	shards     []shard
	slabs      []slab // all there can be; the slice itself is never changed

	used                              atomic.Int64  // bytes held of limit
	misses                            atomic.Uint64 // Gets that found nothing: the clock of all rates here
	admissions, rejections, evictions atomic.Uint64
	emptied                           atomic.Bool // a slab may have lost its last entry

	w       sync.Mutex // one writer at a time; taken before a shard's lock, never after
	closed  bool
	arena   []byte  // tables and sketches of all shards
	cur     *slab   // the one appended to, nil at first
	opened  uint64  // slabs opened so far: the age of a slab
	spare   int     // slabs in state spare
	retired int     // slabs in state retired
	bar     float64 // grade below which newcomers stay out once memory is full; see grade
}

// seed keys Hash. It is made once and never changes; nothing outlives the process that depends on it.
var seed = maphash.MakeSeed()

// Hash is the hash of a key that the methods of Cache expect. It is keyed anew in each process, so that nobody outside can make
// keys collide.
func Hash(key []byte) uint64 { return maphash.Bytes(seed, key) }

const page = 4 << 10

// minSlabs is one to append to, one that stays empty so that a reclaim has somewhere to move entries, and two to hold something.
const minSlabs = 4

// bytesPerSlot is slab memory per slot of the index, which thereby takes 3 %. Entries smaller than this on average fill the index first, and
// then slabs are reclaimed for slots instead of bytes.
const bytesPerSlot = 256

// New makes a cache. Memory is taken as it is needed, but the index at once.
func New(cfg Config) *Cache { return newCache(cfg, anonymous{}) }

// newCache is New with a choice of memory.
func newCache(cfg Config, mem memory) *Cache {
	limit := max(min(cfg.Size, MaxSize), 0)
	c := &Cache{limit: limit, onEvict: cfg.OnEvict, mem: mem, shards: make([]shard, 1), shardShift: 64}
	slabSize := slabFor(limit)
	if slabSize == 0 {
		return c
	}
	shards := int64(shardsFor(limit))
	slots := max(limit/bytesPerSlot/shards, 16)
	sketch := max(limit/128/shards, 64) &^ 63
	arena := (shards*(8*slots+sketch) + page - 1) &^ (page - 1)
	fixed := arena + shards*int64(unsafe.Sizeof(shard{})) + int64(unsafe.Sizeof(*c))
	each := int64(slabSize) + int64(unsafe.Sizeof(slab{}))
	shift := uint(bits.Len(uint(slabSize/8 - 1)))
	n := min((limit-fixed)/each, 1<<(locBits-shift)-1)
	if n < minSlabs {
		return c
	}
	if c.arena = mem.alloc(int(arena)); c.arena == nil {
		return c
	}
	c.slabSize, c.locShift = slabSize, shift
	c.maxEntry = min(MaxEntry, slabSize-headerSize-4*MaxParts-7)
	c.shards, c.shardShift = make([]shard, shards), uint(64-bits.Len64(uint64(shards-1)))
	c.slabs, c.spare = make([]slab, n), int(n)
	c.used.Store(fixed + n*int64(unsafe.Sizeof(slab{})))
	for i := range c.slabs {
		c.slabs[i].id = uint64(i)
	}
	words := wordsOf(c.arena)
	for i := range c.shards {
		sh := &c.shards[i]
		sh.table, words = words[:slots:slots], words[slots:]
		sh.sketch, words = words[:sketch/8:sketch/8], words[sketch/8:]
	}
	return c
}

// slabFor returns the bytes of a slab: a largest entry fits where that leaves 16 slabs.
func slabFor(limit int64) int {
	const whole = (MaxEntry + headerSize + 4*MaxParts + page) &^ (page - 1)
	n := min(max(limit/64, 64<<10), 4<<20)
	if n < whole && limit/16 >= whole {
		n = whole
	}
	return int(min(n, limit/8) &^ (page - 1))
}

// shardsFor returns a power of two: enough that cores seldom want the same lock, while the shards' own bytes stay small beside limit.
func shardsFor(limit int64) int {
	n := 1
	for n < 256 && int64(n) < limit>>20 {
		n *= 2
	}
	return n
}

// MaxEntry returns the largest entry that this cache takes, key and parts together, in bytes: MaxEntry, or less where Size is small.
// 0 means that it holds nothing.
func (c *Cache) MaxEntry() int { return c.maxEntry }

// Close gives the memory back; what Views still pin, with their last Release. Afterwards nothing is found and nothing admitted.
func (c *Cache) Close() {
	c.w.Lock()
	defer c.w.Unlock()
	if c.closed {
		return
	}
	c.closed, c.cur = true, nil
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		sh.table, sh.sketch, sh.n, sh.live = nil, nil, 0, 0
		sh.mu.Unlock()
	}
	// Each shard's lock was held since: no Get is in a table now, none will be, and no pin is added to a slab any more. Pins that are there
	// belong to Views and to a Put that is telling OnEvict.
	if c.arena != nil {
		c.used.Add(-int64(len(c.arena)))
		c.mem.free(c.arena)
		c.arena = nil
	}
	for i := range c.slabs {
		c.slabs[i].unpin(c, -closing)
	}
}

// Stats is what a Cache holds and did. Counts begin with New.
type Stats struct {
	Bytes      int64  // memory held, never more than Limit
	Limit      int64  // Config.Size
	Live       int64  // of Bytes, what the entries take that can be found
	Entries    int64  // that can be found
	Hits       uint64 // Gets that found their key
	Misses     uint64 // Gets that did not
	Admissions uint64 // Puts that answered true
	Rejections uint64 // Puts that answered false
	Evictions  uint64 // entries that gave way to others
	Pinned     int    // slabs that Views, or Puts under way, keep from being reclaimed
}

// Stats returns the numbers of now. It takes each shard's lock in turn, so the sums are of slightly different moments.
func (c *Cache) Stats() Stats {
	s := Stats{Bytes: c.used.Load(), Limit: c.limit, Misses: c.misses.Load(),
		Admissions: c.admissions.Load(), Rejections: c.rejections.Load(), Evictions: c.evictions.Load()}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		s.Live += sh.live
		s.Entries += int64(sh.n)
		s.Hits += sh.hits
		sh.mu.Unlock()
	}
	for i := range c.slabs {
		if c.slabs[i].pins.Load()&(closing-1) != 0 {
			s.Pinned++
		}
	}
	return s
}

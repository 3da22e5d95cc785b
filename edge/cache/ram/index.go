package ram

import (
	"bytes"
	"math"
	"sync"
)

const (
	locBits = 36
	locMask = 1<<locBits - 1
)

// shard is a part of the index: open addressing with linear probing, taken out by shifting back, so that there are no tombstones. A slot is 28
// bits of the hash and the place of the entry; 0 is empty.
type shard struct {
	mu     sync.Mutex
	table  []uint64
	n      int   // slots taken
	live   int64 // bytes of the entries
	hits   uint64
	sketch []uint64 // see sketch.go
	adds   int      // to the sketch since it was halved
	halved uint64   // c.misses at that moment
	window uint64   // misses from the halving before to that one
	_      [24]byte // 128 in all: a lock has its own cache lines
}

func (c *Cache) shard(h uint64) *shard { return &c.shards[h>>c.shardShift] }

func tagOf(h uint64) uint64 { return h >> 28 << locBits }

func (sh *shard) home(h uint64) int {
	return int(uint64(uint32(h)) * uint64(len(sh.table)) >> 32)
}

// crowded reports whether another entry would make look-ups slow.
func (sh *shard) crowded() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.n >= len(sh.table)-len(sh.table)/8
}

// find returns the slot of a key, -1 if there is none, and where the entry is. The caller holds the lock; the bytes stay at least until it unlocks.
func (c *Cache) find(sh *shard, h uint64, key []byte) (i int, s *slab, off uint32) {
	if len(sh.table) == 0 {
		return -1, nil, 0
	}
	tag := tagOf(h)
	for i = sh.home(h); ; {
		slot := sh.table[i]
		if slot == 0 {
			return -1, nil, 0
		}
		if slot&^locMask == tag {
			s, off = c.place(slot & locMask)
			if e := entry(s.data[off:]); e.hash() == h && bytes.Equal(e.key(), key) {
				return i, s, off
			}
		}
		if i++; i == len(sh.table) {
			i = 0
		}
	}
}

// at returns the slot of the entry of hash h at loc, -1 if it is not there any more. The caller holds the lock.
func (sh *shard) at(h, loc uint64) int {
	if len(sh.table) == 0 {
		return -1
	}
	slot := tagOf(h) | loc
	for i := sh.home(h); sh.table[i] != 0; {
		if sh.table[i] == slot {
			return i
		}
		if i++; i == len(sh.table) {
			i = 0
		}
	}
	return -1
}

// insert adds a slot. There must be an empty one beside it, and the caller holds the lock.
func (sh *shard) insert(h, loc uint64) {
	i := sh.home(h)
	for sh.table[i] != 0 {
		if i++; i == len(sh.table) {
			i = 0
		}
	}
	sh.table[i] = tagOf(h) | loc
	sh.n++
}

// remove empties a slot and counts the entry out. The caller holds the lock.
func (c *Cache) remove(sh *shard, i int) {
	s, off := c.place(sh.table[i] & locMask)
	size := entry(s.data[off:]).size()
	sh.n--
	sh.live -= int64(size)
	n := len(sh.table)
	for j := i; ; {
		if j++; j == n {
			j = 0
		}
		slot := sh.table[j]
		if slot == 0 {
			break
		}
		t, at := c.place(slot & locMask)
		home := sh.home(entry(t.data[at:]).hash())
		// The slot at j may move to i if its home is not between them, i excluded.
		if (j-home+n)%n >= (j-i+n)%n {
			sh.table[i] = slot
			i = j
		}
	}
	sh.table[i] = 0
	c.leave(s, size)
}

// Get finds an entry, pins it and counts the request, a hit or a miss. h is Hash(key). It does not allocate. The View must be released, if there is one.
func (c *Cache) Get(h uint64, key []byte) (View, bool) {
	sh := c.shard(h)
	sh.mu.Lock()
	i, s, off := c.find(sh, h, key)
	if i < 0 {
		sh.miss(h, c.misses.Add(1))
		sh.mu.Unlock()
		return View{}, false
	}
	sh.hits++
	e := entry(s.data[off:])
	if n := e.hits(); n < math.MaxUint32-hitUnit {
		e.setHits(n + hitUnit)
	}
	s.pins.Add(1)
	sh.mu.Unlock()
	return View{c, s, off}, true
}

// Peek is Get without counting anything.
func (c *Cache) Peek(h uint64, key []byte) (View, bool) {
	sh := c.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, s, off := c.find(sh, h, key)
	if i < 0 {
		return View{}, false
	}
	s.pins.Add(1)
	return View{c, s, off}, true
}

// Drop takes an entry out, if it is there. Views of it stay valid.
func (c *Cache) Drop(h uint64, key []byte) {
	sh := c.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i, _, _ := c.find(sh, h, key); i >= 0 {
		c.remove(sh, i)
	}
}

// DropIf takes out the entries whose key matches. It walks the whole index and calls match with a lock held: match must not use the Cache nor
// keep the key. An entry that is put meanwhile may be missed.
func (c *Cache) DropIf(match func(key []byte) bool) {
	for i := range c.shards {
		c.dropIf(&c.shards[i], match)
	}
}

func (c *Cache) dropIf(sh *shard, match func(key []byte) bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := 0; i < len(sh.table); {
		if slot := sh.table[i]; slot != 0 {
			if s, off := c.place(slot & locMask); match(entry(s.data[off:]).key()) {
				// Another one may have moved here; those that wrap around to the end are only looked at twice.
				c.remove(sh, i)
				continue
			}
		}
		i++
	}
}

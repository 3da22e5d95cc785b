package ram

import "sync/atomic"

// state is what a slab is used for.
type state uint8

const (
	spare   state = iota // holds nothing, may have no memory yet
	filling              // is appended to
	full                 // holds entries
	retired              // holds none that can be found, but may be pinned
)

// closing is in the pins of each slab of a closed Cache. The one who leaves only that behind gives the memory back.
const closing = 1 << 40

// slab is a piece of memory with entries one behind the other.
//
// Why nothing is overwritten that somebody reads: a pin is added under the lock of the shard in which the entry is found. A slab gets into state
// retired when the last of its entries was taken out of its shard under the same lock; from then on pins only go down, and 0 is final.
//
//	Get                          reclaim
//	lock shard, find
//	                             wait for the shard
//	pin, unlock
//	                             take out, retired: pins is 1, not spare
//	read bytes
//	Release: 0
//	                             next tidy: spare
type slab struct {
	pins  atomic.Int64
	live  atomic.Int64 // bytes of entries that can be found; up under c.w, down under a shard's lock
	id    uint64
	data  []byte // nil without memory
	end   int    // of the entries; c.w
	age   uint64 // c.opened when it was opened; c.w
	state state  // c.w
}

// unpin takes n pins away.
func (s *slab) unpin(c *Cache, n int64) {
	if s.pins.Add(-n) == closing && s.data != nil {
		c.used.Add(-int64(len(s.data)))
		c.mem.free(s.data)
		s.data = nil
	}
}

// leave counts an entry of s that can no longer be found. The caller holds the lock of the entry's shard.
func (c *Cache) leave(s *slab, n int) {
	if s.live.Add(-int64(n)) == 0 {
		c.emptied.Store(true)
	}
}

// tidy makes spare what holds nothing and is not pinned.
func (c *Cache) tidy() {
	if !c.emptied.Swap(false) && c.retired == 0 {
		return
	}
	for i := range c.slabs {
		s := &c.slabs[i]
		if s.state == full && s.live.Load() == 0 {
			s.state = retired
			c.retired++
		}
		if s.state == retired && s.pins.Load() == 0 {
			s.state = spare
			c.retired--
			c.spare++
		}
	}
}

// open begins a spare slab; false if there is none or no memory for it.
func (c *Cache) open() bool {
	var s *slab
	for i := range c.slabs {
		t := &c.slabs[i]
		if t.state == spare && (s == nil || t.data != nil) {
			s = t
			if s.data != nil {
				break
			}
		}
	}
	if s == nil {
		return false
	}
	if s.data == nil {
		if s.data = c.mem.alloc(c.slabSize); s.data == nil {
			return false
		}
		c.used.Add(int64(c.slabSize))
	}
	if c.cur != nil {
		c.cur.state = full
		if c.cur.live.Load() == 0 {
			c.emptied.Store(true)
		}
	}
	c.opened++
	s.state, s.age, s.end = filling, c.opened, 0
	c.spare--
	c.cur = s
	return true
}

// fits reports whether n bytes can be appended to the slab in use.
func (c *Cache) fits(n int) bool { return c.cur != nil && len(c.cur.data)-c.cur.end >= n }

// take returns the place for an entry of n bytes in the slab in use, where they must fit.
func (c *Cache) take(n int) (s *slab, off int) {
	s, off = c.cur, c.cur.end
	s.end += n
	return s, off
}

// loc is the place of an entry as the index has it; never 0.
func (c *Cache) loc(s *slab, off int) uint64 { return s.id<<c.locShift | uint64(off)>>3 + 1 }

// place is the reverse of loc.
func (c *Cache) place(loc uint64) (*slab, uint32) {
	loc--
	return &c.slabs[loc>>c.locShift], uint32(loc&(1<<c.locShift-1)) << 3
}

// oldest returns the full slab that was opened first of those not pinned, nil if there is none.
func (c *Cache) oldest() *slab {
	var s *slab
	for i := range c.slabs {
		t := &c.slabs[i]
		if t.state == full && (s == nil || t.age < s.age) && t.pins.Load() == 0 {
			s = t
		}
	}
	return s
}

package store

import (
	"encoding/binary"
	"sync"
	"unsafe"
)

// tag is the half of a key that the index and the policy go by. Two keys of one tag are told apart when the record is read; the one put last is found.
func (k Key) tag() uint64 { return binary.LittleEndian.Uint64(k[:8]) }

// word is what the index says of a record; 0 is none, for no record lies at the start of a segment:
//
//	slot 12 | offset 28 | length 16 | heat 6 | checked 1 | class 1
//
// Offset and length count units of 32 bytes.
type word uint64

const (
	maxSlots  = 1 << 12
	unit      = 32
	heatShift = 2
	heatMask  = 63 << heatShift
	checkBit  = 1 << 1
	placeMask = ^word(heatMask | checkBit)
)

func makeWord(slot int, off, length int64, c Class) word {
	return word(slot)<<52 | word(off/unit)<<24 | word((length+unit-1)/unit)<<8 | word(c)
}

func (w word) slot() int         { return int(w >> 52) }
func (w word) offset() int64     { return int64(w>>24&(1<<28-1)) * unit }
func (w word) length() int64     { return int64(w>>8&(1<<16-1)) * unit }
func (w word) heat() uint8       { return uint8(w & heatMask >> heatShift) }
func (w word) checked() bool     { return w&checkBit != 0 }
func (w word) class() Class      { return Class(w & 1) }
func (w word) ref() Ref          { return Ref(w & placeMask) }
func (w word) is(r Ref) bool     { return w != 0 && w.ref() == r }
func (w word) with(h uint8) word { return w&^heatMask | word(h&63)<<heatShift }
func (r Ref) word() word         { return word(r) }

// index maps tags to words. It is tables of 12 bytes an entry in which the garbage collector finds no pointer; a table grows by a twentieth when 92 % of it
// are taken, so an entry costs 13.1 to 13.8 bytes. Entries lie in the order of their homes (linear probing in the manner of Robin Hood), so that a search
// for what is not there ends early, in spite of the load.
//
// Of a tag the upper 12 bits choose the shard and the next 32 are kept. Two keys with the same 44 bits are as two of one tag: of ten million records
// about three are lost to another.
type index struct{ shards [indexShards]shard }

const (
	shardBits   = 12
	indexShards = 1 << shardBits
	entrySize   = 12
	growth      = 20 // a table grows by this part of itself
)

// shard is one cache line.
type shard struct {
	mu    sync.Mutex
	n     uint32
	names uint32
	table []entry
	seqs  []uint64 // beside table, during recovery only
}

// entry is a tag and a word in two halves, to be 12 bytes long.
type entry struct{ tag, high, low uint32 }

func makeEntry(tag uint32, w word) entry { return entry{tag, uint32(w >> 32), uint32(w)} }

func (e *entry) word() word { return word(e.high)<<32 | word(e.low) }

func (e *entry) set(w word) { e.high, e.low = uint32(w>>32), uint32(w) }

// of returns the shard of a tag, and what the shard has to know of it.
func (x *index) of(tag uint64) (*shard, uint32) {
	return &x.shards[tag>>(64-shardBits)], uint32(tag >> (32 - shardBits))
}

// fullTag is the tag of an entry of the shard number i, with zeros for the bits that nobody has kept.
func fullTag(i int, tag uint32) uint64 {
	return uint64(i)<<(64-shardBits) | uint64(tag)<<(32-shardBits)
}

// home is where a tag is looked for first, by fast range reduction.
func (t *shard) home(tag uint32) int { return int(uint64(tag) * uint64(len(t.table)) >> 32) }

// away is how far the entry at i is from its home.
func (t *shard) away(i int) int {
	d := i - t.home(t.table[i].tag)
	if d < 0 {
		d += len(t.table)
	}
	return d
}

// find returns the position of tag, or the one where it is to be inserted. The table, if there is one, has a free entry.
func (t *shard) find(tag uint32) (i int, ok bool) {
	if len(t.table) == 0 {
		return 0, false
	}
	i = t.home(tag)
	for d := 0; t.table[i].word() != 0; d++ {
		if t.table[i].tag == tag {
			return i, true
		}
		if t.away(i) < d {
			break
		}
		if i++; i == len(t.table) {
			i = 0
		}
	}
	return i, false
}

// lookup returns the entry of tag, nil if there is none.
func (t *shard) lookup(tag uint32) *entry {
	if i, ok := t.find(tag); ok {
		return &t.table[i]
	}
	return nil
}

func (x *index) get(tag uint64) word {
	t, part := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.lookup(part); e != nil {
		return e.word()
	}
	return 0
}

// put sets the word of tag and returns the old one.
func (x *index) put(tag uint64, w word) (old word) {
	t, part := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.set(part, w, 0)
}

func (t *shard) set(tag uint32, w word, seq uint64) (old word) {
	i, ok := t.find(tag)
	if ok {
		old = t.table[i].word()
		t.table[i].set(w)
		if t.seqs != nil {
			t.seqs[i] = seq
		}
		if old.class() == Names {
			t.names--
		}
	} else {
		if (int(t.n)+1)*25 > len(t.table)*23 {
			t.resize(max(4, len(t.table)+len(t.table)/growth+1))
			i, _ = t.find(tag)
		}
		t.insert(i, makeEntry(tag, w), seq)
		t.n++
	}
	if w.class() == Names {
		t.names++
	}
	return old
}

// insert puts e at i and moves those from there to the next free entry by one.
func (t *shard) insert(i int, e entry, seq uint64) {
	for e.word() != 0 {
		e, t.table[i] = t.table[i], e
		if t.seqs != nil {
			seq, t.seqs[i] = t.seqs[i], seq
		}
		if i++; i == len(t.table) {
			i = 0
		}
	}
}

func (t *shard) resize(n int) {
	was, seqs := t.table, t.seqs
	t.table = make([]entry, n)
	if seqs != nil {
		t.seqs = make([]uint64, n)
	}
	for j, e := range was {
		if e.word() == 0 {
			continue
		}
		seq := uint64(0)
		if seqs != nil {
			seq = seqs[j]
		}
		i, _ := t.find(e.tag)
		t.insert(i, e, seq)
	}
}

// swap replaces the word of tag if it is still the record at r.
func (x *index) swap(tag uint64, r Ref, w word) bool {
	t, part := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.lookup(part)
	if e == nil || !e.word().is(r) {
		return false
	}
	e.set(w)
	return true
}

// remove takes tag out if it is still the record at r.
func (x *index) remove(tag uint64, r Ref) (word, bool) {
	t, part := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.find(part)
	if !ok || !t.table[i].word().is(r) {
		return 0, false
	}
	w := t.table[i].word()
	t.delete(i)
	return w, true
}

// delete empties entry i and moves those behind it that are not at home.
func (t *shard) delete(i int) {
	t.n--
	if t.table[i].word().class() == Names {
		t.names--
	}
	for {
		j := i + 1
		if j == len(t.table) {
			j = 0
		}
		if t.table[j].word() == 0 || t.away(j) == 0 {
			break
		}
		t.table[i] = t.table[j]
		if t.seqs != nil {
			t.seqs[i] = t.seqs[j]
		}
		i = j
	}
	t.table[i] = entry{}
}

func (x *index) touch(tag uint64, p Policy) {
	t, part := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.lookup(part); e != nil {
		w := e.word()
		e.set(w.with(p.Hit(w.heat(), w.length())))
	}
}

// setHeat sets the heat of tag, if it is there.
func (x *index) setHeat(tag uint64, h uint8) {
	t, part := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.lookup(part); e != nil {
		e.set(e.word().with(h))
	}
}

// check notes that the record at r was checked.
func (x *index) check(tag uint64, r Ref) {
	t, part := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.lookup(part); e != nil && e.word().is(r) {
		e.set(e.word() | checkBit)
	}
}

// removeSlot takes out all records of a segment. An entry that moves around the end of a table while its beginning has been seen is looked at again.
func (x *index) removeSlot(slot int) {
	for i := range x.shards {
		t := &x.shards[i]
		t.mu.Lock()
		for again := true; again; {
			again = false
			for j := 0; j < len(t.table); {
				if w := t.table[j].word(); w != 0 && w.slot() == slot {
					t.delete(j) // another one may have moved here
					again = true
					continue
				}
				j++
			}
		}
		t.mu.Unlock()
	}
}

func (x *index) stats() (names, bodies, bytes int64) {
	for i := range x.shards {
		t := &x.shards[i]
		t.mu.Lock()
		names += int64(t.names)
		bodies += int64(t.n) - int64(t.names)
		bytes += int64(entrySize*len(t.table)) + int64(unsafe.Sizeof(*t))
		t.mu.Unlock()
	}
	return names, bodies, bytes
}

// beginRecovery makes room for n entries, spread as evenly as chance does, and for their sequence numbers.
func (x *index) beginRecovery(n int) {
	each := n / indexShards
	for i := range x.shards {
		t := &x.shards[i]
		t.resize(each*25/23 + 1)
		t.seqs = make([]uint64, len(t.table))
	}
}

func (x *index) endRecovery() {
	for i := range x.shards {
		x.shards[i].seqs = nil
	}
}

// restore takes in a record found on disk. Of two records of one tag the one with the higher number counts. Of two copies of a body it is the one in the older
// segment, which has been on the disk for longer; of two copies of a name the one in the newer segment, which was whole before the older segment was given up, and which is
// the one that a Drop has killed. Slots are in the order of age here. It returns which word counts and which does not, 0 if there is none.
func (x *index) restore(tag uint64, w word, seq uint64) (won, lost word) {
	t, part := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.find(part); ok {
		known := t.table[i].word()
		keep := t.seqs[i] > seq
		if t.seqs[i] == seq {
			keep = (known.slot() < w.slot()) == (w.class() == Bodies)
		}
		if keep {
			return known, w
		}
	}
	return w, t.set(part, w, seq)
}

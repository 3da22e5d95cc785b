package store

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// tag is the half of a key that the index has. Two keys of one tag are told apart when the record is read; the one put last is found.
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

// index maps tags to words. It is tables of two words an entry in which the garbage collector finds no pointer; a table grows by a tenth when 92 % of it
// are taken, so an entry costs 17.4 to 19.2 bytes. Entries lie in the order of their homes (linear probing in the manner of Robin Hood), so that a search
// for what is not there ends early, in spite of the load.
type index struct{ shards [indexShards]shard }

const indexShards = 256

type shard struct {
	mu    sync.Mutex
	table []entry
	seqs  []uint64 // beside table, during recovery only
	n     int
	names int
	_     [56]byte // keeps the locks of neighbours apart
}

type entry struct {
	tag  uint64
	word word
}

func (x *index) of(tag uint64) *shard { return &x.shards[tag>>56] }

// home is where a tag is looked for first: fast range reduction of the bits that the shard was not chosen by.
func (t *shard) home(tag uint64) int {
	hi, _ := bits.Mul64(tag<<8, uint64(len(t.table)))
	return int(hi)
}

// away is how far the entry at i is from its home.
func (t *shard) away(i int) int {
	d := i - t.home(t.table[i].tag)
	if d < 0 {
		d += len(t.table)
	}
	return d
}

// find returns the position of tag, or the one where it is to be inserted. The table, if there is one, has a free entry.
func (t *shard) find(tag uint64) (i int, ok bool) {
	if len(t.table) == 0 {
		return 0, false
	}
	i = t.home(tag)
	for d := 0; t.table[i].word != 0; d++ {
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

// lookup returns the word of tag, nil if there is none.
func (t *shard) lookup(tag uint64) *word {
	if i, ok := t.find(tag); ok {
		return &t.table[i].word
	}
	return nil
}

func (x *index) get(tag uint64) word {
	t := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.lookup(tag); w != nil {
		return *w
	}
	return 0
}

// put sets the word of tag and returns the old one.
func (x *index) put(tag uint64, w word) (old word) {
	t := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.set(tag, w, 0)
}

func (t *shard) set(tag uint64, w word, seq uint64) (old word) {
	i, ok := t.find(tag)
	if ok {
		old = t.table[i].word
		t.table[i].word = w
		if t.seqs != nil {
			t.seqs[i] = seq
		}
		if old.class() == Names {
			t.names--
		}
	} else {
		if (t.n+1)*25 > len(t.table)*23 {
			t.resize(max(16, len(t.table)+len(t.table)/10))
			i, _ = t.find(tag)
		}
		t.insert(i, entry{tag, w}, seq)
		t.n++
	}
	if w.class() == Names {
		t.names++
	}
	return old
}

// insert puts e at i and moves those from there to the next free entry by one.
func (t *shard) insert(i int, e entry, seq uint64) {
	for e.word != 0 {
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
		if e.word == 0 {
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
	t := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.lookup(tag)
	if p == nil || !p.is(r) {
		return false
	}
	*p = w
	return true
}

// remove takes tag out if it is still the record at r.
func (x *index) remove(tag uint64, r Ref) (word, bool) {
	t := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.find(tag)
	if !ok || !t.table[i].word.is(r) {
		return 0, false
	}
	w := t.table[i].word
	t.delete(i)
	return w, true
}

// delete empties entry i and moves those behind it that are not at home.
func (t *shard) delete(i int) {
	t.n--
	if t.table[i].word.class() == Names {
		t.names--
	}
	for {
		j := i + 1
		if j == len(t.table) {
			j = 0
		}
		if t.table[j].word == 0 || t.away(j) == 0 {
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
	t := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.lookup(tag); w != nil {
		*w = w.with(p.Hit(w.heat(), w.length()))
	}
}

// setHeat sets the heat of tag, if it is there.
func (x *index) setHeat(tag uint64, h uint8) {
	t := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.lookup(tag); w != nil {
		*w = w.with(h)
	}
}

// check notes that the record at r was checked.
func (x *index) check(tag uint64, r Ref) {
	t := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.lookup(tag); w != nil && w.is(r) {
		*w |= checkBit
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
				if w := t.table[j].word; w != 0 && w.slot() == slot {
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
		bodies += int64(t.n - t.names)
		bytes += int64(16*len(t.table)) + 120
		t.mu.Unlock()
	}
	return names, bodies, bytes
}

// beginRecovery makes room for n entries and for their sequence numbers.
func (x *index) beginRecovery(n int) {
	each := n/indexShards + n/indexShards/32 + 16
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
	t := x.of(tag)
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.find(tag); ok {
		known := t.table[i].word
		keep := t.seqs[i] > seq
		if t.seqs[i] == seq {
			keep = (known.slot() < w.slot()) == (w.class() == Bodies)
		}
		if keep {
			return known, w
		}
	}
	return w, t.set(tag, w, seq)
}

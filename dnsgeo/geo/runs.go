package geo

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
)

// Runs cuts the whole address space into runs of consecutive addresses that carry one number each. It is immutable
// and safe for concurrent use. Neighbouring runs carry different numbers.
type Runs struct {
	v4 axis[uint16] // keys are addresses: 32 bits
	v6 axis[uint32] // keys are the upper halves of addresses: 64 bits
}

// maxNumber is the largest number a run can carry.
const maxNumber = 1<<24 - 1

// Find returns the number of the run that holds a, and the largest prefix around a that lies within this run. Of IPv6
// addresses only the upper 64 bits count. IPv4-mapped addresses are IPv4 addresses. The prefix of two addresses is
// either the same or does not overlap. For the zero Addr it returns 0 and the zero Prefix.
func (r *Runs) Find(a netip.Addr) (number int, p netip.Prefix) {
	a = a.Unmap().WithZone("")
	switch {
	case a.Is4():
		b := a.As4()
		key := binary.BigEndian.Uint32(b[:])
		n, length := r.v4.find(uint64(key))
		p, _ = a.Prefix(length)
		return int(n), p
	case a.Is6():
		b := a.As16()
		n, length := r.v6.find(binary.BigEndian.Uint64(b[:8]))
		p, _ = a.Prefix(length)
		return int(n), p
	}
	return 0, netip.Prefix{}
}

// Len returns how many runs there are, IPv4 and IPv6 together.
func (r *Runs) Len() int { return len(r.v4.low) + len(r.v6.low) }

// Group returns the Runs that carry of[n] where r carries n: neighbours that have become equal are one run.
// of must cover every number in r, and its values must fit in 24 bits.
func (r *Runs) Group(of []uint32) *Runs {
	return &Runs{v4: r.v4.group(of), v6: r.v6.group(of)}
}

// axis is the runs of one family. A key is split in two halves of as many bits as L has: the starts of all runs are
// stored as their lower halves, sorted into one bucket per upper half that occurs. That is half the memory of whole
// keys, and the search stays within two short arrays.
type axis[L uint16 | uint32] struct {
	jump []uint32 // jump[h] is how many tops have upper 16 bits below h; 2^16+1 entries
	tops []uint32 // upper halves that occur, ascending; the first is 0
	from []uint32 // from[i] is the first run of tops[i]; one more entry ends the last bucket
	low  []L      // lower halves of the starts; the first is 0
	num  numbers  // what each run carries
	next uint64   // while building: the first key not covered yet
	done bool     // the last key is covered
}

// numbers is a slice of 24-bit numbers that takes two bytes per number as long as all fit in them.
type numbers struct {
	lo []uint16
	hi []uint8 // nil when all are zero
}

func (n *numbers) at(i int) uint32 {
	if n.hi == nil {
		return uint32(n.lo[i])
	}
	return uint32(n.lo[i]) | uint32(n.hi[i])<<16
}

func (n *numbers) push(v uint32) {
	if v > math.MaxUint16 && n.hi == nil {
		n.hi = make([]uint8, len(n.lo), cap(n.lo))
	}
	n.lo = append(n.lo, uint16(v))
	if n.hi != nil {
		n.hi = append(n.hi, uint8(v>>16))
	}
}

// half is the number of bits in half a key.
func (x *axis[L]) half() int {
	if uint32(^L(0)) == math.MaxUint16 {
		return 16
	}
	return 32
}

// find returns what the run of key carries, and the length in bits of the largest prefix around key inside the run.
func (x *axis[L]) find(key uint64) (number uint32, length int) {
	half := x.half()
	top, low := uint32(key>>half), L(key)
	t := x.bucket(top)
	i := int(x.from[t+1]) - 1
	if x.tops[t] == top {
		if bucket := x.low[x.from[t]:x.from[t+1]]; bucket[0] <= low {
			i = int(x.from[t]) + last(bucket, low)
		} else {
			// The run that holds key began under an earlier upper half. There is one: run 0 starts at key 0.
			t--
			i = int(x.from[t+1]) - 1
		}
	}
	first := uint64(x.tops[t])<<half | uint64(x.low[i])
	size := 2 * half // of the largest aligned block around key, as a power of two
	if first > 0 {
		size = min(size, bits.Len64(key^(first-1))-1)
	}
	if i+1 < len(x.low) {
		if i+1 == int(x.from[t+1]) {
			t++
		}
		after := uint64(x.tops[t])<<half | uint64(x.low[i+1])
		size = min(size, bits.Len64(key^after)-1)
	}
	return x.num.at(i), 2*half - size
}

// bucket returns the index of the last of tops that is at most top.
func (x *axis[L]) bucket(top uint32) int {
	h := top >> (x.half() - 16)
	from, to := int(x.jump[h]), int(x.jump[h+1])
	if from == to || x.tops[from] > top {
		return from - 1 // there is one: the first of tops is 0
	}
	return from + last(x.tops[from:to], top)
}

// last returns the index of the last element of sorted that is at most v; the first element must be.
func last[E uint16 | uint32](sorted []E, v E) int {
	lo, n := 0, len(sorted)
	for n > 1 {
		mid := n / 2
		if sorted[lo+mid] <= v {
			lo += mid
			n -= mid
		} else {
			n = mid
		}
	}
	return lo
}

// extend appends the run of keys first to end; keys left out since the run before carry 0.
func (x *axis[L]) extend(first, end uint64, number uint32) error {
	if x.done || first < x.next || end < first {
		return fmt.Errorf("run %#x to %#x: out of order", first, end)
	}
	if number > maxNumber {
		return fmt.Errorf("run %#x to %#x: more than %d different places", first, end, maxNumber)
	}
	if first > x.next {
		x.push(x.next, 0)
	}
	x.push(first, number)
	x.next = end + 1
	x.done = end == x.lastKey()
	return nil
}

func (x *axis[L]) lastKey() uint64 { return math.MaxUint64 >> (64 - 2*x.half()) }

// finish covers the keys that are left with 0, makes the axis ready for find and gives spare memory back.
func (x *axis[L]) finish() {
	if !x.done {
		x.push(x.next, 0)
		x.done = true
	}
	x.from = append(x.from, uint32(len(x.low)))
	x.tops, x.from, x.low = clipped(x.tops), clipped(x.from), clipped(x.low)
	x.num.lo, x.num.hi = clipped(x.num.lo), clipped(x.num.hi)
	x.jump = make([]uint32, 1<<16+1)
	for _, top := range x.tops {
		x.jump[top>>(x.half()-16)+1]++
	}
	for h := range 1 << 16 {
		x.jump[h+1] += x.jump[h]
	}
}

// clipped returns s in an array without much room to spare.
func clipped[E any](s []E) []E {
	if cap(s)-len(s) <= len(s)/64 {
		return s
	}
	return append(make([]E, 0, len(s)), s...)
}

func (x *axis[L]) push(start uint64, number uint32) {
	n := len(x.low)
	if n > 0 && x.num.at(n-1) == number {
		return
	}
	if top := uint32(start >> x.half()); len(x.tops) == 0 || x.tops[len(x.tops)-1] != top {
		x.tops = append(x.tops, top)
		x.from = append(x.from, uint32(n))
	}
	x.low = append(x.low, L(start))
	x.num.push(number)
}

// each calls yield with the first key and the number of every run, in order of the keys.
func (x *axis[L]) each(yield func(first uint64, number uint32) bool) {
	half := x.half()
	for t, top := range x.tops {
		for i := x.from[t]; i < x.from[t+1]; i++ {
			if !yield(uint64(top)<<half|uint64(x.low[i]), x.num.at(int(i))) {
				return
			}
		}
	}
}

func (x *axis[L]) group(of []uint32) axis[L] {
	var g axis[L]
	for first, n := range x.each {
		g.push(first, of[n])
	}
	g.done = true
	g.finish()
	return g
}

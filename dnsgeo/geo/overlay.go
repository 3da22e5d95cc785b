package geo

import "iter"

// segment is a range of keys in which two axes each carry one number.
type segment struct {
	first, last uint64 // keys
	a, b        uint32 // what the first and the second axis carry
}

// overlay yields the segments of two finished axes laid over each other, in order of the keys; together they cover all keys.
func overlay[L uint16 | uint32](x, y *axis[L]) iter.Seq[segment] {
	return func(yield func(segment) bool) {
		a, b := cursor[L]{x: x}, cursor[L]{x: y}
		var first uint64
		for {
			endA, endB := a.last(), b.last()
			last := min(endA, endB)
			if !yield(segment{first, last, x.num.at(a.i), y.num.at(b.i)}) || last == x.lastKey() {
				return
			}
			if endA == last {
				a.next()
			}
			if endB == last {
				b.next()
			}
			first = last + 1
		}
	}
}

// cursor stands on one run of an axis.
type cursor[L uint16 | uint32] struct {
	x *axis[L]
	t int // index of the run's upper half
	i int // index of the run
}

// last returns the last key of the run.
func (c *cursor[L]) last() uint64 {
	if c.i+1 == len(c.x.low) {
		return c.x.lastKey()
	}
	t := c.t
	if c.i+1 == int(c.x.from[t+1]) {
		t++
	}
	return (uint64(c.x.tops[t])<<c.x.half() | uint64(c.x.low[c.i+1])) - 1
}

// next moves to the run behind, which there must be.
func (c *cursor[L]) next() {
	c.i++
	if c.i == int(c.x.from[c.t+1]) {
		c.t++
	}
}

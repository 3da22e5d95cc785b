package geo

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// Subnets cuts the address space by prefixes: the addresses of prefixes[i] carry i+1, those of none carry 0. Where
// prefixes nest, the longest counts, so that the runs never overlap (RFC 7871 §7.2.1). The error names a prefix that is
// not valid, is listed twice, has bits beyond its length or is IPv6 and longer than /64.
func Subnets(prefixes []netip.Prefix) (*Runs, error) {
	if len(prefixes) > maxNumber {
		return nil, fmt.Errorf("%d subnets; there can be %d", len(prefixes), maxNumber)
	}
	var v4, v6 []block
	seen := make(map[netip.Prefix]bool, len(prefixes))
	for i, p := range prefixes {
		switch {
		case !p.IsValid() || p.Addr().Is4In6():
			return nil, fmt.Errorf("subnet %v is not valid; write it like 192.0.2.0/24 or 2001:db8::/48", p)
		case p != p.Masked():
			return nil, fmt.Errorf("subnet %v has bits beyond its length; did you mean %v?", p, p.Masked())
		case seen[p]:
			return nil, fmt.Errorf("subnet %v is listed twice", p)
		}
		seen[p] = true
		if p.Addr().Is4() {
			b := p.Addr().As4()
			first := uint64(binary.BigEndian.Uint32(b[:]))
			v4 = append(v4, block{first, first | (1<<(32-p.Bits()) - 1), uint32(i + 1)})
			continue
		}
		if p.Bits() > 64 {
			return nil, fmt.Errorf("subnet %v is longer than /64, the smallest IPv6 network that is told apart", p)
		}
		b := p.Addr().As16()
		first := binary.BigEndian.Uint64(b[:8])
		v6 = append(v6, block{first, first | (1<<(64-p.Bits()) - 1), uint32(i + 1)})
	}
	r := new(Runs)
	if err := nest(&r.v4, v4); err != nil {
		return nil, err
	}
	return r, nest(&r.v6, v6)
}

// block is the keys first to last, which carry number.
type block struct {
	first, last uint64
	number      uint32
}

// nest fills x with blocks of which any two are disjoint or one inside the other; the inner one counts.
func nest[L uint16 | uint32](x *axis[L], blocks []block) error {
	slices.SortFunc(blocks, func(a, b block) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last)) })
	var open []block // each inside the one before
	cover := func(last uint64) error {
		top := open[len(open)-1]
		first := max(x.next, top.first)
		if x.done || first > last {
			return nil
		}
		return x.extend(first, last, top.number)
	}
	for _, b := range blocks {
		for len(open) > 0 && open[len(open)-1].last < b.first {
			if err := cover(open[len(open)-1].last); err != nil {
				return err
			}
			open = open[:len(open)-1]
		}
		if len(open) > 0 && b.first > 0 {
			if err := cover(b.first - 1); err != nil {
				return err
			}
		}
		open = append(open, b)
	}
	for ; len(open) > 0; open = open[:len(open)-1] {
		if err := cover(open[len(open)-1].last); err != nil {
			return err
		}
	}
	x.finish()
	return nil
}

// Overlay returns the Runs that carry of(n, m) where r carries n and over carries m: neighbours that have become equal
// are one run. of is called for every stretch, with the same numbers many times; its values must fit in 24 bits.
func (r *Runs) Overlay(over *Runs, of func(under, over int) uint32) *Runs {
	var out Runs
	walkAxes([]*axis[uint16]{&r.v4, &over.v4}, func(first, _ uint64, n []int) { out.v4.push(first, of(n[0], n[1])) })
	walkAxes([]*axis[uint32]{&r.v6, &over.v6}, func(first, _ uint64, n []int) { out.v6.push(first, of(n[0], n[1])) })
	out.v4.done, out.v6.done = true, true
	out.v4.finish()
	out.v6.finish()
	return &out
}

// Stretch is consecutive addresses over which several Runs each carry one number.
type Stretch struct {
	IPv6    bool
	Size    float64 // addresses of IPv4, /64 networks of IPv6
	Numbers []int   // of each of the Runs, in their order; valid until the next Stretch
}

// Walk calls yield for every Stretch of the address space, IPv4 first, in order of the addresses.
func Walk(yield func(Stretch), runs ...*Runs) {
	v4, v6 := make([]*axis[uint16], len(runs)), make([]*axis[uint32], len(runs))
	for i, r := range runs {
		v4[i], v6[i] = &r.v4, &r.v6
	}
	walkAxes(v4, func(first, last uint64, n []int) { yield(Stretch{Size: float64(last-first) + 1, Numbers: n}) })
	walkAxes(v6, func(first, last uint64, n []int) {
		yield(Stretch{IPv6: true, Size: float64(last-first) + 1, Numbers: n})
	})
}

// walkAxes calls yield for every stretch, first to last, over which all axes carry one number each. There is at least one axis.
func walkAxes[L uint16 | uint32](axes []*axis[L], yield func(first, last uint64, numbers []int)) {
	at := make([]mark, len(axes))
	numbers := make([]int, len(axes))
	for i, x := range axes {
		numbers[i] = int(x.num.at(0))
		at[i].after = x.endOf(&at[i])
	}
	for first := uint64(0); ; {
		last := axes[0].lastKey()
		for i := range at {
			last = min(last, at[i].after)
		}
		yield(first, last, numbers)
		if last == axes[0].lastKey() {
			return
		}
		first = last + 1
		for i, x := range axes {
			if at[i].after == last {
				at[i].run++
				numbers[i] = int(x.num.at(at[i].run))
				at[i].after = x.endOf(&at[i])
			}
		}
	}
}

// mark stands at one run of an axis.
type mark struct {
	run   int
	top   int    // its bucket
	after uint64 // the last key of the run
}

// endOf returns the last key of the run at c and moves c to the bucket of the run that follows.
func (x *axis[L]) endOf(c *mark) uint64 {
	next := c.run + 1
	if next == len(x.low) {
		return x.lastKey()
	}
	if next == int(x.from[c.top+1]) {
		c.top++
	}
	return (uint64(x.tops[c.top])<<x.half() | uint64(x.low[next])) - 1
}

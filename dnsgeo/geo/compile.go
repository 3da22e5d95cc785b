package geo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// compiler turns networks, as a file lists them, into places and runs.
type compiler struct {
	places []Place
	number map[Place]uint32
	v4     unifier[uint16]
	v6     unifier[uint32]
}

// newCompiler returns a compiler that resolves IPv4 to prefixes of bits4 and IPv6 to prefixes of bits6 (at most 64).
func newCompiler(bits4, bits6 int) *compiler {
	c := &compiler{places: []Place{{}}, number: map[Place]uint32{{}: 0}}
	c.v4.shift = 32 - bits4
	c.v6.shift = 64 - bits6
	return c
}

// numberOf returns the number of p, a new one if p has none yet.
func (c *compiler) numberOf(p Place) uint32 {
	n, ok := c.number[p]
	if !ok {
		n = uint32(len(c.places))
		c.number[p] = n
		c.places = append(c.places, p)
	}
	return n
}

// add takes one network. Networks of one family must come in ascending order without overlaps. Unknown networks
// (number 0) say nothing and are skipped.
func (c *compiler) add(p netip.Prefix, number uint32) error {
	if number == 0 {
		return nil
	}
	var err error
	if p.Addr().Is4() {
		b := p.Addr().As4()
		err = c.v4.add(uint64(binary.BigEndian.Uint32(b[:])), 32-p.Bits(), number)
	} else {
		b := p.Addr().As16()
		err = c.v6.add(binary.BigEndian.Uint64(b[:8]), 64-p.Bits(), number)
	}
	if err != nil {
		return fmt.Errorf("network %s: %w", p, err)
	}
	return nil
}

// empty reports whether no network was added that says anything.
func (c *compiler) empty() bool { return len(c.places) == 1 }

// finish returns what was compiled; the compiler must not be used afterwards.
func (c *compiler) finish() ([]Place, *Runs, error) {
	if err := errors.Join(c.v4.flush(), c.v6.flush()); err != nil {
		return nil, nil, err
	}
	if len(c.v4.runs.low) == 0 && len(c.v6.runs.low) == 0 {
		return nil, nil, errors.New("the data holds no network with a known place")
	}
	c.v4.runs.finish()
	c.v6.runs.finish()
	return c.places, &Runs{v4: c.v4.runs, v6: c.v6.runs}, nil
}

// unifier makes one run of each smallest unit: where several networks share a unit, the one place that holds most of
// its known addresses speaks for all of it.
type unifier[L uint16 | uint32] struct {
	runs  axis[L]
	shift int // a unit is 1<<shift keys
	unit  uint64
	votes []vote // for unit; empty when no unit is open
}

type vote struct {
	number uint32
	weight float64 // addresses, as a share of the unit
}

// add takes the network of 1<<size keys from key on; size is negative for a network smaller than one key.
func (u *unifier[L]) add(key uint64, size int, number uint32) error {
	if size >= u.shift {
		if err := u.flush(); err != nil {
			return err
		}
		return u.runs.extend(key, key|(1<<size-1), number)
	}
	if unit := key >> u.shift; len(u.votes) == 0 || unit != u.unit {
		if err := u.flush(); err != nil {
			return err
		}
		u.unit = unit
	}
	weight := 1.0
	for range u.shift - size {
		weight /= 2
	}
	for i := range u.votes {
		if u.votes[i].number == number {
			u.votes[i].weight += weight
			return nil
		}
	}
	u.votes = append(u.votes, vote{number, weight})
	return nil
}

// flush decides the open unit. Equal weights go to the place that came first, so that the result depends on the data only.
func (u *unifier[L]) flush() error {
	if len(u.votes) == 0 {
		return nil
	}
	best := u.votes[0]
	for _, v := range u.votes[1:] {
		if v.weight > best.weight {
			best = v
		}
	}
	u.votes = u.votes[:0]
	first := u.unit << u.shift
	return u.runs.extend(first, first|(1<<u.shift-1), best.number)
}

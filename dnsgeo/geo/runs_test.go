package geo

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// plan is an axis in its simplest form: the first keys of its runs and their numbers.
type plan struct {
	first  []uint64
	number []uint32
}

func (p plan) at(key uint64) (number uint32, first, end uint64) {
	i := len(p.first) - 1
	for p.first[i] > key {
		i--
	}
	if i+1 < len(p.first) {
		return p.number[i], p.first[i], p.first[i+1] - 1
	}
	return p.number[i], p.first[i], 1<<32 - 1
}

// randomPlan cuts the 32-bit space at random points that crowd around a few places, where halves and borders meet.
func randomPlan(rng *rand.Rand) plan {
	var p plan
	var key uint64
	for key < 1<<32 {
		n := uint32(rng.IntN(3))
		if len(p.number) == 0 || p.number[len(p.number)-1] != n {
			p.first = append(p.first, key)
			p.number = append(p.number, n)
		}
		switch rng.IntN(3) {
		case 0:
			key += 1 + rng.Uint64N(4)
		case 1:
			key = (key>>16 + 1 + rng.Uint64N(2)) << 16
		default:
			key += 1 + rng.Uint64N(1<<(8+rng.IntN(22)))
		}
	}
	return p
}

func v4(key uint64) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(key))))
}

func TestFindGivesTheRunAndItsLargestPrefix(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 30 {
		p := randomPlan(rng)
		var r Runs
		for i, first := range p.first {
			end := uint64(1<<32 - 1)
			if i+1 < len(p.first) {
				end = p.first[i+1] - 1
			}
			if err := r.v4.extend(first, end, p.number[i]); err != nil {
				t.Fatal(err)
			}
		}
		r.v4.finish()
		r.v6.finish()
		for range 300 {
			key := p.first[rng.IntN(len(p.first))] + rng.Uint64N(5)
			if rng.IntN(3) == 0 {
				key = rng.Uint64()
			}
			key &= 1<<32 - 1
			number, first, end := p.at(key)
			got, prefix := r.Find(v4(key))
			if got != int(number) {
				t.Fatalf("Find(%v) = %d, want %d", v4(key), got, number)
			}
			if want := largest(key, first, end); prefix != want {
				t.Fatalf("Find(%v): prefix %v, want %v: the run is %v to %v", v4(key), prefix, want, v4(first), v4(end))
			}
		}
	}
}

// largest finds the largest prefix around key within first and end by trying them all.
func largest(key, first, end uint64) netip.Prefix {
	for bits := 0; ; bits++ {
		low := key &^ (1<<(32-bits) - 1)
		if low >= first && low+1<<(32-bits)-1 <= end {
			return netip.PrefixFrom(v4(low), bits)
		}
	}
}

func TestFindIPv6(t *testing.T) {
	c := newCompiler(32, 64)
	for i, s := range []string{"2001:db8::/32", "2001:db9::/48", "2001:db9:1::/48", "ffff::/16"} {
		if err := c.add(netip.MustParsePrefix(s), uint32(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []string{"2001::/16", "ffff:1::/64"} {
		if err := c.add(netip.MustParsePrefix(s), 1); err == nil {
			t.Errorf("%s was taken out of order", s)
		}
	}
	_, r, err := c.finish()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		addr   string
		number int
		prefix string
	}{
		{"2001:db8:ffff::1", 1, "2001:db8::/32"},
		{"2001:db9::1", 2, "2001:db9::/48"},
		{"2001:db9:1:ffff::", 3, "2001:db9:1::/48"},
		{"2001:db9:2::", 0, "2001:db9:2::/47"},
		{"2001:db7::", 0, "2001:db0::/29"},
		{"::1", 0, "::/3"},
		{"ffff:ffff::", 4, "ffff::/16"},
		{"ffff:ffff::%eth0", 4, "ffff::/16"},
		{"fffe::", 0, "fffe::/16"},
		{"::ffff:1.2.3.4", 0, "0.0.0.0/0"},
		{"1.2.3.4", 0, "0.0.0.0/0"},
	} {
		n, p := r.Find(netip.MustParseAddr(x.addr))
		if n != x.number || p.String() != x.prefix {
			t.Errorf("Find(%s) = %d, %s; want %d, %s", x.addr, n, p, x.number, x.prefix)
		}
	}
	if n, p := r.Find(netip.Addr{}); n != 0 || p.IsValid() {
		t.Errorf("Find of the zero Addr = %d, %v", n, p)
	}
}

func TestGroupJoinsNeighbours(t *testing.T) {
	c := newCompiler(32, 64)
	for i, s := range []string{"10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"} {
		if err := c.add(netip.MustParsePrefix(s), uint32(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	_, r, err := c.finish()
	if err != nil {
		t.Fatal(err)
	}
	g := r.Group([]uint32{0, 1, 1, 70000, 70000})
	for addr, want := range map[string]string{"10.0.0.9": "10.0.0.0/23", "10.0.3.9": "10.0.2.0/23"} {
		if _, p := g.Find(netip.MustParseAddr(addr)); p.String() != want {
			t.Errorf("after Group, %s lies in %v, want %v", addr, p, want)
		}
	}
	if n, _ := g.Find(netip.MustParseAddr("10.0.3.9")); n != 70000 {
		t.Errorf("number %d, want 70000: numbers beyond 16 bits are lost", n)
	}
	if n, _ := g.Find(netip.MustParseAddr("10.0.0.9")); n != 1 {
		t.Errorf("number %d, want 1", n)
	}
	all := r.Group(make([]uint32, 5))
	if n, p := all.Find(netip.MustParseAddr("10.0.0.9")); n != 0 || p.Bits() != 0 || all.Len() != 2 {
		t.Errorf("all in one group: %d, %v, %d runs", n, p, all.Len())
	}
}

func TestUnitsGoToTheMajority(t *testing.T) {
	c := newCompiler(24, 48)
	for _, x := range []struct {
		net    string
		number uint32
	}{
		{"10.0.0.0/26", 1},
		{"10.0.0.64/26", 2},
		{"10.0.0.128/26", 2},
		// 10.0.0.192/26 is unknown and has no vote
		{"10.0.1.0/30", 3}, // alone in its /24
		{"10.0.2.0/25", 4}, // a tie goes to the first
		{"10.0.2.128/25", 1},
		{"10.0.4.0/23", 5},
		{"2001:db8::/49", 6},
		{"2001:db8:0:8000::/50", 7},
		{"2001:db8:0:c000::/50", 8},
		{"2001:db8:1::1/128", 9},
	} {
		if err := c.add(netip.MustParsePrefix(x.net), x.number); err != nil {
			t.Fatal(err)
		}
	}
	_, r, err := c.finish()
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]int{
		"10.0.0.1": 2, "10.0.0.255": 2, "10.0.1.200": 3, "10.0.2.200": 4, "10.0.3.0": 0, "10.0.5.1": 5, "10.0.6.0": 0,
		"2001:db8::": 6, "2001:db8:0:ffff::": 6, "2001:db8:1:5::": 9, "2001:db8:2::": 0,
	} {
		if n, _ := r.Find(netip.MustParseAddr(addr)); n != want {
			t.Errorf("%s has %d, want %d", addr, n, want)
		}
	}
}

func v6(key uint64) netip.Addr {
	return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, key), 0)))
}

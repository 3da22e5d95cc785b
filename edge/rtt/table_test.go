package rtt

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
	"perigee/fleet"
)

func add(t *Table, addr string, micros ...uint32) {
	for _, us := range micros {
		t.Add(netip.MustParseAddr(addr), us)
	}
}

// next is the next part, in time.
func next(t *Table, limit int) []fleet.PrefixRTT {
	time.Sleep(fleet.ReportEvery)
	return t.Take(limit)
}

func TestTableTellsMediansOfNetworks(t *testing.T) {
	for _, c := range []struct {
		name, addrs string
		micros      []uint32
		want        string
	}{
		{"a network, not an address", "192.0.2.77", []uint32{30_000, 10_000, 20_000}, "[{192.0.2.0/24 20000 3}]"},
		{"IPv6", "2001:db8:1:2:3:4:5:6", []uint32{3, 2, 900}, "[{2001:db8:1::/48 3 3}]"},
		{"IPv4 in IPv6", "::ffff:192.0.2.77", []uint32{1, 1, 1}, "[{192.0.2.0/24 1 3}]"},
		{"with a zone", "fe80::1%eth0", []uint32{1, 1, 1}, "[{fe80::/48 1 3}]"},
		{"one outlier", "192.0.2.1", []uint32{5, 5, 5, 60_000_000}, "[{192.0.2.0/24 5 4}]"},
		{"the last fifteen", "192.0.2.1", []uint32{1, 1, 1, 1, 1, 1, 1, 1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7}, "[{192.0.2.0/24 7 23}]"},
		{"too few", "192.0.2.1", []uint32{5, 5}, "[]"},
		{"not to be reported", "192.0.2.1", []uint32{0, 0, 0, 60_000_001, 60_000_001, 60_000_001}, "[]"},
		{"no address", "0.0.0.0", []uint32{5, 5, 5}, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := New(clock.System)
				add(table, c.addrs, c.micros...)
				got := next(table, 10)
				if fmt.Sprint(got) != c.want {
					t.Errorf("%v, not %s", got, c.want)
				}
				r := fleet.Report{Format: 1, Node: "fra", State: fleet.Ready, RTT: got}
				if err := r.Validate(); err != nil {
					t.Error(err)
				}
				if got := next(table, 10); len(got) != 0 {
					t.Errorf("told twice: %v", got)
				}
			})
		})
	}
	New(clock.System).Add(netip.Addr{}, 5)
}

// All networks have their turn, in parts, each once.
func TestTableRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(clock.System)
		for i := range 1000 {
			add(table, fmt.Sprintf("10.%d.%d.1", i/256, i%256), 1, 2, 3)
		}
		seen := map[netip.Prefix]int{}
		for range 16 {
			part := next(table, fleet.MaxRTT)
			if len(part) > fleet.MaxRTT {
				t.Fatalf("%d", len(part))
			}
			for _, s := range part {
				seen[s.Prefix]++
			}
			if early := table.Take(fleet.MaxRTT); early != nil {
				t.Fatal("a part that is not due")
			}
		}
		held := int(table.Stats().Networks)
		if len(seen) != held || held < 900 {
			t.Errorf("told of %d of %d", len(seen), held)
		}
		for p, n := range seen {
			if n != 1 {
				t.Errorf("%v told %d times", p, n)
			}
		}
	})
}

// A flood of networks that come once does not displace those that come often, until those come no more.
func TestTableKeepsWhoComesOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(clock.System)
		regular := func() {
			for i := range 500 {
				add(table, fmt.Sprintf("10.0.%d.1", i%250), 1, 2, 3, 4)
			}
		}
		flood := func(n int) {
			for range n {
				table.Add(netip.AddrFrom4([4]byte{100, byte(rand.N(256)), byte(rand.N(256)), 1}), 9)
			}
		}
		regulars := func() (n int) {
			for i := range table.sets {
				for _, e := range table.sets[i].ways {
					if e.key != 0 && prefixOf(e.key).Addr().As4()[0] == 10 {
						n++
					}
				}
			}
			return n
		}
		regular()
		flood(100_000)
		if n := regulars(); n < 245 { // a set with more than seven of them has lost some
			t.Errorf("%d of 250 are left", n)
		}
		s := table.Stats()
		if s.Networks > Size || s.Networks < Size*9/10 || s.Evicted == 0 || s.Added != 102_000 {
			t.Errorf("%+v", s)
		}
		time.Sleep(5 * halfLife)
		flood(200_000)
		if n := regulars(); n > 10 {
			t.Errorf("%d have not come for long and are still there", n)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	table := New(clock.System)
	addrs := make([]netip.Addr, 1<<14)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Add(addrs[i%len(addrs)], 1000)
	}
}

func BenchmarkTake(b *testing.B) {
	table := New(stands{})
	for i := range Size {
		add(table, fmt.Sprintf("10.%d.%d.1", i>>8, i&255), 1)
	}
	for b.Loop() {
		table.taken = time.Time{}
		table.Take(fleet.MaxRTT)
	}
}

// stands is a clock that stands.
type stands struct{ clock.Clock }

func (stands) Now() time.Time { return time.Unix(1e9, 0) }

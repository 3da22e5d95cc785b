package geo

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func TestSubnetsRefuses(t *testing.T) {
	for _, x := range []struct{ prefixes, want string }{
		{"192.0.2.1/24", "did you mean 192.0.2.0/24"},
		{"10.0.0.0/8 10.0.0.0/8", "listed twice"},
		{"2001:db8::/65", "longer than /64"},
		{"::ffff:10.0.0.0/104", "not valid"},
	} {
		var ps []netip.Prefix
		for _, s := range strings.Fields(x.prefixes) {
			ps = append(ps, netip.MustParsePrefix(s))
		}
		if _, err := Subnets(ps); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.prefixes, err, x.want)
		}
	}
}

// TestSubnetsAndOverlay compares with the plain reading: the longest prefix that contains the address counts.
func TestSubnetsAndOverlay(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 30 {
		seen := map[netip.Prefix]bool{}
		random := func() []netip.Prefix {
			clear(seen)
			var ps []netip.Prefix
			for range rng.IntN(40) {
				a, bits := netip.AddrFrom4([4]byte{byte(rng.IntN(4) * 85), byte(rng.IntN(3)), byte(rng.IntN(3)), byte(rng.IntN(256))}), rng.IntN(33)
				if rng.IntN(2) == 0 {
					a, bits = netip.AddrFrom16([16]byte{byte(rng.IntN(2) * 255), byte(rng.IntN(3)), 7: byte(rng.IntN(3))}), rng.IntN(65)
				}
				if p, _ := a.Prefix(bits); !seen[p] {
					seen[p] = true
					ps = append(ps, p)
				}
			}
			return ps
		}
		one, two := random(), random()
		a, err := Subnets(one)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Subnets(two)
		if err != nil {
			t.Fatal(err)
		}
		both := a.Overlay(b, func(n, m int) uint32 { return uint32(n*1000 + m) })
		longest := func(ps []netip.Prefix, a netip.Addr) (n int) {
			bits := -1
			for i, p := range ps {
				if p.Contains(a) && p.Bits() > bits {
					n, bits = i+1, p.Bits()
				}
			}
			return n
		}
		for range 500 {
			x := netip.AddrFrom4([4]byte{byte(rng.IntN(4) * 85), byte(rng.IntN(3)), byte(rng.IntN(3)), byte(rng.IntN(256))})
			if rng.IntN(2) == 0 {
				x = netip.AddrFrom16([16]byte{byte(rng.IntN(2) * 255), byte(rng.IntN(3)), 7: byte(rng.IntN(3))})
			}
			want := longest(one, x)
			n, p := a.Find(x)
			if n != want || !p.Contains(x) {
				t.Fatalf("%v of %v: run %d in %v, want %d", x, one, n, p, want)
			}
			if m, _ := both.Find(x); m != want*1000+longest(two, x) {
				t.Fatalf("%v of %v over %v: %d", x, two, one, m)
			}
		}
		var v4, v6 float64
		Walk(func(s Stretch) {
			if s.IPv6 {
				v6 += s.Size
			} else {
				v4 += s.Size
			}
		}, a, b, both)
		if v4 != 1<<32 || math.Abs(v6/math.Pow(2, 64)-1) > 1e-9 {
			t.Fatalf("the stretches hold %v and %v", v4, v6)
		}
	}
}

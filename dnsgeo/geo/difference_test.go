package geo

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"perigee/dnsgeo/geo/geotest"
)

func writeTemp(t testing.TB, data []byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "*.mmdb")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func open(t testing.TB, r geotest.Records) *DB {
	t.Helper()
	db, err := Open(geotest.Write(t, "GeoLite2-City", r))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

func TestSpaces(t *testing.T) {
	s := newSpaces()
	if want := uint64(1<<32 - 3<<24 - 1<<22 - 1<<16 - 1<<20 - 3<<8 - 1<<16 - 1<<17 - 2<<8 - 1<<29); s.v4.total != want {
		t.Errorf("%d unicast addresses, want %d", s.v4.total, want)
	}
	if want := uint64(1<<61 - 1<<36 - 1<<32 - 1<<48 - 1<<44); s.v6.total != want {
		t.Errorf("%d unicast networks, want %d", s.v6.total, want)
	}
	if n := s.v4.size(0, 1<<32-1); n != s.v4.total {
		t.Errorf("the whole of IPv4: %d", n)
	}
	if n := s.v6.size(0, 1<<64-1); n != s.v6.total {
		t.Errorf("the whole of IPv6: %d", n)
	}
	for text, want := range map[string]uint64{"10.0.0.0/8": 0, "10.1.2.3/32": 0, "8.0.0.0/6": 3 << 24, "81.2.69.0/24": 256, "255.255.255.255/32": 0} {
		if first, last := keysOf(netip.MustParsePrefix(text)); s.v4.size(first, last) != want {
			t.Errorf("%s: %d, want %d", text, s.v4.size(first, last), want)
		}
	}
	for _, list := range [][][2]uint64{s.v4.reserved, s.v6.reserved} {
		for i := 1; i < len(list); i++ {
			if list[i][0] <= list[i-1][1] {
				t.Errorf("block %d begins before the one before it ends", i)
			}
		}
	}
}

func TestCoverage(t *testing.T) {
	s := newSpaces()
	db := open(t, geotest.Records{"8.0.0.0/6": nested("US", "", 40, -90), "2001::/16": nested("DE", "", 50, 8), "fc00::/7": nested("DE", "", 50, 8)})
	if c := db.Passport().Coverage; !near(c.IPv4, float64(3<<24)/float64(s.v4.total)) || !near(c.IPv6, float64(1<<48-1<<36-1<<32)/float64(s.v6.total)) {
		t.Errorf("%+v", c)
	}
	all := open(t, geotest.Records{"::/0": nested("US", "", 40, -90), "0.0.0.0/0": nested("US", "", 40, -90)})
	if c := all.Passport().Coverage; c.IPv4 != 1 || c.IPv6 != 1 {
		t.Errorf("a database that knows everything: %+v", c)
	}
	if c := embedded(t).Passport().Coverage; c.IPv4 < 0.9 || c.IPv4 > 1 || c.IPv6 <= 0 || c.IPv6 > 1 {
		t.Errorf("the table in the binary: %+v", c)
	}
}

func TestDiff(t *testing.T) {
	berlin, potsdam, tokyo := nested("DE", "Berlin", 52.5, 13.4), nested("DE", "Potsdam", 52.4, 13.06), nested("JP", "Tokyo", 35.7, 139.7)
	old := open(t, geotest.Records{
		"20.0.0.0/8": berlin, "21.0.0.0/8": berlin, "22.0.0.0/8": berlin, "23.0.0.0/8": berlin, "10.0.0.0/8": berlin, "2a00::/16": berlin, "2a01::/16": berlin})
	next := open(t, geotest.Records{
		"20.0.0.0/8": berlin, "21.0.0.0/8": potsdam, "22.0.0.0/9": tokyo, "22.128.0.0/9": berlin, "24.0.0.0/8": tokyo, "10.0.0.0/8": tokyo,
		"2a00::/16": tokyo, "2a01::/16": berlin})
	s := newSpaces()
	eight, sixteen := float64(1<<24)/float64(s.v4.total), float64(1<<48)/float64(s.v6.total)
	d := Diff(old, next, 100, 10)
	if v := d.IPv4; !near(v.Before, 4*eight) || !near(v.After, 4*eight) || !near(v.Gained, eight) || !near(v.Lost, eight) || !near(v.Moved, eight/2) || !near(v.Country, eight/2) {
		t.Errorf("IPv4: %+v", v)
	}
	if v := d.IPv6; !near(v.Moved, sixteen) || !near(v.Country, sixteen) || v.Gained != 0 || v.Lost != 0 {
		t.Errorf("IPv6: %+v", v)
	}
	if len(d.Largest) != 2 {
		t.Fatalf("%+v", d.Largest)
	}
	if m := d.Largest[0]; m.First.String() != "22.0.0.0" || m.Last.String() != "22.127.255.255" || m.From.City != "Berlin" || m.To.City != "Tokyo" || m.Kilometres < 8800 || m.Kilometres > 9000 {
		t.Errorf("%+v", m)
	}
	if m := d.Largest[1]; m.First.String() != "2a00::" || m.Last.String() != "2a00:ffff:ffff:ffff:ffff:ffff:ffff:ffff" {
		t.Errorf("%+v", m)
	}
	if d = Diff(old, next, 10, 1); !near(d.IPv4.Moved, eight*3/2) || !near(d.IPv4.Country, eight/2) || len(d.Largest) != 1 || d.Largest[0].To.City != "Potsdam" {
		t.Errorf("with a limit of 10 km: %+v", d)
	}
	if d = Diff(old, old, 0, 10); d.IPv4.Moved != 0 || d.IPv6.Lost != 0 || len(d.Largest) != 0 {
		t.Errorf("with itself: %+v", d)
	}
}

// TestOverlay: the segments of two axes cover all keys, and carry what both carry there.
func TestOverlay(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	build := func() (plan, *axis[uint16]) {
		p, x := randomPlan(rng), new(axis[uint16])
		for i, first := range p.first {
			end := uint64(1<<32 - 1)
			if i+1 < len(p.first) {
				end = p.first[i+1] - 1
			}
			if err := x.extend(first, end, p.number[i]); err != nil {
				t.Fatal(err)
			}
		}
		x.finish()
		return p, x
	}
	for range 20 {
		p, x := build()
		q, y := build()
		var next uint64
		for s := range overlay(x, y) {
			if s.first != next || s.last < s.first {
				t.Fatalf("segment %+v behind key %d", s, next)
			}
			next = s.last + 1
			for _, key := range []uint64{s.first, s.last} {
				a, _, _ := p.at(key)
				b, _, _ := q.at(key)
				if a != s.a || b != s.b {
					t.Fatalf("%+v at %d: want %d and %d", s, key, a, b)
				}
			}
		}
		if next != 1<<32 {
			t.Fatalf("the segments end at %d", next)
		}
	}
}

package latency_test

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/clock"
	"perigee/fleet"
	"perigee/fleet/latency"
)

var (
	london = place{51.5, -0.1}
	boston = place{42.4, -71.1}
)

type place struct{ lat, lon float64 }

// locate knows 10.a.b.0/24 as degrees, and 192.0.2.0/24 and 198.51.100.0/24 as London and Boston.
func locate(a netip.Addr) (lat, lon float64, known bool) {
	b := a.As4()
	switch b[0] {
	case 10:
		return float64(b[1]) - 90, float64(b[2]) - 180, true
	case 192:
		return london.lat, london.lon, true
	case 198:
		return boston.lat, boston.lon, true
	}
	return 0, 0, false
}

// fleetOf is three edges, of which the named ones are down.
func fleetOf(down string) func() *fleet.Snapshot {
	s := &fleet.Snapshot{}
	for _, e := range []struct {
		name string
		at   place
	}{{"fra", place{50.11, 8.68}}, {"nyc", place{40.71, -74.01}}, {"sin", place{1.35, 103.82}}} {
		s.Nodes = append(s.Nodes, fleet.Node{Down: strings.Contains(down, e.name), Report: fleet.Report{
			Node: e.name, Role: fleet.RoleEdge, State: fleet.Ready, Place: fleet.Place{Lat: e.at.lat, Lon: e.at.lon}}})
	}
	return func() *fleet.Snapshot { return s }
}

func report(edge string, samples ...fleet.PrefixRTT) *fleet.Report {
	return &fleet.Report{Format: 1, Node: edge, Role: fleet.RoleEdge, State: fleet.Ready, RTT: samples}
}

func trip(prefix string, ms int, n uint16) fleet.PrefixRTT {
	return fleet.PrefixRTT{Prefix: netip.MustParsePrefix(prefix), Micros: uint32(ms) * 1000, N: n}
}

func TestTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := latency.New(latency.Config{Clock: clock.System, Locate: locate, Fleet: fleetOf("")})
		a.Hear(report("fra", trip("192.0.2.0/24", 20, 10), trip("198.51.100.0/24", 90, 3), trip("203.0.113.0/24", 1, 99)))
		a.Hear(report("fra", trip("192.0.2.0/24", 500, 4), trip("192.0.2.0/24", 30, 7)))
		a.Hear(report("nyc", trip("198.51.100.0/24", 8, 5)))
		api := report("api", trip("198.51.100.0/24", 8, 5))
		api.Role = fleet.RoleAPI
		a.Hear(api)
		show := func() string {
			var parts []string
			for _, s := range a.Table() {
				lat, lon := s.Cell.Centre()
				parts = append(parts, fmt.Sprintf("%.2f,%.2f %s %v %d", lat, lon, s.Edge, s.RTT, s.Samples))
			}
			return strings.Join(parts, "; ")
		}
		// 10 connections of 20 ms, 7 of 30 ms and 4 of 500 ms: the eleventh of 21 had 30.
		if got, want := show(), "42.38,-71.12 fra 90ms 3; 42.38,-71.12 nyc 8ms 5; 51.62,-0.12 fra 30ms 21"; got != want {
			t.Errorf("%s, not %s", got, want)
		}
		time.Sleep(2 * latency.HalfLife)
		a.Hear(report("nyc", trip("198.51.100.0/24", 10, 8)))
		if got, want := show(), "42.38,-71.12 nyc 10ms 9; 51.62,-0.12 fra 30ms 5"; got != want {
			t.Errorf("after two half-lives: %s, not %s", got, want)
		}
		time.Sleep(20 * latency.HalfLife)
		if got := show(); got != "" {
			t.Errorf("not forgotten: %s", got)
		}
	})
}

func TestCells(t *testing.T) {
	for _, p := range []place{{-90, -180}, {90, 180}, {0, 0}, {89.99, 179.99}, {50.11, 8.68}, {-0.01, -0.01}} {
		c := latency.CellOf(p.lat, p.lon)
		lat, lon := c.Centre()
		if math.Abs(lat-p.lat) > 0.1251 || math.Abs(lon-p.lon) > 0.1251 || latency.CellOf(lat, lon) != c {
			t.Errorf("%v is in %v around %v, %v", p, c, lat, lon)
		}
	}
}

// The bound holds, and pairs that many connections stand behind outlive a flood of others.
func TestPairsAreBounded(t *testing.T) {
	a := latency.New(latency.Config{Clock: clock.System, Locate: locate, Fleet: fleetOf(""), Pairs: 1000})
	for i := range 100 {
		a.Hear(report("fra", trip(fmt.Sprintf("10.50.%d.0/24", i), 20, 50)))
	}
	for i := range 20_000 {
		a.Hear(report("nyc", trip(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), 20, 3)))
		if i%100 == 0 {
			if n := len(a.Table()); n > 1000 {
				t.Fatalf("%d pairs", n)
			}
		}
	}
	left := 0
	for _, s := range a.Table() {
		if s.Edge == "fra" {
			left++
		}
	}
	if left != 100 {
		t.Errorf("%d of 100 are left", left)
	}
}

func TestSteeringError(t *testing.T) {
	for _, c := range []struct {
		name, down, edge, prefix string
		km                       float64
	}{
		{"the nearest", "", "fra", "192.0.2.0/24", 0},
		{"one over the ocean", "", "nyc", "192.0.2.0/24", 4933},
		{"the nearest that is fit", "fra", "nyc", "192.0.2.0/24", 0},
		{"one that is not fit any more", "fra", "fra", "192.0.2.0/24", 0},
		{"half the Earth", "", "sin", "198.51.100.0/24", 14837},
	} {
		a := latency.New(latency.Config{Clock: clock.System, Locate: locate, Fleet: fleetOf(c.down)})
		a.Hear(report(c.edge, trip(c.prefix, 20, 3)))
		e := a.Errors()
		if e.Connections != 3 || math.Abs(e.KM/3-c.km) > 20 {
			t.Errorf("%s: %+v, not %v km", c.name, e, c.km)
		}
	}
	a := latency.New(latency.Config{Clock: clock.System, Locate: locate, Fleet: fleetOf("")})
	a.Hear(report("fra", trip("192.0.2.0/24", 20, 3), trip("203.0.113.0/24", 1, 9)))
	a.Hear(report("nyc", trip("192.0.2.0/24", 90, 4)))
	a.Hear(report("new", trip("192.0.2.0/24", 90, 4))) // whose first report the board has not got yet
	reg := prometheus.NewPedanticRegistry()
	latency.RegisterMetrics(reg, a)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			for _, b := range m.GetHistogram().GetBucket() {
				got[fmt.Sprint(name, " ", b.GetUpperBound())] = float64(b.GetCumulativeCount())
			}
		}
	}
	for name, want := range map[string]float64{
		"perigee_latency_networks_total known": 3, "perigee_latency_networks_total unknown": 1, "perigee_latency_pairs": 3,
		"perigee_steering_error_km": 7, "perigee_steering_error_km 25": 3, "perigee_steering_error_km 2500": 3, "perigee_steering_error_km 5000": 7,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
}

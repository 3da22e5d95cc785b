package health_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/clock"
	"perigee/fleet"
	"perigee/fleet/health"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "e1 e2 e3 d1 api")
		reg := prometheus.NewPedanticRegistry()
		health.RegisterMetrics(reg, w.members["d1"].prober)
		health.RegisterFleet(reg, w.members["d1"].board.Snapshot)
		check := func(want map[string]float64) {
			t.Helper()
			got := map[string]float64{}
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					name := f.GetName()
					for _, l := range m.GetLabel() {
						name += " " + l.GetValue()
					}
					got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
			for name, v := range want {
				if g, ok := got[name]; (!ok || g != v) && v >= 0 || ok && v < 0 {
					t.Errorf("%s is %v (%v), not %v", name, g, ok, v)
				}
			}
		}
		w.set(w.dead, true, "e2")
		time.Sleep(5 * time.Second)
		check(map[string]float64{
			"perigee_probe_up e1": 1, "perigee_probe_up e2": 0, "perigee_probe_blind": 0, "perigee_fleet_edges fit": 2, "perigee_fleet_edges unreachable": 1,
			"perigee_fleet_frozen blind": 0, "perigee_fleet_frozen_since_seconds": 0, "perigee_probe_failures_total timeout": -1,
		})
		w.set(w.lost, true, "d1")
		time.Sleep(5 * time.Second)
		check(map[string]float64{
			"perigee_probe_up e1": -1, "perigee_probe_blind": 1, "perigee_fleet_edges fit": 2, "perigee_fleet_edges unreachable": 1, "perigee_fleet_frozen blind": 1,
			"perigee_fleet_frozen deaf": 0, "perigee_fleet_frozen_since_seconds": float64(w.members["d1"].board.Snapshot().Frozen.Since.UnixMilli()) / 1000,
		})
	})
}

// A prober of a large fleet asks as many edges as a report has room for, probers share the fleet, and an edge does not ask those beside it.
func TestWhoIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fleet.Snapshot{}
		here, there := fleet.Place{Name: "here", Lat: 1}, fleet.Place{Name: "there", Lat: 2}
		for i := range 150 {
			r := fleet.Report{Format: 1, Node: fmt.Sprintf("e%03d", i), Role: fleet.RoleEdge, State: fleet.Ready,
				Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80")}}
			if r.Place = there; i%10 == 0 {
				r.Place = here
			}
			s.Nodes = append(s.Nodes, fleet.Node{Report: r})
		}
		asked := map[string]map[string]bool{}
		for _, self := range []string{"d1", "d2", "d3", "d4", "d5", "d6"} {
			p := health.New(health.Config{Self: self, Place: here, Clock: clock.System, Fleet: func() *fleet.Snapshot { return s },
				Check: func(context.Context, *fleet.Node) error { return nil }})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- p.Run(ctx) }()
			time.Sleep(5 * time.Second)
			var r fleet.Report
			p.Fill(&r)
			cancel()
			<-done
			if len(r.Probes) != fleet.MaxProbes {
				t.Errorf("%s asks %d", self, len(r.Probes))
			}
			for name := range r.Probes {
				if s.Find(name).Place == here {
					t.Errorf("asked %s, which is beside", name)
				}
				if asked[name] == nil {
					asked[name] = map[string]bool{}
				}
				asked[name][self] = true
			}
		}
		if len(asked) < 130 { // each of the 135 is left out by all with a chance of 2 in 100
			t.Errorf("only %d are asked by anybody", len(asked))
		}
	})
}

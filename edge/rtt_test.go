package edge

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/edge/cache/cachetest"
	"perigee/edge/rtt"
	"perigee/fleet"
	"perigee/fleet/health"
)

// What a prober asks needs no site, and is answered only by an edge that knows what it serves.
func TestEdgeAnswersProbes(t *testing.T) {
	s := newStation(t)
	s.o.PutSite(cachetest.Site("www", "www.example"))
	check := health.NewHTTP("", "").Check
	probe := func(name string) string {
		err := check(t.Context(), &fleet.Node{Report: fleet.Report{Node: name, Addrs: []netip.AddrPort{netip.MustParseAddrPort(s.w.addr)}}})
		var f *health.Failure
		if errors.As(err, &f) {
			return f.Word
		}
		if err != nil {
			t.Error(err)
		}
		return ""
	}
	s.o.SetDown(errors.New("no bucket"))
	s.start(nil)
	s.await("starting", state(fleet.Starting))
	if got := probe("fra"); got != health.WordBadAnswer {
		t.Errorf("an edge that knows no sites: %q", got)
	}
	s.o.SetDown(nil)
	s.await("ready", state(fleet.Ready))
	if got := probe("fra"); got != "" {
		t.Errorf("an edge that serves: %q", got)
	}
	if got := probe("nyc"); got != health.WordWrongNode {
		t.Errorf("another edge at the address: %q", got)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if got := probe("fra"); got != health.WordRefused {
		t.Errorf("an edge that is gone: %q", got)
	}
}

// Round trips of clients get into the reports, whichever way their requests went, and only if that is wanted.
func TestRoundTripsAreReported(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells round trips")
	}
	for _, on := range []bool{true, false} {
		s := newStation(t)
		s.o.PutSite(cachetest.Site("www", "www.example"))
		s.o.Publish("www", "/file", 1, make([]byte, 4096))
		s.measureRTT = on
		reg := prometheus.NewRegistry()
		s.startWith(nil, func(n *Node) { n.Measure(NewMetrics(reg, n.Engine())) })
		s.await("ready", state(fleet.Ready))
		for range rtt.MinReport {
			s.w.ask("GET", "/absent") // too little to count
			s.w.ask("GET", "/file")
			s.w.ask("GET", "/file", "Expect: 100-continue") // net/http's
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if !on {
			s.stop()
			for _, r := range s.reports {
				if len(r.RTT) != 0 {
					t.Errorf("reported %v", r.RTT)
				}
			}
			for _, f := range families {
				if f.GetName() == "perigee_edge_rtt_networks" {
					t.Error("there is a metric of what is not measured")
				}
			}
			continue
		}
		var told []fleet.PrefixRTT
		s.await("a round trip", func(*fleet.Report) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, r := range s.reports { // it is in one alone, which need not be the last
				told = append(told, r.RTT...)
			}
			return len(told) > 0
		})
		if p := told[0]; p.Prefix != netip.MustParsePrefix("127.0.0.0/24") || p.Micros == 0 || p.N > 2*rtt.MinReport {
			t.Errorf("reported %v", told)
		}
	}
}

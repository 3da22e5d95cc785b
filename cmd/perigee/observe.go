package main

import (
	"context"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/config"
	"perigee/dnsgeo/geo"
	"perigee/fleet"
	"perigee/fleet/bus"
	"perigee/fleet/health"
	"perigee/fleet/latency"
)

// prober makes, and starts, a prober of a node. changed makes the node report.
func (r *role) prober(self string, place fleet.Place, m *member, blind func(bool), changed func(), reg prometheus.Registerer) *health.Prober {
	c := r.cfg.Probe
	p := health.New(health.Config{
		Self: self, Place: place, Fleet: m.board.Snapshot, Check: health.NewHTTP(c.Path, c.Host).Check, Every: c.Every.Std(), Timeout: c.Timeout.Std(),
		Down: c.Down, Up: c.Up, Clock: r.clock, Log: r.log.With("node", self), Blind: blind, Changed: changed,
	})
	health.RegisterMetrics(reg, p)
	r.start("probes of "+self, p.Run)
	return p
}

// reportDNS reports a DNS server, with what its prober finds.
func (r *role) reportDNS(name string, m *member, reg prometheus.Registerer) {
	observed := func(*fleet.Report) {}
	rep := fleet.NewReporter(r.clock, r.log, func(rep *fleet.Report) {
		rep.Node, rep.Role, rep.State, rep.Version = name, fleet.RoleDNS, fleet.Ready, version()
		observed(rep)
	}, m.bus.PublishReport)
	if r.cfg.Probe.DNS {
		observed = r.prober(name, fleet.Place{}, m, m.board.Blind, rep.Kick, reg).Fill
	}
	r.start("reports of "+name, rep.Run)
}

// addUpLatency adds up the round trips that edges report.
func (r *role) addUpLatency(m *member, places *geo.Holder, reg prometheus.Registerer) (*latency.Aggregator, error) {
	locate := func(a netip.Addr) (lat, lon float64, known bool) {
		p, _ := places.Current().Lookup(a)
		return p.Lat, p.Lon, p.Known
	}
	a := latency.New(latency.Config{Clock: r.clock, Locate: locate, Fleet: m.board.Snapshot})
	latency.RegisterMetrics(reg, a)
	health.RegisterFleet(reg, m.board.Snapshot)
	stop, err := m.bus.SubscribeReports(a.Hear)
	if err != nil {
		return nil, err
	}
	r.onStop("round trips", func() error { stop(); return nil })
	return a, nil
}

// joinAsEdge connects an edge that is a process of its own. It follows the fleet only if it is to probe the others.
func (r *role) joinAsEdge(ctx context.Context, e config.Edge) (*bus.Client, *member, error) {
	if !r.cfg.Probe.Edges {
		c, err := r.connectBus(ctx, e.Name, asNode, nil, nil)
		return c, nil, err
	}
	m, err := r.joinFleet(ctx, e.Name, asNode, nil, "")
	if err != nil {
		return nil, nil, err
	}
	return m.bus, m, nil
}

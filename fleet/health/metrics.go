package health

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/fleet"
)

// metrics shows a Prober.
type metrics struct {
	p                        *Prober
	asked, failed, up, blind *prometheus.Desc
}

// RegisterMetrics registers the figures of p in reg.
func RegisterMetrics(reg prometheus.Registerer, p *Prober) {
	reg.MustRegister(&metrics{
		p:      p,
		asked:  prometheus.NewDesc("perigee_probes_total", "Probes of edges begun.", nil, nil),
		failed: prometheus.NewDesc("perigee_probe_failures_total", "Probes that failed, by the word for it.", []string{"failure"}, nil),
		up:     prometheus.NewDesc("perigee_probe_up", "This node's verdict of an edge: 1 if it serves. None while there is no verdict, or the prober is blind.", []string{"edge"}, nil),
		blind:  prometheus.NewDesc("perigee_probe_blind", "1 while no edge answers and this node takes its own network for broken.", nil, nil),
	})
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.asked
	ch <- m.failed
	ch <- m.up
	ch <- m.blind
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.p.mu.Lock()
	failed := maps.Clone(m.p.failed)
	m.p.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(m.asked, prometheus.CounterValue, float64(m.p.asked.Load()))
	for word, n := range failed {
		ch <- prometheus.MustNewConstMetric(m.failed, prometheus.CounterValue, float64(n), word)
	}
	v := m.p.view.Load()
	ch <- prometheus.MustNewConstMetric(m.blind, prometheus.GaugeValue, number(v.blind))
	if v.blind {
		return
	}
	for edge, s := range v.verdicts {
		ch <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, number(s.up), edge)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// board shows a fleet as one node sees it.
type board struct {
	snapshot             func() *fleet.Snapshot
	edges, frozen, since *prometheus.Desc
}

// RegisterFleet registers figures of the fleet as a node sees it in reg.
func RegisterFleet(reg prometheus.Registerer, snapshot func() *fleet.Snapshot) {
	reg.MustRegister(&board{
		snapshot: snapshot,
		edges:    prometheus.NewDesc("perigee_fleet_edges", "Edges by why they take no new clients; fit if they do.", []string{"state"}, nil),
		frozen:   prometheus.NewDesc("perigee_fleet_frozen", "1 while the view of the fleet is frozen, by why: no-bus, deaf, blind.", []string{"why"}, nil),
		since:    prometheus.NewDesc("perigee_fleet_frozen_since_seconds", "Unix time since which the view is frozen; 0 when it is not.", nil, nil),
	})
}

// Describe implements prometheus.Collector.
func (b *board) Describe(ch chan<- *prometheus.Desc) {
	ch <- b.edges
	ch <- b.frozen
	ch <- b.since
}

// Collect implements prometheus.Collector.
func (b *board) Collect(ch chan<- prometheus.Metric) {
	s := b.snapshot()
	count := map[fleet.Unfit]int{"": 0, fleet.UnfitDown: 0, fleet.UnfitDraining: 0, fleet.UnfitStarting: 0, fleet.UnfitUnreachable: 0, fleet.UnfitFlapping: 0}
	for n := range s.Edges {
		count[n.Why()]++
	}
	for why, n := range count {
		if why == "" {
			why = "fit"
		}
		ch <- prometheus.MustNewConstMetric(b.edges, prometheus.GaugeValue, float64(n), string(why))
	}
	since := 0.0
	if s.Frozen != nil {
		since = float64(s.Frozen.Since.UnixMilli()) / 1000
	}
	for _, why := range []fleet.FreezeReason{fleet.FrozenNoBus, fleet.FrozenDeaf, fleet.FrozenBlind} {
		ch <- prometheus.MustNewConstMetric(b.frozen, prometheus.GaugeValue, number(s.Frozen != nil && s.Frozen.Why == why), string(why))
	}
	ch <- prometheus.MustNewConstMetric(b.since, prometheus.GaugeValue, since)
}

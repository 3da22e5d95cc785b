package catalog

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the Prometheus metrics of a catalogue, collected when they are asked for.
type Metrics struct {
	catalog *Catalog
	reads   *prometheus.Desc
	lag     *prometheus.Desc
	fit     *prometheus.Desc
	lookups *prometheus.Desc
	kept    *prometheus.Desc
	forgot  *prometheus.Desc
}

// NewMetrics makes the metrics of c and registers them in reg.
func NewMetrics(reg prometheus.Registerer, c *Catalog) *Metrics {
	m := &Metrics{
		catalog: c,
		reads: prometheus.NewDesc("perigee_catalog_reads_total",
			"Reads that a replica may answer, by what became of them: replica, or at the primary because no replica was fit (unfit), it was behind the reader (behind), did not have it (missing) or did not answer (failed).",
			[]string{"catalogue", "answer"}, nil),
		lag:     prometheus.NewDesc("perigee_catalog_replica_lag_seconds", "For how long the primary has had something that the replica lacks.", []string{"replica"}, nil),
		fit:     prometheus.NewDesc("perigee_catalog_replica_fit", "1 if reads go to the replica.", []string{"replica"}, nil),
		lookups: prometheus.NewDesc("perigee_catalog_lookups_total", "Look-ups that may be answered from memory, by result.", []string{"result"}, nil),
		kept:    prometheus.NewDesc("perigee_catalog_lookups_kept", "Site records and files that are kept in memory.", nil, nil),
		forgot:  prometheus.NewDesc("perigee_catalog_lookups_forgotten_total", "Kept site records and files that the log told to have changed.", nil, nil),
	}
	reg.MustRegister(m)
	return m
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.reads, m.lag, m.fit, m.lookups, m.kept, m.forgot} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for _, member := range m.catalog.members {
		s := member.opened()
		if s == nil || s.replicas == nil || len(s.replicas.all) == 0 {
			continue
		}
		n := s.replicas.counts()
		count(m.reads, n.Replica, s.id, "replica")
		count(m.reads, n.Unfit, s.id, "unfit")
		count(m.reads, n.Behind, s.id, "behind")
		count(m.reads, n.Missing, s.id, "missing")
		count(m.reads, n.Failed, s.id, "failed")
		for _, r := range s.replicas.all {
			fit := 0.0
			if r.fit.Load() {
				fit = 1
			}
			ch <- prometheus.MustNewConstMetric(m.fit, prometheus.GaugeValue, fit, r.name)
			ch <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, float64(r.lag.Load())/1e9, r.name)
		}
	}
	if m.catalog.lookups == nil {
		return
	}
	n := m.catalog.LookupCounts()
	count(m.lookups, n.Hits, "hit")
	count(m.lookups, n.Misses, "miss")
	count(m.forgot, n.Forgotten)
	ch <- prometheus.MustNewConstMetric(m.kept, prometheus.GaugeValue, float64(n.Entries))
}

// ReadCounts adds up what became of the reads of all servers.
func (c *Catalog) ReadCounts() ReadCounts {
	var sum ReadCounts
	for _, m := range c.members {
		s := m.opened()
		if s == nil || s.replicas == nil {
			continue
		}
		n := s.replicas.counts()
		sum.Replica += n.Replica
		sum.Unfit += n.Unfit
		sum.Behind += n.Behind
		sum.Missing += n.Missing
		sum.Failed += n.Failed
	}
	return sum
}

func (r *replicas) counts() ReadCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// LookupCounts returns what became of look-ups so far.
func (c *Catalog) LookupCounts() LookupCounts {
	l := c.lookups
	if l == nil {
		return LookupCounts{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.count
	n.Entries = len(l.entries)
	return n
}

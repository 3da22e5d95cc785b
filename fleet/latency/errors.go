package latency

import "github.com/prometheus/client_golang/prometheus"

// Bounds are the upper bounds of the steering error's histogram, in km. Up to 25 km is the accuracy of the cells.
var Bounds = [...]float64{25, 100, 250, 500, 1000, 2500, 5000, 10000}

// Errors is a histogram of the steering error: of connections by how many km farther than the nearest fit edge their edge was.
type Errors struct {
	Connections int64
	KM          float64            // the sum
	Within      [len(Bounds)]int64 // connections with at most Bounds[i]
}

func (e *Errors) add(km float64, n int64) {
	e.Connections += n
	e.KM += km * float64(n)
	for i, b := range Bounds {
		if km <= b {
			e.Within[i] += n
		}
	}
}

// Errors returns the histogram since the start.
func (a *Aggregator) Errors() Errors {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.errors
}

// metrics shows an Aggregator.
type metrics struct {
	a                       *Aggregator
	errors, pairs, networks *prometheus.Desc
}

// RegisterMetrics registers the figures of a in reg.
func RegisterMetrics(reg prometheus.Registerer, a *Aggregator) {
	reg.MustRegister(&metrics{
		a: a,
		errors: prometheus.NewDesc("perigee_steering_error_km",
			"How much farther than the nearest fit edge the edge was that clients connected to, by measured connections. Each process that steers counts all: do not add them.", nil, nil),
		pairs:    prometheus.NewDesc("perigee_latency_pairs", "Pairs of client cell and edge with a known round trip.", nil, nil),
		networks: prometheus.NewDesc("perigee_latency_networks_total", "Client networks in reports of edges, by whether their place is known.", []string{"place"}, nil),
	})
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.errors
	ch <- m.pairs
	ch <- m.networks
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.a.mu.Lock()
	e, pairs, heard, lost := m.a.errors, len(m.a.pairs), m.a.heard, m.a.lost
	m.a.mu.Unlock()
	buckets := make(map[float64]uint64, len(Bounds))
	for i, b := range Bounds {
		buckets[b] = uint64(e.Within[i])
	}
	ch <- prometheus.MustNewConstHistogram(m.errors, uint64(e.Connections), e.KM, buckets)
	ch <- prometheus.MustNewConstMetric(m.pairs, prometheus.GaugeValue, float64(pairs))
	ch <- prometheus.MustNewConstMetric(m.networks, prometheus.CounterValue, float64(heard-lost), "known")
	ch <- prometheus.MustNewConstMetric(m.networks, prometheus.CounterValue, float64(lost), "unknown")
}

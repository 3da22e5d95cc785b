package edge

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/edge/cache"
)

// Metrics are the Prometheus metrics of one edge.
type Metrics struct {
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them, with the engine's figures, in reg.
func NewMetrics(reg prometheus.Registerer, e *cache.Engine) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "perigee_edge_requests_total", Help: "Answers by status, cache outcome (RFC 9211 fwd, hit, or none if the cache was not asked) and reason.",
		}, []string{"status", "outcome", "reason"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "perigee_edge_sent_bytes_total", Help: "Bytes of bodies sent to clients, by cache outcome.",
		}, []string{"outcome"}),
	}
	reg.MustRegister(m.requests, m.bytes)
	registerEngine(reg, e)
	return m
}

func registerEngine(reg prometheus.Registerer, e *cache.Engine) {
	counter := func(name, help string, f func(cache.Stats) int64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "perigee_edge_" + name, Help: help},
			func() float64 { return float64(f(e.Stats())) }))
	}
	gauge := func(name, help string, f func(cache.Stats) int64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "perigee_edge_" + name, Help: help},
			func() float64 { return float64(f(e.Stats())) }))
	}
	counter("origin_bytes_total", "Bytes of blobs and hash trees read from the origin.", func(s cache.Stats) int64 { return s.OriginBytes })
	counter("origin_reads_total", "Blob reads begun at the origin.", func(s cache.Stats) int64 { return s.OriginReads })
	counter("pointer_reads_total", "Pointers read from the bucket.", func(s cache.Stats) int64 { return s.PointerReads })
	counter("disk_failures_total", "Fills that the cache disk failed; served without storing.", func(s cache.Stats) int64 { return s.DiskFailures })
	counter("healed_total", "Cached files found damaged and fetched again.", func(s cache.Stats) int64 { return s.Healed })
	counter("log_resets_total", "Breaks in the purge log, each a revalidation of everything.", func(s cache.Stats) int64 { return s.Resets })
	gauge("blobs", "Blobs on disk.", func(s cache.Stats) int64 { return s.Blobs })
	gauge("disk_bytes", "Bytes on disk, fills in progress included.", func(s cache.Stats) int64 { return s.DiskBytes })
	gauge("disk_limit_bytes", "Bytes on disk allowed.", func(s cache.Stats) int64 { return s.DiskLimit })
	gauge("ram_bytes", "Bytes of blobs in memory.", func(s cache.Stats) int64 { return s.RAMBytes })
	gauge("names", "Names remembered.", func(s cache.Stats) int64 { return int64(s.Names) })
	gauge("lease_seconds", "How long the last word of the purge log is still good.", func(cache.Stats) int64 { return int64(e.LeaseLeft().Seconds()) })
}

func (m *Metrics) count(x *exchange) {
	outcome := string(x.outcome.Fwd)
	switch {
	case x.remembered():
		outcome = "hit"
	case x.outcome.Hit():
		outcome = "none"
	}
	m.requests.WithLabelValues(strconv.Itoa(x.status), outcome, string(x.outcome.Reason)).Inc()
	m.bytes.WithLabelValues(outcome).Add(float64(x.sent))
}

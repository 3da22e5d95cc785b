package edge

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/edge/cache"
)

// Metrics are the Prometheus metrics of one edge. It collects what the node that it measures has counted, when it is
// asked: a request costs no more with metrics than without.
type Metrics struct {
	requests *prometheus.Desc
	bytes    *prometheus.Desc
	dropped  *prometheus.Desc
	measured *prometheus.Desc
	networks *prometheus.Desc
	evicted  *prometheus.Desc
	server   atomic.Pointer[Server] // nil before Measure
}

// NewMetrics makes the metrics and registers them, with the engine's figures, in reg.
func NewMetrics(reg prometheus.Registerer, e *cache.Engine) *Metrics {
	m := &Metrics{
		requests: prometheus.NewDesc("perigee_edge_requests_total",
			"Answers by status, cache outcome (RFC 9211 fwd, hit, or none if the cache was not asked) and reason.", []string{"status", "outcome", "reason"}, nil),
		bytes: prometheus.NewDesc("perigee_edge_sent_bytes_total", "Bytes of bodies sent to clients, by cache outcome.", []string{"outcome"}, nil),
		dropped: prometheus.NewDesc("perigee_edge_access_log_dropped_total",
			"Lines of the access log that were dropped because the disk was full or too slow.", nil, nil),
		measured: prometheus.NewDesc("perigee_edge_rtt_connections_total", "Client connections whose round trip was measured.", nil, nil),
		networks: prometheus.NewDesc("perigee_edge_rtt_networks", "Client networks whose round trip is known.", nil, nil),
		evicted:  prometheus.NewDesc("perigee_edge_rtt_evicted_total", "Client networks that were forgotten for others.", nil, nil),
	}
	reg.MustRegister(m)
	registerEngine(reg, e)
	return m
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.requests
	ch <- m.bytes
	ch <- m.dropped
	ch <- m.measured
	ch <- m.networks
	ch <- m.evicted
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.server.Load()
	if s == nil {
		return
	}
	t := s.tally.total()
	for w, n := range t.answers {
		ch <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(n), strconv.Itoa(w.status), w.outcome, w.reason)
	}
	for outcome, n := range t.bytes {
		ch <- prometheus.MustNewConstMetric(m.bytes, prometheus.CounterValue, float64(n), outcome)
	}
	if s.access != nil {
		ch <- prometheus.MustNewConstMetric(m.dropped, prometheus.CounterValue, float64(s.access.Dropped()))
	}
	if s.rtt != nil {
		r := s.rtt.Stats()
		ch <- prometheus.MustNewConstMetric(m.measured, prometheus.CounterValue, float64(r.Added))
		ch <- prometheus.MustNewConstMetric(m.networks, prometheus.GaugeValue, float64(r.Networks))
		ch <- prometheus.MustNewConstMetric(m.evicted, prometheus.CounterValue, float64(r.Evicted))
	}
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
	counter("disk_failures_total", "Records that the cache disk did not take or give; served without storing.", func(s cache.Stats) int64 { return s.DiskFailures })
	counter("healed_total", "Cached chunks found damaged and fetched again.", func(s cache.Stats) int64 { return s.Healed })
	counter("log_resets_total", "Breaks in the purge log, each a revalidation of everything.", func(s cache.Stats) int64 { return s.Resets })
	counter("damaged_total", "Records dropped because they were not what was written, by reads and by the scrubber.", func(s cache.Stats) int64 { return s.Store.Damaged })
	counter("scrubbed_bytes_total", "Bytes of chunks that the scrubber has checked.", func(s cache.Stats) int64 { return s.Store.Scrubbed })
	counter("written_bytes_total", "Bytes of records written, those written again by reclaims included.", func(s cache.Stats) int64 { return s.Store.Written })
	counter("relocated_bytes_total", "Bytes of records written again by reclaims.", func(s cache.Stats) int64 { return s.Store.Relocated })
	counter("reclaims_total", "Segments reclaimed.", func(s cache.Stats) int64 { return s.Store.Reclaims })
	counter("ram_evictions_total", "Prepared answers that gave way to others.", func(s cache.Stats) int64 { return int64(s.RAM.Evictions) })
	gauge("disk_failing", "1 while the cache disk takes no records and everything is passed through.", func(s cache.Stats) int64 {
		if s.Store.Failing {
			return 1
		}
		return 0
	})
	gauge("chunks", "Chunks of 1 MiB or less, and nodes of hash trees, on disk.", func(s cache.Stats) int64 { return s.Store.Bodies })
	gauge("names", "Names on disk.", func(s cache.Stats) int64 { return s.Store.Names })
	gauge("segments", "Segment files.", func(s cache.Stats) int64 { return s.Store.Segments })
	gauge("disk_bytes", "Bytes on disk, segments that are being written counted as full.", func(s cache.Stats) int64 { return s.Store.Bytes })
	gauge("disk_limit_bytes", "Bytes on disk allowed for records.", func(s cache.Stats) int64 { return s.Store.Limit })
	gauge("index_bytes", "Bytes of memory of the index of what is on disk.", func(s cache.Stats) int64 { return s.Store.IndexBytes })
	gauge("ram_bytes", "Bytes of memory of prepared answers.", func(s cache.Stats) int64 { return s.RAM.Bytes })
	gauge("ram_entries", "Prepared answers.", func(s cache.Stats) int64 { return s.RAM.Entries })
	gauge("lease_seconds", "How long the last word of the purge log is still good.", func(cache.Stats) int64 { return int64(e.LeaseLeft().Seconds()) })
}

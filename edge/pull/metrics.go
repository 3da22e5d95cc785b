package pull

import (
	"github.com/prometheus/client_golang/prometheus"

	"perigee/edge/cache/store"
)

// RegisterMetrics registers the figures of a cache and of its store in reg. They are read when somebody asks.
func RegisterMetrics(reg prometheus.Registerer, c *Cache, st *store.Store) {
	counter := func(name, help string, f func() int64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "perigee_pull_" + name, Help: help}, func() float64 { return float64(f()) }))
	}
	gauge := func(name, help string, f func() int64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "perigee_pull_" + name, Help: help}, func() float64 { return float64(f()) }))
	}
	counter("requests_total", "Requests.", func() int64 { return c.Stats().Requests })
	counter("hits_total", "Requests answered without asking the origin.", func() int64 { return c.Stats().Hits })
	counter("collapsed_total", "Requests answered by what another request had asked the origin for.", func() int64 { return c.Stats().Collapsed })
	counter("stale_total", "Answers with a stale response because the origin failed.", func() int64 { return c.Stats().Stale })
	counter("broken_total", "Transfers that were broken off.", func() int64 { return c.Stats().Broken })
	counter("origin_requests_total", "Requests to origins.", func() int64 { return c.Stats().OriginRequests })
	counter("origin_bytes_total", "Bytes of bodies read from origins for keeping.", func() int64 { return c.Stats().OriginBytes })
	counter("stored_total", "Responses that were kept, confirmed ones included.", func() int64 { return c.Stats().Stored })
	gauge("fills", "Bodies on their way from origins.", func() int64 { return int64(c.Stats().Fills) })
	gauge("disk_bytes", "Bytes on disk, segments that are being written counted as full.", func() int64 { return st.Stats().Bytes })
	gauge("disk_limit_bytes", "Bytes on disk allowed.", func() int64 { return st.Stats().Limit })
	gauge("index_bytes", "Bytes of memory of the index of what is on disk.", func() int64 { return st.Stats().IndexBytes })
	counter("damaged_total", "Records dropped because they were not what was written.", func() int64 { return st.Stats().Damaged })
	gauge("disk_failing", "1 while the disk takes no records and everything is passed through.", func() int64 {
		if st.Stats().Failing {
			return 1
		}
		return 0
	})
}

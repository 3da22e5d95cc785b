package update

import (
	"github.com/prometheus/client_golang/prometheus"

	"perigee/dnsgeo/geo"
)

// RegisterMetrics registers what there is to know of the geo data in use and, if u is not nil, of its updates.
func RegisterMetrics(reg prometheus.Registerer, h *geo.Holder, u *Updater) {
	counter := func(name, help string, labels prometheus.Labels, value func() uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "perigee_geo_" + name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value()) }))
	}
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "perigee_geo_" + name, Help: help, ConstLabels: labels}, value))
	}
	c := h.Counters()
	counter("swaps_total", "GeoIP databases put into use.", nil, c.Swaps.Load)
	counter("refused_total", "GeoIP databases not put into use.", nil, c.Refused.Load)
	counter("rollbacks_total", "GeoIP databases rolled back.", nil, c.Rollbacks.Load)
	gauge("built_timestamp_seconds", "When the publisher built the data in use.", nil, func() float64 { return float64(h.Current().Passport().Built.Unix()) })
	gauge("embedded", "1 while the table in the binary is in use.", nil, func() float64 {
		if h.Current().Passport().Embedded {
			return 1
		}
		return 0
	})
	gauge("networks", "Networks of the data in use.", nil, func() float64 { return float64(h.Current().Passport().Networks) })
	gauge("coverage_ratio", "Share of unicast addresses whose place is known.", prometheus.Labels{"family": "ipv4"}, func() float64 { return h.Current().Passport().Coverage.IPv4 })
	gauge("coverage_ratio", "Share of unicast addresses whose place is known.", prometheus.Labels{"family": "ipv6"}, func() float64 { return h.Current().Passport().Coverage.IPv6 })
	if u == nil {
		return
	}
	n := u.Counters()
	counter("updates_total", "Runs of the GeoIP update by result.", prometheus.Labels{"result": string(Updated)}, n.Updated.Load)
	counter("updates_total", "Runs of the GeoIP update by result.", prometheus.Labels{"result": string(Unchanged)}, n.Unchanged.Load)
	counter("updates_total", "Runs of the GeoIP update by result.", prometheus.Labels{"result": string(Failed)}, n.Failed.Load)
	gauge("update_success_timestamp_seconds", "When a run of the GeoIP update last did not fail; 0 if none has.", nil, func() float64 { return float64(n.Succeeded.Load()) })
}

package dnsgeo

import (
	"sync/atomic"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// RegisterMetrics registers the server's counters in reg.
func RegisterMetrics(reg prometheus.Registerer, s *Server) {
	c := s.Counters()
	counter := func(name, help string, labels prometheus.Labels, value func() uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "perigee_dns_" + name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value()) }))
	}
	for code := range dns.RcodeToString {
		if code < len(c.rcode) {
			counter("answers_total", "Answers by response code.", prometheus.Labels{"rcode": dns.RcodeToString[code]}, func() uint64 { return c.Rcode(code) })
		}
	}
	type line struct {
		name, help string
		value      *atomic.Uint64
	}
	lines := []line{
		{"udp_queries_total", "Packets received over UDP.", &c.UDP},
		{"tcp_queries_total", "Messages received over TCP.", &c.TCP},
		{"ecs_queries_total", "Queries with a client-subnet option.", &c.ECS},
		{"steered_total", "Answers with the address of an edge.", &c.Steered},
		{"last_good_total", "Steered answers given while no edge was fit.", &c.LastGood},
		{"dropped_total", "Packets that got no answer.", &c.Dropped},
		{"truncated_total", "Answers cut to fit, to be asked again over TCP.", &c.Truncated},
		{"maps_compiled_total", "Steering maps compiled.", &c.Compiled},
		{"zone_loads_total", "New versions of zones put in force after the start.", &c.ZoneLoads},
		{"zone_errors_total", "Changed zone files that were refused.", &c.ZoneErrors},
		{"transfers_total", "Zones and differences of zones sent to secondaries.", &c.Transfers},
		{"transfers_refused_total", "Transfers refused.", &c.TransfersRefused},
		{"notified_total", "NOTIFY messages that a secondary has answered.", &c.Notified},
		{"notify_lost_total", "Secondaries given up for a version of a zone after all tries.", &c.NotifyLost},
	}
	if s.signer != nil {
		sc := s.signer.Counters()
		lines = append(lines,
			line{"signatures_total", "DNSSEC signatures made.", &sc.Made},
			line{"signatures_reused_total", "DNSSEC signatures taken from memory.", &sc.Reused},
			line{"signatures_limited_total", "DNSSEC signatures for invented names refused because of the rate of a network.", &sc.Limited},
			line{"signatures_busy_total", "DNSSEC signatures refused because too many others waited.", &sc.Busy})
	}
	for _, f := range lines {
		counter(f.name, f.help, nil, f.value.Load)
	}
}

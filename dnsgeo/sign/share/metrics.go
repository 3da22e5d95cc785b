package share

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Counters count since the start. Each is safe to read at any time.
type Counters struct {
	Sets  atomic.Uint64 // key sets sent, each to one peer
	Asks  atomic.Uint64 // asks sent, each to one peer
	Nones atomic.Uint64 // answers sent that there are no keys

	took [outcomes]atomic.Uint64
}

func (c *Counters) count(o Outcome) { c.took[o].Add(1) }

// Took returns how many messages that arrived had an outcome.
func (c *Counters) Took(o Outcome) uint64 { return c.took[o].Load() }

// RegisterMetrics registers the counters and the state of s in reg.
func RegisterMetrics(reg prometheus.Registerer, s *Share) {
	counter := func(name, help, label, value string, read func() uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "perigee_dns_keys_" + name, Help: help, ConstLabels: prometheus.Labels{label: value},
		}, func() float64 { return float64(read()) }))
	}
	gauge := func(name, help string, read func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "perigee_dns_keys_" + name, Help: help}, read))
	}
	for o := range outcomes {
		counter("received_total", "Messages about DNSSEC keys that arrived, by what became of them.", "outcome", o.String(), func() uint64 { return s.counters.Took(o) })
	}
	sent := "Messages about DNSSEC keys sent to peers."
	counter("sent_total", sent, "kind", "set", s.counters.Sets.Load)
	counter("sent_total", sent, "kind", "ask", s.counters.Asks.Load)
	counter("sent_total", sent, "kind", "none", s.counters.Nones.Load)
	gauge("serial", "Serial of the DNSSEC key set in use; 0 without one.", func() float64 { return float64(s.cfg.Signer.Keys().Serial) })
	gauge("awaited", "1 while the zone is not answered, because keys may be on their way.", func() float64 {
		if s.Awaited() {
			return 1
		}
		return 0
	})
}

package steer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// MaxSamples is how many pairs of client cell and edge Latencies hold.
const MaxSamples = 1 << 20

// Sample is what has been measured between the clients of one cell, a quarter of a degree in latitude and longitude, and one edge.
type Sample struct {
	Lat   float64       `json:"lat"` // any point of the cell, in degrees
	Lon   float64       `json:"lon"`
	Edge  string        `json:"edge"`
	RTT   time.Duration `json:"rtt_ns"` // typical round trip: a median or a low quantile; more than 0
	Count int           `json:"count"`  // samples behind it
}

// Latencies are measured round trips. They are immutable; nil stands for none.
type Latencies struct {
	cells map[uint64][]sample
}

type sample struct {
	edge  string
	rtt   time.Duration
	count int
	at    int32 // while a walker works: where the edge is in its heap
	key   float64
}

// NewLatencies checks samples. Of two for the same cell and edge the one with the larger count stands.
func NewLatencies(samples []Sample) (*Latencies, error) {
	if len(samples) > MaxSamples {
		return nil, fmt.Errorf("%d latencies; there can be %d", len(samples), MaxSamples)
	}
	l := &Latencies{cells: make(map[uint64][]sample)}
	for i, s := range samples {
		if !(s.Lat >= -90 && s.Lat <= 90 && s.Lon >= -180 && s.Lon <= 180) || s.Edge == "" || s.RTT <= 0 || s.RTT > time.Minute || s.Count < 1 {
			return nil, fmt.Errorf("latency %d: %+v needs a place on Earth, an edge, a round trip of up to a minute and a count", i+1, s)
		}
		cell := cellOf(s.Lat, s.Lon)
		in := l.cells[cell]
		if at := slices.IndexFunc(in, func(t sample) bool { return t.edge == s.Edge }); at < 0 {
			l.cells[cell] = append(in, sample{edge: s.Edge, rtt: s.RTT, count: s.Count})
		} else if s.Count > in[at].count {
			in[at].rtt, in[at].count = s.RTT, s.Count
		}
	}
	return l, nil
}

// of returns what is known of the cell of o; nil when the rules leave latency out of account.
func (l *Latencies) of(o origin, r LatencyRules) []sample {
	if l == nil || r.Samples == 0 || !o.known {
		return nil
	}
	return l.cells[o.cell]
}

// correct orders the edges with enough samples by their round trips. They share out among themselves the distances that they have, the fastest taking the
// shortest: so edges without samples keep their places, and kilometres are never compared with milliseconds. Round trips that differ by less
// than a step leave the distances as they are.
func (w *walker) correct(p *Plan, known []sample) {
	rules := p.in.Policy.rules.Latency
	w.measured = w.measured[:0]
	for _, s := range known {
		if i, ok := p.index[s.edge]; ok && s.count >= rules.Samples {
			// The heap is still in the order of the edges, without those left out.
			if at, ok := slices.BinarySearchFunc(w.heap, i, func(n near, i int32) int { return cmp.Compare(n.edge, i) }); ok {
				s.at, s.key, s.rtt = int32(at), w.heap[at].key, s.rtt/rules.Step
				w.measured = append(w.measured, s)
			}
		}
	}
	slices.SortFunc(w.measured, func(a, b sample) int {
		return cmp.Or(cmp.Compare(a.rtt, b.rtt), cmp.Compare(a.key, b.key), cmp.Compare(a.at, b.at))
	})
	keys := make([]float64, len(w.measured))
	for i, s := range w.measured {
		keys[i] = s.key
	}
	slices.Sort(keys)
	for i, s := range w.measured {
		w.heap[s.at].key = keys[i]
	}
}

// rtt returns what is known between o and e, 0 when that is not enough to count.
func (p *Plan) rtt(o origin, e *edge) time.Duration {
	rules := p.in.Policy.rules.Latency
	for _, s := range p.in.Latencies.of(o, rules) {
		if s.edge == e.Name && s.count >= rules.Samples {
			return s.rtt
		}
	}
	return 0
}

// kilometres returns the great-circle distance to 0.1 km.
func kilometres(o origin, e *edge) float64 {
	return math.Round(10*arc(o.at.chord(e.at))) / 10
}

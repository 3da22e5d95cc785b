package latency

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"perigee/clock"
	"perigee/dnsgeo/steer"
	"perigee/fleet"
)

// Cell is a square of a quarter of a degree, numbered from the south pole and from 180° west.
type Cell uint32

const (
	perDegree = 4
	rows      = 180 * perDegree
	cols      = 360 * perDegree
)

// CellOf returns the cell of coordinates in degrees north and east; the outermost cells hold their border.
func CellOf(lat, lon float64) Cell {
	row := min(max(math.Floor((lat+90)*perDegree), 0), rows-1)
	col := min(max(math.Floor((lon+180)*perDegree), 0), cols-1)
	return Cell(row)*cols + Cell(col)
}

// Centre returns the middle of the cell in degrees north and east.
func (c Cell) Centre() (lat, lon float64) {
	return (float64(c/cols)+0.5)/perDegree - 90, (float64(c%cols)+0.5)/perDegree - 180
}

// Sample is what is known of the way between a cell and an edge.
type Sample struct {
	Cell    Cell
	Edge    string
	RTT     time.Duration // weighted median
	Samples int           // connections behind it, old ones counting less; at least 1
}

// HalfLife is how long it takes a connection to count half as much.
const HalfLife = 10 * time.Minute

// MaxPairs is how many pairs of cell and edge an Aggregator holds, at some 200 bytes each.
const MaxPairs = 1 << 16

// kept is how many reported medians of a pair are kept.
const kept = 15

// Config says what an Aggregator works with.
type Config struct {
	Clock clock.Clock
	// Locate says where an address is, in degrees north and east; false if that is not known.
	Locate func(netip.Addr) (lat, lon float64, known bool)
	// Fleet returns the fleet of now, for Errors.
	Fleet func() *fleet.Snapshot
	// Pairs is the bound of pairs; 0 means MaxPairs.
	Pairs int
}

// Aggregator adds up reports.
type Aggregator struct {
	cfg Config

	mu     sync.Mutex
	pairs  map[pair]*past
	errors Errors
	heard  int64 // networks
	lost   int64 // of those, without a place
}

type pair struct {
	cell Cell
	edge string
}

type past struct {
	micros [kept]uint32
	n      [kept]uint16
	len    int
	at     int
	weight float64 // connections, as of last
	last   time.Time
}

// New returns an Aggregator that has heard nothing.
func New(cfg Config) *Aggregator {
	if cfg.Pairs <= 0 {
		cfg.Pairs = MaxPairs
	}
	return &Aggregator{cfg: cfg, pairs: map[pair]*past{}}
}

// Hear takes in the round trips of a report, which must be valid.
func (a *Aggregator) Hear(r *fleet.Report) {
	if len(r.RTT) == 0 || r.Role != fleet.RoleEdge {
		return
	}
	now := a.cfg.Clock.Now()
	snap := a.cfg.Fleet()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range r.RTT {
		a.heard++
		lat, lon, known := a.cfg.Locate(s.Prefix.Addr())
		if !known {
			a.lost++
			continue
		}
		a.add(pair{CellOf(lat, lon), r.Node}, s, now)
		if km, ok := detour(snap, r.Node, lat, lon); ok {
			a.errors.add(km, int64(s.N))
		}
	}
}

func (a *Aggregator) add(k pair, s fleet.PrefixRTT, now time.Time) {
	p := a.pairs[k]
	if p == nil {
		if len(a.pairs) >= a.cfg.Pairs {
			a.shrink(now)
		}
		p = &past{}
		a.pairs[k] = p
	}
	p.micros[p.at], p.n[p.at] = s.Micros, s.N
	p.at = (p.at + 1) % kept
	p.len = min(p.len+1, kept)
	p.weight, p.last = p.left(now)+float64(s.N), now
}

// left is how many connections of the past still count.
func (p *past) left(now time.Time) float64 {
	return p.weight * math.Exp2(-float64(now.Sub(p.last))/float64(HalfLife))
}

// shrink forgets the pairs with the fewest connections, one in eight at least, so that it is seldom needed.
func (a *Aggregator) shrink(now time.Time) {
	weights := make([]float64, 0, len(a.pairs))
	for _, p := range a.pairs {
		weights = append(weights, p.left(now))
	}
	slices.Sort(weights)
	least, goal := weights[len(weights)/8], a.cfg.Pairs*7/8
	for k, p := range a.pairs {
		// Among those that have as few as the last one, chance decides: it is the order of the map.
		if w := p.left(now); w < least || w == least && len(a.pairs) > goal {
			delete(a.pairs, k)
		}
	}
}

// Table returns what is known now, in the order of cells and edges, and forgets what does not count any more.
func (a *Aggregator) Table() []Sample {
	now := a.cfg.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]Sample, 0, len(a.pairs))
	for k, p := range a.pairs {
		w := p.left(now)
		if w < 1 {
			delete(a.pairs, k)
			continue
		}
		out = append(out, Sample{k.cell, k.edge, p.median(), int(w)})
	}
	slices.SortFunc(out, func(a, b Sample) int { return cmp.Or(cmp.Compare(a.Cell, b.Cell), cmp.Compare(a.Edge, b.Edge)) })
	return out
}

// median is the weighted median of what is kept.
func (p *past) median() time.Duration {
	var order [kept]int
	all := 0
	for i := range p.len {
		order[i] = i
		all += int(p.n[i])
	}
	slices.SortFunc(order[:p.len], func(i, j int) int { return cmp.Compare(p.micros[i], p.micros[j]) })
	below := 0
	for _, i := range order[:p.len] {
		if below += int(p.n[i]); 2*below >= all {
			return time.Duration(p.micros[i]) * time.Microsecond
		}
	}
	return 0
}

// detour returns how many km farther than the nearest fit edge the named one is from a place; false if the fleet does not know it, or has no fit edge.
func detour(s *fleet.Snapshot, edge string, lat, lon float64) (km float64, ok bool) {
	if s == nil {
		return 0, false
	}
	n := s.Find(edge)
	if n == nil {
		return 0, false
	}
	nearest := math.Inf(1)
	for e := range s.Edges {
		if e.Fit() {
			nearest = min(nearest, steer.Distance(lat, lon, e.Place.Lat, e.Place.Lon))
		}
	}
	if math.IsInf(nearest, 1) {
		return 0, false
	}
	// An edge that is not fit any more may be nearer than all that are.
	return max(0, steer.Distance(lat, lon, n.Place.Lat, n.Place.Lon)-nearest), true
}

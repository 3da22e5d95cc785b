package steer

import (
	"cmp"
	"math"
	"slices"

	"perigee/dnsgeo/geo"
)

// origin is where a client is.
type origin struct {
	at    vector
	cell  uint64 // the place's quarter of a degree, the same whatever data it came from
	known bool
}

func newOrigin(c geo.Place) origin {
	if !c.Known {
		return origin{}
	}
	return origin{at: vectorOf(c.Lat, c.Lon), cell: cellOf(c.Lat, c.Lon), known: true}
}

// cellOf returns the number of the cell of a quarter of a degree that holds a point; never 0.
func cellOf(lat, lon float64) uint64 {
	row, col := math.Floor((lat+90)*4), math.Floor((lon+180)*4)
	return uint64(row)<<32 | uint64(col) | 1<<63
}

// standing is an edge's place in the order for one origin.
type standing struct {
	edge  int32
	class int16
	ring  int32   // of its class, from the nearest
	km    float64 // by which it is ordered, rounded: the distance with biases and latencies; 0 when the origin is not known
	draw  float64 // among the edges of one ring, smaller is better; 0 when the ring has no other
}

// walker puts edges in order. It is what Choose, Compile and Rank have in common, and why they agree. It keeps its memory from one call to the next;
// the zero walker is ready for use.
//
// The order is: by class of the override; within a class by distance; edges that are at most a ring's width farther than the nearest make a ring, then the
// nearest of the rest begins the next one; within a ring by weighted rendezvous hashing of the client's cell. Rings are made of all edges, fit or
// not: an edge that fails or comes back moves only the clients that it had or gets.
type walker struct {
	heap     []near
	ring     []standing
	order    []standing
	measured []sample
}

type near struct {
	key   float64 // grows with the distance
	edge  int32
	class int16
}

func (a *near) before(b *near) bool {
	if a.class != b.class {
		return a.class < b.class
	}
	if a.key != b.key {
		return a.key < b.key
	}
	return a.edge < b.edge
}

// each calls yield with the edges that v does not leave out, fit or not, in order, until it returns false.
func (w *walker) each(p *Plan, o origin, v *view, yield func(*standing) bool) {
	squared := w.collect(p, o, v)
	for i := len(w.heap)/2 - 1; i >= 0; i-- {
		w.sink(i)
	}
	w.ring = w.ring[:0]
	var limit float64
	for {
		if len(w.heap) == 0 {
			w.finish(p, o, yield)
			return
		}
		top := w.heap[0]
		km := top.key
		if squared {
			km = arc(math.Sqrt(km))
		}
		s := standing{edge: top.edge, class: top.class, km: math.Round(km)}
		if n := len(w.ring); n > 0 {
			first := &w.ring[0]
			s.ring = first.ring
			if s.class != first.class || s.km > limit {
				if s.ring++; s.class != first.class {
					s.ring = 0
				}
				if !w.finish(p, o, yield) {
					return
				}
				w.ring = w.ring[:0]
			}
		}
		if len(w.ring) == 0 {
			limit = p.in.Policy.rules.Ring.limit(s.km)
		}
		w.ring = append(w.ring, s)
		last := len(w.heap) - 1
		w.heap[0] = w.heap[last]
		w.heap = w.heap[:last]
		w.sink(0)
	}
}

// collect fills the heap and reports whether its keys are squares of straight distances on the unit sphere, which order as kilometres do and cost less.
func (w *walker) collect(p *Plan, o origin, v *view) (squared bool) {
	w.heap = w.heap[:0]
	known := p.in.Latencies.of(o, p.in.Policy.rules.Latency)
	squared = o.known && p.plain && len(known) < 2
	for i := range p.edges {
		if v.class[i] < 0 {
			continue
		}
		e := &p.edges[i]
		n := near{edge: int32(i), class: v.class[i]}
		if o.known {
			dx, dy, dz := o.at.x-e.at.x, o.at.y-e.at.y, o.at.z-e.at.z
			n.key = dx*dx + dy*dy + dz*dz
			if !squared {
				n.key = e.factor * arc(math.Sqrt(n.key))
			}
		}
		w.heap = append(w.heap, n)
	}
	if len(known) >= 2 {
		w.correct(p, known)
	}
	return squared
}

// arc returns the great-circle distance in km of a chord of the unit sphere.
func arc(chord float64) float64 { return 2 * earthRadius * math.Asin(min(1, chord/2)) }

// sink restores the heap below i.
func (w *walker) sink(i int) {
	h := w.heap
	for {
		least := 2*i + 1
		if least >= len(h) {
			return
		}
		if r := least + 1; r < len(h) && h[r].before(&h[least]) {
			least = r
		}
		if !h[least].before(&h[i]) {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// finish orders a ring and yields it.
func (w *walker) finish(p *Plan, o origin, yield func(*standing) bool) bool {
	if len(w.ring) > 1 {
		for i := range w.ring {
			if s := &w.ring[i]; o.known {
				s.draw = draw(o.cell, &p.edges[s.edge])
			}
		}
		slices.SortFunc(w.ring, func(a, b standing) int { return cmp.Or(cmp.Compare(a.draw, b.draw), cmp.Compare(a.edge, b.edge)) })
	}
	for i := range w.ring {
		if !yield(&w.ring[i]) {
			return false
		}
	}
	return true
}

// draw is what decides among the edges of a ring: the smallest wins, and each wins as often as its weight says (weighted rendezvous hashing).
func draw(cell uint64, e *edge) float64 {
	u := (float64(mix(cell^e.hash)>>11) + 0.5) / (1 << 53) // more than 0, less than 1
	return -math.Log(u) / e.weight
}

// mix is the finaliser of SplitMix64: every bit of the result depends on every bit of h.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// first returns the edge that comes first for o, whatever Balance has decided; -1 when there is none.
func (w *walker) first(p *Plan, o origin, v *view) int32 {
	first := int32(-1)
	w.each(p, o, v, func(s *standing) bool {
		if v.in[s.edge] {
			first = s.edge
		}
		return first < 0
	})
	return first
}

// pool returns the edges of the pool in order, whatever Balance has decided. It is valid until the next call.
func (w *walker) pool(p *Plan, o origin, v *view) []standing {
	w.order = w.order[:0]
	w.each(p, o, v, func(s *standing) bool {
		if v.in[s.edge] {
			w.order = append(w.order, *s)
		}
		return true
	})
	return w.order
}

// choose returns what clients at o under an override are told.
func (w *walker) choose(p *Plan, o origin, override int32) choice {
	var c choice
	v := p.view(override)
	target, _ := p.target(o, override, v)
	w.each(p, o, v, func(s *standing) bool {
		if !v.in[s.edge] {
			return true
		}
		if c.n == [2]int8{} && target >= 0 && s.edge != target {
			return false // Balance has decided otherwise
		}
		target = -1
		c.add(p, v, s.edge)
		return !c.full(v)
	})
	if target >= 0 {
		for _, s := range divert(w.pool(p, o, v), target) {
			if c.add(p, v, s.edge); c.full(v) {
				break
			}
		}
	}
	return c
}

// divert moves target to the front of order, and what was before it to the end: those edges have no room for these clients.
func divert(order []standing, target int32) []standing {
	at := slices.IndexFunc(order, func(s standing) bool { return s.edge == target })
	return slices.Concat(order[at:], order[:at])
}

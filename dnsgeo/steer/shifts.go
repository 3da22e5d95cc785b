package steer

import (
	"time"

	"perigee/dnsgeo/geo"
)

// shifts is what Balance has decided: where the clients of each place are sent, and what is remembered for the next time. It is immutable.
type shifts struct {
	names   []string // of edges
	cells   map[place]slot
	edges   []memory // by number in names
	changed time.Time
	base    *base
}

// place is what Balance moves as a whole: the clients of a cell that are under one override.
type place struct {
	cell     uint64
	override int32
}

// slot is where the clients of a place are sent.
type slot struct {
	edge  int32   // number in names
	home  bool    // it is the place's first edge
	over  bool    // it is not, because the first edge was full
	scale float32 // load per unit of demand, times the factor of the edge: bytes per second
}

// memory is what is remembered of an edge.
type memory struct {
	fit      bool
	since    time.Time // when it was last not fit, or too busy to take clients back
	returned time.Time // when clients last came back to it
	factor   float64   // see slot.scale
}

// base is what Balance needs to know of the places, kept as long as it stays true.
type base struct {
	db     *geo.DB
	demand *Demand
	edges  *edge // the first of the plan's
	cells  []baseCell
}

type baseCell struct {
	place
	rep    int32 // a geo.Place of the cell, by number
	first  int32 // the edge that comes first; -1 when there is none
	weight float64
}

// adopt keeps s in force for p.
func (p *Plan) adopt(s *shifts) {
	if s == nil {
		return
	}
	p.shifts = s
	p.shifted = make([]int32, len(s.names))
	fit := 0
	for i, name := range s.names {
		n, ok := p.index[name]
		if !ok {
			n = -1
		}
		p.shifted[i] = n
		if ok && s.edges[i].fit && p.views[0].in[n] {
			fit++
		}
	}
	for _, in := range p.views[0].in {
		if in {
			fit--
		}
	}
	p.gained = fit < 0
}

// target returns the edge that Balance has decided on for o, -1 when it has not or the edge may not be chosen any more, and why others that come first were
// passed over.
func (p *Plan) target(o origin, override int32, v *view) (int32, Reason) {
	if p.shifts == nil || v.lapsed {
		return -1, ""
	}
	s, ok := p.shifts.cells[place{o.cell, override}]
	if !ok || s.home && !p.gained {
		return -1, "" // the place's own order says the same, and says it more exactly than that of the cell
	}
	i := p.shifted[s.edge]
	if i < 0 || !v.in[i] {
		return -1, ""
	}
	if s.over {
		return i, OverCapacity
	}
	return i, Returning
}

// basis returns the base of p, the last one if it is still true.
func (p *Plan) basis(db *geo.DB, d *Demand) *base {
	var last *base
	if p.shifts != nil {
		last = p.shifts.base
	}
	b := &base{db: db, demand: d, edges: &p.edges[0]}
	if last != nil && last.edges == b.edges && last.db == db && last.demand == d {
		return last
	}
	var w walker
	at := make(map[place]int32)
	for i, c := range db.Places() {
		weight := d.Of(i)
		if weight == 0 || !c.Known {
			continue
		}
		key := place{cellOf(c.Lat, c.Lon), p.in.Policy.of(c, 0)}
		n, ok := at[key]
		if !ok {
			n = int32(len(b.cells))
			at[key] = n
			b.cells = append(b.cells, baseCell{place: key, rep: int32(i), first: w.first(p, newOrigin(c), p.view(key.override))})
		}
		b.cells[n].weight += weight
	}
	return b
}

package steer

// shifts is what Balance has decided: where the clients of each cell are sent, and what is remembered for the next time. It is immutable.
type shifts struct {
	names []string // of edges
	cells map[place]slot
}

// place is what Balance moves as a whole: the clients of a cell that are under one override.
type place struct {
	cell     uint64
	override int32
}

// slot is where the clients of a place are sent.
type slot struct {
	edge  int32   // number in names
	over  bool    // away from its first edge because that one is full
	scale float32 // load per unit of demand, bytes per second
}

// adopt keeps s in force for p.
func (p *Plan) adopt(s *shifts) {
	if s == nil {
		return
	}
	p.shifts = s
	p.shifted = make([]int32, len(s.names))
	for i, name := range s.names {
		n, ok := p.index[name]
		if !ok {
			n = -1
		}
		p.shifted[i] = n
	}
}

// target returns the edge that Balance has decided on for o, -1 when it has not or the edge may not be chosen any more, and why others that come first were
// passed over.
func (p *Plan) target(o origin, override int32, v *view) (int32, Reason) {
	if p.shifts == nil || v.lapsed {
		return -1, ""
	}
	s, ok := p.shifts.cells[place{o.cell, override}]
	if !ok {
		return -1, ""
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

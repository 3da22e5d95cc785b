package steer

import (
	"math"
	"time"

	"perigee/dnsgeo/geo"
	"perigee/fleet"
)

// Balancing is what Balance decides from.
type Balancing struct {
	DB     *geo.DB
	Demand *Demand         // nil: AddressSpace of DB, worked out at every call
	Fleet  *fleet.Snapshot // for the loads of the edges, newer than the plan's own; nil: the plan's own
	Now    time.Time
}

// Moved is the share of the demand that Balance has moved, 0 to 1.
type Moved struct {
	// Forced is what lost its edge or was too much for it.
	Forced float64 `json:"forced"`
	// Returned is what came back to its first edge.
	Returned float64 `json:"returned"`
}

// Any reports whether clients were moved: a Map of the plan before is out of date.
func (m Moved) Any() bool { return m.Forced > 0 || m.Returned > 0 }

// Balance returns p with the clients of full edges sent to others, when the policy takes capacity into account, and p itself when it does not. It is called
// when the plan is new and then every second or so. It takes some 100 ms when the edges or the demand are new, else a few.
//
// The load of a place is its demand in the measure of its edge: what the edge says it sends is shared out among its places. An edge may be filled up to
// CapacityRules.High of its capacity; one that has not configured any is never full. Clients move in these cases only:
//
//   - their edge is gone: they go to their first edge if they fit, else spread over the neighbours in proportion to the room these have;
//   - their edge is more than full: of its places those for which another is the least detour, only as many as are too many, spread likewise;
//   - they are not at their first edge, and it has been fit and below CapacityRules.Low for Hold and will stay below: they come back, those with the longest detour first, a share of time/CapacityRules.Return of the edge's clients at a time. An edge that has joined the
//     fleet gets its clients the same way.
//
// What counts is the first edge of an answer. An edge is filled beyond High only when no edge has room below it, and beyond its capacity only by a place for which no edge has room. A place moves as a
// whole; clients under an override by subnet stay with their order. When no edge is fit, everything stays as it is.
func (p *Plan) Balance(b Balancing) (*Plan, Moved) {
	rules := p.in.Policy.rules.Capacity
	if rules.High == 0 || p.Empty() || p.Lapsed() || b.DB == nil {
		return p, Moved{}
	}
	if b.Demand == nil {
		b.Demand = AddressSpace(b.DB)
	}
	if b.Fleet == nil {
		b.Fleet = p.in.Fleet
	}
	x := newBalancer(p, b)
	x.measure()
	x.rememberBusy()
	x.giveBack()
	x.shed()
	x.house()
	return x.plan(), x.share()
}

// balancer is one call of Balance.
type balancer struct {
	p      *Plan
	rules  CapacityRules
	now    time.Time
	places []geo.Place
	base   *base
	w      walker

	cells    []cell
	fresh    bool // nothing has been decided before
	measured bool // the clients have followed the last change
	edges    []memory
	load     []float64 // by edge, of the cells that are there
	used     []float64 // measured; NaN when not known
	capacity []float64 // +Inf when none is configured
	received []float64 // what this call has moved there

	forced, returned float64
	slots            map[place]slot // of the plan before; cells in it that have not changed are taken over
	changed          bool           // what slots says is out of date
}

// cell is a baseCell and where its clients are.
type cell struct {
	*baseCell
	at    int32   // edge; -1 when that is gone
	scale float64 // see slot.scale
	from  int32   // the edge whose factor scale is in the measure of; -1 when that is forgotten
	over  bool
}

func newBalancer(p *Plan, b Balancing) *balancer {
	n := len(p.edges)
	x := &balancer{p: p, rules: p.in.Policy.rules.Capacity, now: b.Now, places: b.DB.Places(), base: p.basis(b.DB, b.Demand), fresh: p.shifts == nil,
		edges: make([]memory, n), load: make([]float64, n), used: make([]float64, n), capacity: make([]float64, n), received: make([]float64, n)}
	for i := range x.edges {
		x.edges[i].factor, x.used[i], x.capacity[i] = 1, math.NaN(), math.Inf(1)
	}
	if b.Fleet != nil {
		for node := range b.Fleet.Edges {
			if i, ok := p.index[node.Node]; ok && node.Load.Capacity > 0 {
				x.capacity[i], x.used[i] = node.Load.Capacity, used(&node.Load)
			}
		}
	}
	if !x.fresh {
		x.slots = p.shifts.cells
		for i, m := range p.shifts.edges {
			if e := p.shifted[i]; e >= 0 {
				x.edges[e] = m
			}
		}
	}
	x.settle()
	for i := range x.edges {
		m, in := &x.edges[i], p.views[0].in[i]
		if in && !m.fit && !x.fresh {
			m.since = x.now
		}
		m.fit = in
	}
	return x
}

// used is what a node with a capacity sends in its measure. When it has no headroom left, what it sends may be more than its capacity.
func used(l *fleet.Load) float64 {
	if l.Headroom > 0 {
		return max(0, 1-l.Headroom) * l.Capacity
	}
	return max(l.Capacity, l.Sent)
}

// settle finds where the clients of each cell are.
func (x *balancer) settle() {
	x.changed = x.fresh
	x.cells = make([]cell, 0, len(x.base.cells))
	for i := range x.base.cells {
		c := cell{baseCell: &x.base.cells[i], scale: 1}
		if c.first < 0 {
			continue
		}
		c.at, c.from = c.first, c.first
		if s, ok := x.slots[c.place]; ok {
			c.at, c.from, c.scale, c.over = x.p.shifted[s.edge], x.p.shifted[s.edge], float64(s.scale), s.over
			if c.from < 0 { // forgotten by the fleet: its factor is still known
				c.scale *= x.p.shifts.edges[s.edge].factor
			}
			if c.at >= 0 && !x.p.view(c.override).in[c.at] {
				c.at = -1
			}
			x.changed = x.changed || s.home != (c.at == c.first)
		} else {
			x.changed = true
		}
		if c.at >= 0 {
			x.load[c.at] += x.demand(&c)
		}
		x.cells = append(x.cells, c)
	}
}

// demand is the load of a cell in bytes per second.
func (x *balancer) demand(c *cell) float64 {
	d := c.weight * c.scale
	if c.from >= 0 {
		d *= x.edges[c.from].factor
	}
	return d
}

// measure makes the loads of the cells add up to what the edges say they send, once the clients have followed the last change.
func (x *balancer) measure() {
	if !x.fresh && x.now.Sub(x.p.shifts.changed) < x.rules.Settle {
		return
	}
	x.measured = true
	const steps = 4 // a factor falls to this part at most; it may rise at once, for an edge that says it is full is to be believed
	var sum, of float64
	for i, used := range x.used {
		if math.IsNaN(used) || !x.edges[i].fit || x.load[i] <= 0 {
			continue
		}
		used = max(used, x.capacity[i]/1e6) // nothing times any factor would be nothing for ever
		sum, of = sum+used, of+x.load[i]
		ratio := used / x.load[i]
		if !x.fresh {
			ratio = max(ratio, 1./steps)
		}
		x.edges[i].factor *= ratio
		x.load[i] *= ratio
	}
	if of == 0 || !x.fresh {
		return
	}
	for i, used := range x.used { // edges that say nothing get the mean, so that their clients count when they move
		if math.IsNaN(used) || x.load[i] <= 0 {
			x.edges[i].factor, x.load[i] = sum/of, x.load[i]*sum/of
		}
	}
}

// rememberBusy notes which edges are too busy to take clients back.
func (x *balancer) rememberBusy() {
	for i := range x.edges {
		if x.load[i] > x.rules.Low*x.capacity[i] {
			x.edges[i].since = x.now
		}
	}
}

// limit is the load up to which an edge is filled.
func (x *balancer) limit(i int) float64 { return x.rules.High * x.capacity[i] }

// move sends the clients of c to an edge.
func (x *balancer) move(c *cell, to int32) {
	d := x.demand(c)
	if c.at >= 0 {
		x.load[c.at] -= d
	}
	x.load[to] += d
	x.received[to] += d
	c.scale, c.from, c.at, c.over = d/c.weight/x.edges[to].factor, to, to, to != c.first
	x.changed = true
}

func (x *balancer) share() Moved {
	total := 0.0
	for _, l := range x.load {
		total += l
	}
	if total == 0 {
		return Moved{}
	}
	return Moved{Forced: x.forced / total, Returned: x.returned / total}
}

// plan returns the plan with what was decided.
func (x *balancer) plan() *Plan {
	s := &shifts{cells: x.slots, edges: x.edges, base: x.base}
	for i := range x.p.edges {
		s.names = append(s.names, x.p.edges[i].Name)
	}
	if !x.fresh {
		s.changed = x.p.shifts.changed
	}
	if x.forced > 0 || x.returned > 0 {
		s.changed = x.now
	}
	if x.changed || !sameNames(x.p, s.names) {
		s.cells = make(map[place]slot, len(x.cells))
		for i := range x.cells {
			c := &x.cells[i]
			s.cells[c.place] = slot{edge: c.at, home: c.at == c.first, over: c.over && c.at != c.first, scale: float32(c.scale)}
		}
	}
	next := *x.p
	next.shifts = nil
	next.adopt(s)
	return &next
}

// sameNames reports whether the numbers of the slots of p are those of names.
func sameNames(p *Plan, names []string) bool {
	if p.shifts == nil || len(p.shifts.names) != len(names) {
		return false
	}
	for i, n := range p.shifts.names {
		if n != names[i] {
			return false
		}
	}
	return true
}

package steer

import (
	"cmp"
	"math"
	"slices"
)

// neighbours is how many edges a place is offered when its own is gone or full, before all others are.
const neighbours = 12

// offer is an edge that could take a cell.
type offer struct {
	edge int32
	km   float64
}

// offers returns the first n edges for c, best first, that reach all clients whom its first edge reaches.
func (x *balancer) offers(c *cell, n int) []offer {
	v, first := x.p.view(c.override), &x.p.edges[c.first]
	var out []offer
	x.w.each(x.p, newOrigin(x.places[c.rep]), v, func(s *standing) bool {
		e := &x.p.edges[s.edge]
		if v.in[s.edge] && (e.Addrs[IPv4].IsValid() || !first.Addrs[IPv4].IsValid()) && (e.Addrs[IPv6].IsValid() || !first.Addrs[IPv6].IsValid()) {
			out = append(out, offer{s.edge, s.km})
		}
		return len(out) < n
	})
	return out
}

// best returns the offer that a load of d is to take, -1 when it fits nowhere below share of the capacity. Of those that fit and are not much farther than
// the first of them, it is the one that has received least in proportion to its room: so all fill up at the same pace.
func (x *balancer) best(offers []offer, d, share float64, not int32) int {
	best, pace, limit := -1, 0.0, math.Inf(1)
	for i, o := range offers {
		room := share*x.capacity[o.edge] - x.load[o.edge]
		if o.edge == not || room < d || o.km > limit {
			continue
		}
		p := x.received[o.edge] / (room + x.received[o.edge])
		if math.IsInf(room, 1) {
			p = 0
		}
		if best < 0 {
			limit = 2*o.km + 300
		}
		if best < 0 || p < pace {
			best, pace = i, p
		}
	}
	return best
}

// house finds an edge for the cells whose own is gone: those first that would have the longest detour to another than their first.
func (x *balancer) house() {
	type homeless struct {
		*cell
		offers []offer
		detour float64
	}
	var all []homeless
	for i := range x.cells {
		if c := &x.cells[i]; c.at < 0 {
			h := homeless{cell: c, offers: x.offers(c, neighbours)}
			if len(h.offers) > 1 {
				h.detour = h.offers[1].km - h.offers[0].km
			}
			all = append(all, h)
		}
	}
	slices.SortStableFunc(all, func(a, b homeless) int { return cmp.Compare(b.detour, a.detour) })
	for _, h := range all {
		d := x.demand(h.cell)
		x.forced += d
		x.move(h.cell, x.home(h.cell, h.offers, d))
	}
}

// home returns the edge for a cell of load d that has none.
func (x *balancer) home(c *cell, offers []offer, d float64) int32 {
	if x.load[c.first]+d <= x.limit(int(c.first)) {
		return c.first
	}
	if i := x.best(offers, d, x.rules.High, -1); i >= 0 {
		return offers[i].edge
	}
	offers = x.offers(c, len(x.p.edges))
	for _, share := range []float64{x.rules.High, 1} {
		if i := x.best(offers, d, share, -1); i >= 0 {
			return offers[i].edge
		}
	}
	// It fits nowhere: whoever is the least overloaded with it.
	least := c.first
	for _, o := range offers {
		if (x.load[o.edge]+d)/x.capacity[o.edge] < (x.load[least]+d)/x.capacity[least] {
			least = o.edge
		}
	}
	return least
}

// shed relieves the edges that are more than full, the fullest first.
func (x *balancer) shed() {
	type full struct {
		edge int32
		by   float64
	}
	var all []full
	for i := range x.load {
		if x.edges[i].fit && x.load[i] > x.limit(i) {
			all = append(all, full{int32(i), x.load[i] / x.capacity[i]})
		}
	}
	slices.SortFunc(all, func(a, b full) int { return cmp.Or(cmp.Compare(b.by, a.by), cmp.Compare(a.edge, b.edge)) })
	for _, f := range all {
		x.relieve(f.edge, x.rules.High)
	}
	for _, f := range all { // who is beyond its capacity may fill others up to theirs
		if x.load[f.edge] > x.capacity[f.edge] {
			x.relieve(f.edge, 1)
		}
	}
}

// relieve moves cells away from edge e until its load is share of its capacity: those for which another is the least detour. Cells larger than what is too
// much stay; only when more than a hundredth is left after those, the smallest that is enough moves.
func (x *balancer) relieve(e int32, share float64) {
	type leaver struct {
		*cell
		offers []offer
		detour float64
	}
	var all []leaver
	for i := range x.cells {
		c := &x.cells[i]
		if c.at != e {
			continue
		}
		l := leaver{cell: c, offers: x.offers(c, neighbours)}
		if at := x.best(l.offers, x.demand(c), share, e); at >= 0 {
			l.detour = l.offers[at].km - x.km(c)
			all = append(all, l)
		} else if l.offers = x.offers(c, len(x.p.edges)); x.best(l.offers, x.demand(c), share, e) >= 0 {
			l.detour = math.Inf(1)
			all = append(all, l)
		}
	}
	slices.SortStableFunc(all, func(a, b leaver) int { return cmp.Compare(a.detour, b.detour) })
	goal := share * x.capacity[e]
	for _, l := range all {
		if d := x.demand(l.cell); d <= x.load[e]-goal {
			x.leave(l.cell, l.offers, share)
		}
	}
	if excess := x.load[e] - goal; excess > goal/100 {
		slices.SortStableFunc(all, func(a, b leaver) int { return cmp.Compare(x.demand(a.cell), x.demand(b.cell)) })
		for _, l := range all {
			if l.at == e && x.demand(l.cell) >= excess && x.leave(l.cell, l.offers, share) {
				return
			}
		}
	}
}

// leave moves c to another edge, if one has room.
func (x *balancer) leave(c *cell, offers []offer, share float64) bool {
	d := x.demand(c)
	i := x.best(offers, d, share, c.at)
	if i >= 0 {
		x.forced += d
		x.move(c, offers[i].edge)
	}
	return i >= 0
}

// km is how far c is from the edge that its clients are at.
func (x *balancer) km(c *cell) float64 {
	e := &x.p.edges[c.at]
	return e.factor * kilometres(newOrigin(x.places[c.rep]), e)
}

// giveBack lets clients come back to their first edges.
func (x *balancer) giveBack() {
	if !x.measured {
		return
	}
	homeDemand := make([]float64, len(x.edges))
	away := make(map[int32][]*cell)
	for i := range x.cells {
		c := &x.cells[i]
		homeDemand[c.first] += x.demand(c)
		if c.at >= 0 && c.at != c.first {
			away[c.first] = append(away[c.first], c)
		}
	}
	for e := range int32(len(x.edges)) {
		m := &x.edges[e]
		since := m.since.Add(x.rules.Hold)
		if len(away[e]) == 0 || x.now.Before(since) {
			continue
		}
		if m.returned.After(since) {
			since = m.returned
		}
		budget := homeDemand[e] * min(1, float64(x.now.Sub(since))/float64(x.rules.Return))
		slices.SortStableFunc(away[e], func(a, b *cell) int { return cmp.Compare(x.km(b), x.km(a)) })
		for _, c := range away[e] {
			d := x.demand(c)
			if d > budget || x.load[e]+d > x.rules.Low*x.capacity[e] {
				continue
			}
			budget -= d
			x.returned += d
			x.move(c, e)
			m.returned = x.now
		}
	}
}

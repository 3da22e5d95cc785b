package steer

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"perigee/dnsgeo/geo"
)

// Ranked is a Candidate's standing for one client.
type Ranked struct {
	Candidate
	KM     float64 `json:"km"` // great-circle distance from the client, to 0.1; 0 when its place is not known
	Reason Reason  `json:"reason"`
	// Answer is the edge's position in the answer, from 1; 0 when it is not in it.
	Answer int `json:"answer,omitempty"`
	// BiasedKM is the distance by which the edge is ordered, to a kilometre, when a bias or a measured latency makes it another than KM.
	BiasedKM float64 `json:"biased_km,omitempty"`
	// RTTMillis is the measured round trip that counts, in ms; 0 when there is none.
	RTTMillis float64 `json:"rtt_ms,omitempty"`
	// Override is the override that decides for the client, such as "country DE"; "" when none does.
	Override string `json:"override,omitempty"`
}

// Rank returns every edge in the order in which it would be chosen for a client at c over family f, of whose address nothing is known; those that may not be
// chosen come last, nearest first. The first is the first of Choose, if there is one.
func (p *Plan) Rank(c geo.Place, f Family) []Ranked { return p.rank(c, p.in.Policy.of(c, 0), f) }

// RankAddr is Rank for a client at address a: overrides by subnet count too. It agrees with Find.
func (p *Plan) RankAddr(db *geo.DB, a netip.Addr, f Family) []Ranked {
	c, _ := db.Lookup(a)
	subnet, _ := p.subnet(a)
	return p.rank(c, p.in.Policy.of(c, subnet), f)
}

// ranking is one call of Rank.
type ranking struct {
	p        *Plan
	v        *view
	o        origin
	f        Family
	override int32
	entries  []entry
	why      Reason // of the edges that Balance passed over
	picked   choice
}

type entry struct {
	standing
	Ranked
	out    bool // may not be chosen over f
	passed bool // Balance passed it over for this place
	first  bool // it would win, had Balance not
}

func (p *Plan) rank(c geo.Place, override int32, f Family) []Ranked {
	r := &ranking{p: p, v: p.view(override), o: newOrigin(c), f: f, override: override}
	r.enter()
	ranked := make([]Ranked, len(r.entries))
	for i := range r.entries {
		e := &r.entries[i]
		switch {
		case e.out:
			e.Reason = r.unfit(e)
		case i == 0:
			e.Reason = r.wins(e)
		default:
			e.Reason = r.loses(e)
		}
		ranked[i] = e.Ranked
	}
	return ranked
}

// enter collects all edges in order: the pool, then the rest.
func (r *ranking) enter() {
	p, v := r.p, r.v
	var pool, rest []standing
	seen := make([]bool, len(p.edges))
	new(walker).each(p, r.o, v, func(s *standing) bool {
		seen[s.edge] = true
		if v.in[s.edge] {
			pool = append(pool, *s)
		} else {
			rest = append(rest, *s)
		}
		return true
	})
	for i := range p.edges {
		if !seen[i] {
			rest = append(rest, standing{edge: int32(i), class: -1})
		}
	}
	passed := len(pool)
	if target, why := p.target(r.o, r.override, v); target >= 0 && target != pool[0].edge {
		r.why, pool = why, divert(pool, target)
		passed = slices.IndexFunc(pool, func(s standing) bool { return before(&s, &pool[0]) })
	}
	for i, s := range pool {
		e := r.entry(s)
		e.passed, e.first = i >= passed, i == passed
		if in := r.picked.add(p, v, s.edge); in[r.f] {
			e.Answer = int(r.picked.n[r.f])
		}
		e.out = !p.edges[s.edge].Addrs[r.f].IsValid()
		r.entries = append(r.entries, e)
	}
	for _, s := range rest {
		e := r.entry(s)
		e.out = true
		r.entries = append(r.entries, e)
	}
	slices.SortStableFunc(r.entries, func(a, b entry) int {
		switch {
		case a.out != b.out && b.out:
			return -1
		case a.out != b.out:
			return 1
		case a.out:
			return cmp.Or(cmp.Compare(a.KM, b.KM), cmp.Compare(a.Name, b.Name))
		}
		return 0
	})
}

// before reports whether s comes before t in the order of a walker.
func before(s, t *standing) bool {
	return cmp.Or(cmp.Compare(s.class, t.class), cmp.Compare(s.ring, t.ring), cmp.Compare(s.draw, t.draw), cmp.Compare(s.edge, t.edge)) < 0
}

func (r *ranking) entry(s standing) entry {
	e := &r.p.edges[s.edge]
	x := entry{standing: s, Ranked: Ranked{Candidate: e.Candidate, Override: r.p.in.Policy.overrides[r.override].name}}
	if r.o.known {
		x.KM = kilometres(r.o, e)
		if d := s.km - x.KM; s.class >= 0 && (d > 0.51 || d < -0.51) {
			x.BiasedKM = s.km
		}
		x.RTTMillis = float64(r.p.rtt(r.o, e)) / float64(time.Millisecond)
	}
	return x
}

func (r *ranking) unfit(e *entry) Reason {
	switch {
	case e.Unfit != "":
		return e.Unfit
	case e.class < 0:
		return NotNamed
	}
	return NoAddress
}

func (r *ranking) wins(e *entry) Reason {
	nearest, mates := true, 0
	for i := range r.entries {
		x := &r.entries[i]
		if x.out || x.passed || x.class != e.class {
			continue
		}
		if x.ring == e.ring {
			mates++
		}
		nearest = nearest && e.KM <= x.KM+0.5
	}
	switch {
	case r.v.lapsed:
		return LastGood
	case r.why != "":
		return StandsIn
	case e.class < r.v.listed:
		return Named
	case !r.o.known:
		return Default
	case mates > 1 && r.p.in.Policy.rules.Ring != Ring{}:
		return Drawn
	case nearest:
		return Nearest
	case e.RTTMillis > 0 && e.BiasedKM > 0:
		return Measured
	case e.BiasedKM > 0 || !r.p.plain:
		return BiasedFor
	}
	return Nearest
}

func (r *ranking) loses(e *entry) Reason {
	first := &r.entries[0]
	switch {
	case r.v.lapsed: // its own reason says why it is not fit
		return e.Unfit
	case e.Answer > 0:
		return OtherDomain
	case e.first:
		return r.why
	case e.passed:
		return Spread
	case r.crowded(e):
		return SameDomain
	case e.class != first.class:
		return NotNamed
	case !r.o.known:
		return Later
	case e.ring == first.ring:
		return Tied
	case e.KM+0.5 < first.KM && (e.RTTMillis > 0 && first.RTTMillis > 0):
		return Slower
	case e.KM+0.5 < first.KM:
		return Biased
	}
	return Farther
}

// crowded reports whether e is left out of the answer only because an edge of its domain is in it.
func (r *ranking) crowded(e *entry) bool {
	if r.p.in.Policy.rules.Answers < 2 || !r.picked.has(r.p, int(r.f), r.p.edges[e.edge].domain) {
		return false
	}
	for i := range r.entries {
		if x := &r.entries[i]; x.Answer > 0 && x.edge != e.edge && !x.passed && before(&e.standing, &x.standing) {
			return true // one that comes later is in it
		}
	}
	return int(r.picked.n[r.f]) < r.p.in.Policy.rules.Answers
}

package steer

import (
	"cmp"
	"net/netip"
	"slices"

	"perigee/dnsgeo/geo"
	"perigee/fleet"
)

// Input is what a Plan is made from.
type Input struct {
	Fleet     *fleet.Snapshot // nil: no edge is known
	Policy    *Policy         // nil: that of the zero Rules
	Latencies *Latencies      // nil: none have been measured
}

// Plan is the edges of one snapshot, ready to be ranked.
type Plan struct {
	in     Input
	edges  []edge // sorted by name
	index  map[string]int32
	views  []view // by number of the policy's lists
	plain  bool   // no edge has a bias
	shifts *shifts
	// shifted is the edges that shifts names, as numbers of edges; -1 stands for those that are gone.
	shifted []int32
	gained  bool // edges may be chosen that Balance has not seen fit
}

// view is the edges as one list of a policy sees them.
type view struct {
	class  []int16 // by edge, best first; -1 when the list leaves it out
	in     []bool  // by edge: it may be chosen
	lapsed bool    // no edge is fit: the pool holds edges that may still serve
	listed int16   // classes that an override names
	want   [2]int  // by family: how many edges an answer has when everything is in it
}

// NewPlan makes the plan of s under the policy and the latencies of previous. s and previous may be nil.
func NewPlan(previous *Plan, s *fleet.Snapshot) *Plan {
	in := Input{Fleet: s}
	if previous != nil {
		in.Policy, in.Latencies = previous.in.Policy, previous.in.Latencies
	}
	return in.Plan(previous)
}

// Plan makes the plan of in. With 200 edges it takes some 100 microseconds, with hundreds of different lists in the policy's overrides a millisecond.
//
// Fit edges make up the pool to choose from. When none is fit, the pool is the first of these that is not empty: edges that drain, are drained or are kept out
// for flapping, for they still serve; edges that fell silent while they served, or are not reached, for that may be the network's fault; all edges. When the snapshot has no edge at all, the edges
// of previous stand in for them: once there was an edge, there is always an answer.
//
// Under the same policy, what Balance last decided stays in force, so that clients do not come back to an edge before Balance says so. A new policy
// starts afresh. previous may be nil.
func (in Input) Plan(previous *Plan) *Plan {
	if in.Policy == nil {
		in.Policy = defaults()
	}
	p := &Plan{in: in}
	if in.Fleet != nil {
		for n := range in.Fleet.Edges {
			p.edges = append(p.edges, newEdge(n))
		}
	}
	if len(p.edges) == 0 && previous != nil {
		p.edges = slices.Clone(previous.edges)
		for i := range p.edges {
			p.edges[i].Unfit, p.edges[i].factor, p.edges[i].weight = Down, 1, 1
		}
	}
	slices.SortFunc(p.edges, func(a, b edge) int { return cmp.Compare(a.Name, b.Name) })
	p.obey()
	p.views = make([]view, len(in.Policy.lists))
	for i := range p.views {
		p.views[i] = p.viewOf(&in.Policy.lists[i])
	}
	if previous != nil && previous.in.Policy == in.Policy {
		p.adopt(previous.shifts)
	}
	return p
}

// obey puts the policy of single edges into force and numbers the failure domains.
func (p *Plan) obey() {
	p.index, p.plain = make(map[string]int32, len(p.edges)), true
	domains := make(map[string]int32)
	for i := range p.edges {
		e := &p.edges[i]
		p.index[e.Name] = int32(i)
		r := p.in.Policy.rules.Edges[e.Name]
		e.obey(r)
		p.plain = p.plain && e.factor == 1
		name := "domain " + r.Domain
		switch {
		case r.Domain != "":
		case e.Place.Name+e.Place.Country != "":
			name = "place " + e.Place.Country + " " + e.Place.Name
		default:
			name = "edge " + e.Name
		}
		n, ok := domains[name]
		if !ok {
			n = int32(len(domains))
			domains[name] = n
		}
		e.domain = n
	}
}

func (p *Plan) viewOf(l *list) view {
	v := view{class: make([]int16, len(p.edges)), listed: int16(len(l.classes))}
	rest := v.listed
	if l.only {
		rest = -1
	}
	for i := range v.class {
		v.class[i] = rest
	}
	found := false
	for class, names := range l.classes {
		for _, name := range names {
			if i, ok := p.index[name]; ok {
				v.class[i] = int16(class)
				found = found || p.edges[i].reachable()
			}
		}
	}
	if l.only && !found {
		return p.viewOf(&list{})
	}
	v.in = make([]bool, len(p.edges))
	if !p.fill(&v, func(e *edge) bool { return e.Unfit == "" }) {
		v.lapsed = true
		for tier := 0; tier <= lastTier && !p.fill(&v, func(e *edge) bool { return e.tier == tier }); tier++ {
		}
	}
	for f := range v.want {
		seen := make([]bool, len(p.edges)) // by domain: there cannot be more than edges
		for i := range p.edges {
			if e := &p.edges[i]; v.in[i] && e.Addrs[f].IsValid() && !seen[e.domain] && v.want[f] < p.in.Policy.rules.Answers {
				seen[e.domain] = true
				v.want[f]++
			}
		}
	}
	return v
}

// fill puts the edges that v allows, ok accepts and clients can reach into the pool of v, and reports whether there is one.
func (p *Plan) fill(v *view, ok func(*edge) bool) (any bool) {
	for i := range p.edges {
		if e := &p.edges[i]; v.class[i] >= 0 && e.reachable() && ok(e) {
			v.in[i], any = true, true
		}
	}
	return any
}

// Gen is the generation of the snapshot that the plan was made from.
func (p *Plan) Gen() uint64 {
	if p.in.Fleet == nil {
		return 0
	}
	return p.in.Fleet.Gen
}

// Input is what the plan was made from; its Policy is never nil.
func (p *Plan) Input() Input { return p.in }

// Empty reports whether there is no edge to choose, of either family.
func (p *Plan) Empty() bool { return p.views[0].want == [2]int{} }

// Lapsed reports that no edge is fit: who is picked is the best of those that are not.
func (p *Plan) Lapsed() bool { return p.views[0].lapsed }

// Choose returns what a client at c is told, of whose address nothing is known: overrides by subnet are not for it.
func (p *Plan) Choose(c geo.Place) Answer {
	return p.answer(new(walker).choose(p, newOrigin(c), p.in.Policy.of(c, 0)))
}

// Find returns what a client at address a is told, and a prefix in which every client gets the same. The answer is that of Map.Find, the prefix may be
// narrower; two of them are the same or do not overlap.
func (p *Plan) Find(db *geo.DB, a netip.Addr) (Answer, netip.Prefix) {
	c, scope := db.Lookup(a)
	subnet, within := p.subnet(a)
	if within.Bits() > scope.Bits() {
		scope = within
	}
	return p.answer(new(walker).choose(p, newOrigin(c), p.in.Policy.of(c, subnet))), scope
}

// subnet returns the override by subnet of a, and the prefix around a that it decides for; 0 and the zero Prefix when no override is by subnet.
func (p *Plan) subnet(a netip.Addr) (int32, netip.Prefix) {
	if p.in.Policy.subnets == nil {
		return 0, netip.Prefix{}
	}
	n, within := p.in.Policy.subnets.Find(a)
	return int32(n), within
}

func (p *Plan) view(override int32) *view { return &p.views[p.in.Policy.overrides[override].list] }

// choice is an Answer as numbers of edges.
type choice struct {
	n     [2]int8
	edges [2][MaxAnswers]int32
}

func (p *Plan) answer(c choice) (a Answer) {
	for f := range a.Edges {
		for _, i := range c.edges[f][:c.n[f]] {
			a.Edges[f] = append(a.Edges[f], &p.edges[i].Candidate)
		}
	}
	return a
}

// add takes edge i into the answers that have room and no edge of its failure domain, and reports whether it is in the one of family f.
func (c *choice) add(p *Plan, v *view, i int32) (in [2]bool) {
	e := &p.edges[i]
	for f := range c.n {
		if int(c.n[f]) < v.want[f] && e.Addrs[f].IsValid() && !c.has(p, f, e.domain) {
			c.edges[f][c.n[f]] = i
			c.n[f]++
			in[f] = true
		}
	}
	return in
}

func (c *choice) has(p *Plan, f int, domain int32) bool {
	for _, i := range c.edges[f][:c.n[f]] {
		if p.edges[i].domain == domain {
			return true
		}
	}
	return false
}

func (c *choice) full(v *view) bool {
	return int(c.n[IPv4]) >= v.want[IPv4] && int(c.n[IPv6]) >= v.want[IPv6]
}

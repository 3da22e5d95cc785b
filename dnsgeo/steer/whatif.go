package steer

import (
	"cmp"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"perigee/dnsgeo/geo"
	"perigee/fleet"
	"perigee/object"
)

// Share is a part of all clients, each number 0 to 1.
type Share struct {
	IPv4   float64 `json:"ipv4"`   // of the IPv4 addresses whose place is known
	IPv6   float64 `json:"ipv6"`   // of the IPv6 addresses whose place is known
	Demand float64 `json:"demand"` // of the demand
}

func (s *Share) add(t Share) {
	s.IPv4, s.IPv6, s.Demand = s.IPv4+t.IPv4, s.IPv6+t.IPv6, s.Demand+t.Demand
}

// Move is the clients that go from one edge to another; "" stands for no edge.
type Move struct {
	From string `json:"from"`
	To   string `json:"to"`
	Share
}

// EdgeShare is the clients of one edge before and after.
type EdgeShare struct {
	Name   string `json:"name"`
	Before Share  `json:"before"`
	After  Share  `json:"after"`
}

// Comparison is what differs between two maps. What counts is the first edge that clients reach over their own family of addresses; where there is none,
// over the other.
type Comparison struct {
	Moved Share       `json:"moved"`
	Moves []Move      `json:"moves"` // largest demand first, then largest part of IPv4, then by name
	Edges []EdgeShare `json:"edges"` // by name; edges that have clients before or after
}

// Compare tells what moves when after takes the place of before; both were compiled with db. demand may be nil: AddressSpace of db. Clients whose place db
// does not know are left out: most such addresses are in nobody's use. It takes some 500 ms on the embedded table.
func Compare(before, after *Map, db *geo.DB, demand *Demand) Comparison {
	if demand == nil {
		demand = AddressSpace(db)
	}
	space, weights := density(db, demand)
	numbers := map[string]int32{}
	names := []string{}
	number := func(name string) int32 {
		n, ok := numbers[name]
		if !ok {
			n = int32(len(names))
			numbers[name], names = n, append(names, name)
		}
		return n
	}
	from, to := before.firsts(number), after.firsts(number)
	moves := make(map[[2]int32]*Share)
	geo.Walk(func(s geo.Stretch) {
		n := s.Numbers[0]
		if n == 0 {
			return
		}
		f := familyOf(s)
		pair := [2]int32{from[f][s.Numbers[1]], to[f][s.Numbers[2]]}
		share := moves[pair]
		if share == nil {
			share = new(Share)
			moves[pair] = share
		}
		share.Demand += weights[f][n] * s.Size
		if f == IPv4 {
			share.IPv4 += s.Size / space[f]
		} else {
			share.IPv6 += s.Size / space[f]
		}
	}, db.Runs(), before.runs, after.runs)

	var c Comparison
	edges := make([]EdgeShare, len(names))
	for pair, s := range moves {
		edges[pair[0]].Before.add(*s)
		edges[pair[1]].After.add(*s)
		if pair[0] != pair[1] {
			c.Moves = append(c.Moves, Move{names[pair[0]], names[pair[1]], *s})
		}
	}
	for i, e := range edges {
		if e.Name = names[i]; e != (EdgeShare{Name: names[i]}) {
			c.Edges = append(c.Edges, e)
		}
	}
	c.sort()
	return c
}

// density returns how large the address space of known place is, and how much demand each unit of a place's addresses stands for: those of IPv4, or
// those of IPv6 where the place has no others.
func density(db *geo.DB, demand *Demand) (space [2]float64, weights [2][]float64) {
	for f := range weights {
		weights[f] = make([]float64, len(db.Places()))
	}
	geo.Walk(func(s geo.Stretch) {
		if n := s.Numbers[0]; n != 0 {
			space[familyOf(s)] += s.Size
			weights[familyOf(s)][n] += s.Size
		}
	}, db.Runs())
	for n, size := range weights[IPv4] {
		switch size6 := weights[IPv6][n]; {
		case size > 0:
			weights[IPv4][n], weights[IPv6][n] = demand.Of(n)/size, 0
		case size6 > 0:
			weights[IPv6][n] = demand.Of(n) / size6
		}
	}
	return space, weights
}

func familyOf(s geo.Stretch) Family {
	if s.IPv6 {
		return IPv6
	}
	return IPv4
}

// firsts returns, by family and number of the answer, the number of the first edge's name; that of "" when there is none.
func (m *Map) firsts(number func(string) int32) (of [2][]int32) {
	for f := range of {
		for i := range m.answers {
			name := ""
			for _, f := range []Family{Family(f), IPv4, IPv6} {
				if e := m.answers[i].First(f); e != nil {
					name = e.Name
					break
				}
			}
			of[f] = append(of[f], number(name))
		}
	}
	return of
}

// sort puts the moves and edges in order and adds the moves up, in that order so that equal maps give equal sums.
func (c *Comparison) sort() {
	slices.SortFunc(c.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Demand, a.Demand), cmp.Compare(b.IPv4, a.IPv4), cmp.Compare(b.IPv6, a.IPv6),
			cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	for _, m := range c.Moves {
		c.Moved.add(m.Share)
	}
	slices.SortFunc(c.Edges, func(a, b EdgeShare) int { return cmp.Compare(a.Name, b.Name) })
}

// Site is an edge that might be.
type Site struct {
	Name string  `json:"name"`
	Lat  float64 `json:"lat"` // degrees north
	Lon  float64 `json:"lon"` // degrees east
}

// ParseSite reads "tyo@35.6,139.7": a name, a latitude and a longitude in degrees. Errors wrap object.ErrInvalid.
func ParseSite(s string) (Site, error) {
	name, at, _ := strings.Cut(s, "@")
	lat, lon, _ := strings.Cut(at, ",")
	x := Site{Name: name}
	var err1, err2 error
	x.Lat, err1 = strconv.ParseFloat(lat, 64)
	x.Lon, err2 = strconv.ParseFloat(lon, 64)
	if name == "" || err1 != nil || err2 != nil || !(x.Lat >= -90 && x.Lat <= 90 && x.Lon >= -180 && x.Lon <= 180) {
		return Site{}, fmt.Errorf("%w: %q is no site; write a name, a latitude and a longitude, like tyo@35.6,139.7", object.ErrInvalid, s)
	}
	return x, nil
}

// MaxChanges is how many edges a Change names.
const MaxChanges = 64

// Change is what might be done to a fleet.
type Change struct {
	Drain []string `json:"drain,omitempty"` // names of edges to take out of the answers
	Add   []Site   `json:"add,omitempty"`   // edges to add, ready and with addresses of the families that the others have
}

// WhatIf tells what moves when a change has been made and everything has settled: with capacity taken into account, the clients have gone where Balance
// sends them and have come back. An edge to drain that there is not is fs.ErrNotExist, one to add that there is fs.ErrExist, too many are object.ErrInvalid. It takes about a second on the embedded table.
func (p *Plan) WhatIf(b Balancing, change Change) (Comparison, error) {
	if b.Demand == nil {
		b.Demand = AddressSpace(b.DB)
	}
	if b.Fleet == nil {
		b.Fleet = p.in.Fleet
	}
	in, err := p.changed(change)
	if err != nil {
		return Comparison{}, err
	}
	after := in.Plan(p)
	if p.in.Policy.rules.Capacity.High == 0 || p.Empty() || after.Empty() || after.Lapsed() {
		after.shifts = nil
	} else {
		after = p.settled(in, b)
	}
	return Compare(Compile(p, b.DB), Compile(after, b.DB), b.DB, b.Demand), nil
}

// addresses returns addresses for documentation (RFC 5737, RFC 3849), to which nobody is sent, of the families that the edges have: a lone edge with IPv6 would
// draw all who have it.
func (p *Plan) addresses() (all []netip.AddrPort) {
	of := [2]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:443"), netip.MustParseAddrPort("[2001:db8::1]:443")}
	for f, a := range of {
		if slices.ContainsFunc(p.edges, func(e edge) bool { return e.Addrs[f].IsValid() }) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return of[:]
	}
	return all
}

// changed is the input of p with the change in it.
func (p *Plan) changed(change Change) (Input, error) {
	if n := len(change.Drain) + len(change.Add); n > MaxChanges {
		return Input{}, fmt.Errorf("%w: a change of %d edges; it can be of %d", object.ErrInvalid, n, MaxChanges)
	}
	in := p.in
	s := fleet.Snapshot{}
	if in.Fleet != nil {
		s = fleet.Snapshot{Gen: in.Fleet.Gen, Nodes: slices.Clone(in.Fleet.Nodes)}
	}
	for _, name := range change.Drain {
		i := slices.IndexFunc(s.Nodes, func(n fleet.Node) bool { return n.Node == name && n.Role == fleet.RoleEdge })
		if i < 0 {
			return Input{}, fmt.Errorf("edge %q: %w", name, fs.ErrNotExist)
		}
		if s.Nodes[i].Fit() {
			s.Nodes[i].State = fleet.Draining
		}
	}
	for _, a := range change.Add {
		if slices.ContainsFunc(s.Nodes, func(n fleet.Node) bool { return n.Node == a.Name }) {
			return Input{}, fmt.Errorf("node %q: %w", a.Name, fs.ErrExist)
		}
		s.Nodes = append(s.Nodes, fleet.Node{Report: fleet.Report{Format: 1, Node: a.Name, Role: fleet.RoleEdge, State: fleet.Ready,
			Place: fleet.Place{Name: a.Name, Lat: a.Lat, Lon: a.Lon}, Addrs: p.addresses()}})
	}
	in.Fleet = &s
	return in, nil
}

// settled returns the plan of in as Balance leaves it in the end, when the clients are now where p sends them.
func (p *Plan) settled(in Input, b Balancing) *Plan {
	known := newBalancer(p, b)
	known.measure()
	x := newBalancer(in.Plan(known.plan()), b)
	for i := range x.edges { // long after the change, so that whoever may come back has
		x.edges[i].since, x.edges[i].returned = time.Time{}, time.Time{}
	}
	x.now, x.measured = time.Time{}.Add(x.rules.Hold+x.rules.Return), true
	x.giveBack()
	x.shed()
	x.house()
	return x.plan()
}

package steer

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
	"math"
	"net/netip"
	"slices"

	"perigee/dnsgeo/geo"
	"perigee/fleet"
)

// Family is an address family; it indexes Candidate.Addrs.
type Family uint8

// The address families.
const (
	IPv4 Family = iota
	IPv6
)

// Reason says why an edge won or lost. The words are the same in answers, logs and explain.
type Reason string

// The reasons. Nearest, Default and LastGood win, the others lose.
const (
	Nearest   Reason = "nearest"              // the nearest fit edge
	Default   Reason = "default"              // the client's place is not known: the first fit edge by name
	LastGood  Reason = "last-good"            // no edge is fit: the nearest of those that may still serve
	Farther   Reason = "farther"              // fit, but another is nearer
	Tied      Reason = "tied"                 // fit and as near as the winner, which this place has drawn
	Later     Reason = "later"                // fit, but the client's place is not known and another is first by name
	Down      Reason = "down"                 // silent for too long, or gone on purpose
	Draining  Reason = "draining"             // serves, but asks for no new clients
	Starting  Reason = "starting"             // does not serve yet
	NoAddress Reason = "no-address-of-family" // cannot be reached over the family that was asked for
)

// What others think of an edge that says it is ready: see fleet.Node.Why.
const (
	Unreachable Reason = "unreachable" // most probers do not reach it
	Flapping    Reason = "flapping"    // it came and went so often that it is kept out for a while
)

// Candidate is an edge that clients may be sent to.
type Candidate struct {
	Name  string      `json:"name"`
	Place fleet.Place `json:"place"`
	Addrs Addrs       `json:"addrs"`
	// Unfit is why the edge takes no new clients, as fleet.Node.Why; "" when it is fit.
	Unfit Reason `json:"unfit,omitempty"`
}

// Addrs are an edge's addresses by Family; the zero Addr stands where it has none.
type Addrs [2]netip.Addr

// MarshalJSON encodes the addresses that there are, as a list.
func (a Addrs) MarshalJSON() ([]byte, error) {
	return json.Marshal(slices.DeleteFunc([]netip.Addr{a[IPv4], a[IPv6]}, func(x netip.Addr) bool { return !x.IsValid() }))
}

// Ranked is a Candidate's standing for one client.
type Ranked struct {
	Candidate
	KM     float64 `json:"km"` // great-circle distance from the client, to 0.1; 0 when its place is not known
	Reason Reason  `json:"reason"`
}

// Plan is the edges of one snapshot, ready to be ranked.
type Plan struct {
	gen    uint64
	edges  []edge // sorted by name
	pool   [2][]int32
	lapsed bool // no edge is fit: the pool holds edges that may still serve
}

type edge struct {
	Candidate
	at   vector
	hash uint64 // of the name
	tier int    // order of resort when no edge is fit, from 0
}

// NewPlan makes the plan of s. Fit edges make up the pool to choose from. When none is fit, the pool is the first of
// these that is not empty: edges that drain or are kept out for flapping, for they still serve; edges that fell silent while they
// served, or are not reached, for that may be the network's fault; all edges. When s has no edge at all, the edges of previous stand in for them: once
// there was an edge, there is always an answer. s and previous may be nil.
func NewPlan(previous *Plan, s *fleet.Snapshot) *Plan {
	p := &Plan{}
	if s != nil {
		p.gen = s.Gen
		for n := range s.Edges {
			p.edges = append(p.edges, newEdge(n))
		}
	}
	if len(p.edges) == 0 && previous != nil {
		p.edges = slices.Clone(previous.edges)
		for i := range p.edges {
			p.edges[i].Unfit = Down
		}
	}
	slices.SortFunc(p.edges, func(a, b edge) int { return cmp.Compare(a.Name, b.Name) })
	p.fill(func(e *edge) bool { return e.Unfit == "" })
	for tier := 0; p.empty() && tier <= lastTier; tier++ {
		p.lapsed = true
		p.fill(func(e *edge) bool { return e.tier == tier })
	}
	return p
}

// lastTier is the tier of edges of which nothing good is known.
const lastTier = 2

func newEdge(n *fleet.Node) edge {
	e := edge{Candidate: Candidate{Name: n.Node, Place: n.Place}, at: vectorOf(n.Place.Lat, n.Place.Lon), tier: lastTier}
	h := fnv.New64a()
	h.Write([]byte(n.Node))
	e.hash = h.Sum64()
	for _, a := range n.Addrs {
		ip, f := a.Addr().Unmap().WithZone(""), IPv4
		if ip.Is6() {
			f = IPv6
		}
		if ip.IsValid() && !ip.IsUnspecified() && !e.Addrs[f].IsValid() {
			e.Addrs[f] = ip
		}
	}
	e.Unfit = Reason(n.Why())
	switch {
	case e.Unfit == Draining || e.Unfit == Flapping:
		e.tier = 0
	case e.Unfit == Unreachable, e.Unfit == Down && (n.State == fleet.Ready || n.State == fleet.Draining):
		e.tier = 1
	}
	return e
}

// fill puts the edges that ok accepts into the pools of the families they have addresses of.
func (p *Plan) fill(ok func(*edge) bool) {
	for i := range p.edges {
		for f := range p.pool {
			if p.edges[i].Addrs[f].IsValid() && ok(&p.edges[i]) {
				p.pool[f] = append(p.pool[f], int32(i))
			}
		}
	}
}

func (p *Plan) empty() bool { return len(p.pool[IPv4]) == 0 && len(p.pool[IPv6]) == 0 }

// Gen is the generation of the snapshot that the plan was made from.
func (p *Plan) Gen() uint64 { return p.gen }

// Empty reports whether there is no edge to choose, of either family.
func (p *Plan) Empty() bool { return p.empty() }

// Choose returns what a client at c is told.
func (p *Plan) Choose(c geo.Place) Answer { return p.answer(p.pickBoth(c)) }

func (p *Plan) pickBoth(c geo.Place) [2]int32 {
	o := newOrigin(c)
	return [2]int32{p.pick(o, IPv4), p.pick(o, IPv6)}
}

func (p *Plan) answer(picked [2]int32) (a Answer) {
	for f, i := range picked {
		if i >= 0 {
			a.Edges[f] = []*Candidate{&p.edges[i].Candidate}
		}
	}
	return a
}

func (p *Plan) pick(o origin, f Family) int32 {
	best, standing := int32(-1), standing{}
	for _, i := range p.pool[f] {
		if s := o.standing(&p.edges[i]); best < 0 || s.before(standing) {
			best, standing = i, s
		}
	}
	return best
}

// Rank returns every edge in the order in which it would be chosen for a client at c over family f, those that may not
// be chosen last, nearest first. The first is the first of Choose, if there is one.
func (p *Plan) Rank(c geo.Place, f Family) []Ranked {
	type entry struct {
		Ranked
		standing
		out bool
	}
	o := newOrigin(c)
	entries := make([]entry, len(p.edges))
	for i := range p.edges {
		e := &p.edges[i]
		entries[i] = entry{Ranked{Candidate: e.Candidate, Reason: e.Unfit}, o.standing(e), !slices.Contains(p.pool[f], int32(i))}
		if e.Unfit == "" && !e.Addrs[f].IsValid() {
			entries[i].Reason = NoAddress
		}
		if c.Known {
			entries[i].KM = math.Round(10*Distance(c.Lat, c.Lon, e.Place.Lat, e.Place.Lon)) / 10
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		if a.out != b.out {
			if b.out {
				return -1
			}
			return 1
		}
		return a.standing.compare(b.standing)
	})
	ranked := make([]Ranked, len(entries))
	for i, e := range entries {
		switch {
		case e.out:
		case i == 0:
			e.Reason = p.winning(c)
		case p.lapsed: // its own reason says why it is not fit
		case !c.Known:
			e.Reason = Later
		case e.km == entries[0].km:
			e.Reason = Tied
		default:
			e.Reason = Farther
		}
		ranked[i] = e.Ranked
	}
	return ranked
}

func (p *Plan) winning(c geo.Place) Reason {
	switch {
	case p.lapsed:
		return LastGood
	case !c.Known:
		return Default
	}
	return Nearest
}

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
	row, col := math.Floor((c.Lat+90)*4), math.Floor((c.Lon+180)*4)
	return origin{at: vectorOf(c.Lat, c.Lon), cell: uint64(row)<<32 | uint64(col), known: true}
}

// standing orders edges for one origin: smaller is better. Edges that stand alike are in the order of their names.
type standing struct {
	km   int32  // straight through the Earth, rounded
	draw uint64 // among edges that are equally near
}

func (o origin) standing(e *edge) standing {
	if !o.known {
		return standing{}
	}
	return standing{km: int32(math.Round(o.at.chord(e.at) * earthRadius)), draw: mix(o.cell ^ e.hash)}
}

func (s standing) before(t standing) bool { return s.compare(t) < 0 }

func (s standing) compare(t standing) int {
	return cmp.Or(cmp.Compare(s.km, t.km), cmp.Compare(s.draw, t.draw))
}

// mix is the finaliser of SplitMix64: every bit of the result depends on every bit of h.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// Lapsed reports that no edge is fit: who is picked is the best of those that are not.
func (p *Plan) Lapsed() bool { return p.lapsed }

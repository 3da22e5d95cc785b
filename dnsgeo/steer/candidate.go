package steer

import (
	"encoding/json"
	"hash/fnv"
	"net/netip"
	"slices"

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

// The reasons of the edge that wins.
const (
	Nearest   Reason = "nearest"     // the nearest fit edge
	Default   Reason = "default"     // the client's place is not known: the first fit edge by name
	LastGood  Reason = "last-good"   // no edge is fit: the nearest of those that may still serve
	Named     Reason = "override"    // an override names it
	Drawn     Reason = "weight-draw" // drawn by weight among the edges of the nearest ring
	StandsIn  Reason = "stands-in"   // the edges before it are over their capacity, or clients come back to them later
	Measured  Reason = "latency"     // measured to be faster than edges that are nearer
	BiasedFor Reason = "biased-for"  // not the nearest, but its bias makes it so
)

// The reasons of an edge that loses though it is fit.
const (
	Farther      Reason = "farther"         // another is nearer
	Tied         Reason = "tied"            // in the winner's ring, and this place has drawn the winner
	Later        Reason = "later"           // the client's place is not known and another is first by name
	OtherDomain  Reason = "other-domain"    // in the answer too, after the winner: it is of another failure domain
	SameDomain   Reason = "same-domain"     // would be in the answer, were not one of its failure domain before it
	NotNamed     Reason = "not-in-override" // the override names others
	Biased       Reason = "biased-distance" // nearer than the winner, but biases make it farther
	Slower       Reason = "slower"          // nearer than the winner, but measured to be slower
	OverCapacity Reason = "over-capacity"   // would win, but these clients are too many for it
	Spread       Reason = "spread"          // nearer than the winner, but an overload is spread over several edges, and this place goes to the winner
	Returning    Reason = "returning"       // would win, but its clients come back to it slowly
)

// The reasons of an edge that is not fit.
const (
	Down        Reason = "down"                 // silent for too long, or gone on purpose
	Draining    Reason = "draining"             // serves, but asks for no new clients
	Drained     Reason = "drained"              // serves, but the policy gives it no new clients
	Starting    Reason = "starting"             // does not serve yet
	Unreachable Reason = "unreachable"          // most probers do not reach it
	Flapping    Reason = "flapping"             // it came and went so often that it is kept out for a while
	NoAddress   Reason = "no-address-of-family" // cannot be reached over the family that was asked for
)

// Candidate is an edge that clients may be sent to.
type Candidate struct {
	Name  string      `json:"name"`
	Place fleet.Place `json:"place"`
	Addrs Addrs       `json:"addrs"`
	// Unfit is why the edge takes no new clients, as fleet.Node.Why, or Drained; "" when it is fit.
	Unfit Reason `json:"unfit,omitempty"`
}

// Addrs are an edge's addresses by Family; the zero Addr stands where it has none.
type Addrs [2]netip.Addr

// MarshalJSON encodes the addresses that there are, as a list.
func (a Addrs) MarshalJSON() ([]byte, error) {
	return json.Marshal(slices.DeleteFunc([]netip.Addr{a[IPv4], a[IPv6]}, func(x netip.Addr) bool { return !x.IsValid() }))
}

// edge is a Candidate and what it is ordered by.
type edge struct {
	Candidate
	at     vector
	hash   uint64 // of the name
	tier   int    // order of resort when no edge is fit, from 0
	factor float64
	weight float64
	domain int32 // number of its failure domain
}

// lastTier is the tier of edges of which nothing good is known.
const lastTier = 2

func newEdge(n *fleet.Node) edge {
	e := edge{Candidate: Candidate{Name: n.Node, Place: n.Place}, at: vectorOf(n.Place.Lat, n.Place.Lon), tier: lastTier, factor: 1, weight: 1}
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

// obey puts the policy of one edge into force.
func (e *edge) obey(r EdgeRules) {
	switch {
	case r.Bias > 0:
		e.factor = 1 - float64(r.Bias)/100
	case r.Bias < 0:
		e.factor = 1 / (1 + float64(r.Bias)/100)
	}
	if r.Weight > 0 {
		e.weight = r.Weight
	}
	if r.Drain && e.Unfit == "" {
		e.Unfit, e.tier = Drained, 0
	}
}

// reachable reports whether the edge has an address at all.
func (e *edge) reachable() bool { return e.Addrs[IPv4].IsValid() || e.Addrs[IPv6].IsValid() }

package steer

import (
	"net/netip"

	"perigee/dnsgeo/geo"
)

// Map tells for every address which edge its clients are sent to.
type Map struct {
	plan    *Plan
	classes [][2]int32 // edges by Family, -1 for none; class 0 is that of unknown places
	runs    *geo.Runs  // of classes
}

// Compile works out the answer for every place in db. It takes some 100 ms and is meant for the background; until it is
// done, Plan.Pick with geo.DB.Lookup gives the same edges, with narrower prefixes.
func Compile(p *Plan, db *geo.DB) *Map {
	m := &Map{plan: p}
	class := make(map[[2]int32]uint32)
	places := db.Places()
	of := make([]uint32, len(places))
	for i, place := range places {
		o := newOrigin(place)
		answer := [2]int32{p.pick(o, IPv4), p.pick(o, IPv6)}
		n, ok := class[answer]
		if !ok {
			n = uint32(len(m.classes))
			class[answer] = n
			m.classes = append(m.classes, answer)
		}
		of[i] = n
	}
	m.runs = db.Runs().Group(of)
	return m
}

// Find returns the edge that clients at a are sent to over family f, nil when there is none, and the largest prefix
// around a in which every client is sent to the same edges, over either family. The prefixes of two addresses are the
// same or do not overlap (RFC 7871 §7.2.1). It does not allocate.
func (m *Map) Find(a netip.Addr, f Family) (*Candidate, netip.Prefix) {
	n, prefix := m.runs.Find(a)
	i := m.classes[n][f]
	if i < 0 {
		return nil, prefix
	}
	return &m.plan.edges[i].Candidate, prefix
}

// Len returns how many runs of addresses the map distinguishes.
func (m *Map) Len() int { return m.runs.Len() }

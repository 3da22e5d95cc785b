package steer

import (
	"net/netip"

	"perigee/dnsgeo/geo"
)

// Answer is what some clients are told: by family the edges they are sent to, best first; none where no edge can be reached.
type Answer struct{ Edges [2][]*Candidate }

// First returns the best edge of a family, nil when there is none.
func (a *Answer) First(f Family) *Candidate {
	if len(a.Edges[f]) == 0 {
		return nil
	}
	return a.Edges[f][0]
}

// Map tells for every address which edges its clients are sent to.
type Map struct {
	plan    *Plan
	answers []Answer  // answer 0 is that of unknown places
	runs    *geo.Runs // of answers
}

// Compile works out the answer for every place in db. It takes some 100 ms and is meant for the background; until it is
// done, Plan.Choose with geo.DB.Lookup gives the same edges, with narrower prefixes.
func Compile(p *Plan, db *geo.DB) *Map {
	m := &Map{plan: p}
	number := make(map[[2]int32]uint32)
	places := db.Places()
	of := make([]uint32, len(places))
	for i, place := range places {
		picked := p.pickBoth(place)
		n, ok := number[picked]
		if !ok {
			n = uint32(len(m.answers))
			number[picked] = n
			m.answers = append(m.answers, p.answer(picked))
		}
		of[i] = n
	}
	m.runs = db.Runs().Group(of)
	return m
}

// Find returns the number of the answer that clients at a get, and the largest prefix around a in which every client gets the same. The prefixes of
// two addresses are the same or do not overlap (RFC 7871 §7.2.1). It does not allocate.
func (m *Map) Find(a netip.Addr) (answer int, scope netip.Prefix) { return m.runs.Find(a) }

// Answers returns the distinct answers, by number. The caller must not change them.
func (m *Map) Answers() []Answer { return m.answers }

// Len returns how many runs of addresses the map distinguishes.
func (m *Map) Len() int { return m.runs.Len() }

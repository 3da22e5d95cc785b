package steer

import (
	"net/netip"

	"perigee/dnsgeo/geo"
)

// Answer is what some clients are told: by family the edges they are sent to, best first, each of another failure domain; none where no edge can be
// reached. Both families come from one decision: where the best edge has both, it is first in both.
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
	answers []Answer // answer 0 is that of unknown places
	choices []choice // by number of the answer
	number  map[choice]uint32
	runs    *geo.Runs // of answers
}

// Compile works out the answer for every place in db. It takes some 100 ms and is meant for the background; until it is
// done, Plan.Find gives the same edges, with narrower prefixes.
func Compile(p *Plan, db *geo.DB) *Map {
	m := &Map{plan: p, number: make(map[choice]uint32)}
	var w walker
	places := db.Places()
	policy := p.in.Policy
	of := make([]uint32, len(places))
	type spot struct { // what an answer depends on: many places differ in other things
		lat, lon float64
		known    bool
		override int32
	}
	decided := make(map[spot]uint32, len(places))
	for i, place := range places {
		at := spot{place.Lat, place.Lon, place.Known, policy.of(place, 0)}
		n, ok := decided[at]
		if !ok {
			n = m.numberOf(w.choose(p, newOrigin(place), at.override))
			decided[at] = n
		}
		of[i] = n
	}
	if policy.subnets == nil {
		m.runs = db.Runs().Group(of)
		return m
	}
	type pair struct{ place, subnet int }
	inside := make(map[pair]uint32)
	m.runs = db.Runs().Overlay(policy.subnets, func(place, subnet int) uint32 {
		if subnet == 0 {
			return of[place]
		}
		n, ok := inside[pair{place, subnet}]
		if !ok {
			n = m.numberOf(w.choose(p, newOrigin(places[place]), int32(subnet)))
			inside[pair{place, subnet}] = n
		}
		return n
	})
	return m
}

// numberOf returns the number of an answer, a new one when it has none yet.
func (m *Map) numberOf(c choice) uint32 {
	n, ok := m.number[c]
	if !ok {
		n = uint32(len(m.answers))
		m.number[c] = n
		m.answers, m.choices = append(m.answers, m.plan.answer(c)), append(m.choices, c)
	}
	return n
}

// Find returns the number of the answer that clients at a get, and the largest prefix around a in which every client gets the same. The prefixes of
// two addresses are the same or do not overlap (RFC 7871 §7.2.1). It does not allocate.
func (m *Map) Find(a netip.Addr) (answer int, scope netip.Prefix) { return m.runs.Find(a) }

// Answers returns the distinct answers, by number. The caller must not change them.
func (m *Map) Answers() []Answer { return m.answers }

// Len returns how many runs of addresses the map distinguishes.
func (m *Map) Len() int { return m.runs.Len() }

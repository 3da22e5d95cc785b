package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"perigee/dnsgeo/geo"
	"perigee/fleet"
)

// simulator is a fleet whose clients follow the plan at once. Time passes when the test says so.
type simulator struct {
	t     testing.TB
	db    *geo.DB
	now   time.Time
	nodes []fleet.Node
	base  []float64 // demand by place at a mean hour, bytes per second
	where []int     // places with demand
	plan  *Plan

	at    []int32   // by place: the edge of its clients
	load  []float64 // by edge
	moves []int     // by place
	total Moved     // since the start, in bytes per second
	least float64   // what had to move since the start
}

const simulated = 4000 // places

func newSimulator(t testing.TB, edges int, rules CapacityRules) *simulator {
	db := embedded(t)
	rng := rand.New(rand.NewPCG(11, 11))
	s := &simulator{t: t, db: db, now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), base: make([]float64, len(db.Places()))}
	space := AddressSpace(db)
	for _, i := range rng.Perm(len(db.Places())) {
		if i > 0 && space.Of(i) > 0 && len(s.where) < simulated {
			s.where = append(s.where, i)
			s.base[i] = 1e5 + 1e6*math.Sqrt(space.Of(i)) // no place is a large part of an edge
		}
	}
	s.at, s.moves = make([]int32, len(s.base)), make([]int, len(s.base))
	for i := range edges { // edges stand where clients are
		c := db.Places()[s.where[rng.IntN(len(s.where))]]
		n := node(fmt.Sprintf("e%03d", i), c.Lat+rng.Float64()-0.5, c.Lon+rng.Float64()-0.5, "192.0.2.1", "2001:db8::1")
		n.Load = fleet.Load{Capacity: 1, Headroom: 1}
		s.nodes = append(s.nodes, n)
	}
	s.load = make([]float64, edges)
	s.plan = Input{Fleet: snapshot(s.nodes...), Policy: policy(t, Rules{Capacity: rules})}.Plan(nil)
	peak := make([]float64, edges)
	for hour := 0; hour < 24; hour += 2 {
		s.now = s.now.Add(time.Duration(hour) * time.Hour)
		s.follow()
		for i, l := range s.load {
			peak[i] = max(peak[i], l)
		}
		s.now = s.now.Add(-time.Duration(hour) * time.Hour)
	}
	for i := range s.nodes { // most have some room at the peak, a few have too little
		s.nodes[i].Load.Capacity = max(peak[i]*(0.9+rng.Float64()), 3e6)
	}
	s.follow()
	s.report()
	clear(s.moves)
	return s
}

// demand is what place i asks for now: most at nine in the evening of its own time.
func (s *simulator) demand(i int) float64 {
	hour := s.now.Sub(s.now.Truncate(24*time.Hour)).Hours() + s.db.Places()[i].Lon/15
	return s.base[i] * (1 + 0.6*math.Cos((hour-21)/24*2*math.Pi))
}

// follow sends the clients where the plan says.
func (s *simulator) follow() {
	clear(s.load)
	var w walker
	for _, i := range s.where {
		c := w.choose(s.plan, newOrigin(s.db.Places()[i]), 0)
		if s.at[i] != c.edges[IPv4][0] {
			s.moves[i]++
		}
		s.at[i] = c.edges[IPv4][0]
		s.load[s.at[i]] += s.demand(i)
	}
}

// report makes the edges say what they send.
func (s *simulator) report() {
	for i := range s.nodes {
		l := &s.nodes[i].Load
		l.Sent, l.Headroom = s.load[i], max(0, 1-s.load[i]/l.Capacity)
	}
}

// step lets d pass, changes the fleet, lets Balance decide, and checks what it decided.
func (s *simulator) step(d time.Duration, change func()) (Moved, float64) {
	s.now = s.now.Add(d)
	weights := make([]float64, len(s.base))
	clear(s.load)
	for _, i := range s.where {
		weights[i] = s.demand(i)
		s.load[s.at[i]] += weights[i]
	}
	demand, err := NewDemand(weights)
	if err != nil {
		s.t.Fatal(err)
	}
	s.report()
	high := s.plan.in.Policy.rules.Capacity.High
	was, before := slices.Clone(s.at), slices.Clone(s.load)
	change()
	snap := snapshot(slices.Clone(s.nodes)...)
	plan := NewPlan(s.plan, snap)
	var moved Moved
	s.plan, moved = plan.Balance(Balancing{DB: s.db, Demand: demand, Fleet: snap, Now: s.now})
	s.follow()

	least, granule := 0.0, 0.0 // what has to move, and by how much that may be missed because places move as a whole
	for i, l := range before {
		if n := &s.nodes[i]; !n.Fit() {
			least += l
		} else if excess := l - high*n.Load.Capacity; excess > 0 {
			least += excess
			granule += s.largest(int32(i), was)
		}
	}
	var all, sum, home float64 // of all clients: how much has another edge, how much there is, how much came to its first edge from one that is alive
	for _, i := range s.where {
		sum += s.demand(i)
		if s.at[i] == was[i] {
			continue
		}
		all += s.demand(i)
		if first := new(walker).first(s.plan, newOrigin(s.db.Places()[i]), &s.plan.views[0]); s.nodes[was[i]].Fit() && first == s.at[i] {
			home += s.demand(i)
		}
	}
	forced, returned := moved.Forced*sum, moved.Returned*sum
	if math.Abs(all-forced-returned) > 0.02*sum/100+0.05*all || returned > 1.05*home+1 {
		s.t.Fatalf("%v: %.4g of %.4g was moved, of which %.4g may have come back; Balance says %.4g and %.4g", s.now, all, sum, home, forced, returned)
	}
	if forced > 1.2*least+granule {
		s.t.Fatalf("%v: %.3g had to move, %.3g was moved", s.now, least, forced)
	}
	s.total.Forced += forced
	s.total.Returned += returned
	s.least += least
	s.checkRoom()
	return moved, least
}

// largest is the largest place of an edge.
func (s *simulator) largest(e int32, at []int32) (d float64) {
	for _, i := range s.where {
		if at[i] == e {
			d = max(d, s.demand(i))
		}
	}
	return d
}

// checkRoom: an edge is beyond its capacity only if none of its places fits anywhere else.
func (s *simulator) checkRoom() {
	room := 0.0
	for i := range s.nodes {
		if n := &s.nodes[i]; n.Fit() {
			room = max(room, 0.99*s.plan.in.Policy.rules.Capacity.High*n.Load.Capacity-s.load[i])
		}
	}
	for i := range s.nodes {
		if !s.nodes[i].Fit() || s.load[i] <= s.nodes[i].Load.Capacity {
			continue
		}
		for _, p := range s.where {
			if s.at[p] == int32(i) && s.demand(p) < room {
				s.t.Fatalf("%v: edge %d sends %.3g of %.3g, though another has room for %.3g", s.now, i, s.load[i], s.nodes[i].Load.Capacity, room)
			}
		}
	}
}

// TestCapacityOverADay: 200 edges, some too small for their evening, and failures of one, of five neighbours, and of a continent's worth.
func TestCapacityOverADay(t *testing.T) {
	s := newSimulator(t, 200, CapacityRules{High: 0.9})
	failed := map[int]bool{}
	fail := func(ids ...int) func() {
		return func() {
			for _, i := range ids {
				s.nodes[i].Down, failed[i] = true, true
			}
		}
	}
	restore := func() {
		for i := range failed {
			s.nodes[i].Down = false
		}
		clear(failed)
	}
	nearest := func(n int) []int { // edge 7 and its neighbours
		ids := make([]int, len(s.nodes))
		for i := range ids {
			ids[i] = i
		}
		seven := s.nodes[7].Place
		km := func(i int) float64 { return Distance(seven.Lat, seven.Lon, s.nodes[i].Place.Lat, s.nodes[i].Place.Lon) }
		slices.SortFunc(ids, func(a, b int) int { return int(km(a) - km(b)) })
		return ids[:n]
	}
	events := map[int]func(){12: fail(42), 20: restore, 40: fail(nearest(5)...), 52: restore, 64: fail(nearest(40)...), 80: restore}
	largest := 0.0
	for i := range 96 {
		change := events[i]
		if change == nil {
			change = func() {}
		}
		moved, least := s.step(15*time.Minute, change)
		largest = max(largest, moved.Forced)
		if least == 0 && moved.Forced > 0.001 {
			t.Fatalf("%v: %.4f of the demand was moved without need", s.now, moved.Forced)
		}
	}
	if s.total.Forced > 1.2*s.least || s.total.Forced == 0 {
		t.Errorf("over the day %.3g had to move, %.3g was moved", s.least, s.total.Forced)
	}
	if s.total.Returned == 0 || s.total.Returned > 1.3*s.total.Forced {
		t.Errorf("%.3g came back of %.3g that went away", s.total.Returned, s.total.Forced)
	}
	t.Logf("had to move %.3g, moved %.3g, came back %.3g; at most %.1f %% at once", s.least, s.total.Forced, s.total.Returned, 100*largest)
}

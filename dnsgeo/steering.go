package dnsgeo

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/steer"
	"perigee/fleet"
)

// steering decides which edge a client gets.
type steering struct {
	fleet func() *fleet.Snapshot
	geo   *geo.Holder
	clock clock.Clock
	count *atomic.Uint64 // maps compiled

	state atomic.Pointer[state]
	kick  chan struct{} // wakes run when state has no map
}

// state is what is decided from. It is immutable.
type state struct {
	db   *geo.DB
	plan *steer.Plan
	seen bool // plan was made from a snapshot, not from the lack of one
	// compiled is plan and db in one; nil until run has made it. It decides as they do and knows wider scopes.
	compiled *steer.Map
}

// refresh is how often run looks for news when no query does.
const refresh = 100 * time.Millisecond

func newSteering(c *Config, count *atomic.Uint64) *steering {
	s := &steering{fleet: c.Fleet, geo: c.Geo, clock: c.Clock, count: count, kick: make(chan struct{}, 1)}
	snapshot := s.fleet()
	s.state.Store(&state{db: s.geo.Current(), plan: steer.NewPlan(nil, snapshot), seen: snapshot != nil})
	return s
}

// current returns the state that matches the fleet and the geo data of this moment. A query that finds them changed
// makes the new plan, which takes microseconds, and leaves the map to run.
//
// Two queries may do so at once. Both start from the state they loaded before they looked at the fleet, and only one
// of them can replace it, so that a state is never followed by one of an older snapshot.
func (s *steering) current() *state {
	was := s.state.Load()
	snapshot, db := s.fleet(), s.geo.Current()
	sameFleet := snapshot == nil || was.seen && snapshot.Gen == was.plan.Gen()
	if sameFleet && db == was.db {
		return was
	}
	next := &state{db: db, plan: was.plan, seen: was.seen}
	if !sameFleet {
		next.plan, next.seen = steer.NewPlan(was.plan, snapshot), true
	}
	if !s.state.CompareAndSwap(was, next) {
		return s.state.Load()
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
	return next
}

// decision is one answer of steering.
type decision struct {
	*state
	edges []*steer.Candidate // best first; empty when there is none
	scope netip.Prefix       // clients in it get the same; the zero Prefix when all clients do
}

// decide returns the edges for a client.
func (s *steering) decide(client netip.Addr, f steer.Family) decision {
	d := decision{state: s.current()}
	if d.compiled != nil {
		var n int
		n, d.scope = d.compiled.Find(client)
		d.edges = d.compiled.Answers()[n].Edges[f]
	} else {
		var answer steer.Answer
		answer, d.scope = d.plan.Find(d.db, client)
		d.edges = answer.Edges[f]
	}
	if len(d.edges) == 0 {
		d.scope = netip.Prefix{} // no edge can be reached over f: that depends on no client
	}
	return d
}

// run compiles maps until ctx ends. It rests at least as long as it works, so that a fleet in turmoil costs at most
// half a processor; answers do not wait for it.
func (s *steering) run(ctx context.Context) {
	tick := s.clock.NewTicker(refresh)
	defer tick.Stop()
	for ctx.Err() == nil {
		rest := time.Duration(0)
		if st := s.current(); st.compiled == nil {
			start := s.clock.Now()
			next := *st
			next.compiled = steer.Compile(st.plan, st.db)
			if s.state.CompareAndSwap(st, &next) {
				s.count.Add(1)
			}
			rest = s.clock.Now().Sub(start)
		}
		if rest > 0 {
			t := s.clock.NewTimer(rest)
			select {
			case <-ctx.Done():
			case <-t.C():
			}
			t.Stop()
			continue
		}
		select {
		case <-ctx.Done():
		case <-s.kick:
		case <-tick.C():
		}
	}
}

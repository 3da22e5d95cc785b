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

	policy    func() *steer.Policy
	latencies func() *steer.Latencies
	demand    func() *steer.Demand

	state atomic.Pointer[state]
	kick  chan struct{} // wakes run when state has no map
	// made is told of the state in force, in the background, whenever run has looked at it.
	made func(*state)
}

// state is what is decided from. It is immutable.
type state struct {
	db   *geo.DB
	plan *steer.Plan
	// given is what plan was made from, as it was given: nil where there was nothing.
	given steer.Input
	// compiled is plan and db in one; nil until run has made it. It decides as they do and knows wider scopes.
	compiled *steer.Map
}

// refresh is how often run looks for news when no query does.
const refresh = 100 * time.Millisecond

func newSteering(c *Config, count *atomic.Uint64, made func(*state)) *steering {
	s := &steering{fleet: c.Fleet, geo: c.Geo, clock: c.Clock, count: count, made: made, kick: make(chan struct{}, 1),
		policy: c.Policy, latencies: c.Latencies, demand: c.Demand}
	in := s.input()
	s.state.Store(&state{db: s.geo.Current(), plan: in.Plan(nil), given: in})
	return s
}

// current returns the state that matches the fleet and the geo data of this moment. A query that finds them changed
// makes the new plan, which takes microseconds, and leaves the map to run.
//
// Two queries may do so at once. Both start from the state they loaded before they looked at the fleet, and only one
// of them can replace it, so that a state is never followed by one of an older snapshot.
func (s *steering) current() *state {
	was := s.state.Load()
	in, db := s.input(), s.geo.Current()
	if in.Fleet == nil || was.given.Fleet != nil && in.Fleet.Gen == was.given.Fleet.Gen {
		in.Fleet = was.given.Fleet
	}
	if in == was.given && db == was.db {
		return was
	}
	next := &state{db: db, plan: was.plan, given: in}
	if in != was.given {
		next.plan = in.Plan(was.plan)
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

// input is what a plan of this moment is made from.
func (s *steering) input() steer.Input {
	in := steer.Input{Fleet: s.fleet()}
	if s.policy != nil {
		in.Policy = s.policy()
	}
	if s.latencies != nil {
		in.Latencies = s.latencies()
	}
	return in
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

// balanceEvery is how often run looks whether edges are full.
const balanceEvery = time.Second

// run balances plans and compiles maps until ctx ends. It rests at least as long as it works, so that a fleet in turmoil costs at most
// half a processor; answers do not wait for it.
func (s *steering) run(ctx context.Context) {
	tick := s.clock.NewTicker(refresh)
	defer tick.Stop()
	var b balancer
	for ctx.Err() == nil {
		start := s.clock.Now()
		st := s.current()
		next := *st
		if st.compiled == nil || start.Sub(b.last) >= balanceEvery {
			if b.balance(s, &next, start) {
				next.compiled = nil
			}
		}
		if next.compiled == nil {
			next.compiled = steer.Compile(next.plan, next.db)
		}
		rest := time.Duration(0)
		if next.compiled != st.compiled {
			rest = s.clock.Now().Sub(start)
		}
		if next != *st && s.state.CompareAndSwap(st, &next) && next.compiled != st.compiled {
			s.count.Add(1)
		}
		s.made(s.state.Load())
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

// balancer is what run keeps between two looks at the loads.
type balancer struct {
	last   time.Time // of the last look
	db     *geo.DB
	demand *steer.Demand // the address space of db
}

// balance puts the plan of st in balance and reports whether clients are sent elsewhere than before.
func (b *balancer) balance(s *steering, st *state, now time.Time) bool {
	b.last = now
	if st.plan.Input().Policy.Rules().Capacity.High == 0 {
		return false
	}
	in := steer.Balancing{DB: st.db, Fleet: s.fleet(), Now: now}
	if s.demand != nil {
		in.Demand = s.demand()
	}
	if in.Demand == nil {
		if b.db != st.db {
			b.db, b.demand = st.db, steer.AddressSpace(st.db)
		}
		in.Demand = b.demand
	}
	var moved steer.Moved
	st.plan, moved = st.plan.Balance(in)
	return moved.Any()
}

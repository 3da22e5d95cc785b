package dnsgeo

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"perigee/dnsgeo/steer"
	"perigee/fleet"
)

// TestPolicyIsFollowed: a policy that changes while the server runs counts from the next query on, before and after the map is compiled, and the scope
// around an override by subnet ends at the override.
func TestPolicyIsFollowed(t *testing.T) {
	var policy atomic.Pointer[steer.Policy]
	r := prepare(t, func(c *Config) { c.Policy = policy.Load })
	defer r.Close()
	p, err := steer.NewPolicy(steer.Rules{Answers: 2, Overrides: []steer.Override{{Subnet: netip.MustParsePrefix("81.2.69.0/24"), Edges: []string{"sin"}}}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(client string) decision { return r.steering.decide(netip.MustParseAddr(client), steer.IPv4) }
	if d := ask("81.2.69.142"); d.edges[0].Name != "fra" || len(d.edges) != 1 {
		t.Fatalf("without a policy: %+v", d)
	}
	policy.Store(p)
	for _, compiled := range []bool{false, true} {
		if compiled {
			next := *r.steering.current()
			next.compiled = steer.Compile(next.plan, next.db)
			r.steering.state.Store(&next)
		}
		inside, beside := ask("81.2.69.142"), ask("81.2.68.142")
		if inside.edges[0].Name != "sin" || len(inside.edges) != 2 || inside.scope != netip.MustParsePrefix("81.2.69.0/24") {
			t.Errorf("compiled %v: in the subnet %s, %d edges, scope %v", compiled, inside.edges[0].Name, len(inside.edges), inside.scope)
		}
		if beside.edges[0].Name != "fra" || beside.scope.Overlaps(inside.scope) {
			t.Errorf("compiled %v: beside the subnet %s, scope %v", compiled, beside.edges[0].Name, beside.scope)
		}
		m := r.direct(question("www.perigee.test.", dns.TypeA, "81.2.69.0/24"), "127.0.0.1")
		if len(m.Answer) != 2 || subnetOf(m) == nil || subnetOf(m).SourceScope != 24 {
			t.Errorf("compiled %v: %v", compiled, m)
		}
		d := r.Decide("www.perigee.test", netip.MustParseAddr("81.2.69.142"), TypeA)
		if d.Edge != "sin" || d.Edges[0].Name != "sin" || d.Edges[0].Reason != steer.Named || d.Edges[0].Override != "subnet 81.2.69.0/24" {
			t.Errorf("compiled %v: %+v", compiled, d)
		}
	}
}

// TestWhatIf: the server tells what moves, and answers as before.
func TestWhatIf(t *testing.T) {
	r := prepare(t, nil)
	defer r.Close()
	c, err := r.WhatIf(steer.Change{Drain: []string{"nyc"}})
	if err != nil || len(c.Moves) == 0 || c.Moves[0].From != "nyc" || c.Moved.Demand < 0.2 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := r.WhatIf(steer.Change{Drain: make([]string, steer.MaxChanges+1)}); err == nil {
		t.Error("a change without bounds is taken")
	}
	if d := r.steering.decide(netip.MustParseAddr("8.8.8.8"), steer.IPv4); d.edges[0].Name != "nyc" {
		t.Errorf("%+v", d.edges[0])
	}
}

// TestFullEdgesAreRelieved: loads change without a change of the fleet's generation, and within a second clients are sent elsewhere.
func TestFullEdgesAreRelieved(t *testing.T) {
	db := embedded(t)
	synctest.Test(t, func(t *testing.T) {
		p, err := steer.NewPolicy(steer.Rules{Capacity: steer.CapacityRules{High: 0.9}})
		if err != nil {
			t.Fatal(err)
		}
		demand := steer.AddressSpace(db)
		r := prepare(t, func(c *Config) {
			c.Listen = ""
			c.Policy = func() *steer.Policy { return p }
			c.Demand = func() *steer.Demand { return demand }
		})
		loads := func(fra float64) {
			s := *r.fleet.Load()
			s.Nodes = append([]fleet.Node(nil), s.Nodes...)
			for i := range s.Nodes {
				s.Nodes[i].Load = fleet.Load{Capacity: 1e9, Sent: 1e8, Headroom: 0.9}
				if s.Nodes[i].Node == "fra" {
					s.Nodes[i].Load.Sent, s.Nodes[i].Load.Headroom = fra*1e9, max(0, 1-fra)
				}
			}
			r.fleet.Store(&s)
		}
		share := func() (fra float64) {
			plan := r.steering.state.Load().plan
			for i, c := range db.Places() {
				if a := plan.Choose(c); demand.Of(i) > 0 && a.First(steer.IPv4).Name == "fra" {
					fra += demand.Of(i)
				}
			}
			return fra
		}
		loads(0.8)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.steering.run(ctx); close(done) }()
		time.Sleep(2 * time.Minute)
		before, maps := share(), r.counters.Compiled.Load()
		loads(1.1)
		time.Sleep(1500 * time.Millisecond)
		if after, want := share(), before*0.9/1.1; after > want*1.01 || after < want*0.9 {
			t.Errorf("fra has %.3f of the clients, had %.3f when it was less than full, want %.3f", after, before, want)
		}
		if n := r.counters.Compiled.Load(); n != maps+1 {
			t.Errorf("%d maps were compiled for one change", n-maps)
		}
		cancel()
		<-done
	})
}

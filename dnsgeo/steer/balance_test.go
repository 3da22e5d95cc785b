package steer

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"perigee/dnsgeo/geo"
	"perigee/fleet"
)

// around is a Demand of one for each place of db within km of a point.
func around(t testing.TB, db *geo.DB, lat, lon, km float64) *Demand {
	t.Helper()
	weights := make([]float64, len(db.Places()))
	for i, p := range db.Places() {
		if p.Known && Distance(lat, lon, p.Lat, p.Lon) < km {
			weights[i] = 1
		}
	}
	d, err := NewDemand(weights)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sends returns n with a capacity, of which it uses a share.
func sends(n fleet.Node, capacity, share float64) fleet.Node {
	n.Load = fleet.Load{Capacity: capacity, Sent: capacity * share, Headroom: max(0, 1-share)}
	return n
}

func shares(p *Plan, db *geo.DB, d *Demand) map[string]float64 {
	of := make(map[string]float64)
	for i, c := range db.Places() {
		if w := d.Of(i); w > 0 {
			of[chosen(p, c, IPv4).Name] += w
		}
	}
	return of
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// TestOverloadIsSpreadInProportionToRoom: an edge with three neighbours as far away in each direction has a fifth too much.
func TestOverloadIsSpreadInProportionToRoom(t *testing.T) {
	db := embedded(t)
	d := around(t, db, 50.1, 8.7, 150)
	s := snapshot(sends(fra(), 100, 1.1),
		sends(node("a", 54.5, 8.7, "192.0.2.11", "2001:db8::11"), 100, 0.8), // has room for 10 below 0.9
		sends(node("b", 47.8, 14.9, "192.0.2.12", "2001:db8::12"), 100, 0.7),
		sends(node("c", 47.8, 2.5, "192.0.2.13", "2001:db8::13"), 100, 0.6))
	p := Input{Fleet: s, Policy: policy(t, Rules{Capacity: CapacityRules{High: 0.9}})}.Plan(nil)
	// The neighbours serve others too: clients far away of which the demand here knows nothing. Their own load has to be in it.
	weights := make([]float64, len(db.Places()))
	near := map[string]float64{"fra": 110, "a": 80, "b": 70, "c": 60}
	count := map[string]float64{}
	for i, c := range db.Places() {
		if d.Of(i) > 0 || c.Known && Distance(50.1, 8.7, c.Lat, c.Lon) < 900 && chosen(p, c, IPv4).Name != "fra" {
			count[chosen(p, c, IPv4).Name]++
		}
	}
	for i, c := range db.Places() {
		if d.Of(i) > 0 || c.Known && Distance(50.1, 8.7, c.Lat, c.Lon) < 900 && chosen(p, c, IPv4).Name != "fra" {
			weights[i] = near[chosen(p, c, IPv4).Name] / count[chosen(p, c, IPv4).Name]
		}
	}
	d, err := NewDemand(weights)
	if err != nil {
		t.Fatal(err)
	}
	before := shares(p, db, d)
	p, moved := p.Balance(Balancing{DB: db, Demand: d, Now: noon})
	after := shares(p, db, d)
	if want := 20. / 320; moved.Forced < want*0.9 || moved.Forced > want*1.1 || moved.Returned != 0 {
		t.Errorf("%+v was moved, want %.3f", moved, want)
	}
	for name, room := range map[string]float64{"a": 10, "b": 20, "c": 30} {
		if got, want := after[name]-before[name], 20./320*room/60; math.Abs(got-want) > want/3 {
			t.Errorf("%s got %.4f of the clients, want %.4f", name, got, want)
		}
	}
	words := map[Reason]bool{}
	for i, c := range db.Places() {
		if d.Of(i) == 0 {
			continue
		}
		r := p.Rank(c, IPv4)
		if r[0].Name != chosen(p, c, IPv4).Name {
			t.Fatalf("%+v: chosen %s, but %s", c, chosen(p, c, IPv4).Name, listed(r))
		}
		if r[0].Reason == StandsIn {
			if s := listed(r); !strings.Contains(s, "fra over-capacity") || strings.Count(s, string(OverCapacity)) != 1 {
				t.Fatalf("%s", listed(r))
			}
		}
		words[r[0].Reason] = true
	}
	if !words[StandsIn] || !words[Nearest] {
		t.Errorf("%v", words)
	}
}

// TestClientsComeBackSlowly: after a failure all at once, back after Hold, in the course of Return, and each place once.
func TestClientsComeBackSlowly(t *testing.T) {
	db := embedded(t)
	d := around(t, db, 50.1, 8.7, 200)
	rules := CapacityRules{High: 0.9, Hold: time.Minute, Return: 10 * time.Minute}
	p := Input{Fleet: snapshot(fra(), nyc(), sin()), Policy: policy(t, Rules{Capacity: rules})}.Plan(nil)
	now := noon
	balance := func() Moved {
		var m Moved
		p, m = p.Balance(Balancing{DB: db, Demand: d, Now: now})
		return m
	}
	if m := balance(); m.Any() {
		t.Fatalf("nothing has happened, but %+v was moved", m)
	}
	frankfurt := at(50.1, 8.7)
	p = NewPlan(p, snapshot(down(fra()), nyc(), sin()))
	if c := chosen(p, frankfurt, IPv4); c.Name != "nyc" {
		t.Fatalf("fra is down, clients go to %s before Balance has seen it", c.Name)
	}
	if m := balance(); m.Forced < 0.999 || m.Returned != 0 {
		t.Fatalf("%+v", m)
	}
	now = now.Add(time.Hour)
	p = NewPlan(p, snapshot(fra(), nyc(), sin()))
	if r := p.Rank(frankfurt, IPv4); listed(r) != "nyc stands-in, sin farther, fra returning" || chosen(p, frankfurt, IPv4).Name != "nyc" {
		t.Fatalf("fra has just come back: %s", listed(r))
	}
	last, sum := 0.0, 0.0
	for minute := range 13 {
		m := balance()
		sum += m.Returned
		got := shares(p, db, d)["fra"]
		if want := min(1, max(0, float64(minute-1)/10)); math.Abs(got-want) > 0.02 || got < last || math.Abs(sum-got) > 0.001 || m.Forced != 0 {
			t.Errorf("after %d minutes %.3f of the clients are back, want %.3f; %+v", minute, got, want, m)
		}
		last = got
		if minute == 5 { // what another node reports must not disturb
			p = NewPlan(p, snapshot(fra(), nyc(), sin(), in(fleet.Starting, node("new", 50, 9, "192.0.2.9", "2001:db8::9"))))
		}
		now = now.Add(time.Minute)
	}
	if r := listed(p.Rank(frankfurt, IPv4)); !strings.HasPrefix(r, "fra nearest") {
		t.Errorf("all are back: %s", r)
	}
	p = Input{Fleet: snapshot(nyc(), sin()), Policy: policy(t, Rules{})}.Plan(p)
	if same, m := p.Balance(Balancing{DB: db, Demand: d, Now: now}); same != p || m.Any() {
		t.Errorf("the policy leaves capacity out of account, but %+v", m)
	}
}

// TestBalanceUnderAnything: fleets that come, go, change families and loads under every kind of policy. What is decided stays within the pool, loads are
// numbers, and plan, map and ranking agree.
func TestBalanceUnderAnything(t *testing.T) {
	db := embedded(t)
	rng := rand.New(rand.NewPCG(31, 31))
	d := around(t, db, 48, 8, 900)
	for range 3 {
		rules := randomPolicy(t, rng).rules
		rules.Capacity = CapacityRules{High: 0.8, Settle: time.Second, Hold: time.Second, Return: time.Minute}
		pol, now := policy(t, rules), noon
		var p *Plan
		for range 8 {
			s := randomFleet(rng)
			for i := range s.Nodes {
				if rng.IntN(3) > 0 {
					s.Nodes[i] = sends(s.Nodes[i], float64(1+rng.IntN(100)), 1.3*rng.Float64())
				}
			}
			p = Input{Fleet: s, Policy: pol}.Plan(p)
			for range 3 {
				now = now.Add(time.Duration(rng.IntN(30)) * time.Second)
				var m Moved
				p, m = p.Balance(Balancing{DB: db, Demand: d, Now: now})
				if !(m.Forced >= 0 && m.Forced <= 1.0001 && m.Returned >= 0 && m.Returned <= 1.0001) {
					t.Fatalf("%+v was moved", m)
				}
			}
			m := Compile(p, db)
			for range 100 {
				a := inside(rng, netip.MustParsePrefix([]string{"81.2.0.0/13", "2a00::/14", "80.0.0.0/4"}[rng.IntN(3)]))
				n, _ := m.Find(a)
				planned, _ := p.Find(db, a)
				for f := range planned.Edges {
					got := m.Answers()[n].Edges[f]
					if !slices.Equal(got, planned.Edges[f]) {
						t.Fatalf("%v: the map says %v, the plan %v", a, got, planned.Edges[f])
					}
					r := p.RankAddr(db, a, Family(f))
					if len(got) > 0 && (r[0].Name != got[0].Name || r[0].Answer != 1) {
						t.Fatalf("%v: the map says %s, but %s", a, got[0].Name, listed(r))
					}
					if len(got) > 0 && got[0].Unfit != "" && !p.Lapsed() && r[0].Reason != LastGood {
						t.Fatalf("%v is sent to %s, which is %s: %s", a, got[0].Name, got[0].Unfit, listed(r))
					}
				}
			}
		}
	}
}

// TestLoadsAreFollowed: after a night without any client the evening's overload is seen, and while clients follow a change nothing is measured.
func TestLoadsAreFollowed(t *testing.T) {
	db := embedded(t)
	d := around(t, db, 50.1, 8.7, 400)
	pol := policy(t, Rules{Capacity: CapacityRules{High: 0.9}})
	p := Input{Fleet: snapshot(sends(fra(), 100, 0.5), sends(nyc(), 1000, 0)), Policy: pol}.Plan(nil)
	now := noon
	seconds := func(n int, load float64) (m Moved) {
		for range n {
			var one Moved
			p, one = p.Balance(Balancing{DB: db, Demand: d, Fleet: snapshot(sends(fra(), 100, load), sends(nyc(), 1000, 0)), Now: now})
			m.Forced, m.Returned = m.Forced+one.Forced, m.Returned+one.Returned
			now = now.Add(time.Second)
		}
		return m
	}
	if m := seconds(3600, 0); m.Any() {
		t.Fatalf("nobody was there, but %+v was moved", m)
	}
	if m := seconds(59, 1.2); math.Abs(m.Forced-0.25) > 0.02 || m.Returned != 0 {
		t.Fatalf("a quarter is too much, %+v was moved", m)
	}
	if got := shares(p, db, d)["fra"]; math.Abs(got-0.75) > 0.02 {
		t.Errorf("fra has %.3f of the clients, want 0.75", got)
	}
	if m := seconds(3600, 0.85); m.Any() {
		t.Errorf("fra is neither full nor below Low, but %+v was moved", m)
	}
}

func TestNewDemandRefuses(t *testing.T) {
	for _, weights := range [][]float64{nil, {0, 0}, {1, -1}, {math.NaN()}, {math.Inf(1)}, {math.MaxFloat64, math.MaxFloat64}} {
		if _, err := NewDemand(weights); err == nil {
			t.Errorf("%v is taken", weights)
		}
	}
}

func BenchmarkBalance(b *testing.B) {
	db := embedded(b)
	d := AddressSpace(db)
	p := Input{Fleet: edges(200).in.Fleet, Policy: policy(b, Rules{Capacity: CapacityRules{High: 0.9}})}.Plan(nil)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			p.Balance(Balancing{DB: db, Demand: d, Now: noon})
		}
	})
	next, _ := p.Balance(Balancing{DB: db, Demand: d, Now: noon})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			next.Balance(Balancing{DB: db, Demand: d, Now: noon.Add(time.Second)})
		}
	})
}

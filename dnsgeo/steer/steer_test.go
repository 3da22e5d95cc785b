package steer

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"perigee/dnsgeo/geo"
	"perigee/fleet"
)

// node returns a ready edge.
func node(name string, lat, lon float64, addrs ...string) fleet.Node {
	n := fleet.Node{Report: fleet.Report{Format: 1, Node: name, Role: fleet.RoleEdge, State: fleet.Ready,
		Place: fleet.Place{Name: name, Lat: lat, Lon: lon}}}
	for _, a := range addrs {
		n.Addrs = append(n.Addrs, netip.AddrPortFrom(netip.MustParseAddr(a), 8100))
	}
	return n
}

func fra() fleet.Node { return node("fra", 50.11, 8.68, "192.0.2.1", "2001:db8::1") }
func nyc() fleet.Node { return node("nyc", 40.71, -74.01, "192.0.2.2", "2001:db8::2") }
func sin() fleet.Node { return node("sin", 1.35, 103.82, "192.0.2.3", "2001:db8::3") }

func down(n fleet.Node) fleet.Node { n.Down = true; return n }

func in(s fleet.State, n fleet.Node) fleet.Node { n.State = s; return n }

func snapshot(nodes ...fleet.Node) *fleet.Snapshot { return &fleet.Snapshot{Gen: 1, Nodes: nodes} }

func at(lat, lon float64) geo.Place { return geo.Place{Lat: lat, Lon: lon, Known: true} }

var (
	london = at(51.5, -0.1)
	boston = at(42.4, -71.1)
	tokyo  = at(35.7, 139.7)
)

func TestDistance(t *testing.T) {
	for _, x := range []struct{ lat1, lon1, lat2, lon2, want float64 }{
		{50.11, 8.68, 50.11, 8.68, 0},
		{0, 0, 0, 180, math.Pi * earthRadius},
		{90, 0, -90, 0, math.Pi * earthRadius},
		{0, 179.5, 0, -179.5, 111.2},
		{51.5, -0.12, 40.71, -74.01, 5570},
		{50.11, 8.68, 1.35, 103.82, 10270},
	} {
		if got := Distance(x.lat1, x.lon1, x.lat2, x.lon2); math.Abs(got-x.want) > 0.005*x.want {
			t.Errorf("Distance(%v, %v, %v, %v) = %.1f, want %.1f", x.lat1, x.lon1, x.lat2, x.lon2, got, x.want)
		}
	}
}

func unreachable(n fleet.Node) fleet.Node { n.Unreachable = true; return n }
func held(n fleet.Node) fleet.Node        { n.Held = &fleet.Hold{}; return n }

func TestRank(t *testing.T) {
	v4only := node("aaa", 51.5, -0.1, "192.0.2.9")
	api := node("api", 51.5, -0.1, "192.0.2.7")
	api.Role = fleet.RoleAPI
	for _, x := range []struct {
		name   string
		nodes  []fleet.Node
		client geo.Place
		family Family
		want   string
	}{
		{"three edges, London", []fleet.Node{fra(), nyc(), sin()}, london, IPv4, "fra nearest, nyc farther, sin farther"},
		{"three edges, Boston", []fleet.Node{fra(), nyc(), sin()}, boston, IPv6, "nyc nearest, fra farther, sin farther"},
		{"three edges, Tokyo", []fleet.Node{sin(), nyc(), fra()}, tokyo, IPv4, "sin nearest, fra farther, nyc farther"},
		{"unknown place", []fleet.Node{sin(), nyc(), fra()}, geo.Place{Country: "AQ"}, IPv4, "fra default, nyc later, sin later"},
		{"only edges count", []fleet.Node{api, nyc()}, london, IPv4, "nyc nearest"},
		{"down", []fleet.Node{down(fra()), nyc(), sin()}, london, IPv4, "nyc nearest, sin farther, fra down"},
		{"draining", []fleet.Node{in(fleet.Draining, fra()), nyc()}, london, IPv4, "nyc nearest, fra draining"},
		{"starting", []fleet.Node{in(fleet.Starting, fra()), nyc()}, london, IPv4, "nyc nearest, fra starting"},
		{"stopping", []fleet.Node{in(fleet.Stopping, fra()), nyc()}, london, IPv4, "nyc nearest, fra down"},
		{"out of reach", []fleet.Node{unreachable(fra()), nyc()}, london, IPv4, "nyc nearest, fra unreachable"},
		{"kept out", []fleet.Node{held(fra()), nyc()}, london, IPv4, "nyc nearest, fra flapping"},
		{"none fit: one that is kept out still serves", []fleet.Node{unreachable(fra()), held(nyc()), down(fra())}, london, IPv4, "nyc last-good, fra unreachable, fra down"},
		{"none fit: one out of reach may still serve", []fleet.Node{unreachable(nyc()), in(fleet.Starting, fra())}, london, IPv4, "nyc last-good, fra starting"},
		{"no IPv6 address", []fleet.Node{v4only, fra()}, london, IPv6, "fra nearest, aaa no-address-of-family"},
		{"its IPv4 address", []fleet.Node{v4only, fra()}, london, IPv4, "aaa nearest, fra farther"},
		{"none fit: a draining edge still serves", []fleet.Node{in(fleet.Draining, sin()), down(fra()), in(fleet.Starting, nyc())}, london, IPv4,
			"sin last-good, fra down, nyc starting"},
		{"none fit: silent edges may still serve", []fleet.Node{down(sin()), down(in(fleet.Stopping, fra())), down(nyc())}, london, IPv4,
			"nyc last-good, sin down, fra down"},
		{"none fit: anything", []fleet.Node{in(fleet.Starting, sin()), down(in(fleet.Stopping, fra()))}, london, IPv4, "fra last-good, sin starting"},
		{"no edges", nil, london, IPv4, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := NewPlan(nil, snapshot(x.nodes...))
			ranked := p.Rank(x.client, x.family)
			var got string
			for i, r := range ranked {
				if i > 0 {
					got += ", "
				}
				got += r.Name + " " + string(r.Reason)
				want := 0.0
				if x.client.Known {
					want = Distance(x.client.Lat, x.client.Lon, r.Place.Lat, r.Place.Lon)
				}
				if math.Abs(r.KM-want) > 0.06 {
					t.Errorf("%s is %v km away, want %v", r.Name, r.KM, want)
				}
			}
			if got != x.want {
				t.Errorf("got  %s\nwant %s", got, x.want)
			}
			picked := chosen(p, x.client, x.family)
			if (picked == nil) != (len(ranked) == 0) || picked != nil && picked.Name != ranked[0].Name {
				t.Errorf("Pick %+v, but Rank %s", picked, got)
			}
			if p.Empty() != (len(x.nodes) == 0) {
				t.Errorf("Empty() = %v", p.Empty())
			}
		})
	}
}

func TestAnEdgeThereWasIsAnAnswer(t *testing.T) {
	first := NewPlan(nil, snapshot(fra(), nyc()))
	forgotten := NewPlan(first, &fleet.Snapshot{Gen: 9})
	if c := chosen(forgotten, london, IPv4); c == nil || c.Name != "fra" {
		t.Errorf("all edges are forgotten: %+v", c)
	}
	if forgotten.Gen() != 9 {
		t.Errorf("Gen() = %d", forgotten.Gen())
	}
	if r := forgotten.Rank(london, IPv4); r[0].Reason != LastGood || r[1].Reason != Down {
		t.Errorf("%+v", r)
	}
	again := NewPlan(NewPlan(forgotten, nil), snapshot(nyc()))
	if r := again.Rank(london, IPv4); len(r) != 1 || r[0].Name != "nyc" || r[0].Reason != Nearest {
		t.Errorf("after the edges came back: %+v", r)
	}
	if c := chosen(NewPlan(nil, nil), london, IPv4); c != nil {
		t.Errorf("there never was an edge: %+v", c)
	}
}

func TestOneFamilyMissingInTheWholeFleet(t *testing.T) {
	p := NewPlan(nil, snapshot(node("a", 50, 8, "192.0.2.1"), down(node("b", 50, 8, "2001:db8::1"))))
	if c := chosen(p, london, IPv6); c != nil {
		t.Errorf("IPv6 goes to %s, which is down, though IPv4 would work", c.Name)
	}
	if r := p.Rank(london, IPv6); r[0].Name != "a" || r[0].Reason != NoAddress || r[1].Reason != Down {
		t.Errorf("%+v", r)
	}
}

func TestAddresses(t *testing.T) {
	p := NewPlan(nil, snapshot(node("a", 50, 8, "0.0.0.0", "::", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1")))
	c := chosen(p, london, IPv4)
	if c.Addrs != (Addrs{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}) {
		t.Errorf("%v", c.Addrs)
	}
	for want, n := range map[string]fleet.Node{`["192.0.2.1"]`: node("a", 50, 8, "192.0.2.1"), `["2001:db8::1"]`: node("a", 50, 8, "2001:db8::1"), `[]`: node("a", 50, 8)} {
		if got, err := json.Marshal(newEdge(&n).Addrs); err != nil || string(got) != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}

// TestEquallyNearEdgesShareClients: edges of one city share its clients, and an edge that joins takes its share from
// all and moves nobody else.
func TestEquallyNearEdgesShareClients(t *testing.T) {
	var nodes []fleet.Node
	for i := range 4 {
		nodes = append(nodes, node(fmt.Sprintf("fra%d", i), 50.11, 8.68, "192.0.2.1"))
	}
	three, four := NewPlan(nil, snapshot(nodes[:3]...)), NewPlan(nil, snapshot(nodes...))
	reversed := slices.Clone(nodes)
	slices.Reverse(reversed)
	again := NewPlan(nil, snapshot(reversed...))
	share := make(map[string]int)
	const places = 3000
	for i := range places {
		c := at(40+float64(i%60)/4, -10+float64(i/60)/4)
		was, is := chosen(three, c, IPv4).Name, chosen(four, c, IPv4).Name
		share[is]++
		if is != was && is != "fra3" {
			t.Fatalf("when fra3 joined, a client of %s moved to %s", was, is)
		}
		if got := chosen(again, c, IPv4).Name; got != is {
			t.Fatalf("the order in which edges are listed changed %s to %s", is, got)
		}
		if r := four.Rank(c, IPv4); r[0].Reason != Nearest || r[1].Reason != Tied {
			t.Fatalf("%+v", r)
		}
	}
	for name, n := range share {
		if n < places/4*8/10 || n > places/4*12/10 {
			t.Errorf("%s has %d of %d places", name, n, places)
		}
	}
}

var world = sync.OnceValues(geo.Embedded)

// chosen is the edge that a client is sent to.
func chosen(p *Plan, c geo.Place, f Family) *Candidate {
	a := p.Choose(c)
	return a.First(f)
}

func embedded(t testing.TB) *geo.DB {
	t.Helper()
	db, err := world()
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// randomFleet has up to 12 edges in random states, of which some share a city and some lack a family.
func randomFleet(rng *rand.Rand) *fleet.Snapshot {
	s := &fleet.Snapshot{Gen: rng.Uint64()}
	for i := range rng.IntN(12) {
		lat, lon := float64(rng.IntN(4)*30-45), float64(rng.IntN(8)*45-180)
		n := node(fmt.Sprintf("e%d", i), lat, lon)
		for _, a := range []string{fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("2001:db8::%d", i)} {
			if rng.IntN(4) > 0 {
				n.Addrs = append(n.Addrs, netip.AddrPortFrom(netip.MustParseAddr(a), 80))
			}
		}
		n.State = []fleet.State{fleet.Ready, fleet.Ready, fleet.Draining, fleet.Starting}[rng.IntN(4)]
		n.Down = rng.IntN(4) == 0
		s.Nodes = append(s.Nodes, n)
	}
	return s
}

// inside returns a random address of p.
func inside(rng *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= byte(rng.IntN(2)) << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// TestMapAgreesWithPlan: the compiled answer is that of Pick and of Rank, and it is the same everywhere in its prefix.
func TestMapAgreesWithPlan(t *testing.T) {
	db := embedded(t)
	rng := rand.New(rand.NewPCG(5, 5))
	var previous *Plan
	for range 5 {
		p := NewPlan(previous, randomFleet(rng))
		previous = p
		m := Compile(p, db)
		for range 200 {
			a := inside(rng, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("2000::/3"), netip.MustParsePrefix("2a00::/13")}[rng.IntN(3)])
			place, network := db.Lookup(a)
			for _, f := range []Family{IPv4, IPv6} {
				n, prefix := m.Find(a)
				got, choice := m.Answers()[n].First(f), p.Choose(place)
				if want := choice.First(f); got != want {
					t.Fatalf("%v: the map says %+v, the plan %+v", a, got, want)
				}
				if ranked := p.Rank(place, f); got != nil && ranked[0].Name != got.Name {
					t.Fatalf("%v: the map says %s, the ranking %s", a, got.Name, ranked[0].Name)
				}
				if prefix.Bits() > network.Bits() || !prefix.Contains(a) {
					t.Fatalf("%v: prefix %v is narrower than the data's network %v", a, prefix, network)
				}
				for range 20 {
					b := inside(rng, prefix)
					if other, q := m.Find(b); other != n || q != prefix {
						t.Fatalf("%v in %v goes to %+v; %v in %v goes to %+v", a, prefix, got, b, q, other)
					}
				}
			}
		}
	}
}

func TestOneEdgeNeedsNoScope(t *testing.T) {
	m := Compile(NewPlan(nil, snapshot(fra())), embedded(t))
	for _, s := range []string{"81.2.69.142", "127.0.0.1", "2001:db8::1"} {
		if n, p := m.Find(netip.MustParseAddr(s)); m.Answers()[n].First(IPv4).Name != "fra" || p.Bits() != 0 {
			t.Errorf("%s: %d in %v", s, n, p)
		}
	}
}

func TestFindDoesNotAllocate(t *testing.T) {
	m := Compile(NewPlan(nil, snapshot(fra(), nyc(), sin())), embedded(t))
	a := netip.MustParseAddr("81.2.69.142")
	if n := testing.AllocsPerRun(100, func() { m.Find(a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func edges(n int) *Plan {
	rng := rand.New(rand.NewPCG(2, 2))
	s := snapshot(fra(), nyc(), sin())
	for i := len(s.Nodes); i < n; i++ {
		s.Nodes = append(s.Nodes, node(fmt.Sprintf("e%d", i), rng.Float64()*120-60, rng.Float64()*360-180, "192.0.2.1", "2001:db8::1"))
	}
	return NewPlan(nil, s)
}

// BenchmarkCompile is on the embedded table, which has some 43,000 places.
func BenchmarkCompile(b *testing.B) {
	db := embedded(b)
	biased := Rules{Answers: 3, Ring: Ring{KM: 30, Percent: 10}, Edges: map[string]EdgeRules{"fra": {Bias: 10}, "nyc": {Weight: 3}}}
	subnets := Rules{Overrides: []Override{{Subnet: netip.MustParsePrefix("81.2.69.0/24"), Edges: []string{"nyc"}}, {Country: "DE", Edges: []string{"fra"}}}}
	for _, n := range []int{3, 16, 100, 200} {
		for name, rules := range map[string]Rules{"nearest": {}, "3 answers, rings and biases": biased, "overrides": subnets} {
			b.Run(fmt.Sprintf("%d edges, %s", n, name), func(b *testing.B) {
				p := Input{Fleet: edges(n).in.Fleet, Policy: policy(b, rules)}.Plan(nil)
				runs := 0
				for b.Loop() {
					runs = Compile(p, db).Len()
				}
				b.ReportMetric(float64(runs), "runs")
			})
		}
	}
}

func policy(t testing.TB, r Rules) *Policy {
	t.Helper()
	p, err := NewPolicy(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func BenchmarkFind(b *testing.B) {
	m := Compile(edges(16), embedded(b))
	rng := rand.New(rand.NewPCG(1, 1))
	addrs := make([]netip.Addr, 1<<16)
	for i := range addrs {
		addrs[i] = inside(rng, netip.MustParsePrefix("0.0.0.0/0"))
	}
	for i := 0; b.Loop(); i++ {
		m.Find(addrs[i%len(addrs)])
	}
}

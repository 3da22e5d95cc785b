package steer

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"perigee/fleet"
)

// TestWhatIfDrain: what moves is what the drained edge had, and a sample of addresses agrees with the shares.
func TestWhatIfDrain(t *testing.T) {
	db := embedded(t)
	p := NewPlan(nil, snapshot(fra(), nyc(), sin()))
	c, err := p.WhatIf(Balancing{DB: db}, Change{Drain: []string{"fra"}})
	if err != nil {
		t.Fatal(err)
	}
	var before Share
	for _, e := range c.Edges {
		if e.Name == "fra" {
			before = e.Before
			if e.After != (Share{}) {
				t.Errorf("fra is drained but has %+v", e.After)
			}
		}
	}
	for _, m := range c.Moves {
		if m.From != "fra" {
			t.Errorf("%+v moves without need", m)
		}
	}
	if near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }; !near(before.IPv4, c.Moved.IPv4) || !near(before.IPv6, c.Moved.IPv6) ||
		!near(before.Demand, c.Moved.Demand) || !near(c.Moved.Demand, c.Moved.IPv4) || len(c.Moves) != 2 {
		t.Errorf("fra had %+v, %+v moves", before, c)
	}
	m, rng, n, moved := Compile(p, db), rand.New(rand.NewPCG(7, 7)), 0.0, 0.0
	for n < 20000 {
		a := inside(rng, netip.MustParsePrefix("0.0.0.0/0"))
		if place, _ := db.Lookup(a); !place.Known {
			continue
		}
		n++
		if answer, _ := m.Find(a); m.Answers()[answer].First(IPv4).Name == "fra" {
			moved++
		}
	}
	if got := moved / n; math.Abs(got-c.Moved.IPv4) > 0.015 {
		t.Errorf("%.3f of a sample of addresses has fra, Compare says %.3f", got, c.Moved.IPv4)
	}
	b, err := json.Marshal(c)
	if err != nil || !strings.HasPrefix(string(b), `{"moved":{"ipv4":0.`) || !strings.Contains(string(b), `"moves":[{"from":"fra","to":"`) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestWhatIfAdd(t *testing.T) {
	db := embedded(t)
	p := NewPlan(nil, snapshot(fra(), nyc(), sin()))
	site, err := ParseSite("tyo@35.6,139.7")
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.WhatIf(Balancing{DB: db}, Change{Add: []Site{site}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Moves {
		if m.To != "tyo" {
			t.Errorf("%+v moves without need", m)
		}
	}
	if c.Moved.IPv4 < 0.03 || c.Moved.IPv4 > 0.5 || c.Moves[0].From != "sin" {
		t.Errorf("%+v", c)
	}
	only4 := NewPlan(nil, snapshot(node("fra", 50.11, 8.68, "192.0.2.1"), node("sin", 1.35, 103.82, "192.0.2.3")))
	if c, err := only4.WhatIf(Balancing{DB: db}, Change{Add: []Site{site}}); err != nil || c.Moved.IPv6 > 0.6 || c.Moved.IPv6 == 0 || c.Moves[0].From == "" {
		t.Errorf("a fleet without IPv6: %+v, %v", c, err)
	}
	same := Compile(p, db)
	if c := Compare(same, same, db, nil); len(c.Moves) != 0 || c.Moved != (Share{}) || len(c.Edges) != 3 {
		t.Errorf("nothing has changed, but %+v", c)
	}
	for _, x := range []struct {
		change Change
		want   string
	}{
		{Change{Drain: []string{"xxx"}}, `edge "xxx": file does not exist`},
		{Change{Add: []Site{{Name: "fra"}}}, `node "fra": file already exists`},
	} {
		if _, err := p.WhatIf(Balancing{DB: db}, x.change); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v", x.change, err)
		}
	}
	for _, s := range []string{"", "tyo", "@1,2", "tyo@91,0", "tyo@1", "tyo@1,2,3", "tyo@NaN,1"} {
		if site, err := ParseSite(s); err == nil {
			t.Errorf("%q is %+v", s, site)
		}
	}
}

// TestWhatIfCountsCapacity: the nearest neighbour of the drained edge has no room for all its clients.
func TestWhatIfCountsCapacity(t *testing.T) {
	db := embedded(t)
	ber := sends(node("ber", 52.52, 13.4, "192.0.2.4", "2001:db8::4"), 100, 0.5)
	nodes := []fleet.Node{sends(fra(), 100, 0.8), ber, sends(nyc(), 1000, 0.1), sends(sin(), 1000, 0.1)}
	p := Input{Fleet: snapshot(nodes...), Policy: policy(t, Rules{Capacity: CapacityRules{High: 0.9}})}.Plan(nil)
	b := Balancing{DB: db, Demand: AddressSpace(db), Now: noon}
	p, _ = p.Balance(b)
	c, err := p.WhatIf(b, Change{Drain: []string{"fra"}})
	if err != nil {
		t.Fatal(err)
	}
	var had, served, own float64
	for _, e := range c.Edges {
		if e.Name == "fra" {
			had = e.Before.Demand
		}
		if e.Name == "ber" {
			own = e.Before.Demand
		}
	}
	for _, m := range c.Moves {
		switch {
		case m.From == "fra" && m.To == "ber":
			served += 80 * m.Demand / had
		case m.From == "ber": // to make room for clients of fra would move more than needed
			served -= 50 * m.Demand / own
			if m.Demand > 0.01 {
				t.Errorf("%+v", m)
			}
		}
	}
	if served += 50; served > 91 || served < 80 {
		t.Errorf("ber would serve %.1f of its 100, want as much as 0.9 allows: %+v", served, c)
	}
}

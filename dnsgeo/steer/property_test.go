package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"perigee/fleet"
)

// scattered is n edges all over the world.
func scattered(rng *rand.Rand, n int) []fleet.Node {
	var nodes []fleet.Node
	for i := range n {
		lat := math.Asin(2*rng.Float64()-1) * 180 / math.Pi
		nodes = append(nodes, node(fmt.Sprintf("e%02d", i), lat, rng.Float64()*360-180, "192.0.2.1", "2001:db8::1"))
	}
	return nodes
}

// TestTheNearestWins: no edge is nearer than the map's answer, over IPv4 and over IPv6, measured without what the package orders by.
func TestTheNearestWins(t *testing.T) {
	db := embedded(t)
	rng := rand.New(rand.NewPCG(21, 21))
	for _, n := range []int{6, 16, 60} {
		nodes := scattered(rng, n)
		m := Compile(NewPlan(nil, snapshot(nodes...)), db)
		for _, within := range []string{"0.0.0.0/0", "2000::/3", "2a00::/12", "2400::/12"} {
			for range 500 {
				a := inside(rng, netip.MustParsePrefix(within))
				place, _ := db.Lookup(a)
				if !place.Known {
					continue
				}
				i, scope := m.Find(a)
				answer := m.Answers()[i]
				if answer.First(IPv4) != answer.First(IPv6) {
					t.Fatalf("%v: A says %s, AAAA says %s", a, answer.First(IPv4).Name, answer.First(IPv6).Name)
				}
				got := answer.First(IPv4)
				km := Distance(place.Lat, place.Lon, got.Place.Lat, got.Place.Lon)
				for _, e := range nodes {
					if d := Distance(place.Lat, place.Lon, e.Place.Lat, e.Place.Lon); d < km-1.01 {
						t.Fatalf("%d edges, %v in %v: %s at %.1f km is answered, %s is %.1f km away", n, a, scope, got.Name, km, e.Node, d)
					}
				}
			}
		}
	}
}

// TestOnlyWhoMustMoves: an edge that joins takes clients and moves no others; an edge that fails, drains or leaves moves only those that it had. With rings
// and weights the same holds for failing and draining.
func TestOnlyWhoMustMoves(t *testing.T) {
	db := embedded(t)
	rng := rand.New(rand.NewPCG(22, 22))
	places := db.Places()
	for _, x := range []struct {
		name  string
		rules Rules
		leave bool
	}{
		{"nearest", Rules{}, true},
		{"biases", Rules{Edges: map[string]EdgeRules{"e03": {Bias: 40}, "e05": {Bias: -70}}}, true},
		{"rings", Rules{Ring: Ring{KM: 300, Percent: 30}, Edges: map[string]EdgeRules{"e03": {Weight: 3}, "e05": {Weight: 0.1}}}, false},
	} {
		pol := policy(t, x.rules)
		nodes := scattered(rng, 16)
		all := Input{Fleet: snapshot(nodes...), Policy: pol}.Plan(nil)
		others := map[string]*Plan{
			"fails":  Input{Fleet: snapshot(append(append([]fleet.Node{}, nodes[:3]...), append([]fleet.Node{down(nodes[3])}, nodes[4:]...)...)...), Policy: pol}.Plan(nil),
			"drains": Input{Fleet: snapshot(append(append([]fleet.Node{}, nodes[:3]...), append([]fleet.Node{in(fleet.Draining, nodes[3])}, nodes[4:]...)...)...), Policy: pol}.Plan(nil),
		}
		if x.leave {
			others["leaves"] = Input{Fleet: snapshot(append(append([]fleet.Node{}, nodes[:3]...), nodes[4:]...)...), Policy: pol}.Plan(nil)
		}
		for what, without := range others {
			had := 0
			for range 5000 {
				c := places[1+rng.IntN(len(places)-1)]
				with, left := chosen(all, c, IPv4).Name, chosen(without, c, IPv4).Name
				if with == "e03" {
					had++
				} else if with != left {
					t.Fatalf("%s: e03 %s, and a client of %s moves to %s", x.name, what, with, left)
				}
			}
			if had == 0 {
				t.Errorf("%s: e03 had no clients", x.name)
			}
		}
	}
}

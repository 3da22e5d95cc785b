package steer

import (
	"cmp"
	"encoding/json"
	"fmt"
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

func TestNewPolicyRefuses(t *testing.T) {
	for rules, want := range map[string]string{
		`{"answers":9}`:                                                                     "answers is 9; it must be 0 to 8",
		`{"ring":{"percent":-1}}`:                                                           "ring.percent is -1",
		`{"capacity":{"high":0.5,"low":0.5}}`:                                               "capacity.low is 0.5; it must be less than capacity.high",
		`{"capacity":{"low":0.5}}`:                                                          "capacity.low without capacity.high",
		`{"edges":{"fra":{"bias":100}}}`:                                                    "edge fra: bias is 100; it must be -99 to 99",
		`{"edges":{"fra":{"weight":-1}}}`:                                                   "to take an edge out, drain it",
		`{"edges":{"@fra":{}}}`:                                                             `"@fra" is no name of an edge`,
		`{"groups":{"eu":["@x"]}}`:                                                          "groups do not nest",
		`{"groups":{"eu":[]}}`:                                                              "group eu has no edges",
		`{"overrides":[{"edges":["fra"]}]}`:                                                 "override 1: it sets 0 of subnet, asn",
		`{"overrides":[{"asn":1,"country":"DE","edges":["fra"]}]}`:                          "it sets 2 of",
		`{"overrides":[{"country":"de","edges":["fra"]}]}`:                                  `country "de" is no ISO 3166-1`,
		`{"overrides":[{"region":"Bavaria","edges":["fra"]}]}`:                              `region "Bavaria" is no ISO 3166-2`,
		`{"overrides":[{"continent":"XX","edges":["fra"]}]}`:                                `continent "XX" is none of`,
		`{"overrides":[{"country":"DE"}]}`:                                                  "override of country DE: it names no edges",
		`{"overrides":[{"country":"DE","edges":["@eu"]}]}`:                                  `there is no group "eu"`,
		`{"overrides":[{"country":"DE","edges":["fra","fra"]}]}`:                            "names edge fra twice",
		`{"overrides":[{"country":"DE","edges":["fra"]},{"country":"DE","edges":["ber"]}]}`: "override of country DE: there are two",
		`{"overrides":[{"subnet":"10.0.0.1/8","edges":["fra"]}]}`:                           "did you mean 10.0.0.0/8",
		`{"overrides":[{"subnet":"10.0.0.0/8","edges":["a"]},{"subnet":"10.0.0.0/8","edges":["b"]}]}`: "listed twice",
	} {
		var r Rules
		if err := json.Unmarshal([]byte(rules), &r); err != nil {
			t.Fatalf("%s: %v", rules, err)
		}
		if _, err := NewPolicy(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rules, err, want)
		}
	}
}

// listed is a ranking as "name reason", with the position in the answer where it has one beyond the first.
func listed(ranked []Ranked) string {
	var out []string
	for _, r := range ranked {
		s := r.Name + " " + string(r.Reason)
		if r.Answer > 1 {
			s += fmt.Sprintf(" #%d", r.Answer)
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestRankUnderAPolicy(t *testing.T) {
	ber, muc := node("ber", 52.52, 13.4, "192.0.2.4", "2001:db8::4"), node("muc", 48.14, 11.58, "192.0.2.5", "2001:db8::5")
	fra2 := node("fra2", 50.12, 8.69, "192.0.2.6")
	fra2.Place.Name = "fra"
	all := []fleet.Node{fra(), nyc(), sin(), ber, muc, fra2}
	bavarian := geo.Place{Country: "DE", Region: "BY", ASN: 64500, Lat: 48.1, Lon: 11.6, Known: true}
	hesse := geo.Place{Country: "DE", Region: "HE", Lat: 50.1, Lon: 8.7, Known: true}
	cell := func(edge string, rtt, count int) Sample {
		return Sample{hesse.Lat, hesse.Lon, edge, time.Duration(rtt) * time.Millisecond, count}
	}
	for _, x := range []struct {
		name, rules string
		nodes       []fleet.Node
		client      geo.Place
		want        string
	}{
		{"prefer", `{"overrides":[{"country":"DE","edges":["nyc","ber"]}]}`, all, bavarian,
			"nyc override, ber not-in-override, muc not-in-override, fra not-in-override, fra2 not-in-override, sin not-in-override"},
		{"only", `{"overrides":[{"country":"DE","edges":["ber"],"only":true}]}`, all[:4], bavarian,
			"ber override, fra not-in-override, nyc not-in-override, sin not-in-override"},
		{"only, and it is down", `{"overrides":[{"country":"DE","edges":["ber"],"only":true}]}`, []fleet.Node{down(ber), fra()}, bavarian,
			"ber last-good, fra not-in-override"},
		{"only, and there is no such edge", `{"overrides":[{"country":"DE","edges":["xxx"],"only":true}]}`, all[:2], bavarian, "fra nearest, nyc farther"},
		{"a group is by distance", `{"groups":{"g":["sin","nyc","fra"]},"overrides":[{"continent":"EU","edges":["@g","ber"],"only":true}]}`, all[:4], bavarian,
			"fra override, nyc farther, sin farther, ber not-in-override"},
		{"country beats continent", `{"overrides":[{"continent":"EU","edges":["sin"]},{"country":"DE","edges":["nyc"]}]}`, all[:3], bavarian,
			"nyc override, fra not-in-override, sin not-in-override"},
		{"region beats country", `{"overrides":[{"country":"DE","edges":["nyc"]},{"region":"DE-BY","edges":["sin"]}]}`, all[:3], bavarian,
			"sin override, fra not-in-override, nyc not-in-override"},
		{"another region", `{"overrides":[{"region":"DE-BY","edges":["sin"]}]}`, all[:3], hesse, "fra nearest, nyc farther, sin farther"},
		{"ASN beats region", `{"overrides":[{"asn":64500,"edges":["nyc"]},{"region":"DE-BY","edges":["sin"]}]}`, all[:3], bavarian,
			"nyc override, fra not-in-override, sin not-in-override"},
		{"an unknown place in a known country", `{"overrides":[{"country":"DE","edges":["nyc"]}]}`, all[:3], geo.Place{Country: "DE"},
			"nyc override, fra not-in-override, sin not-in-override"},
		{"bias for", `{"edges":{"ber":{"bias":50}}}`, all[:4], at(50.11, 10.2), "fra nearest, ber farther, nyc farther, sin farther"},
		{"more bias for", `{"edges":{"ber":{"bias":80}}}`, all[:4], at(50.11, 10.2), "ber biased-for, fra biased-distance, nyc farther, sin farther"},
		{"bias against", `{"edges":{"fra":{"bias":-80}}}`, all[:4], at(50.11, 10.2), "ber biased-for, fra biased-distance, nyc farther, sin farther"},
		{"drained", `{"edges":{"fra":{"drain":true}}}`, all[:3], hesse, "nyc nearest, sin farther, fra drained"},
		{"all drained", `{"edges":{"fra":{"drain":true}}}`, all[:1], hesse, "fra last-good"},
		{"three answers", `{"answers":3}`, []fleet.Node{fra(), fra2, muc, ber, nyc()}, at(50.11, 8.68),
			"fra nearest, fra2 same-domain, muc other-domain #2, ber other-domain #3, nyc farther"},
		{"a domain of one's own", `{"answers":2,"edges":{"fra2":{"domain":"x"}}}`, []fleet.Node{fra(), fra2, muc}, at(50.11, 8.68),
			"fra nearest, fra2 other-domain #2, muc farther"},
		{"ring", `{"ring":{"km":30},"edges":{"fra2":{"weight":1000}}}`, []fleet.Node{fra(), fra2, muc}, hesse, "fra2 weight-draw, fra tied, muc farther"},
		{"latency", `{"latency":{"samples":10}}`, []fleet.Node{fra(), ber, nyc()}, hesse, "ber latency, fra slower, nyc farther"},
		{"latency is off by default", `{}`, []fleet.Node{fra(), ber, nyc()}, hesse, "fra nearest, ber farther, nyc farther"},
		{"too few samples", `{"latency":{"samples":51}}`, []fleet.Node{fra(), ber, nyc()}, hesse, "fra nearest, ber farther, nyc farther"},
		{"within a step", `{"latency":{"samples":10,"step_ns":100000000}}`, []fleet.Node{fra(), ber, nyc()}, hesse, "fra nearest, ber farther, nyc farther"},
	} {
		t.Run(x.name, func(t *testing.T) {
			var r Rules
			if err := json.Unmarshal([]byte(x.rules), &r); err != nil {
				t.Fatal(err)
			}
			l, err := NewLatencies([]Sample{cell("fra", 40, 50), cell("ber", 12, 50), cell("nyc", 1, 2)})
			if err != nil {
				t.Fatal(err)
			}
			p := Input{Fleet: snapshot(x.nodes...), Policy: policy(t, r), Latencies: l}.Plan(nil)
			ranked := p.Rank(x.client, IPv4)
			if got := listed(ranked); got != x.want {
				t.Errorf("got  %s\nwant %s", got, x.want)
			}
			a := p.Choose(x.client)
			for i, e := range a.Edges[IPv4] {
				if at := slices.IndexFunc(ranked, func(r Ranked) bool { return r.Name == e.Name }); ranked[at].Answer != i+1 {
					t.Errorf("%s is number %d of the answer, Rank says %d", e.Name, i+1, ranked[at].Answer)
				}
			}
		})
	}
}

func TestWeightsShareARing(t *testing.T) {
	nodes := []fleet.Node{node("a", 50, 8, "192.0.2.1"), node("b", 50.1, 8, "192.0.2.2"), node("c", 50.2, 8, "192.0.2.3")}
	pol := policy(t, Rules{Ring: Ring{KM: 50, Percent: 10}, Edges: map[string]EdgeRules{"a": {Weight: 1}, "b": {Weight: 2}, "c": {Weight: 5}}})
	p := Input{Fleet: snapshot(nodes...), Policy: pol}.Plan(nil)
	without := Input{Fleet: snapshot(nodes[0], down(nodes[1]), nodes[2]), Policy: pol}.Plan(nil)
	count := map[string]float64{}
	const places = 4000
	for i := range places {
		c := at(40+float64(i%63)/4, -10+float64(i/63)/4)
		was, is := chosen(p, c, IPv4).Name, chosen(without, c, IPv4).Name
		count[was]++
		if was != "b" && was != is {
			t.Fatalf("when b failed, a client of %s moved to %s", was, is)
		}
	}
	for name, want := range map[string]float64{"a": 1. / 8, "b": 2. / 8, "c": 5. / 8} {
		if got := count[name] / places; math.Abs(got-want) > 0.03 {
			t.Errorf("%s has %.3f of the places, want %.3f", name, got, want)
		}
	}
}

// randomPolicy has overrides of every kind, nested subnets among them, biases, weights, rings and several answers.
func randomPolicy(t testing.TB, rng *rand.Rand) *Policy {
	r := Rules{Answers: 1 + rng.IntN(4), Ring: Ring{KM: float64(rng.IntN(3)) * 300, Percent: float64(rng.IntN(3)) * 10}, Edges: map[string]EdgeRules{}}
	some := func() []string {
		var names []string
		for _, i := range rng.Perm(12)[:1+rng.IntN(3)] {
			names = append(names, fmt.Sprintf("e%d", i))
		}
		return names
	}
	for i := range 12 {
		r.Edges[fmt.Sprintf("e%d", i)] = EdgeRules{Bias: rng.IntN(3) * (rng.IntN(199) - 99) / 2, Weight: float64(rng.IntN(4)), Drain: rng.IntN(8) == 0}
	}
	seen := map[netip.Prefix]bool{}
	for range rng.IntN(60) {
		bits, of := 8+rng.IntN(24), "81.2.0.0/13"
		if rng.IntN(2) == 0 {
			bits, of = 20+rng.IntN(44), "2a00::/14"
		}
		if p, _ := inside(rng, netip.MustParsePrefix(of)).Prefix(bits); !seen[p] {
			seen[p] = true
			r.Overrides = append(r.Overrides, Override{Subnet: p, Edges: some(), Only: rng.IntN(2) == 0})
		}
	}
	for _, c := range []string{"DE", "GB", "US"} {
		r.Overrides = append(r.Overrides, Override{Country: c, Edges: some(), Only: rng.IntN(2) == 0})
	}
	r.Overrides = append(r.Overrides, Override{Continent: "AS", Edges: some()})
	return policy(t, r)
}

// TestPoliciesHoldInTheMap: whatever the policy, the map, the plan and the ranking agree, the answer is the same all over a prefix, prefixes never overlap,
// and no answer has two edges of one domain.
func TestPoliciesHoldInTheMap(t *testing.T) {
	db := embedded(t)
	rng := rand.New(rand.NewPCG(9, 9))
	for range 6 {
		p := Input{Fleet: randomFleet(rng), Policy: randomPolicy(t, rng)}.Plan(nil)
		m := Compile(p, db)
		scopes := map[netip.Prefix]int{}
		for range 300 {
			a := inside(rng, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("81.2.0.0/13"), netip.MustParsePrefix("2000::/3"),
				netip.MustParsePrefix("2a00::/14")}[rng.IntN(4)])
			n, scope := m.Find(a)
			planned, narrower := p.Find(db, a)
			if !slices.Equal(m.Answers()[n].Edges[IPv4], planned.Edges[IPv4]) || !slices.Equal(m.Answers()[n].Edges[IPv6], planned.Edges[IPv6]) {
				t.Fatalf("%v: the map says %v, the plan %v", a, m.Answers()[n], planned)
			}
			if !scope.Contains(a) || !narrower.Contains(a) || narrower.Bits() < scope.Bits() {
				t.Fatalf("%v: the map's scope is %v, the plan's %v", a, scope, narrower)
			}
			for _, f := range []Family{IPv4, IPv6} {
				ranked, domains := p.RankAddr(db, a, f), map[int32]bool{}
				for i, e := range planned.Edges[f] {
					if at := slices.IndexFunc(ranked, func(r Ranked) bool { return r.Answer == i+1 }); at < 0 || ranked[at].Name != e.Name || i == 0 && at != 0 {
						t.Fatalf("%v: answer %d is %s, but %s", a, i+1, e.Name, listed(ranked))
					}
					if d := p.edges[p.index[e.Name]].domain; domains[d] {
						t.Fatalf("%v: two edges of one domain in %v", a, planned)
					} else {
						domains[d] = true
					}
				}
				for _, r := range ranked {
					if r.Reason == "" {
						t.Fatalf("%v: no reason: %s", a, listed(ranked))
					}
				}
			}
			for range 100 {
				b := inside(rng, scope)
				if other, q := m.Find(b); other != n || q != scope {
					t.Fatalf("%v in %v has answer %d; %v in %v has %d", a, scope, n, b, q, other)
				}
			}
			scopes[scope] = n
		}
		sorted := make([]netip.Prefix, 0, len(scopes))
		for s := range scopes {
			sorted = append(sorted, s)
		}
		slices.SortFunc(sorted, func(a, b netip.Prefix) int {
			return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
		})
		for i := 1; i < len(sorted); i++ {
			if sorted[i-1].Overlaps(sorted[i]) {
				t.Fatalf("%v and %v overlap", sorted[i-1], sorted[i])
			}
		}
	}
}

// TestBiasIsThatOfRoute53: positive bias multiplies the distance by 1-b/100, negative divides by 1+b/100.
func TestBiasIsThatOfRoute53(t *testing.T) {
	for bias, want := range map[int]float64{0: 1, 50: 0.5, 99: 0.01, -50: 2, -99: 100} {
		e := edge{factor: 1}
		e.obey(EdgeRules{Bias: bias})
		if math.Abs(e.factor-want) > 1e-9 {
			t.Errorf("bias %d: factor %v, want %v", bias, e.factor, want)
		}
	}
}

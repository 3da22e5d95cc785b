package steer

import (
	"encoding/json"
	"math"
	"net/netip"
	"testing"
)

// FuzzPolicy: whatever rules are accepted, there is an answer, Rank agrees with it, and every edge has a reason.
func FuzzPolicy(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"answers":8,"ring":{"km":20000,"percent":100},"edges":{"fra":{"bias":-99,"weight":1e-300},"nyc":{"bias":99,"drain":true,"domain":"x"}}}`,
		`{"groups":{"g":["fra","nyc"]},"overrides":[{"subnet":"81.2.69.0/24","edges":["@g"],"only":true},{"asn":1,"edges":["sin"]},
		{"region":"GB-ENG","edges":["xxx"],"only":true},{"country":"GB","edges":["nyc"]},{"continent":"EU","edges":["fra"]}]}`,
		`{"overrides":[{"subnet":"0.0.0.0/0","edges":["sin"]},{"subnet":"::/0","edges":["sin"]},{"subnet":"81.2.69.142/32","edges":["nyc"]}]}`,
		`{"capacity":{"high":0.9,"low":0.1,"settle_ns":1,"hold_ns":1,"return_ns":1},"latency":{"samples":1}}`,
	} {
		f.Add([]byte(seed), "81.2.69.142")
	}
	db := embedded(f)
	f.Fuzz(func(t *testing.T, text []byte, client string) {
		var r Rules
		a, err := netip.ParseAddr(client)
		if err != nil || len(text) > 4096 || json.Unmarshal(text, &r) != nil {
			return
		}
		pol, err := NewPolicy(r)
		if err != nil {
			return
		}
		p := Input{Fleet: snapshot(fra(), nyc(), sin()), Policy: pol}.Plan(nil)
		answer, scope := p.Find(db, a)
		ranked := p.RankAddr(db, a, IPv6)
		if !scope.Contains(a.Unmap().WithZone("")) || len(answer.Edges[IPv6]) == 0 || len(ranked) != 3 || ranked[0].Name != answer.First(IPv6).Name {
			t.Fatalf("%v in %v gets %+v, but %s", a, scope, answer, listed(ranked))
		}
		for _, x := range ranked {
			if x.Reason == "" || math.IsNaN(x.BiasedKM) {
				t.Fatalf("%+v", x)
			}
		}
	})
}

func FuzzParseSite(f *testing.F) {
	for _, seed := range []string{"tyo@35.6,139.7", "a@-90,180", "@,", "x@1e1,0x1p3", "x@NaN,Inf"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if x, err := ParseSite(s); err == nil && (x.Name == "" || !(math.Abs(x.Lat) <= 90 && math.Abs(x.Lon) <= 180)) {
			t.Fatalf("%q is %+v", s, x)
		}
	})
}

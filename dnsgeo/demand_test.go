package dnsgeo

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// TestDemandFollowsTheQueries: what is counted is where clients are, counts for about an hour, and begins anew with other data.
func TestDemandFollowsTheQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prepare(t, func(c *Config) { c.Listen = "" })
		r.ready()
		a := answerer{s: r.Server}
		a.begin()
		var out [maxUDP]byte
		ask := func(client string, n int) {
			m := new(dns.Msg)
			m.SetQuestion("www.perigee.test.", dns.TypeA)
			b, _ := m.Pack()
			for range n {
				a.answer(b, netip.AddrPortFrom(netip.MustParseAddr(client), 53), out[:])
			}
		}
		at := func(client string) float64 {
			n, _ := r.geo.Current().Runs().Find(netip.MustParseAddr(client))
			d := r.Demand()
			if d == nil {
				return -1
			}
			return d.Of(n)
		}
		const london, tokyo = "81.2.69.142", "133.11.0.1"
		if ask(london, 1000); at(london) != -1 {
			t.Error("nothing has been looked at yet")
		}
		if r.demand.add(); at(london) != -1 {
			t.Error("so few say nothing")
		}
		ask(london, 3*demandSample*demandLeast)
		ask(tokyo, demandSample*demandLeast)
		if r.demand.add(); at(london) < 0.7 || at(london) > 0.8 || at(tokyo) < 0.2 || at(tokyo) > 0.3 {
			t.Errorf("%v and %v", at(london), at(tokyo))
		}
		// What has been asked long ago counts less and less.
		for range int(2 * time.Hour / demandEvery) {
			r.demand.add()
		}
		ask(tokyo, 3*demandSample*demandLeast)
		if r.demand.add(); at(london) > 0.2 {
			t.Errorf("after two hours %v", at(london))
		}
		other := *embedded(t)
		r.geo.Use(&other)
		if r.demand.add(); at(london) != -1 {
			t.Error("the numbers of places are those of other data")
		}
	})
}

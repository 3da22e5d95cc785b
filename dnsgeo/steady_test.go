package dnsgeo

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"perigee/fleet"
)

// TestAnswersLiveLongerWhileNothingHappens: and short when an edge has just come or changed, or is nearly full; whichever way the answer is made.
func TestAnswersLiveLongerWhileNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prepare(t, func(c *Config) { c.Listen, c.SteadyTTL = "", 5*time.Minute })
		ttl := func() uint32 {
			t.Helper()
			r.steady.look(r.fleet.Load(), time.Now())
			h := r.ready()
			m := new(dns.Msg)
			m.SetQuestion("www.perigee.test.", dns.TypeA)
			b, _ := m.Pack()
			from := netip.MustParseAddrPort("81.2.69.142:53")
			if !r.compare(h, b, from) {
				t.Fatal("answered the long way only")
			}
			var a dns.Msg
			if err := a.Unpack(r.respond(b, from, false, make([]byte, dns.MaxMsgSize))); err != nil || len(a.Answer) != 1 {
				t.Fatal(err, &a)
			}
			if d := r.Decide("www.perigee.test", from.Addr(), TypeA); d.TTL != int(a.Answer[0].Header().Ttl) {
				t.Errorf("explained as %d s", d.TTL)
			}
			return a.Answer[0].Header().Ttl
		}
		want := func(what string, seconds uint32) {
			t.Helper()
			if got := ttl(); got != seconds {
				t.Errorf("%s: %d s, want %d", what, got, seconds)
			}
		}
		fra, nyc := edge("fra", 50.11, 8.68, "127.0.1.1"), edge("nyc", 40.71, -74.01, "127.0.1.2")
		r.board(fra, nyc)
		want("at the start", 20)
		time.Sleep(9 * time.Minute)
		want("soon after", 20)
		time.Sleep(2 * time.Minute)
		want("after a quiet time", 300)
		nyc.State = fleet.Draining
		r.board(fra, nyc)
		want("another edge drains", 300)
		fra.Addrs[0] = netip.MustParseAddrPort("127.0.1.9:8100")
		r.board(fra, nyc)
		want("its address is another", 20)
		time.Sleep(11 * time.Minute)
		want("quiet again", 300)
		fra.Load = fleet.Load{Capacity: 100, Headroom: 0.05}
		r.board(fra, nyc)
		want("nearly full", 20)
	})
}

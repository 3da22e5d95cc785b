package dnsgeo

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestWithheld: while the keys of the zone are awaited nothing of it is answered, over UDP, TCP or by the fast path, while other zones are.
func TestWithheld(t *testing.T) {
	var withheld atomic.Bool
	r := newRig(t, func(c *Config) {
		c.Withheld = withheld.Load
		c.Zones = []ZoneFile{{Name: "other.test", Text: "@ 60 SOA ns.other.test. hostmaster.other.test. 1 3600 600 86400 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n"}}
	})
	r.compiled()
	answered := func(name string, qtype uint16) bool {
		t.Helper()
		udp, tcp := r.ask("udp", question(name, qtype, "")), r.ask("tcp", question(name, qtype, ""))
		for _, m := range []*dns.Msg{udp, tcp} {
			if m.Rcode != dns.RcodeServerFailure {
				continue
			}
			if m.Authoritative || len(m.Answer)+len(m.Ns) > 0 {
				t.Errorf("%s: a failure with an answer:\n%v", name, m)
			}
			ede, ok := m.IsEdns0().Option[0].(*dns.EDNS0_EDE)
			if !ok || ede.InfoCode != dns.ExtendedErrorCodeNotReady {
				t.Errorf("%s: it does not say why:\n%v", name, m)
			}
		}
		if udp.Rcode != tcp.Rcode {
			t.Errorf("%s: %s over UDP, %s over TCP", name, dns.RcodeToString[udp.Rcode], dns.RcodeToString[tcp.Rcode])
		}
		return udp.Rcode != dns.RcodeServerFailure
	}
	for deadline := time.Now().Add(20 * time.Second); r.fresh(time.Now()) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the fast path is not ready within 20 s")
		}
	}
	for i, want := range []bool{true, false, true} {
		withheld.Store(!want)
		for _, q := range []struct {
			name  string
			qtype uint16
		}{{"www.perigee.test.", dns.TypeA}, {"perigee.test.", dns.TypeSOA}, {"mail.perigee.test.", dns.TypeA}, {"nothing.perigee.test.", dns.TypeA}} {
			if answered(q.name, q.qtype) != want {
				t.Errorf("round %d: %s %s is answered: %v", i, q.name, dns.Type(q.qtype), !want)
			}
		}
		if !answered("ns.other.test.", dns.TypeA) {
			t.Errorf("round %d: another zone is not answered", i)
		}
	}
}

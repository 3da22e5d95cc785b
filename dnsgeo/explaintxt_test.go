package dnsgeo

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestExplainOverDNS(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Explain = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	ask := func(network, name string) *dns.Msg {
		t.Helper()
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeTXT)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{81, 2, 69, 0}})
		a, _, err := (&dns.Client{Net: network}).Exchange(m, r.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := ask("tcp", "_Explain.www.perigee.test.")
	var lines []string
	for _, rr := range a.Answer {
		lines = append(lines, rr.(*dns.TXT).Txt[0])
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{"client 81.2.69.0 is near 51.", "answer 127.0.1.1, scope /", "1. fra, fra, ", "km: nearest", "2. nyc", "3. sin", "fleet 1, geo data: "} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in:\n%s", want, all)
		}
	}
	if a.Question[0].Name != "_Explain.www.perigee.test." || !a.Authoritative {
		t.Errorf("%v", a)
	}
	// A long answer to a small question goes only to who has shown that the address is its own.
	if a := ask("udp", "_explain.www.perigee.test."); !a.Truncated || len(a.Answer) > 0 {
		t.Errorf("%v", a)
	}
	for _, name := range []string{"_explain.nothing.perigee.test.", "_explain.mail.perigee.test.", "_explain.example.com."} {
		if a := ask("tcp", name); a.Rcode != dns.RcodeNameError && a.Rcode != dns.RcodeRefused {
			t.Errorf("%s: %v", name, a)
		}
	}
	r = newRig(t, nil)
	if a := ask("tcp", "_explain.www.perigee.test."); a.Rcode != dns.RcodeNameError {
		t.Errorf("to a stranger: %v", a)
	}
}

func TestNSID(t *testing.T) {
	for id, want := range map[string]string{"fra-dns-1": "6672612d646e732d31", "": ""} {
		r := newRig(t, func(c *Config) { c.NSID = id })
		for _, network := range []string{"udp", "tcp"} {
			m := new(dns.Msg)
			m.SetQuestion("www.perigee.test.", dns.TypeA)
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
			a, _, err := (&dns.Client{Net: network}).Exchange(m, r.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, o := range a.IsEdns0().Option {
				if n, ok := o.(*dns.EDNS0_NSID); ok {
					got = n.Nsid
				}
			}
			if got != want || len(a.Answer) != 1 {
				t.Errorf("%q over %s: %q %v", id, network, got, a)
			}
		}
	}
}

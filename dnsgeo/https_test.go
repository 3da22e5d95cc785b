package dnsgeo

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"perigee/fleet"
)

func TestHTTPSRecord(t *testing.T) {
	for _, x := range []struct {
		record HTTPSRecord
		want   string
	}{
		{HTTPSRecord{}, `HTTPS 1 . alpn="http/1.1" ipv4hint="127.0.1.1" ipv6hint="::1:1"`},
		{HTTPSRecord{ALPN: []string{"h2", "http/1.1"}, Port: 443}, `HTTPS 1 . alpn="h2,http/1.1" ipv4hint="127.0.1.1" ipv6hint="::1:1"`},
		{HTTPSRecord{ALPN: []string{"h3", "h2"}, Port: 8443}, `HTTPS 1 . alpn="h3,h2" no-default-alpn="" port="8443" ipv4hint="127.0.1.1" ipv6hint="::1:1"`},
	} {
		r := prepare(t, func(c *Config) { c.HTTPSRecord = &x.record })
		defer r.Close()
		m := r.direct(question("www.perigee.test.", dns.TypeHTTPS, london), "127.0.0.1")
		if got := section(m.Answer); got != x.want || m.Answer[0].Header().Ttl != 20 || !m.Authoritative {
			t.Errorf("%s, want %s", got, x.want)
		}
		if m := r.direct(question("alias.perigee.test.", dns.TypeHTTPS, london), "127.0.0.1"); len(m.Answer) != 2 || m.Answer[1].Header().Name != "WWW.perigee.test." {
			t.Errorf("through an alias: %v", m)
		}
		// A static address stands against steering, so there are no edges to hint at.
		if m := r.direct(question("fixed.perigee.test.", dns.TypeHTTPS, london), "127.0.0.1"); len(m.Answer) != 0 || len(m.Ns) != 1 {
			t.Errorf("%v", m)
		}
	}
}

// TestNoHTTPSRecordUnlessAsked: edges that speak plain HTTP must not be announced as speaking HTTPS (RFC 9460 §9.5).
func TestNoHTTPSRecordUnlessAsked(t *testing.T) {
	r := prepare(t, nil)
	defer r.Close()
	m := r.direct(question("www.perigee.test.", dns.TypeHTTPS, london), "127.0.0.1")
	if len(m.Answer) != 0 || m.Rcode != 0 || len(m.Ns) != 1 || subnetOf(m) == nil || subnetOf(m).SourceScope != 0 {
		t.Errorf("%v", m)
	}
}

// TestHintsAreTheAddresses: for any client the hints are what A and AAAA answer, and the scope is at least as narrow.
func TestHintsAreTheAddresses(t *testing.T) {
	r := prepare(t, func(c *Config) { c.HTTPSRecord = &HTTPSRecord{} })
	defer r.Close()
	rng := rand.New(rand.NewPCG(17, 17))
	check := func() {
		t.Helper()
		for range 200 {
			bits, all := 24, netip.MustParsePrefix("0.0.0.0/0")
			if rng.IntN(2) == 0 {
				bits, all = 56, netip.MustParsePrefix("2000::/3")
			}
			client, _ := inside(rng, all).Prefix(bits)
			ask := func(qtype uint16) *dns.Msg {
				return r.direct(question("www.perigee.test.", qtype, client.String()), "127.0.0.1")
			}
			a, aaaa, m := ask(dns.TypeA), ask(dns.TypeAAAA), ask(dns.TypeHTTPS)
			var v4, v6 string
			for _, kv := range m.Answer[0].(*dns.HTTPS).Value {
				switch kv := kv.(type) {
				case *dns.SVCBIPv4Hint:
					v4 = kv.String()
				case *dns.SVCBIPv6Hint:
					v6 = kv.String()
				}
			}
			scope := subnetOf(m).SourceScope
			if v4 != address(t, a) || v6 != address(t, aaaa) || scope < subnetOf(a).SourceScope || scope < subnetOf(aaaa).SourceScope {
				t.Fatalf("%v: hints %s and %s, scope %d;\n%v\n%v", client, v4, v6, scope, a, aaaa)
			}
		}
	}
	check()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.steering.run(ctx) }()
	r.compiled()
	cancel()
	<-done
	check()
	// Edges of one family only, and none at all.
	r.board(edge("sin", 1.35, 103.82, "127.0.1.3"))
	if got := section(r.direct(question("www.perigee.test.", dns.TypeHTTPS, london), "127.0.0.1").Answer); got != `HTTPS 1 . alpn="http/1.1" ipv4hint="127.0.1.3"` {
		t.Errorf("IPv4 only: %s", got)
	}
	r.board(edge("sin", 1.35, 103.82, "2001:db8::9"))
	if got := section(r.direct(question("www.perigee.test.", dns.TypeHTTPS, london), "127.0.0.1").Answer); got != `HTTPS 1 . alpn="http/1.1" ipv6hint="2001:db8::9"` {
		t.Errorf("IPv6 only: %s", got)
	}
	r.board(fleet.Node{})
	if m := r.direct(question("www.perigee.test.", dns.TypeHTTPS, london), "127.0.0.1"); len(m.Answer) > 1 {
		t.Errorf("%v", m)
	}
}

func TestHTTPSRecordRefused(t *testing.T) {
	for _, h := range []HTTPSRecord{{ALPN: []string{""}}, {ALPN: make([]string, 9)}, {ALPN: []string{string(make([]byte, 256))}}} {
		if _, err := newService(&h); err == nil {
			t.Errorf("%q was taken", h.ALPN)
		}
	}
}

package dnsgeo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"perigee/dnsgeo/steer"
)

// HTTPSRecord is what the HTTPS records of steered names say (RFC 9460).
//
// The record itself tells clients that HTTPS is spoken: browsers that see one go to https:// by themselves (RFC 9460 §9.5).
// So none may be given for edges that speak plain HTTP only.
type HTTPSRecord struct {
	// ALPN is the protocols that edges speak over TLS, such as h2 and http/1.1, the best first; http/1.1 when empty.
	ALPN []string
	Port uint16 // of the edges; 443 when 0
}

// service is a compiled HTTPSRecord.
type service []dns.SVCBKeyValue

func newService(h *HTTPSRecord) (service, error) {
	if h == nil {
		return nil, nil
	}
	alpn := h.ALPN
	if len(alpn) == 0 {
		alpn = []string{"http/1.1"}
	}
	for _, p := range alpn {
		if p == "" || len(p) > 255 {
			return nil, fmt.Errorf("HTTPS record: %q is no ALPN protocol", p)
		}
	}
	if len(alpn) > 8 {
		return nil, errors.New("HTTPS record: more than 8 ALPN protocols")
	}
	s := service{&dns.SVCBAlpn{Alpn: slices.Clone(alpn)}}
	if !slices.Contains(alpn, "http/1.1") {
		s = append(s, &dns.SVCBNoDefaultAlpn{}) // else http/1.1 would be understood: RFC 9460 §7.1.2
	}
	if h.Port != 0 && h.Port != 443 {
		s = append(s, &dns.SVCBPort{Port: h.Port})
	}
	return s, nil
}

// steerHTTPS answers the HTTPS query for a steered name: with the edges, as hints, whose addresses the same client is told
// when it asks for A and AAAA.
func (s *Server) steerHTTPS(client netip.Addr, z *zone, m *dns.Msg, f *found, o *outcome) {
	if s.service == nil {
		m.Ns, f.denied = z.deny(found{}).authority, o.steered
		o.steered = ""
		return
	}
	var both [2]decision
	// The fleet may change between the two; then they are taken again, so that the hints belong together.
	for range 3 {
		both = [2]decision{s.steering.decide(client, steer.IPv4), s.steering.decide(client, steer.IPv6)}
		if both[0].state == both[1].state {
			break
		}
	}
	o.decision, o.family = both[0], steer.IPv4
	if len(both[0].edges) == 0 {
		o.decision, o.family = both[1], steer.IPv6
	} else if b := both[1].scope; b.IsValid() && b.Bits() > o.scope.Bits() {
		o.scope = b
	}
	if len(o.edges) == 0 {
		s.withoutEdge(*o, z, m, f)
		return
	}
	m.Answer = append(m.Answer, s.httpsRecord(o.steered, both[0].edges, both[1].edges))
}

// httpsRecord is the HTTPS record of a name whose clients get these edges over IPv4 and over IPv6; nil when there are none.
func (s *Server) httpsRecord(name string, over4, over6 []*steer.Candidate) dns.RR {
	edges := over4
	if len(edges) == 0 {
		edges = over6
	}
	if len(edges) == 0 {
		return nil
	}
	rr := &dns.HTTPS{SVCB: dns.SVCB{Hdr: header(name, dns.TypeHTTPS, s.steady.ttl(edges)), Priority: 1, Target: ".", Value: slices.Clone(s.service)}}
	if hint := hints(over4, steer.IPv4); len(hint) > 0 {
		rr.Value = append(rr.Value, &dns.SVCBIPv4Hint{Hint: hint})
	}
	if hint := hints(over6, steer.IPv6); len(hint) > 0 {
		rr.Value = append(rr.Value, &dns.SVCBIPv6Hint{Hint: hint})
	}
	return rr
}

// packHTTPS packs the HTTPS record of an answer for a message whose question owns it.
func (s *Server) packHTTPS(a steer.Answer) packed {
	rr := s.httpsRecord(".", a.Edges[steer.IPv4], a.Edges[steer.IPv6])
	if rr == nil {
		return packed{}
	}
	b, ok := packOwned(rr)
	if !ok {
		return packed{} // longer than any answer over UDP
	}
	return packed{answers: 1, records: b}
}

func hints(edges []*steer.Candidate, f steer.Family) []net.IP {
	var out []net.IP
	for _, e := range edges {
		out = append(out, e.Addrs[f].AsSlice())
	}
	return out
}

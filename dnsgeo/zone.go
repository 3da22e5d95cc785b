package dnsgeo

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// NameServer is a server that the zone's NS records name.
type NameServer struct {
	Name  string       // absolute, with or without the final dot
	Addrs []netip.Addr // its A and AAAA records; only for a name inside the zone
}

// zone is the static part of what is served. It is immutable.
type zone struct {
	origin string // canonical
	soa    *dns.SOA
	nodes  map[string]node // by canonical name
	cuts   bool            // some name below the origin is delegated
}

// node is the records of one name by type; it is empty when only names below it have records.
type node map[uint16][]dns.RR

const (
	staticTTL      = 300 // seconds, for records that do not say
	negativeTTL    = 30  // seconds: a site that was just made should not stay unknown for long
	maxRecordsText = 16 << 20
)

// newZone builds the zone from its origin, its name servers and records in the form of RFC 1035 §5. A SOA or NS
// records of the origin in text take the place of the generated ones.
func newZone(origin string, servers []NameServer, text string, now time.Time) (*zone, error) {
	if _, ok := dns.IsDomainName(origin); !ok || dns.CanonicalName(origin) == "." {
		return nil, fmt.Errorf("zone %q: not a domain name", origin)
	}
	z := &zone{origin: dns.CanonicalName(origin), nodes: make(map[string]node)}
	if err := z.load(text); err != nil {
		return nil, err
	}
	apex := z.at(z.origin)
	if len(apex[dns.TypeNS]) == 0 {
		if err := z.addServers(servers); err != nil {
			return nil, err
		}
	}
	if len(apex[dns.TypeNS]) == 0 {
		return nil, fmt.Errorf("zone %s: it needs a name server", z.origin)
	}
	if len(apex[dns.TypeSOA]) == 0 {
		apex[dns.TypeSOA] = []dns.RR{&dns.SOA{
			Hdr: header(z.origin, dns.TypeSOA, staticTTL), Ns: apex[dns.TypeNS][0].(*dns.NS).Ns, Mbox: "hostmaster." + z.origin,
			Serial: uint32(now.Unix()), Refresh: 7200, Retry: 1800, Expire: 14 * 86400, Minttl: negativeTTL,
		}}
	}
	z.soa = apex[dns.TypeSOA][0].(*dns.SOA)
	return z, z.check()
}

func header(name string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// at returns the node of a canonical name, made with all nodes between it and the origin when there is none.
func (z *zone) at(name string) node {
	n, ok := z.nodes[name]
	if !ok {
		n = make(node)
		z.nodes[name] = n
		if name != z.origin {
			z.at(parent(name))
		}
	}
	return n
}

func (z *zone) load(text string) error {
	if len(text) > maxRecordsText {
		return fmt.Errorf("zone %s: the records have %d bytes; at most %d are read", z.origin, len(text), maxRecordsText)
	}
	p := dns.NewZoneParser(strings.NewReader(text), z.origin, "")
	p.SetDefaultTTL(staticTTL)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if err := z.add(rr); err != nil {
			return fmt.Errorf("zone %s: record %q: %w", z.origin, rr, err)
		}
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("zone %s: %w", z.origin, err)
	}
	return nil
}

func (z *zone) add(rr dns.RR) error {
	h := rr.Header()
	h.Name = dns.CanonicalName(h.Name)
	switch {
	case !dns.IsSubDomain(z.origin, h.Name):
		return errors.New("it lies outside the zone")
	case h.Class != dns.ClassINET:
		return errors.New("only class IN is served")
	case h.Rrtype == dns.TypeSOA && h.Name != z.origin:
		return errors.New("a SOA belongs to the origin of the zone")
	case slices.Contains(unserved, h.Rrtype):
		return fmt.Errorf("records of type %s are not served", dns.TypeToString[h.Rrtype])
	}
	n := z.at(h.Name)
	if slices.ContainsFunc(n[h.Rrtype], func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }) {
		return nil
	}
	if set := n[h.Rrtype]; len(set) > 0 {
		h.Ttl = set[0].Header().Ttl // one TTL for all records of a set: RFC 2181 §5.2
	}
	n[h.Rrtype] = append(n[h.Rrtype], rr)
	return nil
}

// unserved are types that need a server to do more than look them up.
var unserved = []uint16{dns.TypeDNAME, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY}

func (z *zone) addServers(servers []NameServer) error {
	for _, s := range servers {
		name := dns.CanonicalName(s.Name)
		if _, ok := dns.IsDomainName(name); !ok || name == "." {
			return fmt.Errorf("zone %s: name server %q: not a domain name", z.origin, s.Name)
		}
		if err := z.add(&dns.NS{Hdr: header(z.origin, dns.TypeNS, staticTTL), Ns: name}); err != nil {
			return err
		}
		if !dns.IsSubDomain(z.origin, name) {
			continue
		}
		for _, a := range s.Addrs {
			if err := z.add(addressRecord(name, a, staticTTL)); err != nil {
				return err
			}
		}
	}
	return nil
}

// addressRecord returns the A or AAAA record of name.
func addressRecord(name string, a netip.Addr, ttl uint32) dns.RR {
	a = a.Unmap()
	if a.Is4() {
		return &dns.A{Hdr: header(name, dns.TypeA, ttl), A: a.AsSlice()}
	}
	return &dns.AAAA{Hdr: header(name, dns.TypeAAAA, ttl), AAAA: a.AsSlice()}
}

// check looks for what must not stand side by side.
func (z *zone) check() error {
	for name, n := range z.nodes {
		if c := n[dns.TypeCNAME]; len(c) > 1 || len(c) == 1 && len(n) > 1 {
			return fmt.Errorf("zone %s: %s has a CNAME and other records", z.origin, name)
		}
		if name != z.origin && len(n[dns.TypeNS]) > 0 {
			z.cuts = true
		}
	}
	if len(z.nodes[z.origin][dns.TypeSOA]) > 1 {
		return fmt.Errorf("zone %s: more than one SOA", z.origin)
	}
	return nil
}

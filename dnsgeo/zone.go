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

// zone is one version of the records of a zone. It is immutable.
type zone struct {
	origin  string // canonical
	soa     *dns.SOA
	nodes   map[string]node // by canonical name
	records int
	parsed  int  // records read, those that were there already included
	bytes   int  // of them
	cuts    bool // some name below the origin is delegated
	dnames  bool // some name has a DNAME record
	// generated tells that the SOA was made up, with the time for a serial number.
	generated bool
}

// node is the records of one name by type; it is empty when only names below it have records.
type node map[uint16][]dns.RR

const (
	staticTTL      = 300 // seconds, for records that do not say
	negativeTTL    = 30  // seconds: a site that was just made should not stay unknown for long
	maxZoneText    = 64 << 20
	maxZoneRecords = 1 << 20
	// maxRecord is the largest record in bytes: one that fills a message of TCP could not be transferred.
	maxRecord = 60000
	maxSet    = 1000 // records of one name and type
)

// newZone builds the zone of the steered names from its origin, its name servers and the records that stand beside
// them. A SOA or NS records of the origin in from take the place of the generated ones.
func newZone(origin string, servers []NameServer, from *source, now time.Time) (*zone, error) {
	z, err := emptyZone(origin)
	if err != nil {
		return nil, err
	}
	if err := z.load(from); err != nil {
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
	if z.generated = len(apex[dns.TypeSOA]) == 0; z.generated {
		apex[dns.TypeSOA] = []dns.RR{&dns.SOA{
			Hdr: header(z.origin, dns.TypeSOA, staticTTL), Ns: apex[dns.TypeNS][0].(*dns.NS).Ns, Mbox: "hostmaster." + z.origin,
			Serial: uint32(now.Unix()), Refresh: 7200, Retry: 1800, Expire: 14 * 86400, Minttl: negativeTTL,
		}}
	}
	return z, z.check()
}

// newOrdinaryZone builds a zone that from holds whole: nothing is made up for it.
func newOrdinaryZone(origin string, from *source) (*zone, error) {
	z, err := emptyZone(origin)
	if err != nil {
		return nil, err
	}
	if err := z.load(from); err != nil {
		return nil, err
	}
	for _, needed := range []uint16{dns.TypeSOA, dns.TypeNS} {
		if len(z.at(z.origin)[needed]) == 0 {
			return nil, fmt.Errorf("zone %s: the name %s has no %s record; a zone begins with a SOA record and names its servers in NS records",
				z.origin, z.origin, dns.TypeToString[needed])
		}
	}
	return z, z.check()
}

func emptyZone(origin string) (*zone, error) {
	if _, ok := dns.IsDomainName(origin); !ok || dns.CanonicalName(origin) == "." {
		return nil, fmt.Errorf("zone %q: not a domain name", origin)
	}
	return &zone{origin: canonical(origin), nodes: make(map[string]node)}, nil
}

// canonical is the form in which names are compared: lower case, with a final dot, and each byte escaped as the library does
// when it unpacks a name. A zone file may write "a" as "\097", or an apostrophe without the escape that queries have.
func canonical(name string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*"
	if strings.IndexFunc(name, func(r rune) bool { return !strings.ContainsRune(plain, r) }) >= 0 {
		var wire [256]byte
		if n, err := dns.PackDomainName(dns.Fqdn(name), wire[:], 0, nil, false); err == nil {
			if unpacked, _, err := dns.UnpackDomainName(wire[:n], 0); err == nil {
				name = unpacked
			}
		}
	}
	return dns.CanonicalName(name)
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

// load adds the records of a source.
func (z *zone) load(from *source) error {
	r, err := from.open()
	if err != nil {
		return fmt.Errorf("zone %s: %w", z.origin, err)
	}
	defer from.close()
	p := dns.NewZoneParser(r, z.origin, from.main)
	p.SetDefaultTTL(staticTTL)
	p.SetIncludeAllowed(from.main != "")
	p.SetIncludeFS(from)
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
	h.Name = canonical(h.Name)
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
	if err := z.measure(rr); err != nil {
		return err
	}
	n := z.at(h.Name)
	if slices.ContainsFunc(n[h.Rrtype], func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }) {
		return nil
	}
	if set := n[h.Rrtype]; len(set) >= maxSet {
		return fmt.Errorf("a name has at most %d records of one type", maxSet)
	} else if len(set) > 0 {
		h.Ttl = set[0].Header().Ttl // one TTL for all records of a set: RFC 2181 §5.2
	}
	n[h.Rrtype] = append(n[h.Rrtype], rr)
	z.records++
	return nil
}

// measure checks what the library's parser lets pass: records without data, and zones without end, since one line may
// generate 65,536 records of any length.
func (z *zone) measure(rr dns.RR) error {
	b := make([]byte, dns.Len(rr)+1)
	n, err := dns.PackRR(rr, b, 0, nil, false)
	z.parsed++
	z.bytes += n
	switch {
	case err != nil:
		return fmt.Errorf("it cannot be sent: %w", err)
	case n > maxRecord:
		return fmt.Errorf("it has %d bytes, the limit is %d", n, maxRecord)
	case z.parsed > maxZoneRecords:
		return fmt.Errorf("a zone has at most %d records", maxZoneRecords)
	case z.bytes > maxZoneText:
		return fmt.Errorf("the records of a zone have at most %d bytes", maxZoneText)
	}
	if data, _, _ := skipName(b, 0); data+10 == n {
		switch rr.(type) {
		case *dns.APL, *dns.NULL, *dns.RFC3597:
		default: // in an update such a record stands for all of its type (RFC 2136 §2.4); in a zone it is a slip
			return errors.New("it has no data")
		}
	}
	return nil
}

// unserved are types that need a server to do more than look them up.
var unserved = []uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY}

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

// check looks for what must not stand side by side, and notes what look-ups have to know.
func (z *zone) check() error {
	for name, n := range z.nodes {
		if c := n[dns.TypeCNAME]; len(c) > 1 || len(c) == 1 && len(n) > 1 {
			return fmt.Errorf("zone %s: %s has a CNAME and other records", z.origin, name)
		}
		if len(n[dns.TypeDNAME]) > 1 {
			return fmt.Errorf("zone %s: %s has more than one DNAME", z.origin, name)
		}
		z.cuts = z.cuts || name != z.origin && len(n[dns.TypeNS]) > 0
		z.dnames = z.dnames || len(n[dns.TypeDNAME]) > 0
	}
	soas := z.nodes[z.origin][dns.TypeSOA]
	if len(soas) > 1 {
		return fmt.Errorf("zone %s: more than one SOA", z.origin)
	}
	z.soa = soas[0].(*dns.SOA)
	if !z.dnames {
		return nil
	}
	for name := range z.nodes {
		if owner := z.dname(name); owner != "" {
			return fmt.Errorf("zone %s: %s lies below the DNAME of %s, where nothing may be (RFC 6672 §2.4)", z.origin, name, owner)
		}
	}
	return nil
}

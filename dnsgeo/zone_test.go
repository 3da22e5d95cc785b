package dnsgeo

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// section prints the records of a section without their owners and TTLs, sorted.
func section(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			data := strings.TrimPrefix(rr.String(), rr.Header().String())
			if i := strings.Index(data, `\#`); i > 0 {
				data = data[i:] // the generic form of RFC 3597 has a header of its own kind
			}
			out = append(out, fmt.Sprintf("%s %s", dns.Type(rr.Header().Rrtype), data))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestZone(t *testing.T) {
	r := prepare(t, nil)
	defer r.Close()
	const (
		soa = "SOA"
		fra = "A 127.0.1.1"
	)
	for _, x := range []struct {
		name  string
		qtype uint16
		rcode int
		aa    bool
		// answer, authority and extra as section prints them; "SOA" stands for the zone's SOA.
		answer, authority, extra string
	}{
		{"perigee.test.", dns.TypeSOA, 0, true, soa, "", ""},
		{"perigee.test.", dns.TypeNS, 0, true, "NS ns1.perigee.test.", "", "A 127.0.0.1"},
		{"perigee.test.", dns.TypeTXT, 0, true, `TXT "v=spf1 -all"`, "", ""},
		{"perigee.test.", dns.TypeMX, 0, true, "MX 10 mail.perigee.test.", "", ""},
		{"perigee.test.", dns.TypeA, 0, true, fra, "", ""},
		{"perigee.test.", dns.TypeDS, 0, true, "", soa, ""},
		{"ns1.perigee.test.", dns.TypeA, 0, true, "A 127.0.0.1", "", ""},
		{"www.perigee.test.", dns.TypeA, 0, true, fra, "", ""},
		{"www.perigee.test.", dns.TypeAAAA, 0, true, "AAAA ::1:1", "", ""},
		{"www.perigee.test.", dns.TypeTXT, 0, true, `TXT "beside the steered address"`, "", ""},
		{"www.perigee.test.", dns.TypeHTTPS, 0, true, "", soa, ""},
		{"www.perigee.test.", dns.TypeANY, 0, true, `HINFO "RFC8482" ""`, "", ""},
		{"x.y.perigee.test.", dns.TypeA, 0, true, fra, "", ""},
		{"y.perigee.test.", dns.TypeA, 0, true, "", soa, ""}, // exists: a steered name lies below it
		{"z.y.perigee.test.", dns.TypeA, dns.RcodeNameError, true, "", soa, ""},
		{"b.www.perigee.test.", dns.TypeA, dns.RcodeNameError, true, "", soa, ""},
		{"none.perigee.test.", dns.TypeA, dns.RcodeNameError, true, "", soa, ""},
		{"none.perigee.test.", dns.TypeANY, dns.RcodeNameError, true, "", soa, ""},
		{"deep.perigee.test.", dns.TypeTXT, 0, true, "", soa, ""},
		{"a.b.deep.perigee.test.", dns.TypeTXT, 0, true, `TXT "deep"`, "", ""},
		{"fixed.perigee.test.", dns.TypeA, 0, true, "A 192.0.2.99", "", ""}, // a static address wins over steering
		{"fixed.perigee.test.", dns.TypeAAAA, 0, true, "", soa, ""},
		{"any.wild.perigee.test.", dns.TypeA, 0, true, "A 192.0.2.77", "", ""},
		{"a.b.wild.perigee.test.", dns.TypeA, 0, true, "A 192.0.2.77", "", ""},
		{"any.wild.perigee.test.", dns.TypeTXT, 0, true, "", soa, ""},
		{"wild.perigee.test.", dns.TypeA, 0, true, "", soa, ""},
		{"alias.perigee.test.", dns.TypeA, 0, true, "A 127.0.1.1, CNAME WWW.perigee.test.", "", ""},
		{"alias.perigee.test.", dns.TypeMX, 0, true, "CNAME WWW.perigee.test.", soa, ""},
		{"alias.perigee.test.", dns.TypeCNAME, 0, true, "CNAME WWW.perigee.test.", "", ""},
		{"alias.perigee.test.", dns.TypeANY, 0, true, "CNAME WWW.perigee.test.", "", ""},
		{"outside.perigee.test.", dns.TypeA, 0, true, "CNAME www.example.com.", "", ""},
		{"sub.perigee.test.", dns.TypeA, 0, false, "", "NS ns.sub.perigee.test.", "A 192.0.2.53"},
		{"x.sub.perigee.test.", dns.TypeA, 0, false, "", "NS ns.sub.perigee.test.", "A 192.0.2.53"},
		{"ns.sub.perigee.test.", dns.TypeA, 0, false, "", "NS ns.sub.perigee.test.", "A 192.0.2.53"},
		{"sub.perigee.test.", dns.TypeDS, 0, true, "DS 1 13 2 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF", "", ""},

		{"www.example.com.", dns.TypeA, dns.RcodeRefused, false, "", "", ""},
		{"xperigee.test.", dns.TypeA, dns.RcodeRefused, false, "", "", ""},
		{"test.", dns.TypeNS, dns.RcodeRefused, false, "", "", ""},
		{".", dns.TypeNS, dns.RcodeRefused, false, "", "", ""},
		{"perigee.test.", dns.TypeAXFR, dns.RcodeRefused, false, "", "", ""},
		{"perigee.test.", dns.TypeIXFR, dns.RcodeRefused, false, "", "", ""},
		{"perigee.test.", dns.TypeTSIG, dns.RcodeRefused, false, "", "", ""},
		{"www.perigee.test.", dns.TypeNXNAME, dns.RcodeFormatError, false, "", "", ""},
	} {
		m := r.direct(question(x.name, x.qtype, ""), "81.2.69.142")
		replace := func(rrs []dns.RR) string {
			s := section(rrs)
			if strings.HasPrefix(s, "SOA ns1.perigee.test. hostmaster.perigee.test. ") {
				return soa
			}
			return s
		}
		answer, authority, extra := replace(m.Answer), replace(m.Ns), replace(m.Extra)
		if m.Rcode != x.rcode || m.Authoritative != x.aa || answer != x.answer || authority != x.authority || extra != x.extra {
			t.Errorf("%s %s: %s, AA %v, [%s] [%s] [%s]; want %s, AA %v, [%s] [%s] [%s]", x.name, dns.TypeToString[x.qtype],
				dns.RcodeToString[m.Rcode], m.Authoritative, answer, authority, extra,
				dns.RcodeToString[x.rcode], x.aa, x.answer, x.authority, x.extra)
		}
		for _, rr := range m.Ns {
			if rr.Header().Rrtype == dns.TypeSOA && rr.Header().Ttl != negativeTTL {
				t.Errorf("%s: the SOA of a denial has a TTL of %d", x.name, rr.Header().Ttl)
			}
		}
	}
	if m := r.direct(question("loop1.perigee.test.", dns.TypeA, ""), "81.2.69.142"); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("aliases in a circle: %v", m)
	}
	q := question("www.perigee.test.", dns.TypeA, "")
	q.Question[0].Qclass = dns.ClassCHAOS
	if m := r.direct(q, "81.2.69.142"); m.Rcode != dns.RcodeRefused {
		t.Errorf("class CH: %v", m)
	}
}

func TestZoneTextMayHaveItsOwnSOA(t *testing.T) {
	r := prepare(t, func(c *Config) {
		c.Servers = nil
		c.Records = "$TTL 60\n@ SOA ns.example.com. admin 7 1 2 3 5\n@ NS ns.example.com.\n@ NS ns.example.net.\n"
	})
	defer r.Close()
	m := r.direct(question("none.perigee.test.", dns.TypeA, ""), "127.0.0.1")
	if soa, ok := m.Ns[0].(*dns.SOA); !ok || soa.Serial != 7 || soa.Hdr.Ttl != 5 || soa.Mbox != "admin.perigee.test." {
		t.Errorf("%v", m)
	}
	if m := r.direct(question("perigee.test.", dns.TypeNS, ""), "127.0.0.1"); len(m.Answer) != 2 || len(m.Extra) != 1 {
		t.Errorf("%v", m)
	}
}

func TestNames(t *testing.T) {
	n := NewNames("perigee.test", []string{"a.b.c.perigee.test", "b.c.Perigee.test.", "perigee.test", "example.com", "notperigee.test", "", ".", "a..perigee.test"})
	if n.Len() != 3 {
		t.Errorf("%d steered names", n.Len())
	}
	for name, want := range map[string][2]bool{
		"a.b.c.perigee.test.": {true, true}, "b.c.perigee.test.": {true, true}, "c.perigee.test.": {false, true},
		"perigee.test.": {true, true}, "x.perigee.test.": {false, false}, "example.com.": {false, false},
	} {
		if steered, exists := n.find(name); steered != want[0] || exists != want[1] {
			t.Errorf("%s: steered %v, exists %v", name, steered, exists)
		}
	}
}

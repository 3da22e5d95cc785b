package dnsgeo

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"perigee/clock"
	"perigee/dnsgeo/sign"
)

const signedRecords = staticRecords + `
plain      NS    ns.plain
ns.plain   A     192.0.2.54
toplain    CNAME host.plain
*.cwild    CNAME www
deepwild   A     192.0.2.78
*.deepwild TXT   "wild"
*odd       A     192.0.2.79
upper      MX    10 MAIL.Perigee.Test.
srv        SRV   1 2 443 WWW
old        604800 A 192.0.2.80
svc        HTTPS 1 . alpn="h2"
nonexist   CNAME nowhere
`

// newSigned prepares a server for a signed zone; it does not run yet.
func newSigned(t testing.TB, l sign.Limits, change func(*Config)) *rig {
	t.Helper()
	keys, err := sign.Generate("perigee.test", 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := sign.NewSigner(keys, clock.System.Now(), l)
	if err != nil {
		t.Fatal(err)
	}
	r := prepare(t, func(c *Config) {
		c.Records = fmt.Sprintf(signedRecords, long(1400))
		c.Signer = signer
		if change != nil {
			change(c)
		}
	})
	return r
}

// secured asks with DO set.
func secured(name string, qtype uint16, subnet string) *dns.Msg {
	m := question(name, qtype, subnet)
	m.IsEdns0().SetDo()
	m.IsEdns0().SetUDPSize(4096)
	return m
}

// over gives a query to the server as it comes over TCP.
func (r *rig) over(m *dns.Msg, from string) *dns.Msg {
	r.t.Helper()
	b, err := m.Pack()
	if err != nil {
		r.t.Fatal(err)
	}
	out := new(dns.Msg)
	if err := out.Unpack(r.respond(b, netip.AddrPortFrom(netip.MustParseAddr(from), 4242), true, nil)); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// sets returns the records of a section by owner and type, and the signatures among them.
func sets(section []dns.RR) (map[string][]dns.RR, map[string][]*dns.RRSIG) {
	data, sigs := map[string][]dns.RR{}, map[string][]*dns.RRSIG{}
	for _, rr := range section {
		h := rr.Header()
		switch rr := rr.(type) {
		case *dns.RRSIG:
			k := lower(h.Name) + " " + dns.Type(rr.TypeCovered).String()
			sigs[k] = append(sigs[k], rr)
		case *dns.OPT:
		default:
			k := lower(h.Name) + " " + dns.Type(h.Rrtype).String()
			data[k] = append(data[k], rr)
		}
	}
	return data, sigs
}

// validate checks an answer as a validator would, with the keys it got by asking for them.
func validate(keys []*dns.DNSKEY, m *dns.Msg) error {
	for at, section := range [][]dns.RR{m.Answer, m.Ns} {
		data, sigs := sets(section)
		for k, set := range data {
			h := set[0].Header()
			if at == 1 && h.Rrtype == dns.TypeNS {
				if len(sigs[k]) > 0 {
					return fmt.Errorf("the NS records of a delegation are signed")
				}
				continue
			}
			if len(sigs[k]) == 0 {
				return fmt.Errorf("%s has no signature", k)
			}
			for _, sig := range sigs[k] {
				if err := verify(keys, sig, set); err != nil {
					return fmt.Errorf("%s: %w", k, err)
				}
			}
			if h.Ttl > uint32(sign.DefaultMaxTTL/time.Second) {
				return fmt.Errorf("%s has a TTL of %d", k, h.Ttl)
			}
			delete(sigs, k)
		}
		for k, left := range sigs {
			if m.Question[0].Qtype != dns.TypeRRSIG {
				return fmt.Errorf("%d signatures of %s, which is not there", len(left), k)
			}
		}
	}
	// On the side there may be addresses without a signature, but none with a wrong one.
	data, sigs := sets(m.Extra)
	for k, of := range sigs {
		if len(data[k]) == 0 {
			return fmt.Errorf("a signature of %s, which is not there", k)
		}
		if err := verify(keys, of[0], data[k]); err != nil {
			return fmt.Errorf("%s on the side: %w", k, err)
		}
	}
	return denied(m)
}

func verify(keys []*dns.DNSKEY, sig *dns.RRSIG, set []dns.RR) error {
	want := dns.CountLabel(set[0].Header().Name)
	if strings.HasPrefix(set[0].Header().Name, "*.") {
		want--
	}
	switch {
	case !sig.ValidityPeriod(time.Now()):
		return fmt.Errorf("its signature is not valid now")
	case int(sig.Labels) != want:
		return fmt.Errorf("its signature is for %d labels", sig.Labels)
	case sig.OrigTtl != set[0].Header().Ttl:
		return fmt.Errorf("its signature is for a TTL of %d, not %d", sig.OrigTtl, set[0].Header().Ttl)
	}
	for _, k := range keys {
		if k.KeyTag() == sig.KeyTag {
			return sig.Verify(k, set)
		}
	}
	return fmt.Errorf("its signature is by an unknown key %d", sig.KeyTag)
}

// denied checks that what is not in the answer is denied.
func denied(m *dns.Msg) error {
	name, qtype := lower(m.Question[0].Name), m.Question[0].Qtype
	for _, rr := range m.Answer {
		if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
			name = lower(c.Target)
		} else if h := rr.Header(); lower(h.Name) == name && (h.Rrtype == qtype || qtype == dns.TypeANY || qtype == dns.TypeRRSIG) {
			return nil
		}
	}
	if qtype == dns.TypeANY && len(m.Answer) > 0 || !dns.IsSubDomain("perigee.test.", name) {
		return nil
	}
	var cut string
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.NS:
			cut = lower(rr.Hdr.Name)
			name, qtype = cut, dns.TypeDS
		case *dns.DS:
			if lower(rr.Hdr.Name) == cut {
				return nil
			}
		case *dns.NSEC:
			if rr.Hdr.Name != name || slices.Contains(rr.TypeBitMap, qtype) || slices.Contains(rr.TypeBitMap, dns.TypeCNAME) {
				return fmt.Errorf("no denial of %s %s: %v", name, dns.Type(qtype), rr)
			}
			if cut == "" && len(name) < 250 && rr.NextDomain != `\000.`+name && !slices.Contains(rr.TypeBitMap, dns.TypeNS) {
				return fmt.Errorf("the denial covers more than it has to: %v", rr)
			}
			if nx := slices.Contains(rr.TypeBitMap, dns.TypeNXNAME); nx && len(rr.TypeBitMap) != 3 || nx != (m.Rcode == dns.RcodeNameError) && m.IsEdns0().Co() {
				return fmt.Errorf("rcode %d and %v", m.Rcode, rr)
			}
			return nil
		}
	}
	return fmt.Errorf("nothing denies %s %s", name, dns.Type(qtype))
}

// keysOf asks for the DNSKEY set.
func keysOf(t testing.TB, r *rig) []*dns.DNSKEY {
	t.Helper()
	m := r.direct(secured("perigee.test.", dns.TypeDNSKEY, ""), "192.0.2.1")
	var keys []*dns.DNSKEY
	for _, rr := range m.Answer {
		if k, ok := rr.(*dns.DNSKEY); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		t.Fatalf("no keys: %v", m)
	}
	if err := validate(keys, m); err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestEveryAnswerValidates asks for random names and types, in random case, from random places.
func TestEveryAnswerValidates(t *testing.T) {
	r := newSigned(t, sign.Limits{Rate: 1e6, Burst: 1e6}, nil)
	defer r.Close()
	keys := keysOf(t, r)
	rng := rand.New(rand.NewPCG(4, 2))
	names := []string{"", "www.", "mail.", "alias.", "outside.", "fixed.", "wild.", "a.wild.", "b.a.wild.", "*.wild.", "deep.", "b.deep.", "a.b.deep.",
		"sub.", "x.sub.", "ns.sub.", "plain.", "a.plain.", "toplain.", "cwild.", "q.cwild.", "deepwild.", "q.deepwild.", "*odd.", "*other.", "upper.",
		"srv.", "old.", "svc.", "nonexist.", "y.", "x.y.", "big.", "nx.", "a.nx.", "*.", "_443._tcp.www.", `a\000b.`, `a\.b.`, `\255\255.wild.`,
		strings.Repeat("l", 63) + ".", strings.Repeat("0123456789abcdef.", 13) + strings.Repeat("z", 19) + "."}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeNS, dns.TypeSOA, dns.TypeDS, dns.TypeCNAME, dns.TypeDNSKEY, dns.TypeCDS,
		dns.TypeCDNSKEY, dns.TypeNSEC, dns.TypeRRSIG, dns.TypeANY, dns.TypeHTTPS, dns.TypeSRV, dns.TypeHINFO, dns.TypeCAA, 65280}
	places := []string{"", london, newYork, singapore, "2404:e800::/32"}
	for i := range 6000 {
		name := []byte(names[rng.IntN(len(names))] + "perigee.test.")
		if i%3 == 0 {
			name = []byte(fmt.Sprintf("r%d.", rng.IntN(1000)) + string(name))
		}
		for j, c := range name {
			if c >= 'a' && c <= 'z' && rng.IntN(2) == 0 {
				name[j] = c - 'a' + 'A'
			}
		}
		if len(name) > 254 && !bytes.Contains(name, []byte(`\`)) {
			continue // longer than names may be
		}
		q := secured(string(name), types[rng.IntN(len(types))], places[rng.IntN(len(places))])
		q.IsEdns0().SetCo(rng.IntN(2) == 0)
		m := r.over(q, "192.0.2.1")
		if m.AuthenticatedData || m.Truncated || m.Question[0].Name != string(name) {
			t.Fatalf("%v", m)
		}
		if m.Rcode == dns.RcodeServerFailure && strings.Contains(lower(string(name)), "loop") {
			continue
		}
		if err := validate(keys, m); err != nil {
			t.Fatalf("%v\n%v", err, m)
		}
		q.IsEdns0().SetDo(false)
		if m := r.over(q, "192.0.2.1"); q.Question[0].Qtype != dns.TypeRRSIG && q.Question[0].Qtype != dns.TypeNSEC {
			for _, rr := range slices.Concat(m.Answer, m.Ns, m.Extra) {
				if t2 := rr.Header().Rrtype; t2 == dns.TypeRRSIG || t2 == dns.TypeNSEC {
					t.Fatalf("DNSSEC records without DO: %v", m)
				}
			}
		}
	}
}

func TestShapesOfSignedAnswers(t *testing.T) {
	r := newSigned(t, sign.Limits{}, nil)
	defer r.Close()
	keys := keysOf(t, r)
	for _, x := range []struct {
		name   string
		qtype  uint16
		co     bool
		rcode  int
		bitmap string // of the NSEC record; "" when there must be none
	}{
		{"www", dns.TypeA, false, 0, ""},
		{"www", dns.TypeMX, false, 0, "A TXT AAAA RRSIG NSEC"},
		{"fixed", dns.TypeAAAA, false, 0, "A RRSIG NSEC"},
		{"y", dns.TypeA, false, 0, "RRSIG NSEC"},
		{"b.deep", dns.TypeA, true, 0, "RRSIG NSEC"},
		{"nx", dns.TypeA, false, 0, "RRSIG NSEC NXNAME"},
		{"nx", dns.TypeA, true, dns.RcodeNameError, "RRSIG NSEC NXNAME"},
		{"nonexist", dns.TypeA, true, dns.RcodeNameError, "RRSIG NSEC NXNAME"},
		{"a.wild", dns.TypeA, false, 0, ""},
		{"a.wild", dns.TypeTXT, true, 0, "A RRSIG NSEC"},
		{"x.plain", dns.TypeA, false, 0, "NS RRSIG NSEC"},
		{"plain", dns.TypeDS, false, 0, "NS RRSIG NSEC"},
		{"sub", dns.TypeDS, false, 0, ""},
		{"x.sub", dns.TypeA, false, 0, ""},
		{"@", dns.TypeDS, false, 0, "A NS SOA MX TXT AAAA RRSIG NSEC DNSKEY"},
		{"@", dns.TypeDNSKEY, false, 0, ""},
		{"@", dns.TypeCDS, false, 0, "A NS SOA MX TXT AAAA RRSIG NSEC DNSKEY"},
	} {
		name := strings.TrimPrefix(x.name+".perigee.test.", "@.")
		q := secured(name, x.qtype, london)
		q.IsEdns0().SetCo(x.co)
		m := r.direct(q, "192.0.2.1")
		if err := validate(keys, m); err != nil {
			t.Errorf("%s %s: %v\n%v", x.name, dns.Type(x.qtype), err, m)
		}
		got := ""
		for _, rr := range m.Ns {
			if nsec, ok := rr.(*dns.NSEC); ok {
				for _, b := range nsec.TypeBitMap {
					got += " " + dns.Type(b).String()
				}
			}
		}
		if got = strings.TrimSpace(got); got != x.bitmap || m.Rcode != x.rcode || m.IsEdns0().Co() != x.co {
			t.Errorf("%s %s: rcode %d, bitmap %q, want %d, %q\n%v", x.name, dns.Type(x.qtype), m.Rcode, got, x.rcode, x.bitmap, m)
		}
		if e := subnetOf(m); e == nil || x.name != "www" && e.SourceScope != 0 {
			t.Errorf("%s: scope %v", x.name, e)
		}
	}
}

// TestSignedSizes: what does not fit is asked for again over TCP, and signatures of addresses on the side never make that necessary.
func TestSignedSizes(t *testing.T) {
	r := newSigned(t, sign.Limits{}, nil)
	defer r.Close()
	q := secured("perigee.test.", dns.TypeNS, "")
	for size := uint16(512); size <= 1400; size += 8 {
		q.IsEdns0().SetUDPSize(size)
		b, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out := r.respond(b, anybody, false, nil)
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil || len(out) > min(int(size), maxUDP) || m.Truncated || len(m.Answer) != 2 || validate(keysOf(t, r), m) != nil {
			t.Fatalf("%d bytes for %d: %v\n%v", len(out), size, err, m)
		}
	}
	q.IsEdns0().SetUDPSize(1232)
	if m := r.direct(q, "192.0.2.1"); len(m.Extra) != 3 {
		t.Errorf("the address of the name server, its signature and OPT: %v", m)
	}
	q = secured("big.perigee.test.", dns.TypeTXT, "")
	if m := r.direct(q, "192.0.2.1"); !m.Truncated || m.Len() > maxUDP {
		t.Errorf("%v", m)
	}
	if m := r.over(q, "192.0.2.1"); m.Truncated || len(m.Answer) != 2 {
		t.Errorf("%v", m)
	}
}

// TestInventedNamesAreLimited: a network that asks for one random name after the other is sent to TCP, and refused there; all others, and all
// names that exist, are answered as before.
func TestInventedNamesAreLimited(t *testing.T) {
	r := newSigned(t, sign.Limits{Rate: 1, Burst: 10}, nil)
	defer r.Close()
	asked := 0
	ask := func(over func(*dns.Msg, string) *dns.Msg, from string) *dns.Msg {
		asked++
		return over(secured(fmt.Sprintf("random%d.perigee.test.", asked), dns.TypeA, ""), from)
	}
	for range 50 {
		ask(r.direct, "192.0.2.77")
	}
	m := ask(r.direct, "192.0.2.1")
	if !m.Truncated || m.Rcode != 0 || len(m.Answer)+len(m.Ns) > 0 {
		t.Errorf("%v", m)
	}
	if m := ask(r.over, "192.0.2.1"); m.Truncated || m.Rcode != 0 || len(m.Ns) != 4 {
		t.Errorf("first over TCP: %v", m)
	}
	for range 50 {
		m = ask(r.over, "192.0.2.1")
	}
	if m.Rcode != dns.RcodeServerFailure || len(m.IsEdns0().Option) != 1 {
		t.Errorf("over TCP: %v", m)
	}
	if m := ask(r.direct, "198.51.100.1"); m.Truncated || len(m.Ns) != 4 {
		t.Errorf("another network: %v", m)
	}
	if m := r.direct(secured("www.perigee.test.", dns.TypeA, london), "192.0.2.1"); m.Truncated || len(m.Answer) != 2 {
		t.Errorf("a name that exists: %v", m)
	}
	if m := r.direct(question("random.perigee.test.", dns.TypeA, ""), "192.0.2.1"); m.Rcode != dns.RcodeNameError {
		t.Errorf("without DO: %v", m)
	}
}

func TestSignerOfAnotherZone(t *testing.T) {
	keys, err := sign.Generate("example.com", 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := sign.NewSigner(keys, time.Now(), sign.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r := prepare(t, nil)
	defer r.Close()
	_, err = New(Config{Zone: "perigee.test", Servers: []NameServer{{Name: "ns.example.com"}}, Names: r.names.Load, Fleet: r.fleet.Load,
		Geo: r.geo, Log: r.log, Clock: clock.System, Signer: signer})
	if err == nil || !strings.Contains(err.Error(), "zone example.com.") {
		t.Error(err)
	}
}

// TestSigningLeavesSharedRecordsAlone: the records of a zone are read by many at once; the race detector sees who writes to one.
func TestSigningLeavesSharedRecordsAlone(t *testing.T) {
	r := newSigned(t, sign.Limits{Rate: 1e6, Burst: 1e6}, nil)
	defer r.Close()
	r.ready()
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			a := answerer{s: r.Server, index: worker}
			var out [maxUDP]byte
			for i := range 50 {
				a.begin()
				for _, name := range []string{"perigee.test.", "www.perigee.test.", "mail.perigee.test.", "x.sub.perigee.test.", fmt.Sprintf("n%d-%d.perigee.test.", worker, i)} {
					for _, qtype := range []uint16{dns.TypeA, dns.TypeSOA, dns.TypeNS, dns.TypeTXT, dns.TypeDNSKEY} {
						b, err := secured(name, qtype, "").Pack()
						if err != nil {
							t.Error(err)
							return
						}
						a.answer(b, netip.MustParseAddrPort("192.0.2.1:53"), out[:])
					}
				}
			}
		})
	}
	wg.Wait()
}

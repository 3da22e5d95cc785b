package dnsgeo

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var (
	secret256 = []byte("0123456789abcdef0123456789abcdef")
	secret512 = []byte("fedcba9876543210fedcba9876543210fedcba9876543210")
	testKeys  = []TSIGKey{{"one.key", "hmac-sha256", secret256}, {"Two.Key.", "hmac-sha512", secret512}}
	// The same for the library's client.
	clientKeys = map[string]string{"one.key.": base64.StdEncoding.EncodeToString(secret256), "two.key.": base64.StdEncoding.EncodeToString(secret512)}
	loopback   = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
)

// primary is a server with one ordinary zone, whose text the test changes.
type primary struct{ *rig }

func newPrimary(t testing.TB, transfer Transfer, text string, change func(*Config)) *primary {
	t.Helper()
	return &primary{newRig(t, func(c *Config) {
		c.TSIGKeys = testKeys
		c.Zones = []ZoneFile{{Name: "example.org", Text: text, Transfer: transfer}}
		if change != nil {
			change(c)
		}
	})}
}

// replace puts a new text in force, as a changed file would be.
func (p *primary) replace(text string) {
	p.t.Helper()
	s := p.zones.byName["example.org."]
	z, err := newOrdinaryZone("example.org", textSource(text))
	if err != nil {
		p.t.Fatal(err)
	}
	p.zones.put(s, z)
}

// zoneLines is a zone with n hosts.
func zoneLines(serial uint32, n int, more string) string {
	return fmt.Sprintf("$TTL 600\n@ SOA ns hostmaster %d 7200 1800 1209600 60\n@ NS ns\nns A 192.0.2.1\n$GENERATE 1-%d h$ TXT \"host number $ of the zone\"\n%s", serial, n, more)
}

// secondary is a model of a secondary server: it asks for differences, applies them and holds what the zone should be.
type secondary struct {
	t       testing.TB
	serial  uint32
	records map[string]bool
	full    int // transfers of the whole zone
	partial int
}

// refresh asks for what is new.
func (s *secondary) refresh(p *primary, key, algorithm string) error {
	m := new(dns.Msg)
	m.SetIxfr("example.org.", s.serial, "ns.example.org.", "hostmaster.example.org.")
	if s.records == nil {
		m.SetAxfr("example.org.")
	}
	tr := &dns.Transfer{ReadTimeout: 20 * time.Second}
	if key != "" {
		tr.TsigSecret = clientKeys
		m.SetTsig(key, algorithm, 300, time.Now().Unix())
	}
	envelopes, err := tr.In(m, p.Addr().String())
	if err != nil {
		return err
	}
	var all []dns.RR
	for e := range envelopes {
		if e.Error != nil {
			err = e.Error
		}
		all = append(all, e.RR...)
	}
	if err != nil {
		return err
	}
	return s.apply(all)
}

// apply takes a transfer over as RFC 1995 §4 tells secondaries to.
func (s *secondary) apply(all []dns.RR) error {
	first, ok := all[0].(*dns.SOA)
	if !ok {
		return errors.New("a transfer begins with a SOA record")
	}
	if len(all) == 1 {
		if newer(first.Serial, s.serial) {
			return errors.New("nothing but a newer SOA")
		}
		return nil
	}
	if second, ok := all[1].(*dns.SOA); !ok || second.Serial == first.Serial {
		s.full++
		s.serial, s.records = first.Serial, map[string]bool{}
		for _, rr := range all[1 : len(all)-1] {
			s.records[rr.String()] = true
		}
		return nil
	}
	s.partial++
	adding := true
	for _, rr := range all[1 : len(all)-1] {
		if soa, ok := rr.(*dns.SOA); ok {
			adding = !adding
			if !adding && soa.Serial != s.serial {
				return fmt.Errorf("a delta from %d does not fit %d", soa.Serial, s.serial)
			}
			s.serial = soa.Serial
			continue
		}
		if adding == s.records[rr.String()] {
			return fmt.Errorf("adding %v: %v", adding, rr)
		}
		if s.records[rr.String()] = true; !adding {
			delete(s.records, rr.String())
		}
	}
	if last, ok := all[len(all)-1].(*dns.SOA); !ok || last.Serial != s.serial || first.Serial != s.serial {
		return fmt.Errorf("it ends at %d, the zone is at %d", s.serial, first.Serial)
	}
	return nil
}

// same compares the secondary with the primary.
func (s *secondary) same(p *primary) {
	s.t.Helper()
	want, v := map[string]bool{}, p.zones.byName["example.org."].current.Load()
	for _, rr := range v.sorted() {
		want[rr.String()] = true
	}
	if !maps.Equal(want, s.records) || s.serial != v.serial() {
		s.t.Fatalf("the secondary has %d records of serial %d, the primary %d of %d", len(s.records), s.serial, len(want), v.serial())
	}
}

func TestSecondaryFollows(t *testing.T) {
	for _, k := range []struct {
		name, algorithm string
		hosts           int
	}{{"", "", 200}, {"one.key.", dns.HmacSHA256, 2000}, {"two.key.", dns.HmacSHA512, 200}} {
		transfer := Transfer{Allow: loopback}
		if k.name != "" {
			transfer = Transfer{Keys: []string{"ONE.key", "two.key"}}
		}
		p := newPrimary(t, transfer, zoneLines(1, k.hosts, ""), nil)
		s := &secondary{t: t}
		refresh := func(full, partial int) {
			t.Helper()
			if err := s.refresh(p, k.name, k.algorithm); err != nil {
				t.Fatalf("key %q: %v", k.name, err)
			}
			s.same(p)
			if s.full != full || s.partial != partial {
				t.Errorf("%d whole, %d partial transfers, want %d and %d", s.full, s.partial, full, partial)
			}
		}
		refresh(1, 0)
		refresh(1, 0) // nothing new
		p.replace(zoneLines(2, k.hosts, "new A 192.0.2.7\n"))
		refresh(1, 1)
		for i := range 5 {
			p.replace(zoneLines(uint32(3+i), k.hosts-i, fmt.Sprintf("new A 192.0.2.%d\n", i)))
		}
		refresh(1, 2) // five deltas at once
		for i := range maxDeltas + 5 {
			p.replace(zoneLines(uint32(10+i), k.hosts, fmt.Sprintf("new A 192.0.2.%d\n", i)))
		}
		refresh(2, 2) // too old for the journal
		p.replace(zoneLines(100, 10, ""))
		refresh(3, 2) // so much has changed that the whole zone is less
		// A transfer counts once its last message is sent, which a secondary may have read before.
		until(t, "five transfers are counted", func() bool { return p.Counters().Transfers.Load() == 5 })
	}
}

func TestTransfersAreRefused(t *testing.T) {
	p := newPrimary(t, Transfer{}, zoneLines(1, 3, ""), func(c *Config) {
		zone := func(name string, tr Transfer) ZoneFile {
			return ZoneFile{Name: name, Text: "@ SOA a b 5 1 1 1 1\n@ NS a\n", Transfer: tr}
		}
		c.Zones = append(c.Zones,
			zone("key.org", Transfer{Keys: []string{"one.key"}}),
			zone("both.org", Transfer{Keys: []string{"one.key"}, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}),
			zone("here.org", Transfer{Allow: loopback}),
		)
	})
	for _, x := range []struct {
		zone, key, algorithm string
		rcode                int
		ede                  uint16
		signed               bool
	}{
		{"example.org.", "", "", dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, false},
		{"example.org.", "one.key.", dns.HmacSHA256, dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, true},
		{"key.org.", "", "", dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, false},
		{"key.org.", "two.key.", dns.HmacSHA512, dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, true},
		{"both.org.", "one.key.", dns.HmacSHA256, dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, true},
		{"perigee.test.", "", "", dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported, false},
		{"perigee.test.", "one.key.", dns.HmacSHA256, dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported, true},
		{"www.perigee.test.", "", "", dns.RcodeNotAuth, dns.ExtendedErrorCodeNotAuthoritative, false},
		{"example.net.", "", "", dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative, false},
		{"here.org.", "", "", dns.RcodeSuccess, 0, false},
		{"key.org.", "one.key.", dns.HmacSHA256, dns.RcodeSuccess, 0, true},
	} {
		for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
			m := question(x.zone, qtype, "")
			if qtype == dns.TypeIXFR {
				m.Ns = []dns.RR{&dns.SOA{Hdr: header(x.zone, dns.TypeSOA, 0), Ns: ".", Mbox: ".", Serial: 1}}
			}
			if x.key != "" {
				m.SetTsig(x.key, x.algorithm, 300, time.Now().Unix())
			}
			c := &dns.Client{Net: "tcp", TsigSecret: clientKeys, Timeout: 20 * time.Second}
			in, _, err := c.Exchange(m, p.Addr().String())
			if err != nil {
				t.Fatalf("%s %s %s: %v", x.zone, dns.Type(qtype), x.key, err)
			}
			if in.Rcode != x.rcode || edeOf(in) != x.ede || (in.IsTsig() != nil) != x.signed || (len(in.Answer) > 0) != (x.rcode == 0) {
				t.Errorf("%+v: %v", x, in)
			}
		}
	}
	if m := p.ask("tcp", question("perigee.test.", dns.TypeAXFR, "")); !strings.Contains(m.String(), whySteered) {
		t.Errorf("the refusal does not say why: %v", m)
	}
	// An IXFR without a serial number.
	if m := p.ask("tcp", question("here.org.", dns.TypeIXFR, "")); m.Rcode != dns.RcodeFormatError {
		t.Errorf("%v", m)
	}
}

// edeOf returns the code of the EDE option, 0 when there is none.
func edeOf(m *dns.Msg) uint16 {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return e.InfoCode
			}
		}
	}
	return 0
}

func TestTransferOverUDP(t *testing.T) {
	p := newPrimary(t, Transfer{}, zoneLines(9, 3, ""), nil)
	m := p.ask("udp", question("example.org.", dns.TypeIXFR, ""))
	if soa, ok := m.Answer[0].(*dns.SOA); !ok || soa.Serial != 9 || len(m.Answer) != 1 || !m.Authoritative {
		t.Errorf("%v", m)
	}
	for name, qtype := range map[string]uint16{"example.org.": dns.TypeAXFR, "h1.example.org.": dns.TypeIXFR, "perigee.test.": dns.TypeIXFR} {
		if m := p.ask("udp", question(name, qtype, "")); m.Rcode != dns.RcodeRefused || edeOf(m) != dns.ExtendedErrorCodeNotSupported {
			t.Errorf("%s: %v", name, m)
		}
	}
}

// TestSignedQueries: what is signed is answered signed, over either transport, as RFC 8945 §5 demands.
func TestSignedQueries(t *testing.T) {
	p := newPrimary(t, Transfer{}, zoneLines(9, 3, "big TXT \""+long(1150)+"\"\n"), nil)
	now := time.Now().Unix()
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network, TsigSecret: map[string]string{"unknown.": clientKeys["one.key."]}, Timeout: 20 * time.Second}
		maps.Copy(c.TsigSecret, clientKeys)
		for _, x := range []struct {
			name, key, algorithm string
			at                   int64
			rcode                int
			failure              uint16
			cut                  bool
		}{
			{"example.org.", "one.key.", dns.HmacSHA256, now, 0, 0, false},
			{"www.perigee.test.", "TWO.key.", dns.HmacSHA512, now, 0, 0, false},
			{"example.org.", "unknown.", dns.HmacSHA256, now, dns.RcodeNotAuth, dns.RcodeBadKey, false},
			{"example.org.", "one.key.", dns.HmacSHA512, now, dns.RcodeNotAuth, dns.RcodeBadKey, false},
			{"example.org.", "one.key.", dns.HmacSHA1, now, dns.RcodeNotAuth, dns.RcodeBadKey, false},
			{"example.org.", "one.key.", dns.HmacSHA256, now - 1000, dns.RcodeNotAuth, dns.RcodeBadTime, false},
			{"example.org.", "one.key.", dns.HmacSHA256, now + 1000, dns.RcodeNotAuth, dns.RcodeBadTime, false},
			{"big.example.org.", "one.key.", dns.HmacSHA256, now, 0, 0, network == "udp"},
		} {
			m := question(x.name, dns.TypeTXT, "")
			m.SetTsig(x.key, x.algorithm, 300, x.at)
			if x.key == "TWO.key." {
				c.TsigSecret["TWO.key."] = clientKeys["two.key."]
			}
			in, _, err := c.Exchange(m, p.Addr().String())
			unsigned := x.failure == dns.RcodeBadKey
			if in == nil || err != nil && !unsigned && x.failure != dns.RcodeBadTime {
				t.Fatalf("%s %+v: %v", network, x, err)
			}
			sig := in.IsTsig()
			if sig == nil || in.Rcode != x.rcode || sig.Error != x.failure || in.Truncated != x.cut || (sig.MACSize == 0) != unsigned {
				t.Errorf("%s %+v: %v", network, x, in)
			}
			if x.failure == dns.RcodeBadTime && (sig.OtherLen != 6 || int64(sig.TimeSigned) != x.at) {
				t.Errorf("%s %+v: %v", network, x, sig)
			}
		}
	}
	// The library does not check the signature of what says BADTIME, so it is made again with the library and compared.
	late := question("example.org.", dns.TypeSOA, "")
	late.SetTsig("one.key.", dns.HmacSHA256, 300, now-1000)
	packet, mac, err := dns.TsigGenerate(late, clientKeys["one.key."], "", false)
	if err != nil {
		t.Fatal(err)
	}
	refusal := new(dns.Msg)
	if err := refusal.Unpack(p.respond(packet, anybody, false, nil)); err != nil {
		t.Fatal(err)
	}
	got := refusal.IsTsig().MAC
	if _, want, err := dns.TsigGenerate(refusal, clientKeys["one.key."], mac, false); err != nil || got != want {
		t.Errorf("BADTIME is signed %s, want %s, %v", got, want, err)
	}
	// A signature that does not fit; one that is not the last record.
	m := question("example.org.", dns.TypeSOA, "")
	m.SetTsig("one.key.", dns.HmacSHA256, 300, now)
	good, _, err := dns.TsigGenerate(m, clientKeys["one.key."], "", false)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func([]byte) []byte) *dns.Msg {
		out := new(dns.Msg)
		if err := out.Unpack(p.respond(f(append([]byte(nil), good...)), anybody, false, nil)); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if m := change(func(b []byte) []byte { return b }); m.Rcode != 0 || len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
	if m := change(func(b []byte) []byte { b[len(b)-10] ^= 1; return b }); m.Rcode != dns.RcodeNotAuth || m.IsTsig().Error != dns.RcodeBadSig || m.IsTsig().MACSize != 0 {
		t.Errorf("%v", m)
	}
	if m := change(func(b []byte) []byte { b[2] |= 1; b[2] ^= 1; b[3] ^= 0x10; return b }); m.IsTsig().Error != dns.RcodeBadSig {
		t.Errorf("a changed header: %v", m)
	}
	if m := change(func(b []byte) []byte {
		b[11]++
		return append(b, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0)
	}); m.Rcode != dns.RcodeFormatError {
		t.Errorf("a record after the signature: %v", m)
	}
}

// TestOtherProgramsTransfer lets programs that others wrote fetch and check the zone.
func TestOtherProgramsTransfer(t *testing.T) {
	p := newPrimary(t, Transfer{Keys: []string{"one.key"}}, exampleZone, nil)
	p.replace(strings.Replace(exampleZone, "2026010100", "2026010101", 1) + "later A 192.0.2.200\n")
	host, port := p.Addr().Addr().String(), fmt.Sprint(p.Addr().Port())
	key := "hmac-sha256:one.key:" + clientKeys["one.key."]
	for _, x := range []struct {
		args []string
		want []string
	}{
		{[]string{"dig", "@" + host, "-p", port, "-y", key, "example.org", "AXFR"}, []string{"later.example.org.", `\# 4 C0000201`, "XFR size:"}},
		{[]string{"dig", "@" + host, "-p", port, "-y", key, "example.org", "IXFR=2026010100"}, []string{"later.example.org.", "XFR size: 5 records"}},
		{[]string{"dig", "@" + host, "-p", port, "-y", key, "+notcp", "example.org", "SOA"}, []string{"2026010101", "TSIG PSEUDOSECTION"}},
		{[]string{"dig", "@" + host, "-p", port, "example.org", "AXFR"}, []string{"Transfer failed"}},
		{[]string{"kdig", "@" + host, "-p", port, "-y", key, "example.org", "AXFR"}, []string{"later.example.org.", "DNAME"}},
		{[]string{"kdig", "@" + host, "-p", port, "-y", key, "example.org", "IXFR=2026010100"}, []string{"later.example.org.", "5 records"}},
	} {
		t.Run(strings.Join(x.args[:1], " ")+" "+x.args[len(x.args)-1], func(t *testing.T) {
			if _, err := exec.LookPath(x.args[0]); err != nil {
				t.Skip(err)
			}
			out, err := exec.Command(x.args[0], x.args[1:]...).CombinedOutput()
			for _, w := range x.want {
				if !strings.Contains(string(out), w) || strings.Contains(string(out), "verify failure") {
					t.Fatalf("%v: no %q in\n%s", err, w, out)
				}
			}
		})
	}
}

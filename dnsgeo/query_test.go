package dnsgeo

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

var anybody = netip.MustParseAddrPort("192.0.2.1:4242")

// pack returns the wire form of m after change; change may be nil.
func pack(t testing.TB, m *dns.Msg, change func([]byte) []byte) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		b = change(b)
	}
	return b
}

func TestPacketForms(t *testing.T) {
	r := prepare(t, nil)
	defer r.Close()
	plain := new(dns.Msg)
	plain.SetQuestion("www.perigee.test.", dns.TypeA)
	edns := question("www.perigee.test.", dns.TypeA, "")
	set := func(off int, v uint16) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint16(b[off:], v); return b }
	}
	const dropped = -1
	for _, x := range []struct {
		name   string
		packet []byte
		rcode  int
	}{
		{"empty", nil, dropped},
		{"shorter than a header", make([]byte, 11), dropped},
		{"a response", pack(t, plain, set(2, 0x8000)), dropped},
		{"a header alone", make([]byte, 12), dns.RcodeFormatError},
		{"plain", pack(t, plain, nil), dns.RcodeSuccess},
		{"EDNS", pack(t, edns, nil), dns.RcodeSuccess},
		{"NOTIFY", pack(t, plain, set(2, dns.OpcodeNotify<<11)), dns.RcodeNotImplemented},
		{"UPDATE", pack(t, plain, set(2, dns.OpcodeUpdate<<11)), dns.RcodeNotImplemented},
		{"opcode 15", pack(t, plain, set(2, 15<<11)), dns.RcodeNotImplemented},
		{"no question", pack(t, plain, set(4, 0)), dns.RcodeFormatError},
		{"two questions", pack(t, plain, set(4, 2)), dns.RcodeFormatError},
		{"an answer that is not there", pack(t, plain, set(6, 1)), dns.RcodeFormatError},
		{"65535 records", pack(t, plain, set(10, 65535)), dns.RcodeFormatError},
		{"bytes after the end", pack(t, plain, func(b []byte) []byte { return append(b, 0) }), dns.RcodeFormatError},
		{"cut in the question", pack(t, plain, func(b []byte) []byte { return b[:len(b)-1] }), dns.RcodeFormatError},
		{"a name that points to itself", append(pack(t, plain, nil)[:12], 0xc0, 12, 0, 1, 0, 1), dns.RcodeFormatError},
		{"a label of an unknown kind", append(pack(t, plain, nil)[:12], 0x41, 'a', 0, 0, 1, 0, 1), dns.RcodeFormatError},
		{"an endless name", append(pack(t, plain, nil)[:12], bytes.Repeat([]byte{1, 'a'}, 200)...), dns.RcodeFormatError},
		{"OPT twice", pack(t, edns, func(b []byte) []byte { b[11] = 2; return append(b, b[len(b)-11:]...) }), dns.RcodeFormatError},
		{"OPT among the answers", pack(t, edns, func(b []byte) []byte { b[11], b[7] = 0, 1; return b }), dns.RcodeFormatError},
		{"OPT of a name", pack(t, edns, func(b []byte) []byte {
			return slices.Concat(b[:len(b)-11], []byte{1, 'a'}, b[len(b)-11:])
		}), dns.RcodeFormatError},
		{"an unknown option", withOption(t, "www.perigee.test.", dns.TypeA, 65001, []byte("abc")), dns.RcodeSuccess},
		{"EDNS version 1", pack(t, edns, func(b []byte) []byte { b[len(b)-5] = 1; return b }), dns.RcodeBadVers},
		{"a record beside OPT", pack(t, withExtra(edns), nil), dns.RcodeSuccess},
	} {
		t.Run(x.name, func(t *testing.T) {
			answer := r.respond(x.packet, anybody, false, nil)
			if x.rcode == dropped {
				if answer != nil {
					t.Errorf("% x", answer)
				}
				return
			}
			m := new(dns.Msg)
			if err := m.Unpack(answer); err != nil {
				t.Fatal(err)
			}
			if m.Rcode != x.rcode || !m.Response || m.RecursionAvailable || m.Id != binary.BigEndian.Uint16(x.packet) {
				t.Errorf("%v", m)
			}
			if o := m.IsEdns0(); x.rcode == dns.RcodeBadVers && (o == nil || o.Version() != 0 || len(m.Answer) > 0) {
				t.Errorf("%v", m)
			}
			if q := new(dns.Msg); q.Unpack(x.packet) == nil && q.IsEdns0() == nil && m.IsEdns0() != nil {
				t.Error("EDNS in the answer to a query without")
			}
		})
	}
}

func withExtra(m *dns.Msg) *dns.Msg {
	m = m.Copy()
	m.Extra = append([]dns.RR{&dns.A{Hdr: header("x.perigee.test.", dns.TypeA, 1), A: []byte{1, 2, 3, 4}}}, m.Extra...)
	return m
}

func TestOptionLongerThanItsRecord(t *testing.T) {
	b := withOption(t, "www.perigee.test.", dns.TypeA, 65001, []byte("abc"))
	b[len(b)-4]++ // the low byte of the option's length
	if _, rcode, drop := parse(b); rcode != dns.RcodeFormatError || drop {
		t.Errorf("rcode %d, drop %v", rcode, drop)
	}
}

func TestFlagsAndCase(t *testing.T) {
	r := newRig(t, nil)
	q := question("wWw.PeRiGeE.tEsT.", dns.TypeA, london)
	q.CheckingDisabled, q.AuthenticatedData = true, true
	q.IsEdns0().SetDo()
	m := r.ask("udp", q)
	if m.Question[0].Name != "wWw.PeRiGeE.tEsT." || m.Answer[0].Header().Name != "wWw.PeRiGeE.tEsT." {
		t.Errorf("the case was not kept: %v", m)
	}
	if !m.RecursionDesired || m.RecursionAvailable || !m.CheckingDisabled || m.AuthenticatedData || !m.IsEdns0().Do() || m.IsEdns0().UDPSize() != maxUDP {
		t.Errorf("%v", m)
	}
	q = question("www.perigee.test.", dns.TypeA, "")
	q.RecursionDesired = false
	if m := r.ask("udp", q); m.RecursionDesired || m.IsEdns0().Do() {
		t.Errorf("%v", m)
	}
}

func TestTruncation(t *testing.T) {
	r := newRig(t, nil)
	for _, x := range []struct {
		name    string
		network string
		size    uint16 // advertised; 0 without EDNS
		most    int
		cut     bool
	}{
		{"without EDNS", "udp", 0, 512, true},
		{"size 0", "udp", 1, 512, true},
		{"size 1232", "udp", 1232, 1232, true},
		{"size 4096", "udp", 4096, 1232, true},
		{"TCP", "tcp", 1232, 65535, false},
		{"TCP without EDNS", "tcp", 0, 65535, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			q := new(dns.Msg)
			q.SetQuestion("big.perigee.test.", dns.TypeTXT)
			if x.size > 0 {
				q.SetEdns0(x.size, false)
			}
			m := r.ask(x.network, q)
			if m.Truncated != x.cut || m.Len() > x.most || x.cut == (len(m.Answer) > 0) || (m.IsEdns0() != nil) != (x.size > 0) {
				t.Errorf("TC %v, %d bytes, %d answers", m.Truncated, m.Len(), len(m.Answer))
			}
		})
	}
	if n := r.Counters().Truncated.Load(); n != 4 {
		t.Errorf("%d truncated answers were counted", n)
	}
}

// FuzzParse compares the parser of queries with the library's: what it takes, the library takes and reads alike.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, rcode, drop := parse(b)
		if drop || rcode != dns.RcodeSuccess {
			return
		}
		var p dns.Msg
		// Data of options and records that the library understands and we do not look at may be malformed.
		if err := p.Unpack(b); err != nil {
			return
		}
		if p.Id != q.id || p.Question[0].Name != q.name || p.Question[0].Qtype != q.qtype || p.Question[0].Qclass != q.class ||
			p.RecursionDesired != q.rd || p.CheckingDisabled != q.cd {
			t.Fatalf("read\n%+v\nthe library\n%v", q, &p)
		}
		o := p.IsEdns0()
		if (o != nil) != q.edns || o != nil && (o.Do() != q.do || o.Version() != q.version || max(o.UDPSize(), 512) != q.size) {
			t.Fatalf("read\n%+v\nthe library\n%v", q, &p)
		}
		if subnet := subnetOf(&p); (subnet != nil) != (q.subnet != nil) {
			t.Fatalf("subnet % x, the library %v", q.subnet, subnet)
		}
	})
}

// FuzzRespond gives packets to the server as they come off the wire. Every answer must be a well-formed answer to them.
func FuzzRespond(f *testing.F) {
	seed(f)
	r := prepare(f, nil)
	f.Cleanup(func() { r.Close() })
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, tcp := range []bool{false, true} {
			answer := r.respond(b, anybody, tcp, nil)
			if answer == nil {
				continue
			}
			var m dns.Msg
			if err := m.Unpack(answer); err != nil {
				t.Fatalf("%v in % x", err, answer)
			}
			if !m.Response || m.Id != binary.BigEndian.Uint16(b) || !tcp && len(answer) > maxUDP {
				t.Fatalf("%d bytes: %v", len(answer), &m)
			}
			q, _, _ := parse(b)
			if q.asked && (len(m.Question) != 1 || m.Question[0].Name != q.name) {
				t.Fatalf("asked %q: %v", q.name, &m)
			}
			if s := rawSubnet(t, answer); s != nil && (len(s) != len(q.subnet) || !bytes.Equal(s[:3], q.subnet[:3]) || !bytes.Equal(s[4:], q.subnet[4:])) {
				t.Fatalf("subnet % x came back as % x", q.subnet, s)
			}
		}
	})
}

func seed(f *testing.F) {
	for _, name := range []string{"www.perigee.test.", "WWW.perigee.test.", ".", "none.perigee.test.", "www.example.com.", `a\.b\000.perigee.test.`,
		strings.Repeat("a.", 100) + "perigee.test."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeAXFR, dns.TypeSOA, dns.TypeNXNAME} {
			f.Add(pack(f, question(name, qtype, london), nil))
		}
	}
	plain := new(dns.Msg)
	plain.SetQuestion("alias.perigee.test.", dns.TypeA)
	f.Add(pack(f, plain, nil))
	f.Add(pack(f, withExtra(question("sub.perigee.test.", dns.TypeA, "2604:2000::/32")), nil))
	f.Add(withOption(f, "www.perigee.test.", dns.TypeA, dns.EDNS0SUBNET, []byte{0, 1, 25, 0, 1, 2, 3}))
	f.Add(withOption(f, "www.perigee.test.", dns.TypeA, dns.EDNS0COOKIE, []byte("12345678")))
}

func BenchmarkRespond(b *testing.B) {
	r := newRig(b, nil)
	r.compiled()
	packet, out := pack(b, question("www.perigee.test.", dns.TypeA, london), nil), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		r.respond(packet, anybody, false, out)
	}
}

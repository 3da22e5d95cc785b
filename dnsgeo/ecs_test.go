package dnsgeo

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// withOption returns a packed query for name with one EDNS option of the given data.
func withOption(t testing.TB, name string, qtype uint16, code uint16, data []byte) []byte {
	t.Helper()
	m := question(name, qtype, "")
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: code, Data: data})
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rawSubnet returns the data of the client-subnet option in a packed answer, nil if there is none.
func rawSubnet(t testing.TB, packet []byte) []byte {
	t.Helper()
	q := query{}
	m := new(dns.Msg)
	if err := m.Unpack(packet); err != nil {
		t.Fatal(err)
	}
	asQuery := bytes.Clone(packet)
	binary.BigEndian.PutUint16(asQuery[2:], 0) // the parser of queries reads options byte by byte; show it one
	q, _, _ = parse(asQuery)
	return q.subnet
}

// TestClientSubnet goes through the duties of an authoritative server in RFC 7871.
func TestClientSubnet(t *testing.T) {
	r := prepare(t, nil)
	defer r.Close()
	const anyScope = -1
	for _, x := range []struct {
		name  string
		asked string
		qtype uint16
		data  []byte
		rcode int
		edge  string
		scope int
	}{
		{"IPv4 /24", "www", dns.TypeA, []byte{0, 1, 24, 0, 81, 2, 69}, 0, "127.0.1.1", 24},
		{"IPv4 /32", "www", dns.TypeA, []byte{0, 1, 32, 0, 81, 2, 69, 142}, 0, "127.0.1.1", 24},
		{"IPv4 /16: the data is finer", "www", dns.TypeA, []byte{0, 1, 16, 0, 128, 59}, 0, "127.0.1.2", 16},
		{"IPv4 /9, bits within the prefix", "www", dns.TypeA, []byte{0, 1, 9, 0, 128, 0x80}, 0, "", anyScope},
		{"IPv4 /20 in two and a half bytes", "www", dns.TypeA, []byte{0, 1, 20, 0, 137, 132, 0xf0}, 0, "127.0.1.3", anyScope},
		{"IPv6 /56", "www", dns.TypeA, []byte{0, 2, 56, 0, 0x26, 0x04, 0x20, 0, 0, 0, 0}, 0, "127.0.1.2", anyScope},
		{"IPv6 /128", "www", dns.TypeAAAA, append([]byte{0, 2, 128, 0, 0x26, 0x04, 0x20}, make([]byte, 13)...), 0, "::1:2", anyScope},
		{"IPv4-mapped IPv6", "www", dns.TypeA, append([]byte{0, 2, 120, 0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 81, 2, 69), 0, "127.0.1.1", 96 + 24},
		{"private address: place unknown", "www", dns.TypeA, []byte{0, 1, 24, 0, 10, 1, 2}, 0, "127.0.1.1", 8},
		{"SOURCE 0: by source address, for all", "www", dns.TypeA, []byte{0, 1, 0, 0}, 0, "127.0.1.3", 0},
		{"SOURCE 0 of IPv6", "www", dns.TypeA, []byte{0, 2, 0, 0}, 0, "127.0.1.3", 0},
		{"FAMILY 0, as dig +subnet=0", "www", dns.TypeA, []byte{0, 0, 0, 0}, 0, "127.0.1.3", 0},
		{"other type of a steered name", "www", dns.TypeTXT, []byte{0, 1, 24, 0, 81, 2, 69}, 0, "", 0},
		{"static name", "mail", dns.TypeA, []byte{0, 1, 24, 0, 81, 2, 69}, 0, "192.0.2.25", 0},
		{"no such name", "none", dns.TypeA, []byte{0, 1, 24, 0, 81, 2, 69}, dns.RcodeNameError, "", 0},
		{"alias of a steered name", "alias", dns.TypeA, []byte{0, 1, 24, 0, 128, 59, 0}, 0, "127.0.1.2", anyScope},

		{"empty", "www", dns.TypeA, []byte{}, dns.RcodeFormatError, "", 0},
		{"no lengths", "www", dns.TypeA, []byte{0, 1}, dns.RcodeFormatError, "", 0},
		{"unknown family", "www", dns.TypeA, []byte{0, 3, 8, 0, 1}, dns.RcodeFormatError, "", 0},
		{"unknown family, SOURCE 0", "www", dns.TypeA, []byte{0, 3, 0, 0}, dns.RcodeFormatError, "", 0},
		{"FAMILY 0 with a prefix", "www", dns.TypeA, []byte{0, 0, 8, 0, 1}, dns.RcodeFormatError, "", 0},
		{"IPv4 /33", "www", dns.TypeA, []byte{0, 1, 33, 0, 1, 2, 3, 4, 0}, dns.RcodeFormatError, "", 0},
		{"IPv6 /129", "www", dns.TypeA, append([]byte{0, 2, 129, 0}, make([]byte, 17)...), dns.RcodeFormatError, "", 0},
		{"scope in a query", "www", dns.TypeA, []byte{0, 1, 24, 24, 81, 2, 69}, dns.RcodeFormatError, "", 0},
		{"address too short", "www", dns.TypeA, []byte{0, 1, 24, 0, 81, 2}, dns.RcodeFormatError, "", 0},
		{"address too long", "www", dns.TypeA, []byte{0, 1, 24, 0, 81, 2, 69, 0}, dns.RcodeFormatError, "", 0},
		{"SOURCE 0 with an address", "www", dns.TypeA, []byte{0, 1, 0, 0, 1}, dns.RcodeFormatError, "", 0},
		{"bits beyond the prefix", "www", dns.TypeA, []byte{0, 1, 20, 0, 137, 132, 0x1f}, dns.RcodeFormatError, "", 0},
		{"malformed, for a static name", "mail", dns.TypeA, []byte{0, 9, 0, 0}, dns.RcodeFormatError, "", 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			packet := withOption(t, x.asked+".perigee.test.", x.qtype, dns.EDNS0SUBNET, x.data)
			answer := r.respond(packet, netip.MustParseAddrPort("137.132.1.1:4242"), false, nil)
			m := new(dns.Msg)
			if err := m.Unpack(answer); err != nil {
				t.Fatal(err)
			}
			if m.Rcode != x.rcode || x.edge != "" && address(t, m) != x.edge {
				t.Errorf("%v", m)
			}
			got := rawSubnet(t, answer)
			if x.rcode == dns.RcodeFormatError {
				if got != nil || len(m.Answer) != 0 {
					t.Errorf("a malformed option came back: % x", got)
				}
				return
			}
			if len(got) != len(x.data) || !bytes.Equal(got[:3], x.data[:3]) || !bytes.Equal(got[4:], x.data[4:]) {
				t.Fatalf("sent % x, got % x: FAMILY, SOURCE and ADDRESS must come back unchanged", x.data, got)
			}
			if x.scope != anyScope && int(got[3]) != x.scope {
				t.Errorf("scope %d, want %d", got[3], x.scope)
			}
		})
	}
}

func TestTwoSubnetsAreMalformed(t *testing.T) {
	r := prepare(t, nil)
	defer r.Close()
	m := question("www.perigee.test.", dns.TypeA, london)
	o := m.IsEdns0()
	o.Option = append(o.Option, o.Option[0])
	if a := r.direct(m, "127.0.0.1"); a.Rcode != dns.RcodeFormatError {
		t.Errorf("%v", a)
	}
}

package dnsgeo

import (
	"net"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// TestEDNSCompliance: the queries of the testers of EDNS compliance, and what RFC 6891 and RFC 1035 want of the answers.
func TestEDNSCompliance(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Cookies, c.NSID = jar(t), "ns1" })
	unknown := &dns.EDNS0_LOCAL{Code: 100, Data: []byte{1, 2}}
	clientCookie := &dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: make([]byte, 8)}
	for _, c := range []struct {
		name    string
		qtype   uint16
		opt     bool
		version uint8
		flags   uint32 // of the OPT record's TTL
		header  func(*dns.MsgHdr)
		options []dns.EDNS0

		rcode int
		back  []uint16 // options of the answer
	}{
		{name: "dns", qtype: dns.TypeSOA},
		{name: "unknown type", qtype: 1000},
		{name: "unknown header bits", qtype: dns.TypeSOA, header: func(h *dns.MsgHdr) { h.Zero, h.AuthenticatedData, h.CheckingDisabled = true, true, true }},
		{name: "unassigned opcode", qtype: dns.TypeSOA, header: func(h *dns.MsgHdr) { h.Opcode = 15 }, rcode: dns.RcodeNotImplemented},
		{name: "edns", qtype: dns.TypeSOA, opt: true},
		{name: "edns1", qtype: dns.TypeSOA, opt: true, version: 1, rcode: dns.RcodeBadVers},
		{name: "edns255", qtype: dns.TypeSOA, opt: true, version: 255, rcode: dns.RcodeBadVers},
		{name: "unknown option", qtype: dns.TypeSOA, opt: true, options: []dns.EDNS0{unknown}},
		{name: "edns1 with an option", qtype: dns.TypeSOA, opt: true, version: 1, options: []dns.EDNS0{unknown}, rcode: dns.RcodeBadVers},
		{name: "unknown flags", qtype: dns.TypeSOA, opt: true, flags: 0x7fff},
		{name: "do", qtype: dns.TypeSOA, opt: true, flags: 0x8000},
		{name: "do and unknown flags", qtype: dns.TypeSOA, opt: true, flags: 0x8040},
		{name: "cookie", qtype: dns.TypeSOA, opt: true, options: []dns.EDNS0{clientCookie}, back: []uint16{dns.EDNS0COOKIE}},
		{name: "a list of options", qtype: dns.TypeSOA, opt: true, back: []uint16{dns.EDNS0NSID, dns.EDNS0COOKIE, dns.EDNS0SUBNET}, options: []dns.EDNS0{
			&dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, Address: net.IPv4zero}, clientCookie, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true}, unknown}},
		{name: "cookie with edns1", qtype: dns.TypeSOA, opt: true, version: 1, options: []dns.EDNS0{clientCookie}, rcode: dns.RcodeBadVers, back: []uint16{dns.EDNS0COOKIE}},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := new(dns.Msg)
			m.SetQuestion("perigee.test.", c.qtype)
			if c.header != nil {
				c.header(&m.MsgHdr)
			}
			if c.opt {
				m.SetEdns0(4096, false)
				o := m.IsEdns0()
				o.Option, o.Hdr.Ttl = c.options, uint32(c.version)<<16|c.flags
			}
			a, _, err := (&dns.Client{Net: network}).Exchange(m, r.Addr().String())
			if err != nil {
				t.Errorf("%s over %s: %v", c.name, network, err)
				continue
			}
			if a.Rcode != c.rcode || a.Zero || a.AuthenticatedData || a.RecursionAvailable || a.Opcode != m.Opcode || (c.rcode == 0) != a.Authoritative {
				t.Errorf("%s over %s: %v", c.name, network, a)
			}
			o := a.IsEdns0()
			if (o != nil) != c.opt {
				t.Errorf("%s over %s: OPT %v", c.name, network, o)
			}
			if o == nil {
				continue
			}
			var back []uint16
			for _, option := range o.Option {
				back = append(back, option.Option())
			}
			if o.Version() != 0 || o.Hdr.Ttl&0x7fff != 0 || o.Do() != (c.flags&0x8000 != 0) || o.UDPSize() != maxUDP || !slices.Equal(back, c.back) {
				t.Errorf("%s over %s: %v %v", c.name, network, o, back)
			}
			if c.rcode == dns.RcodeBadVers && len(a.Answer)+len(a.Ns) > 0 {
				t.Errorf("%s over %s: records beside BADVERS: %v", c.name, network, a)
			}
		}
	}
}

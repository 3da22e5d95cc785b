package sign

import (
	"time"

	"github.com/miekg/dns"
)

// DNSKEY returns the DNSKEY set of the zone at a moment; empty when the zone has no key.
func (s *KeySet) DNSKEY(now time.Time) []dns.RR {
	var out []dns.RR
	for _, k := range s.In(now, Published, Active, Retired) {
		out = append(out, k.DNSKEY())
	}
	return out
}

// CDS returns the records that ask the parent for its next DS set (RFC 7344 §3.1): none before the DS of the first key may be there, one that deletes all
// when the zone is about to become unsigned.
func (s *KeySet) CDS(now time.Time) []dns.RR {
	if s.deletes(now) {
		return []dns.RR{&dns.CDS{DS: dns.DS{Hdr: s.header(dns.TypeCDS), Digest: "00"}}}
	}
	var out []dns.RR
	for _, k := range s.WantDS(now) {
		c := k.DS().ToCDS()
		c.Hdr = s.header(dns.TypeCDS)
		out = append(out, c)
	}
	return out
}

// CDNSKEY is CDS for parents that compute digests themselves (RFC 7344 §3.2).
func (s *KeySet) CDNSKEY(now time.Time) []dns.RR {
	if s.deletes(now) {
		return []dns.RR{&dns.CDNSKEY{DNSKEY: dns.DNSKEY{Hdr: s.header(dns.TypeCDNSKEY), Protocol: 3, PublicKey: "AA=="}}}
	}
	var out []dns.RR
	for _, k := range s.WantDS(now) {
		c := k.dnskey.ToCDNSKEY()
		c.Hdr = s.header(dns.TypeCDNSKEY)
		out = append(out, c)
	}
	return out
}

func (s *KeySet) deletes(now time.Time) bool { return !s.Withdrawn.IsZero() && s.active(now) != nil }

func (s *KeySet) header(rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: s.Zone, Rrtype: rrtype, Class: dns.ClassINET, Ttl: uint32(KeyTTL / time.Second)}
}

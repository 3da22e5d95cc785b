package sign

import (
	"slices"

	"github.com/miekg/dns"
)

// Denial returns the NSEC record that says which types a name of the zone has, and that nothing comes between it and the name right after it (RFC 9824
// §3.1, §3.2). Types need not be sorted; RRSIG and NSEC are always in. For a name that does not exist, types is NXNAME alone. TTL should be the smaller
// one of the SOA's TTL and its minimum (RFC 9077).
func (s *Signer) Denial(name string, ttl uint32, types ...uint16) *dns.NSEC {
	name = dns.CanonicalName(name)
	return nsec(name, after(name, s.zone), ttl, types)
}

// DenialAtCut is Denial for a delegated name: its NSEC record must cover, not end in, what lies below it, for that is another zone (RFC 9824 §3.4).
func (s *Signer) DenialAtCut(name string, ttl uint32, types ...uint16) *dns.NSEC {
	name = dns.CanonicalName(name)
	return nsec(name, beyond(name, s.zone), ttl, types)
}

func nsec(name, next string, ttl uint32, types []uint16) *dns.NSEC {
	bitmap := append([]uint16{dns.TypeRRSIG, dns.TypeNSEC}, types...)
	slices.Sort(bitmap)
	return &dns.NSEC{
		Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: ttl},
		NextDomain: next, TypeBitMap: slices.Compact(bitmap),
	}
}

const longestName = 255 // bytes on the wire

// after returns the name that follows a canonical name in the canonical order (RFC 4034 §6.1): "\000." and the name, or where that is too long the
// one beyond it.
func after(name, zone string) string {
	if b := pack(name); b == nil || len(b)+2 > longestName {
		return beyond(name, zone)
	}
	return `\000.` + name
}

// beyond returns the first name of the zone that follows a canonical name and all names below it: the name with a zero byte at the end of its first label. Where
// that is too long it is the next name of the same length, then of shorter ones (RFC 4471 §3.1.2), in the end the zone's own, which follows all.
func beyond(name, zone string) string {
	for name != zone {
		wire := pack(name)
		if wire == nil {
			return zone
		}
		size := int(wire[0])
		label, rest := slices.Clone(wire[1:1+size]), wire[1+size:]
		if len(wire) < longestName && size < 63 {
			return unpack(append(label, 0), rest, zone)
		}
		for len(label) > 0 && label[len(label)-1] == 0xff {
			label = label[:len(label)-1]
		}
		if len(label) > 0 {
			last := &label[len(label)-1]
			if *last++; *last == 'A' { // upper-case letters do not occur in this order
				*last = 'Z' + 1
			}
			return unpack(label, rest, zone)
		}
		up, _, err := dns.UnpackDomainName(rest, 0)
		if err != nil {
			return zone
		}
		name = up
	}
	return zone
}

// pack returns a name on the wire, nil when it is none.
func pack(name string) []byte {
	wire := make([]byte, longestName+1)
	n, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		return nil
	}
	return wire[:n]
}

// unpack returns the name made of a label and the rest of a name on the wire.
func unpack(label, rest []byte, zone string) string {
	wire := append(append([]byte{byte(len(label))}, label...), rest...)
	name, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return zone
	}
	return name
}

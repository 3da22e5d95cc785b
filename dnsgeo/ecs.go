package dnsgeo

import (
	"encoding/binary"
	"net/netip"
)

// subnet is a client-subnet option of a query (RFC 7871 §6).
type subnet struct {
	raw    []byte     // the option's data as it came
	client netip.Addr // ADDRESS, filled with zero bits; the zero Addr when the sender wants none used
	mapped bool       // ADDRESS is an IPv4 address in IPv6 clothes
}

// ecsHeader is FAMILY, SOURCE PREFIX-LENGTH and SCOPE PREFIX-LENGTH.
const ecsHeader = 4

// parseSubnet reads the option's data. It reports false for what RFC 7871 §6 and §7.2.1 answer with FORMERR: an
// unknown family, a scope in a query, a prefix longer than the address, too few or too many address bytes, bits set
// beyond the prefix. FAMILY 0 with SOURCE 0 is taken as "no subnet" too, because dig sends it for +subnet=0.
func parseSubnet(data []byte) (s subnet, ok bool) {
	if len(data) < ecsHeader {
		return s, false
	}
	family, source, scope := binary.BigEndian.Uint16(data), int(data[2]), data[3]
	address := data[ecsHeader:]
	var bits int
	switch family {
	case 0:
		bits = 0
	case 1:
		bits = 32
	case 2:
		bits = 128
	default:
		return s, false
	}
	if scope != 0 || source > bits || len(address) != (source+7)/8 {
		return s, false
	}
	if rest := source % 8; rest != 0 && address[len(address)-1]<<rest != 0 {
		return s, false
	}
	s.raw = data
	if source == 0 {
		return s, true
	}
	full := make([]byte, bits/8)
	copy(full, address)
	s.client, _ = netip.AddrFromSlice(full)
	s.mapped = s.client.Is4In6()
	return s, true
}

// reply is the option's data for the answer: everything as it came (resolvers drop what differs, RFC 7871 §7.3), with
// the length of scope as SCOPE PREFIX-LENGTH. The zero Prefix stands for an answer that is the same for everybody.
func (s subnet) reply(scope netip.Prefix) []byte {
	data := append([]byte(nil), s.raw...)
	data[3] = 0
	if s.client.IsValid() && scope.IsValid() {
		bits := scope.Bits()
		if s.mapped && scope.Addr().Is4() {
			bits += 96
		}
		data[3] = byte(bits)
	}
	return data
}

package dnsgeo

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// query is what a packet asks. It is parsed here and not by dns.Msg because that drops what the duties of RFC 7871
// and RFC 6891 depend on: the bytes of a client-subnet option, how many OPT records there were, and where.
type query struct {
	id     uint16
	opcode int
	rd, cd bool
	asked  bool   // the question below was read
	name   string // as dns prints it, in the case it was asked in
	qtype  uint16
	class  uint16

	edns    bool
	version uint8  // of EDNS
	size    uint16 // UDP payload the sender can take, at least 512
	do      bool   // DNSSEC OK
	co      bool   // compact answers OK: RFC 9824 §5.1
	subnet  []byte // data of the client-subnet option; nil when there is none
	nsid    bool   // who answers is asked for (RFC 5001)
	cookie  []byte // data of the COOKIE option; nil when there is none

	// Not in the packet, but about it:
	from netip.Addr // the sender
	tcp  bool       // it came over TCP, so that from is not forged
	room int        // bytes an answer may have
	// trace is told what the answer came from.
	trace *trace
}

const headerSize = 12

// maxRecords limits the records a query may carry outside the question; one OPT and one TSIG are usual.
const maxRecords = 8

// parse reads a packet. Drop is set for what must not be answered; else rcode is what is wrong with the form of the
// packet, RcodeSuccess when nothing is. q holds what could be read, even then.
func parse(b []byte) (q query, rcode int, drop bool) {
	if len(b) < headerSize {
		return q, 0, true
	}
	flags := binary.BigEndian.Uint16(b[2:])
	if flags&(1<<15) != 0 { // a response: answering it could start a loop
		return q, 0, true
	}
	q.id = binary.BigEndian.Uint16(b)
	q.opcode = int(flags>>11) & 0xf
	q.rd, q.cd = flags&(1<<8) != 0, flags&(1<<4) != 0
	if q.opcode != dns.OpcodeQuery {
		return q, dns.RcodeNotImplemented, false
	}
	off, ok := headerSize, true
	switch binary.BigEndian.Uint16(b[4:]) {
	case 0: // for a cookie alone: RFC 7873 §5.4
	case 1:
		off, ok = q.question(b)
	default:
		return q, dns.RcodeFormatError, false
	}
	if !ok || !q.records(b, off) || !q.asked && q.cookie == nil {
		return q, dns.RcodeFormatError, false
	}
	return q, dns.RcodeSuccess, false
}

// question reads the question; a compressed name has nothing to point to there.
func (q *query) question(b []byte) (off int, ok bool) {
	end, compressed, ok := skipName(b, headerSize)
	if !ok || compressed || end+4 > len(b) {
		return 0, false
	}
	name, _, err := dns.UnpackDomainName(b[:end], headerSize)
	if err != nil {
		return 0, false
	}
	q.name = name
	q.qtype, q.class = binary.BigEndian.Uint16(b[end:]), binary.BigEndian.Uint16(b[end+2:])
	q.asked = true
	return end + 4, true
}

// records reads the other sections, of which only an OPT record matters.
func (q *query) records(b []byte, off int) bool {
	an, ns, ar := int(binary.BigEndian.Uint16(b[6:])), int(binary.BigEndian.Uint16(b[8:])), int(binary.BigEndian.Uint16(b[10:]))
	if an+ns+ar > maxRecords {
		return false
	}
	for i := range an + ns + ar {
		end, _, ok := skipName(b, off)
		if !ok || end+10 > len(b) {
			return false
		}
		data := end + 10
		after := data + int(binary.BigEndian.Uint16(b[end+8:]))
		if after > len(b) {
			return false
		}
		if binary.BigEndian.Uint16(b[end:]) == dns.TypeOPT {
			// Exactly one, owned by the root, in the additional section: RFC 6891 §6.1.1, §6.1.2.
			if q.edns || i < an+ns || end != off+1 || !q.opt(b[end:data], b[data:after]) {
				return false
			}
		}
		off = after
	}
	return off == len(b)
}

// opt reads an OPT record: fixed is type, class, TTL and length.
func (q *query) opt(fixed, options []byte) bool {
	q.edns = true
	q.size = max(binary.BigEndian.Uint16(fixed[2:]), dns.MinMsgSize)
	q.version = fixed[5]
	q.do, q.co = fixed[6]&0x80 != 0, fixed[6]&0x40 != 0
	for len(options) > 0 {
		if len(options) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(options), int(binary.BigEndian.Uint16(options[2:]))
		if len(options) < 4+n {
			return false
		}
		switch code {
		case dns.EDNS0SUBNET:
			if q.subnet != nil {
				return false
			}
			q.subnet = options[4 : 4+n : 4+n]
		case dns.EDNS0NSID:
			q.nsid = true
		case dns.EDNS0COOKIE:
			if q.cookie == nil { // of several the first counts
				q.cookie = options[4 : 4+n : 4+n]
			}
		}
		options = options[4+n:]
	}
	return true
}

// skipName returns the offset after the name at off, and whether it ends in a compression pointer.
func skipName(b []byte, off int) (end int, compressed, ok bool) {
	for start := off; off < len(b) && off-start < 255; {
		switch n := int(b[off]); {
		case n == 0:
			return off + 1, false, true
		case n < 0x40:
			off += 1 + n
		case n >= 0xc0:
			return off + 2, true, off+2 <= len(b)
		default:
			return 0, false, false
		}
	}
	return 0, false, false
}

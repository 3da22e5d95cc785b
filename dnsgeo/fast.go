package dnsgeo

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"perigee/dnsgeo/cookie"
	"perigee/dnsgeo/steer"
)

// tally is what a worker has counted since it last told Counters.
type tally struct {
	queries, ecs, steered, lapsed uint64
	answered                      [4]uint64 // by response code
}

// flush adds t to c and clears it.
func (t *tally) flush(c *Counters) {
	if t.queries == 0 {
		return
	}
	c.UDP.Add(t.queries)
	c.ECS.Add(t.ecs)
	c.Steered.Add(t.steered)
	c.LastGood.Add(t.lapsed)
	for code, n := range t.answered {
		if n > 0 {
			c.rcode[code].Add(n)
		}
	}
	*t = tally{}
}

// asked is a query in the one form that the UDP loop answers by itself.
type asked struct {
	end    int // of the question
	qtype  uint16
	edns   bool
	do     bool
	size   int    // how long the answer may be
	ecs    []byte // the data of the client-subnet option; nil for none
	cookie []byte // the data of the COOKIE option; nil for none
	baked  []byte // the data of the COOKIE option of the answer
	crumbs [cookie.Size]byte
	co     bool         // compact answers OK (RFC 9824 §5.1)
	now    time.Time    // of the batch
	edge   string       // that is answered first; "" for none
	from   netip.Addr   // the client that steering looks at
	key    [256]byte    // the canonical name in wire form
	n      int          // its length
	scope  netip.Prefix // of the answer
}

// read parses a query: one question of class IN, no other record but one OPT. It reports false for all that is not so, or not right. It checks no more than
// parse does, and no less: what it accepts, parse accepts, with the same meaning.
func (q *asked) read(b []byte, from netip.Addr) bool {
	// QR, opcode, AA and TC are clear; of the second byte only AD and CD may be set. The counts are 1, 0, 0 and 0 or 1.
	if len(b) < headerSize+5 || b[2]&^1 != 0 || b[3]&^0x30 != 0 || binary.BigEndian.Uint32(b[4:]) != 1<<16 || binary.BigEndian.Uint32(b[8:]) > 1 {
		return false
	}
	if !q.name(b) || q.end+4 > len(b) {
		return false
	}
	q.qtype = binary.BigEndian.Uint16(b[q.end:])
	class := binary.BigEndian.Uint16(b[q.end+2:])
	q.end += 4
	q.from, q.size, q.ecs, q.cookie, q.baked, q.do = from, dns.MinMsgSize, nil, nil, nil, false
	q.edns = b[11] == 1
	if class != dns.ClassINET {
		return false
	}
	if !q.edns {
		return q.end == len(b)
	}
	return q.opt(b[q.end:])
}

// name reads the name of the question into key, in lower case.
func (q *asked) name(b []byte) bool {
	at := headerSize
	for at < len(b) && at-headerSize < 255 {
		n := int(b[at])
		if n == 0 {
			q.n = at + 1 - headerSize
			q.end = at + 1
			for i, c := range b[headerSize:q.end] {
				if c-'A' < 26 { // lengths are below 64, and 'A' is 65
					c += 'a' - 'A'
				}
				q.key[i] = c
			}
			return q.n <= 255
		}
		if n >= 64 {
			return false
		}
		at += 1 + n
	}
	return false
}

// opt reads an OPT record that is all of b.
func (q *asked) opt(b []byte) bool {
	const fixed = 11
	if len(b) < fixed || b[0] != 0 || binary.BigEndian.Uint16(b[1:]) != dns.TypeOPT || b[6] != 0 || int(binary.BigEndian.Uint16(b[9:])) != len(b)-fixed {
		return false
	}
	q.size = min(max(int(binary.BigEndian.Uint16(b[3:])), dns.MinMsgSize), maxUDP)
	q.do, q.co = b[7]&0x80 != 0, b[7]&0x40 != 0
	for b = b[fixed:]; len(b) > 0; {
		if len(b) < 4 {
			return false
		}
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < n {
			return false
		}
		switch binary.BigEndian.Uint16(b) {
		case dns.EDNS0SUBNET:
			if q.ecs != nil || !q.subnet(b[4:n:n]) {
				return false
			}
		case dns.EDNS0COOKIE:
			if q.cookie == nil {
				q.cookie = b[4:n:n]
			}
		case dns.EDNS0NSID:
			return false // answered with more than the question asks for
		}
		b = b[n:]
	}
	return true
}

// subnet reads a client-subnet option, as parseSubnet does, of the two usual families.
func (q *asked) subnet(b []byte) bool {
	if len(b) < ecsHeader || b[0] != 0 || b[3] != 0 {
		return false
	}
	source, addr := int(b[2]), b[ecsHeader:]
	if len(addr) != (source+7)/8 || source%8 != 0 && addr[len(addr)-1]<<(source%8) != 0 {
		return false
	}
	switch {
	case b[1] == 1 && source <= 32:
		var a [4]byte
		copy(a[:], addr)
		if source > 0 {
			q.from = netip.AddrFrom4(a)
		}
	case b[1] == 2 && source <= 128:
		var a [16]byte
		copy(a[:], addr)
		if source > 0 {
			q.from = netip.AddrFrom16(a)
		}
		if q.from.Is4In6() {
			return false
		}
	default:
		return false
	}
	q.ecs = b
	return true
}

// reply is what a query is answered with.
type reply struct {
	*packed
	rcode   byte
	steered bool
	denied  bool // the first record is that of the origin
	co      bool // to be said back
}

// answer writes the answer to in to out and returns its length; 0 for what is not answered here. It does not allocate. out has room for maxUDP bytes.
func (h *hot) answer(q *asked, in []byte, from netip.Addr, out []byte, t *tally) int {
	r, ok := h.find(q)
	if !ok {
		return 0
	}
	length := q.end + len(r.records)
	if q.edns {
		length += 11
		if q.ecs != nil {
			length += 4 + len(q.ecs)
		}
		if len(q.baked) > 0 {
			length += 4 + len(q.baked)
		}
	}
	if length > q.size {
		return 0 // to be cut
	}
	h.write(q, in, out, r)
	t.answered[r.rcode&3]++
	if q.ecs != nil {
		t.ecs++
	}
	if r.steered {
		t.steered++
		if h.state.plan.Lapsed() {
			t.lapsed++
		}
	}
	return length
}

// find finds what answers q; false when more than a look-up is needed.
func (h *hot) find(q *asked) (reply, bool) {
	q.scope, q.edge = netip.Prefix{}, ""
	signed := h.signed && q.do
	if signed && h.signatures == nil || h.signed && ofSigner(q.qtype) {
		return reply{}, false
	}
	if q.qtype == dns.TypeNone || q.qtype == dns.TypeOPT || q.qtype == dns.TypeDS || q.qtype >= 128 && q.qtype <= 255 {
		return reply{}, false
	}
	e, ok := h.table[string(q.key[:q.n])]
	if !ok && signed {
		return reply{}, false // a proof is made for each name
	}
	if !ok {
		if string(q.key[:9]) == "\x08_explain" {
			return reply{}, false
		}
		return reply{packed: &h.denial, rcode: dns.RcodeNameError, denied: true}, h.absent(q)
	}
	for i := range e.sets {
		if e.sets[i].qtype == q.qtype {
			p := &e.sets[i].packed
			if signed {
				p = h.signatures.static(q, e, len(h.steered), i)
			}
			return reply{packed: p, co: signed && q.co}, p != nil
		}
	}
	if e.apart {
		return reply{}, false
	}
	kind, ok := h.kind(q.qtype)
	if !ok || !e.steered {
		return reply{packed: &h.denial, denied: true}, !signed
	}
	n, scope := h.state.compiled.Find(q.from)
	p := &h.steered[n][kind]
	if p.answers == 0 {
		return reply{}, false
	}
	if q.scope, q.edge = scope, first(h.state.compiled.Answers()[n], kind); signed {
		p = h.signatures.steered(q, e, n, kind, p)
	}
	return reply{packed: p, steered: true, co: signed && q.co}, p != nil
}

// kind returns which steered answer is asked for with a type; false when there is none.
func (h *hot) kind(qtype uint16) (int, bool) {
	switch qtype {
	case dns.TypeA:
		return int(steer.IPv4), true
	case dns.TypeAAAA:
		return int(steer.IPv6), true
	}
	return hotHTTPS, h.https && qtype == dns.TypeHTTPS
}

// first returns the edge that an answer of a kind, which has one, names first.
func first(a steer.Answer, kind int) string {
	switch {
	case kind < hotHTTPS:
		return a.Edges[kind][0].Name
	case len(a.Edges[steer.IPv4]) > 0:
		return a.Edges[steer.IPv4][0].Name
	}
	return a.Edges[steer.IPv6][0].Name
}

// ofSigner tells the types that a signed zone has for names which have none of them otherwise.
func ofSigner(qtype uint16) bool {
	switch qtype {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY:
		return true
	}
	return false
}

// absent reports whether a name that is not in the table lies in the zone, and nothing stands for it: no wildcard of, and no delegation at, the names above.
func (h *hot) absent(q *asked) bool {
	key := q.key[:q.n]
	for len(key) > len(h.origin) {
		key = key[1+int(key[0]):]
		if e, ok := h.table[string(key)]; ok {
			return !e.apart && !h.wild
		}
	}
	return false
}

// write writes the message.
func (h *hot) write(q *asked, in, out []byte, r reply) {
	copy(out, in[:q.end])
	out[2] = in[2]&1 | 0x84       // RD as it came, QR, AA
	out[3] = in[3]&0x10 | r.rcode // CD as it came
	binary.BigEndian.PutUint16(out[6:], r.answers)
	binary.BigEndian.PutUint16(out[8:], r.authorities)
	n := q.end + copy(out[q.end:], r.records)
	if r.denied {
		binary.BigEndian.PutUint16(out[q.end:], 0xc000|uint16(headerSize+q.n-len(h.origin)))
	}
	extra := r.additionals
	if q.edns {
		extra++
		q.writeOPT(out[n:], r.co)
	}
	binary.BigEndian.PutUint16(out[10:], extra)
}

// writeOPT writes our OPT record (RFC 6891 §6.1.2), with the cookie (RFC 7873 §5.2) and the client-subnet option if there was one (RFC 7871 §7.2.1).
func (q *asked) writeOPT(b []byte, co bool) {
	const fixed = 11
	b[0] = 0
	binary.BigEndian.PutUint16(b[1:], dns.TypeOPT)
	binary.BigEndian.PutUint16(b[3:], maxUDP)
	b[5], b[6], b[7], b[8] = 0, 0, 0, 0
	if q.do {
		b[7] = 0x80
	}
	if co {
		b[7] |= 0x40
	}
	n := fixed
	if len(q.baked) > 0 {
		n += writeOption(b[n:], dns.EDNS0COOKIE, q.baked)
	}
	if q.ecs != nil {
		scope := &b[n+4+3]
		n += writeOption(b[n:], dns.EDNS0SUBNET, q.ecs)
		*scope = 0
		if q.ecs[2] > 0 && q.scope.IsValid() {
			*scope = byte(q.scope.Bits())
		}
	}
	binary.BigEndian.PutUint16(b[9:], uint16(n-fixed))
}

func writeOption(b []byte, code uint16, data []byte) int {
	binary.BigEndian.PutUint16(b, code)
	binary.BigEndian.PutUint16(b[2:], uint16(len(data)))
	return 4 + copy(b[4:], data)
}

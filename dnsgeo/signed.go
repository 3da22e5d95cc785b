package dnsgeo

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// signedAt returns the offset of the TSIG record in a packet, 0 when it has none.
func signedAt(packet []byte) int {
	if len(packet) < headerSize || packet[10]|packet[11] == 0 {
		return 0
	}
	o, ok := outlineOf(packet)
	if !ok {
		return 0
	}
	return o.tsig
}

// respondSigned is respond for a packet with a TSIG record at off: the answer to it is signed with the same key, or says
// why the signature is not accepted (RFC 8945 §5.2, §5.3).
func (s *Server) respondSigned(packet []byte, off int, from netip.AddrPort, tcp bool, out []byte, t *trace) []byte {
	q, rcode, drop := parse(packet)
	if drop {
		s.counters.Dropped.Add(1)
		return nil
	}
	g, err := s.verified(packet, off)
	switch {
	case err != nil:
		return s.finish(q.reply(dns.RcodeFormatError), nil)
	case g.failure != 0:
		return s.finish(q.reply(dns.RcodeNotAuth), g)
	case rcode != dns.RcodeSuccess:
		return s.finish(q.reply(rcode), g)
	}
	answer := s.respondUnsigned(unsigned(packet, off), from, tcp, out, t)
	if answer == nil {
		return nil
	}
	limit := dns.MaxMsgSize
	if !tcp {
		limit = dns.MinMsgSize
		if q.edns {
			limit = min(int(q.size), maxUDP)
		}
	}
	if len(answer)+g.size() > limit {
		m := q.reply(int(answer[3] & 0xf))
		m.Truncated, m.Authoritative = true, answer[2]&4 != 0
		return s.finish(m, g)
	}
	return g.sign(answer, s.clock.Now())
}

// verified checks the signature of a packet, whose TSIG record lies at off and has to be the last record.
func (s *Server) verified(packet []byte, off int) (*signing, error) {
	if o, ok := outlineOf(packet); !ok || o.last != off || binary.BigEndian.Uint16(packet[10:]) == 0 {
		return nil, errTSIG
	}
	return s.zones.keys.verify(packet, off, nil, s.clock.Now())
}

// unsigned returns a packet without the TSIG record that it ends in.
func unsigned(packet []byte, off int) []byte {
	b := append([]byte(nil), packet[:off]...)
	binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])-1)
	return b
}

// finish packs a message that was made apart from the usual way and signs it; g may be nil.
func (s *Server) finish(m *dns.Msg, g *signing) []byte {
	b, err := m.Pack()
	if err != nil {
		s.log.Error("dns: an answer cannot be packed", "question", m.Question, "err", err)
		s.counters.Dropped.Add(1)
		return nil
	}
	if m.Rcode < len(s.counters.rcode) {
		s.counters.rcode[m.Rcode].Add(1)
	}
	if g != nil {
		b = g.sign(b, s.clock.Now())
	}
	return b
}

package dnsgeo

import (
	"encoding/binary"
	"net/netip"
	"time"

	"perigee/dnsgeo/querylog"
	"perigee/dnsgeo/tap"
)

// trace is what the answer to a query came from, for who logs it.
type trace struct {
	edge  string       // the first that was chosen; "" if none was
	scope netip.Prefix // of the choice
	proof string       // what the cookie was found to be
	limit string       // what became of the answer besides: "slip", "drop"
}

// transports are how a query may come, in the words of those who are told.
var transports = [...]struct {
	log querylog.Transport
	tap tap.Transport
}{{querylog.UDP, tap.UDP}, {querylog.TCP, tap.TCP}, {querylog.DoT, tap.DoT}}

// The indices of transports.
const (
	overUDP = iota
	overTCP
	overTLS
)

// observed reports whether anybody is told of queries.
func (s *Server) observed() bool { return s.queries != nil || s.tap != nil }

// observe tells of a query and its answer, which is empty if none was sent. worker is the buffer that who calls has for itself.
func (s *Server) observe(worker, transport int, from netip.AddrPort, packet, answer []byte, began time.Time, t *trace) {
	now := s.clock.Now()
	if s.tap != nil {
		x := tap.Exchange{
			Client: from, Server: s.Addr(), Transport: transports[transport].tap, Query: packet, QueryTime: began, Response: answer, ResponseTime: now,
		}
		s.tap.Query(worker, &x)
		if len(answer) > 0 {
			s.tap.Response(worker, &x)
		}
	}
	if s.queries == nil || !s.queries.Wanted() {
		return
	}
	q, _, drop := parse(packet)
	if drop {
		return
	}
	e := querylog.Entry{
		Time: began, Duration: now.Sub(began), Client: from.Addr(), Transport: transports[transport].log, Type: q.qtype, Edge: t.edge, DO: q.do, Cookie: t.proof,
		Limited: t.limit, Size: len(answer),
	}
	if end, _, ok := skipName(packet, headerSize); ok && q.asked {
		e.Name = packet[headerSize:end]
	}
	if sub, ok := parseSubnet(q.subnet); ok && sub.client.IsValid() {
		e.ECS = netip.PrefixFrom(sub.client, int(q.subnet[2]))
		if t.scope.IsValid() {
			e.Scope = t.scope.Bits()
		}
	}
	if len(answer) >= headerSize {
		flags := binary.BigEndian.Uint16(answer[2:])
		e.TC, e.Rcode = flags&(1<<9) != 0, flags&0xf
	}
	s.queries.Add(worker, &e)
}

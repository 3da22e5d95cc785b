package dnsgeo

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/miekg/dns"

	"perigee/dnsgeo/cookie"
	"perigee/dnsgeo/steer"
)

// invalidQueryType is the extended DNS error of RFC 9824 §3.5 that the library does not name.
const invalidQueryType = 30

// maxUDP is the largest answer over UDP: it passes every path unfragmented (DNS flag day 2020).
const maxUDP = 1232

// respond answers one packet from a client; nil means that there is no answer. The answer lies in out when it fits.
func (s *Server) respond(packet []byte, from netip.AddrPort, tcp bool, out []byte) []byte {
	return s.respondTraced(packet, from, tcp, out, new(trace))
}

// respondTraced is respond, and notes in t what the answer came from.
func (s *Server) respondTraced(packet []byte, from netip.AddrPort, tcp bool, out []byte, t *trace) []byte {
	if at := signedAt(packet); at > 0 {
		return s.respondSigned(packet, at, from, tcp, out, t)
	}
	return s.respondUnsigned(packet, from, tcp, out, t)
}

// respondUnsigned is respond for a packet whose signature, if there was one, has been taken off.
func (s *Server) respondUnsigned(packet []byte, from netip.AddrPort, tcp bool, out []byte, t *trace) []byte {
	q, rcode, drop := parse(packet)
	if drop {
		s.counters.Dropped.Add(1)
		return nil
	}
	q.from, q.tcp, q.room, q.trace = from.Addr(), tcp, dns.MaxMsgSize, t
	if !tcp {
		q.room = dns.MinMsgSize
		if q.edns {
			q.room = min(int(q.size), maxUDP)
		}
	}
	m := q.reply(rcode)
	if q.nsid && s.nsid != "" {
		option(m, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: s.nsid})
	}
	if rcode == dns.RcodeSuccess && s.bake(&q, from.Addr(), m) && q.asked {
		s.answer(&q, from.Addr(), m)
	}
	m.Truncate(q.room)
	b, err := m.PackBuffer(out)
	if err != nil {
		s.log.Error("dns: an answer cannot be packed", "name", q.name, "type", dns.Type(q.qtype).String(), "err", err)
		s.counters.Dropped.Add(1)
		return nil
	}
	if m.Truncated {
		s.counters.Truncated.Add(1)
	}
	if m.Rcode < len(s.counters.rcode) {
		s.counters.rcode[m.Rcode].Add(1)
	}
	return b
}

// bake answers the COOKIE option of a query. It reports false, and sets m's rcode, for one that is malformed (RFC 7873 §5.2.2), and for a query that asks for nothing else where
// there are no cookies.
func (s *Server) bake(q *query, from netip.Addr, m *dns.Msg) bool {
	if s.cookies == nil || q.cookie == nil {
		if !q.asked {
			m.Rcode = dns.RcodeFormatError
		}
		return q.asked
	}
	now := s.clock.Now()
	v := s.cookies.Check(q.cookie, from, now)
	if q.trace.proof = v.String(); v == cookie.Malformed {
		m.Rcode = dns.RcodeFormatError
		return false
	}
	option(m, &dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: s.cookies.Reply(nil, q.cookie, v, from, now)})
	return true
}

// reply returns the answer to q with nothing in it but the question, as far as it was read, and an OPT record if q
// had one.
func (q *query) reply(rcode int) *dns.Msg {
	m := &dns.Msg{Compress: true}
	m.Id, m.Response, m.Opcode, m.Rcode = q.id, true, q.opcode, rcode
	m.RecursionDesired, m.CheckingDisabled = q.rd, q.cd
	if q.asked {
		m.Question = []dns.Question{{Name: q.name, Qtype: q.qtype, Qclass: q.class}}
	}
	if q.edns {
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		opt.SetUDPSize(maxUDP)
		if q.do {
			opt.SetDo()
		}
		m.Extra = append(m.Extra, opt)
	}
	return m
}

// option adds an EDNS option to a reply that has an OPT record.
func option(m *dns.Msg, o dns.EDNS0) {
	if opt := m.IsEdns0(); opt != nil {
		opt.Option = append(opt.Option, o)
	}
}

// answer fills m for a query of good form.
func (s *Server) answer(q *query, from netip.Addr, m *dns.Msg) {
	if q.version != 0 {
		m.Rcode = dns.RcodeBadVers
		return
	}
	client := from
	var sub subnet
	if q.subnet != nil {
		s.counters.ECS.Add(1)
		var ok bool
		if sub, ok = parseSubnet(q.subnet); !ok {
			m.Rcode = dns.RcodeFormatError
			return
		}
		if sub.client.IsValid() {
			client = sub.client
		}
	}
	if name := s.explained(q, from); name != "" {
		s.explain(q, name, client, m)
		if q.subnet != nil {
			option(m, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: sub.reply(netip.Prefix{})})
		}
		return
	}
	o := s.content(q, client, m)
	if q.subnet != nil {
		// Always when the query had one, also where the client made no difference: RFC 7871 §7.2.1.
		option(m, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: sub.reply(o.scope)})
	}
	if o.steered != "" {
		if q.trace.scope = o.scope; len(o.edges) > 0 {
			q.trace.edge = o.edges[0].Name
		}
		s.account(q, client, o)
	}
}

// outcome is what became of a question: the decision that steering took for the name steered, when there was one to take.
type outcome struct {
	decision
	steered string
	family  steer.Family
}

// content answers in m what a client asks. The answer and its explanation are both made here.
func (s *Server) content(q *query, client netip.Addr, m *dns.Msg) (o outcome) {
	at := s.zones.find(lower(q.name), q.qtype)
	switch {
	case q.qtype == dns.TypeNXNAME:
		m.Rcode = dns.RcodeFormatError // RFC 9824 §3.5
		option(m, &dns.EDNS0_EDE{InfoCode: invalidQueryType})
		return o
	case q.class != dns.ClassINET, at == nil:
		m.Rcode = dns.RcodeRefused
		option(m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotAuthoritative})
		return o
	case transferOrMeta(q.qtype):
		s.withoutTransfer(q, at, m)
		return o
	}
	if at.steered && s.withheld() {
		m.Rcode = dns.RcodeServerFailure
		option(m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotReady, ExtraText: "the keys of the zone are awaited"})
		return o
	}
	z, names := at.zone(), s.namesOf(at)
	f := z.resolve(names, q.name, q.qtype)
	m.Rcode, m.Authoritative = f.rcode, f.authoritative
	m.Answer, m.Ns, m.Extra = f.answer, f.authority, append(f.extra, m.Extra...)
	if o.steered = f.steered; o.steered != "" {
		s.steer(q, client, z, m, &f, &o)
	}
	if at.steered {
		s.secure(q, client, z, names, m, &f)
	}
	return o
}

// steer adds what the steered name that was found has.
func (s *Server) steer(q *query, client netip.Addr, z *zone, m *dns.Msg, f *found, o *outcome) {
	if q.qtype == dns.TypeHTTPS {
		s.steerHTTPS(client, z, m, f, o)
		return
	}
	if q.qtype == dns.TypeAAAA {
		o.family = steer.IPv6
	}
	o.decision = s.steering.decide(client, o.family)
	if len(o.edges) == 0 {
		s.withoutEdge(*o, z, m, f)
	}
	ttl := s.steady.ttl(o.edges)
	for _, e := range o.edges {
		m.Answer = append(m.Answer, addressRecord(o.steered, e.Addrs[o.family], ttl))
	}
}

// withoutEdge answers for a steered name when no edge has an address of the kind asked for.
func (s *Server) withoutEdge(o outcome, z *zone, m *dns.Msg, f *found) {
	if !o.plan.Empty() {
		m.Ns, f.denied = z.deny(found{}).authority, o.steered
		return
	}
	// Not "there is no such address", which resolvers would remember: nobody knows yet.
	m.Rcode, m.Authoritative, m.Answer = dns.RcodeServerFailure, false, nil
	option(m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotReady, ExtraText: "no edge is known yet"})
}

// namesOf returns the steered names of a zone; only one zone has any.
func (s *Server) namesOf(at *served) *Names {
	if at.steered {
		return s.names()
	}
	return nil
}

// account counts a decision and logs it for who debugs.
func (s *Server) account(q *query, client netip.Addr, o outcome) {
	edge := ""
	if len(o.edges) > 0 {
		edge = o.edges[0].Name
		if s.counters.Steered.Add(1)%demandSample == 0 {
			s.demand.count(client)
		}
		if o.plan.Lapsed() {
			s.counters.LastGood.Add(1)
		}
	}
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug("dns: steered", "name", o.steered, "type", dns.Type(q.qtype).String(), "client", client.String(),
			"subnet", q.subnet != nil, "edge", edge, "scope", o.scope.String(), "fleet", o.plan.Gen())
	}
}

// transferOrMeta reports whether qtype is no type that a zone holds: RFC 6895 §3.1 sets 128 to 255 apart, of which
// ANY is answered.
func transferOrMeta(qtype uint16) bool {
	return qtype == dns.TypeNone || qtype == dns.TypeOPT || qtype >= 128 && qtype <= 254
}

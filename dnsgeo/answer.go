package dnsgeo

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/miekg/dns"

	"perigee/dnsgeo/steer"
)

// invalidQueryType is the extended DNS error of RFC 9824 §3.5 that the library does not name.
const invalidQueryType = 30

// maxUDP is the largest answer over UDP: it passes every path unfragmented (DNS flag day 2020).
const maxUDP = 1232

// respond answers one packet from a client; nil means that there is no answer. The answer lies in out when it fits.
func (s *Server) respond(packet []byte, from netip.AddrPort, tcp bool, out []byte) []byte {
	q, rcode, drop := parse(packet)
	if drop {
		s.counters.Dropped.Add(1)
		return nil
	}
	q.from, q.tcp, q.room = from.Addr(), tcp, dns.MaxMsgSize
	if !tcp {
		q.room = dns.MinMsgSize
		if q.edns {
			q.room = min(int(q.size), maxUDP)
		}
	}
	m := q.reply(rcode)
	if rcode == dns.RcodeSuccess {
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
	o := s.content(q, client, m)
	if q.subnet != nil {
		// Always when the query had one, also where the client made no difference: RFC 7871 §7.2.1.
		option(m, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: sub.reply(o.scope)})
	}
	if o.steered != "" {
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
	switch {
	case q.qtype == dns.TypeNXNAME:
		m.Rcode = dns.RcodeFormatError // RFC 9824 §3.5
		option(m, &dns.EDNS0_EDE{InfoCode: invalidQueryType})
		return o
	case q.class != dns.ClassINET, !dns.IsSubDomain(s.zone.origin, lower(q.name)):
		m.Rcode = dns.RcodeRefused
		option(m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotAuthoritative})
		return o
	case transferOrMeta(q.qtype):
		m.Rcode = dns.RcodeRefused
		option(m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotSupported})
		return o
	}
	names := s.names()
	f := s.zone.resolve(names, q.name, q.qtype)
	m.Rcode, m.Authoritative = f.rcode, f.authoritative
	m.Answer, m.Ns, m.Extra = f.answer, f.authority, append(f.extra, m.Extra...)
	if o.steered = f.steered; o.steered != "" {
		s.steer(q, client, m, &f, &o)
	}
	s.secure(q, client, names, m, &f)
	return o
}

// steer adds the addresses of the steered name that was found.
func (s *Server) steer(q *query, client netip.Addr, m *dns.Msg, f *found, o *outcome) {
	if q.qtype == dns.TypeAAAA {
		o.family = steer.IPv6
	}
	o.decision = s.steering.decide(client, o.family)
	switch {
	case len(o.edges) > 0:
		for _, e := range o.edges {
			m.Answer = append(m.Answer, addressRecord(o.steered, e.Addrs[o.family], s.ttl))
		}
	case o.plan.Empty():
		// Not "there is no such address", which resolvers would remember: nobody knows yet.
		m.Rcode, m.Authoritative, m.Answer = dns.RcodeServerFailure, false, nil
		option(m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotReady, ExtraText: "no edge is known yet"})
	default:
		m.Ns, f.denied = s.zone.deny(found{}).authority, o.steered
	}
}

// account counts a decision and logs it for who debugs.
func (s *Server) account(q *query, client netip.Addr, o outcome) {
	edge := ""
	if len(o.edges) > 0 {
		edge = o.edges[0].Name
		s.counters.Steered.Add(1)
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

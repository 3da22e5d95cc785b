package dnsgeo

import (
	"context"
	"time"

	"github.com/miekg/dns"
)

const (
	// transferMessage is the size in bytes, before names are compressed, at which a message of a transfer is sent. Names can
	// only be compressed in the first 16 KiB of a message.
	transferMessage = 16000
	// transferPatience is how long a secondary may take to read one message, and how long it waits for its turn.
	transferPatience = 10 * time.Second
)

// Texts of EDE options: they end in the log of the secondary.
const (
	whySteered    = "answers of this zone depend on the client; a plain secondary could not give them"
	whyForbidden  = "transfers of this zone are not allowed to this address or key"
	whyOverUDP    = "AXFR needs TCP"
	whyManyAtOnce = "too many transfers at the same time; ask again later"
)

// withoutTransfer answers, in m, questions about a zone for what is no type of records, on transports that carry no transfer.
// To IXFR over UDP the answer is the SOA record: the secondary compares its serial number, and comes back over TCP when
// there is something to get (RFC 1995 §2). Everybody may know the serial number, from the SOA query.
func (s *Server) withoutTransfer(q *query, at *served, m *dns.Msg) {
	atOrigin := lower(q.name) == at.origin
	switch {
	case q.qtype == dns.TypeIXFR && !at.steered && atOrigin:
		m.Authoritative, m.Answer = true, []dns.RR{at.zone().soa}
		return
	case at.steered && (q.qtype == dns.TypeAXFR || q.qtype == dns.TypeIXFR):
		option(m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotSupported, ExtraText: whySteered})
	case q.qtype == dns.TypeAXFR:
		option(m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotSupported, ExtraText: whyOverUDP})
	default:
		option(m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotSupported})
	}
	m.Rcode = dns.RcodeRefused
}

// transferring is one transfer on its way.
type transferring struct {
	*stream
	ctx     context.Context
	query   *query
	signing *signing // nil when the query is not signed
	message *dns.Msg
	size    int // of message, uncompressed
}

// transfer answers an AXFR or IXFR query; it reports false when the connection is of no more use.
func (c *stream) transfer(ctx context.Context, packet []byte) bool {
	q, rcode, drop := parse(packet)
	if drop {
		return false
	}
	t := &transferring{stream: c, ctx: ctx, query: &q}
	if at := signedAt(packet); at > 0 {
		g, err := c.verified(packet, at)
		if err != nil {
			return t.refuse(dns.RcodeFormatError, 0, "")
		}
		t.signing = g
		if g.failure != 0 {
			return t.refuse(dns.RcodeNotAuth, 0, "")
		}
	}
	switch {
	case rcode != dns.RcodeSuccess:
		return t.refuse(rcode, 0, "")
	case q.version != 0:
		return t.refuse(dns.RcodeBadVers, 0, "")
	case q.class != dns.ClassINET:
		return t.refuse(dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative, "")
	}
	at := c.zones.byName[lower(q.name)]
	switch {
	case at == nil && c.zones.find(lower(q.name), dns.TypeSOA) == nil:
		return t.refuse(dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative, "")
	case at == nil:
		return t.refuse(dns.RcodeNotAuth, dns.ExtendedErrorCodeNotAuthoritative, "no zone begins at this name")
	case at.steered:
		return t.refuse(dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported, whySteered)
	case !at.access.permits(c.from.Addr(), t.key()):
		c.log.Debug("dns: a transfer is refused", "zone", at.origin, "to", c.from.String(), "key", t.keyName())
		return t.refuse(dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, whyForbidden)
	}
	return t.serve(at, packet)
}

func (t *transferring) key() *tsigKey {
	if t.signing == nil {
		return nil
	}
	return t.signing.key
}

func (t *transferring) keyName() string {
	if t.signing == nil {
		return ""
	}
	return t.signing.request.name
}

// refuse answers with a response code and, when there is a text or a code for it, says why.
func (t *transferring) refuse(rcode int, ede uint16, why string) bool {
	t.counters.TransfersRefused.Add(1)
	m := t.query.reply(rcode)
	if ede != 0 {
		option(m, &dns.EDNS0_EDE{InfoCode: ede, ExtraText: why})
	}
	b := t.finish(m, t.signing)
	return b != nil && t.send(b, tcpTransfer) == nil
}

// serve sends what the secondary asks for.
func (t *transferring) serve(at *served, packet []byte) bool {
	turn := t.clock.NewTimer(transferPatience)
	defer turn.Stop()
	select {
	case t.streams.transfers <- struct{}{}:
		defer func() { <-t.streams.transfers }()
	case <-t.ctx.Done():
		return false
	case <-turn.C():
		return t.refuse(dns.RcodeServerFailure, dns.ExtendedErrorCodeNotReady, whyManyAtOnce)
	}
	v := at.current.Load()
	t.begin(true)
	if t.query.qtype == dns.TypeIXFR {
		serial, ok := serialOf(packet)
		if !ok {
			return t.refuse(dns.RcodeFormatError, 0, "")
		}
		if !newer(v.serial(), serial) {
			return t.add(v.zone.soa) && t.flush() // nothing is new
		}
		if deltas := v.since(serial); deltas != nil {
			return t.incremental(v, deltas) && t.end(at, v, "difference", serial)
		}
	}
	if !t.add(v.zone.soa) {
		return false
	}
	for _, rr := range v.sorted() {
		if !t.add(rr) {
			return false
		}
	}
	return t.add(v.zone.soa) && t.end(at, v, "whole", 0)
}

// incremental sends deltas in the form of RFC 1995 §4.
func (t *transferring) incremental(v *version, deltas []delta) bool {
	if !t.add(v.zone.soa) {
		return false
	}
	for _, d := range deltas {
		if !t.add(d.from) || !t.add(d.removed...) || !t.add(d.to) || !t.add(d.added...) {
			return false
		}
	}
	return t.add(v.zone.soa)
}

// serialOf returns the serial number that an IXFR query carries in its authority section (RFC 1995 §3).
func serialOf(packet []byte) (uint32, bool) {
	var m dns.Msg
	if m.Unpack(packet) != nil || len(m.Ns) != 1 {
		return 0, false
	}
	soa, ok := m.Ns[0].(*dns.SOA)
	if !ok || len(m.Question) != 1 || lower(soa.Hdr.Name) != lower(m.Question[0].Name) {
		return 0, false
	}
	return soa.Serial, true
}

// begin starts a message. Only the first carries the question and an OPT record (RFC 5936 §2.2).
func (t *transferring) begin(first bool) {
	t.message = t.query.reply(dns.RcodeSuccess)
	t.message.Authoritative = true
	t.size = 512
	if !first {
		t.message.Question, t.message.Extra = nil, nil
	}
}

// add puts records into the message, which is sent when it is full.
func (t *transferring) add(rrs ...dns.RR) bool {
	for _, rr := range rrs {
		n := dns.Len(rr)
		if t.size+n > transferMessage && len(t.message.Answer) > 0 {
			if !t.flush() {
				return false
			}
			t.begin(false)
		}
		t.message.Answer = append(t.message.Answer, rr)
		t.size += n
	}
	return true
}

func (t *transferring) flush() bool {
	b := t.finish(t.message, t.signing)
	return b != nil && t.ctx.Err() == nil && t.send(b, transferPatience) == nil
}

// end sends the last message.
func (t *transferring) end(at *served, v *version, what string, from uint32) bool {
	if !t.flush() {
		return false
	}
	t.counters.Transfers.Add(1)
	t.log.Info("dns: a zone was transferred", "zone", at.origin, "what", what, "from", from, "serial", v.serial(), "to", t.from.String(), "key", t.keyName())
	return true
}

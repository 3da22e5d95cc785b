package dnsgeo

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"perigee/dnsgeo/sign"
	"perigee/dnsgeo/steer"
)

// secure makes the answer m that of a signed zone (RFC 4035 §3.1, RFC 9824): it adds what only the signer knows, the keys, and if the query is from
// somebody who understands it, signatures and proofs. Of an answer that was made for one client it signs that answer. What it adds besides
// is the same for all clients, so that the scope of the client subnet stays what steering said (RFC 7871 §9).
//
// AD is never set: it is for who has validated (RFC 4035 §3.1.6).
func (s *Server) secure(q *query, client netip.Addr, z *zone, names *Names, m *dns.Msg, f *found) {
	if s.signer == nil || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return
	}
	now := s.clock.Now()
	p := proof{s: s, q: q, client: client, zone: z, names: names, now: now, keys: s.signer.Keys()}
	if f.denied != "" && p.fromSigner(m, f) {
		f.denied = ""
	}
	if !q.do || !s.signer.Signs(now) {
		return
	}
	if err := p.add(m, f); err != nil {
		p.fail(m, err)
	}
}

// proof is what secure needs for one answer.
type proof struct {
	s      *Server
	q      *query
	client netip.Addr
	zone   *zone
	names  *Names
	now    time.Time
	keys   *sign.KeySet
}

// fromSigner answers what the zone's own records do not, but the signer does. It reports whether it was that.
func (p *proof) fromSigner(m *dns.Msg, f *found) bool {
	key := lower(f.denied)
	if !p.s.signer.Signs(p.now) {
		return false
	}
	var set []dns.RR
	switch {
	case p.q.qtype == dns.TypeNSEC || p.q.qtype == dns.TypeRRSIG:
		// Every name has them, the invented ones too: a denial that lists them in its own bitmap would contradict itself.
		set = []dns.RR{p.denial(key, p.zone.soaTTL())}
	case key != p.zone.origin:
		return false
	case p.q.qtype == dns.TypeDNSKEY:
		set = p.keys.DNSKEY(p.now)
	case p.q.qtype == dns.TypeCDS:
		set = p.keys.CDS(p.now)
	case p.q.qtype == dns.TypeCDNSKEY:
		set = p.keys.CDNSKEY(p.now)
	}
	if len(set) == 0 {
		return false
	}
	for _, rr := range set {
		rr.Header().Name = f.denied
	}
	if p.q.qtype == dns.TypeRRSIG {
		// One of the signatures of the name, as RFC 8482 §4.1 has it for ANY: all of them would make a large answer to a small query.
		sig, err := p.sign(set)
		if err != nil {
			p.fail(m, err)
			return true
		}
		set = []dns.RR{sig}
	}
	m.Rcode, m.Ns = dns.RcodeSuccess, nil
	m.Answer = append(m.Answer, set...)
	return true
}

// soaTTL is the TTL of denials: RFC 2308 §5, RFC 9077.
func (z *zone) soaTTL() uint32 { return min(z.soa.Hdr.Ttl, z.soa.Minttl) }

// add adds proofs and signatures.
func (p *proof) add(m *dns.Msg, f *found) error {
	if opt := m.IsEdns0(); opt != nil {
		opt.SetCo(p.q.co) // RFC 9824 §5.1
	}
	switch {
	case f.denied != "":
		if m.Rcode == dns.RcodeNameError && !p.q.co {
			m.Rcode = dns.RcodeSuccess // the NSEC record says NXNAME: RFC 9824 §3.1
		}
		m.Ns = append(m.Ns, p.denial(lower(f.denied), p.zone.soaTTL()))
	case f.cut != "":
		if ds := p.zone.nodes[f.cut][dns.TypeDS]; len(ds) > 0 {
			m.Ns = append(m.Ns, ds...)
		} else {
			m.Ns = append(m.Ns, p.denial(f.cut, p.zone.soaTTL()))
		}
	}
	var err error
	if m.Answer, err = p.section(m.Answer); err != nil {
		return err
	}
	if m.Ns, err = p.section(m.Ns); err != nil {
		return err
	}
	plain := m.Extra
	if m.Extra, err = p.section(m.Extra); err != nil {
		return err
	}
	if len(m.Extra) > len(plain) && m.Len() > p.q.room {
		m.Extra = plain // signatures of addresses that nobody asked for are no reason to come back over TCP: RFC 4035 §3.1.1
	}
	return nil
}

// section returns the records with the signature of each set behind it. Records that are the zone's are copied before anything in them is changed.
func (p *proof) section(rrs []dns.RR) ([]dns.RR, error) {
	if len(rrs) == 0 {
		return rrs, nil
	}
	out := make([]dns.RR, 0, 2*len(rrs))
	for start := 0; start < len(rrs); {
		h, end := rrs[start].Header(), start+1
		for end < len(rrs) && rrs[end].Header().Rrtype == h.Rrtype && rrs[end].Header().Name == h.Name {
			end++
		}
		set := rrs[start:end:end]
		start = end
		if !p.signed(h) {
			out = append(out, set...)
			continue
		}
		set = p.limited(set)
		out = append(out, set...)
		if h.Rrtype == dns.TypeDNSKEY {
			sigs, err := p.s.signer.SignKeys(set, p.now)
			if err != nil {
				return nil, err
			}
			out = append(out, sigs...)
			continue
		}
		sig, err := p.sign(set)
		if err != nil {
			return nil, err
		}
		out = append(out, sig)
	}
	return out, nil
}

// signed reports whether the zone signs records like that: what lies at or below a delegation is not its own, but for what it says about the delegation
// (RFC 4035 §2.2).
func (p *proof) signed(h *dns.RR_Header) bool {
	switch h.Rrtype {
	case dns.TypeOPT, dns.TypeRRSIG:
		return false
	case dns.TypeDS, dns.TypeNSEC:
		return true
	case dns.TypeCNAME:
		if p.zone.dname(lower(h.Name)) != "" {
			return false // made of a DNAME, whose signature speaks for it: RFC 6672 §5.3.1
		}
	}
	return p.zone.cut(lower(h.Name), h.Rrtype) == ""
}

// limited returns set with no TTL beyond the longest that rollovers of keys wait for.
func (p *proof) limited(set []dns.RR) []dns.RR {
	longest := uint32(p.keys.MaxTTL / time.Second)
	if set[0].Header().Ttl <= longest {
		return set
	}
	out := make([]dns.RR, len(set))
	for i, rr := range set {
		out[i] = dns.Copy(rr)
		out[i].Header().Ttl = longest
	}
	return out
}

// sign returns the signature of a set: one that is remembered where the name is the zone's, else one within the limits of its client.
func (p *proof) sign(set []dns.RR) (*dns.RRSIG, error) {
	key := lower(set[0].Header().Name)
	_, exists := p.names.find(key)
	if _, ok := p.zone.nodes[key]; ok || exists {
		return p.s.signer.Sign(set, p.now)
	}
	return p.s.signer.SignFor(set, p.now, p.q.from, p.q.tcp)
}

// denial returns the NSEC record of a canonical name, which may have types or none, or not exist.
func (p *proof) denial(key string, ttl uint32) *dns.NSEC {
	z := p.zone
	steered, exists := p.names.find(key)
	n, ok := z.nodes[key]
	if !ok && !exists {
		if n, ok = z.wildcard(p.names, key); !ok {
			return p.s.signer.Denial(key, ttl, dns.TypeNXNAME)
		}
	}
	var types []uint16
	if ok && key != z.origin && len(z.nodes[key][dns.TypeNS]) > 0 {
		types = append(types, dns.TypeNS)
		if len(n[dns.TypeDS]) > 0 {
			types = append(types, dns.TypeDS)
		}
		return p.s.signer.DenialAtCut(key, ttl, types...)
	}
	for rrtype, set := range n {
		if len(set) > 0 {
			types = append(types, rrtype)
		}
	}
	if steered && len(n[dns.TypeA])+len(n[dns.TypeAAAA])+len(n[dns.TypeCNAME]) == 0 {
		types = append(types, p.steeredTypes()...)
	}
	if key == z.origin {
		types = append(types, dns.TypeDNSKEY)
		if len(p.keys.CDS(p.now)) > 0 {
			types = append(types, dns.TypeCDS, dns.TypeCDNSKEY)
		}
	}
	// The fleet may have changed since this type was looked for and not found.
	types = slices.DeleteFunc(types, func(t uint16) bool { return t == p.q.qtype })
	return p.s.signer.Denial(key, ttl, types...)
}

// steeredTypes returns the types of addresses that a steered name has: those that some edge has, and both as long as nobody knows.
func (p *proof) steeredTypes() []uint16 {
	var types []uint16
	for _, has := range [...]struct {
		family steer.Family
		rrtype uint16
	}{{steer.IPv4, dns.TypeA}, {steer.IPv6, dns.TypeAAAA}} {
		if d := p.s.steering.decide(p.client, has.family); len(d.edges) > 0 || d.plan.Empty() {
			types = append(types, has.rrtype)
		}
	}
	if p.s.service != nil && len(types) > 0 {
		types = append(types, dns.TypeHTTPS)
	}
	return types
}

// fail makes m the answer when a signature could not be had. Over UDP the client is asked to come back over TCP, see package sign.
func (p *proof) fail(m *dns.Msg, err error) {
	opt := m.IsEdns0()
	m.Answer, m.Ns, m.Extra = nil, nil, nil
	if opt != nil {
		m.Extra = []dns.RR{opt}
	}
	busy := errors.Is(err, sign.ErrBusy)
	if busy && !p.q.tcp {
		m.Rcode, m.Truncated = dns.RcodeSuccess, true
		return
	}
	m.Rcode, m.Authoritative = dns.RcodeServerFailure, false
	text := "too many names that do not exist were asked for from this network"
	if !busy {
		text = "the answer could not be signed"
		p.s.log.Error("dns: an answer cannot be signed", "name", p.q.name, "type", dns.Type(p.q.qtype).String(), "err", err)
	}
	option(m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeOther, ExtraText: text})
}

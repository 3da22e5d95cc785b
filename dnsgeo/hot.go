package dnsgeo

import (
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"

	"perigee/dnsgeo/steer"
)

// hot is what the UDP loop answers by itself: the names, the records and the steering map of one moment, in wire form. It is immutable. Whatever it has
// no answer for, and everything while the moment has passed and the next one is being made, is answered by Server.respond, to the same effect.
type hot struct {
	names  *Names
	zone   *zone            // of the steered names
	state  *state           // has a map
	steady *map[string]bool // the edges whose answers live longer
	// table has every name of the zone that exists, by canonical wire form.
	table map[string]hotName
	// steered are the records of each answer of the map, by its number and kind.
	steered [][hotKinds]packed
	origin  string // of the zone, in wire form
	denial  packed // the SOA that comes with a denial; its first two bytes are to point to the origin within the question
	wild    bool   // the zone has wildcards
	https   bool   // steered names have HTTPS records
	signed  bool   // who understands signatures gets them
	// signatures are what they get; nil for what is answered the long way.
	signatures *signatures
}

// The kinds of steered answers: addresses, by their steer.Family, and HTTPS records with both as hints.
const (
	hotHTTPS = 2
	hotKinds = 3
)

// hotName is what is known of a name.
type hotName struct {
	steered bool
	// apart says that more than a look-up is needed: an alias, a delegation.
	apart bool
	sets  []hotSet
	slot  int // of its first signed answer
}

// hotSet is the answer for one type of a name.
type hotSet struct {
	qtype uint16
	packed
}

// packed is records in wire form, for a message whose question owns them all: names are compressed to point there.
type packed struct {
	answers, authorities, additionals uint16 // how many there are
	records                           []byte
}

// maxHotSets bounds the static sets that are kept in wire form; the others of a large zone are packed when they are asked for.
const maxHotSets = 100_000

// newHot makes the wire forms of a moment.
func (s *Server) newHot(names *Names, st *state, signed bool) *hot {
	z := s.zones.steered.zone()
	h := &hot{
		steady: s.steady.steady.Load(), names: names, zone: z, state: st, table: make(map[string]hotName), origin: wireKey(z.origin), denial: packDenial(z), https: s.service != nil,
		signed: signed,
	}
	for _, a := range st.compiled.Answers() {
		var of [hotKinds]packed
		for f := range a.Edges {
			of[f] = packAddresses(a.Edges[f], steer.Family(f), s.steady.ttl(a.Edges[f]))
		}
		if h.https {
			of[hotHTTPS] = s.packHTTPS(a)
		}
		h.steered = append(h.steered, of)
	}
	if names != nil {
		for name := range names.hosts {
			f := z.resolve(names, name, dns.TypeA)
			h.table[wireKey(name)] = hotName{steered: f.steered == name, apart: !f.authoritative || len(f.answer) > 0}
		}
	}
	h.static(z)
	for origin := range s.zones.byName { // what another zone answers is not this one's
		if origin == z.origin || !dns.IsSubDomain(z.origin, origin) {
			continue
		}
		for key := range h.table {
			if strings.HasSuffix(key, wireKey(origin)) {
				delete(h.table, key) // or a name that only ends alike: it is answered the long way
			}
		}
		h.table[wireKey(origin)] = hotName{apart: true}
	}
	if signed {
		h.signatures = s.newSignatures(h)
	}
	return h
}

// static adds the records of the zone.
func (h *hot) static(z *zone) {
	sets := 0
	for name, n := range z.nodes {
		key := wireKey(name)
		e := h.table[key]
		e.apart = e.apart || len(n[dns.TypeCNAME])+len(n[dns.TypeDNAME]) > 0 || z.dname(name) != "" || z.cut(name, dns.TypeA) != ""
		h.wild = h.wild || strings.HasPrefix(name, "*.")
		for qtype := range n {
			p, ok := z.packSet(h.names, name, qtype)
			if ok = ok && sets < maxHotSets; !ok {
				e.apart = true
				continue
			}
			e.sets = append(e.sets, hotSet{qtype, p})
			sets++
		}
		h.table[key] = e
	}
}

// packDenial packs the SOA of a denial (RFC 2308 §3), for an owner that is a pointer.
func packDenial(z *zone) packed {
	soa := z.deny(found{}).authority[0]
	b := make([]byte, dns.MaxMsgSize)
	n, err := dns.PackRR(soa, b, 0, nil, false)
	if err != nil {
		return packed{} // newZone has packed one that is longer
	}
	return packed{authorities: 1, records: append([]byte{0, 0}, b[len(wireKey(z.origin)):n]...)}
}

// wireKey returns the wire form of a canonical name.
func wireKey(name string) string {
	var b [256]byte
	n, err := dns.PackDomainName(name, b[:], 0, nil, false)
	if err != nil {
		return "" // no name that a query can ask for
	}
	return string(b[:n])
}

// packAddresses packs the addresses of edges as records of the question's name.
func packAddresses(edges []*steer.Candidate, f steer.Family, ttl uint32) (p packed) {
	qtype := dns.TypeA
	if f == steer.IPv6 {
		qtype = dns.TypeAAAA
	}
	for _, e := range edges {
		addr := e.Addrs[f].AsSlice()
		b := binary.BigEndian.AppendUint16(p.records, 0xc000|headerSize)
		b = binary.BigEndian.AppendUint16(b, qtype)
		b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
		b = binary.BigEndian.AppendUint32(b, ttl)
		b = binary.BigEndian.AppendUint16(b, uint16(len(addr)))
		p.records = append(b, addr...)
		p.answers++
	}
	return p
}

// packSet packs what the zone has for a name and type, if that is an answer and not something that depends on how it was asked.
func (z *zone) packSet(names *Names, name string, qtype uint16) (p packed, ok bool) {
	f := z.resolve(names, name, qtype)
	if f.rcode != dns.RcodeSuccess || !f.authoritative || f.steered != "" || len(f.answer) == 0 || f.answer[0].Header().Rrtype != qtype {
		return p, false
	}
	m := &dns.Msg{Compress: true, Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}}, Answer: f.answer, Ns: f.authority, Extra: f.extra}
	b, err := m.Pack()
	if err != nil || len(b) > maxUDP {
		return p, false
	}
	at := headerSize + len(wireKey(name)) + 4
	return packed{uint16(len(f.answer)), uint16(len(f.authority)), uint16(len(f.extra)), b[at:]}, true
}

package dnsgeo

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/steer"
)

// The types that steering answers.
const (
	TypeA    = dns.TypeA
	TypeAAAA = dns.TypeAAAA
)

// Decision explains one answer.
type Decision struct {
	Name    string     `json:"name"` // as asked, canonical
	Type    string     `json:"type"`
	Client  netip.Addr `json:"client"`
	Rcode   string     `json:"rcode"`
	Records []string   `json:"records"` // the answer's records, as in a zone file
	Steered bool       `json:"steered"` // the answer depends on the client; what follows is only set then

	Place   geo.Place    `json:"place"`   // where the client is
	Network netip.Prefix `json:"network"` // the geo data's network around it
	// Scope is the prefix in which every client gets the same answer, as ECS tells it; of length 0 when all clients do.
	Scope netip.Prefix   `json:"scope"`
	Edge  string         `json:"edge"`  // the winner; "" when there is none
	Addr  netip.Addr     `json:"addr"`  // its address that is answered
	TTL   int            `json:"ttl_s"` // in seconds
	Edges []steer.Ranked `json:"edges"` // every edge: why it won or lost

	Fleet uint64       `json:"fleet"` // generation of the fleet snapshot
	Geo   geo.Passport `json:"geo"`
	// Compiled tells that Scope is the widest there is; right after a change it is the data's own network for a moment.
	Compiled bool      `json:"compiled"`
	At       time.Time `json:"at"`
}

// Decide explains what a query for name and qtype, TypeA or TypeAAAA, from client is answered. It uses what the answer
// itself uses, so that the two cannot differ.
func (s *Server) Decide(name string, client netip.Addr, qtype uint16) Decision {
	q := query{name: dns.CanonicalName(name), qtype: qtype, class: dns.ClassINET, asked: true}
	client = client.Unmap().WithZone("")
	out := Decision{Name: q.name, Type: dns.Type(qtype).String(), Client: client, At: s.clock.Now()}
	if _, ok := dns.IsDomainName(name); !ok || s.zones.find(q.name, q.qtype) == nil {
		out.Rcode = dns.RcodeToString[dns.RcodeRefused]
		return out
	}
	m := q.reply(dns.RcodeSuccess)
	if o := s.content(&q, client, m); o.steered != "" {
		out.explain(o, client)
		out.TTL = int(s.steady.ttl(o.edges))
	}
	out.Rcode = dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		out.Records = append(out.Records, rr.String())
	}
	return out
}

func (out *Decision) explain(o outcome, client netip.Addr) {
	out.Steered = true
	out.Place, out.Network = o.db.Lookup(client)
	out.Scope = o.scope
	if !o.scope.IsValid() && client.IsValid() {
		out.Scope, _ = client.Prefix(0)
	}
	if len(o.edges) > 0 {
		out.Edge, out.Addr = o.edges[0].Name, o.edges[0].Addrs[o.family]
	}
	out.Edges = o.plan.RankAddr(o.db, client, o.family)
	out.Fleet, out.Geo, out.Compiled = o.plan.Gen(), o.db.Passport(), o.compiled != nil
}

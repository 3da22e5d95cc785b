package dnsgeo

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// explainLabel before a steered name asks for the reasons of its answer, as TXT records over TCP: dig +tcp TXT _explain.www.example.com +subnet=198.51.100.0/24
const explainLabel = "_explain."

// maxExplained is how many edges are told of.
const maxExplained = 20

// explained returns the steered name that a question asks to have explained, "" if it does not, or if whoever asks may not know: for them the name does not exist.
func (s *Server) explained(q *query, from netip.Addr) string {
	name, ok := strings.CutPrefix(lower(q.name), explainLabel)
	if !ok || q.qtype != dns.TypeTXT {
		return ""
	}
	if steered, _ := s.names().find(name); !steered {
		return ""
	}
	from = from.Unmap().WithZone("")
	for _, p := range s.explainers {
		if p.Contains(from) {
			return name
		}
	}
	return ""
}

// explain answers such a question for a client. Over UDP, where the source of a packet may be forged and the answer is much longer, it sends the client to TCP.
func (s *Server) explain(q *query, name string, client netip.Addr, m *dns.Msg) {
	m.Authoritative = true
	if !q.tcp {
		m.Truncated = true
		return
	}
	d := s.Decide(name, client, TypeA)
	lines := []string{
		"client " + client.String() + " is " + d.where(),
		fmt.Sprintf("answer %s, scope /%d, ttl %d s", strings.Join(addresses(d.Records), " "), d.Scope.Bits(), d.TTL),
	}
	for i, e := range d.Edges {
		if i == maxExplained {
			lines = append(lines, fmt.Sprintf("and %d more edges", len(d.Edges)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("%d. %s, %s, %.0f km: %s", i+1, e.Name, e.Place.Name, e.KM, e.Reason))
	}
	lines = append(lines, fmt.Sprintf("fleet %d, geo data: %s of %s", d.Fleet, d.Geo.Source, d.Geo.Built.Format("2006-01-02")))
	if d.Geo.Attribution != "" {
		lines = append(lines, d.Geo.Attribution)
	}
	for _, l := range lines {
		m.Answer = append(m.Answer, &dns.TXT{Hdr: header(q.name, dns.TypeTXT, 0), Txt: []string{escaped(clipped(l))}})
	}
}

// where says where the client is.
func (d *Decision) where() string {
	if !d.Place.Known {
		return fmt.Sprintf("at no known place (network %s)", d.Network)
	}
	town := d.Place.Country
	if d.Place.City != "" {
		town = d.Place.City + ", " + town
	}
	return fmt.Sprintf("near %.2f, %.2f (%s), network %s", d.Place.Lat, d.Place.Lon, town, d.Network)
}

// addresses are the last words of records.
func addresses(records []string) (out []string) {
	for _, r := range records {
		out = append(out, r[strings.LastIndexByte(r, '\t')+1:])
	}
	return out
}

// clipped cuts what does not fit in one string of a TXT record.
func clipped(s string) string { return s[:min(len(s), 255)] }

// escaped writes s as the library reads it.
func escaped(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }

package dnsgeo

import (
	"strings"

	"github.com/miekg/dns"
)

// found is what the zone has for a question.
type found struct {
	rcode         int
	authoritative bool
	answer        []dns.RR
	authority     []dns.RR
	extra         []dns.RR
	denied        string // the name, in the case it was asked in, that has not what the question asks; "" when there is an answer
	cut           string // the canonical name at which other servers take over; "" when they do not
	// steered is the name whose address steering has to add to answer, in the case to answer it in; "" when none.
	steered string
}

// maxChain is how many CNAME records in a row are followed.
const maxChain = 8

// resolve answers for name, which is the origin or below it, as RFC 1034 §4.3.2 and RFC 4592 say. Static addresses and
// CNAME records of a name come before steering: whoever wrote them wants them.
func (z *zone) resolve(names *Names, name string, qtype uint16) found {
	f := found{authoritative: true}
	owner := name
	for range maxChain {
		key := lower(owner)
		if !dns.IsSubDomain(z.origin, key) {
			return f // the client follows a CNAME out of the zone by itself
		}
		if cut := z.cut(key, qtype); cut != "" {
			return z.refer(f, cut)
		}
		if from := z.dname(key); from != "" {
			if owner = z.substitute(&f, owner, from, qtype); owner == "" {
				return f
			}
			continue
		}
		steered, exists := names.find(key)
		n, ok := z.nodes[key]
		if !ok && !exists {
			if n, ok = z.wildcard(names, key); !ok {
				f.rcode = dns.RcodeNameError
				f.denied = owner
				return z.deny(f)
			}
		}
		alias := n[dns.TypeCNAME]
		switch set := n[qtype]; {
		case len(alias) > 0 && qtype != dns.TypeCNAME:
			f.answer = append(f.answer, owned(alias, owner)...)
			if qtype == dns.TypeANY {
				return f
			}
			owner = alias[0].(*dns.CNAME).Target
			continue
		case qtype == dns.TypeANY:
			f.answer = append(f.answer, &dns.HINFO{Hdr: header(owner, dns.TypeHINFO, 3600), Cpu: "RFC8482"})
		case len(set) > 0:
			f.answer = append(f.answer, owned(set, owner)...)
			f.extra = z.glue(f.extra, set)
		case steered && (qtype == dns.TypeA || qtype == dns.TypeAAAA || qtype == dns.TypeHTTPS) && len(n[dns.TypeA])+len(n[dns.TypeAAAA]) == 0:
			f.steered = owner
		default:
			f.denied = owner
			return z.deny(f)
		}
		return f
	}
	f.rcode = dns.RcodeServerFailure
	return f
}

// deny adds the SOA that tells how long there is nothing (RFC 2308 §3).
func (z *zone) deny(f found) found {
	soa := *z.soa
	soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	f.authority = append(f.authority, &soa)
	return f
}

// cut returns the delegated name that key lies at or below, "" when the zone itself answers. The DS records of a
// delegated name belong to this side of the cut.
func (z *zone) cut(key string, qtype uint16) (cut string) {
	if !z.cuts {
		return ""
	}
	for name := key; name != z.origin; name = parent(name) {
		if len(z.nodes[name][dns.TypeNS]) > 0 && (name != key || qtype != dns.TypeDS) {
			cut = name // the one nearest to the origin counts
		}
	}
	return cut
}

// refer names the servers that answer below the cut, and no more.
func (z *zone) refer(f found, cut string) found {
	f.authoritative, f.cut = len(f.answer) > 0, cut
	f.authority = append(f.authority, z.nodes[cut][dns.TypeNS]...)
	f.extra = z.glue(f.extra, f.authority)
	return f
}

// dname returns the name above key that has a DNAME record, "" when there is none.
func (z *zone) dname(key string) string {
	if !z.dnames {
		return ""
	}
	for name := key; name != z.origin; {
		if name = parent(name); len(z.nodes[name][dns.TypeDNAME]) > 0 {
			return name
		}
	}
	return ""
}

// substitute answers for owner below the DNAME of from with that record and a CNAME made of it (RFC 6672 §3.1). It returns
// the name to go on with, "" when the answer is complete.
func (z *zone) substitute(f *found, owner, from string, qtype uint16) string {
	set := z.nodes[from][dns.TypeDNAME]
	f.answer = append(f.answer, set...)
	d := set[0].(*dns.DNAME)
	// owner ends in from byte for byte but for the case, since both are escaped alike.
	target := owner[:len(owner)-len(from)] + strings.TrimPrefix(d.Target, ".")
	if _, err := dns.PackDomainName(target, make([]byte, 256), 0, nil, false); err != nil {
		f.rcode = dns.RcodeYXDomain // the name would be too long
		return ""
	}
	f.answer = append(f.answer, &dns.CNAME{Hdr: header(owner, dns.TypeCNAME, d.Hdr.Ttl), Target: target})
	if qtype == dns.TypeCNAME || qtype == dns.TypeANY {
		return ""
	}
	return target
}

// glue appends the addresses that the zone has for the servers in set.
func (z *zone) glue(extra, set []dns.RR) []dns.RR {
	for _, rr := range set {
		if ns, ok := rr.(*dns.NS); ok {
			n := z.nodes[dns.CanonicalName(ns.Ns)]
			extra = append(append(extra, n[dns.TypeA]...), n[dns.TypeAAAA]...)
		}
	}
	return extra
}

// wildcard returns the wildcard that stands for key, a name that does not exist: the one below its closest ancestor
// that does (RFC 4592 §3.3.1).
func (z *zone) wildcard(names *Names, key string) (node, bool) {
	for name := key; name != z.origin; {
		name = parent(name)
		_, exists := names.find(name)
		if _, ok := z.nodes[name]; ok || exists {
			n, ok := z.nodes["*."+name]
			return n, ok
		}
	}
	return nil, false
}

// owned returns copies of the records that belong to name: to the name a wildcard stands for, in the case it was asked.
func owned(set []dns.RR, name string) []dns.RR {
	out := make([]dns.RR, len(set))
	for i, rr := range set {
		out[i] = dns.Copy(rr)
		out[i].Header().Name = name
	}
	return out
}

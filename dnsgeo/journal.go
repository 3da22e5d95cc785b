package dnsgeo

import (
	"cmp"
	"slices"
	"sync"

	"github.com/miekg/dns"
)

// version is what is served of a zone at one time. It is immutable.
type version struct {
	zone *zone
	// journal is how the zone came here from older versions, the oldest first; each delta ends where the next begins.
	journal []delta
	// sorted returns every record but the SOA, sorted by name and type: the order of a transfer.
	sorted func() []dns.RR
}

// delta is the difference of two versions of a zone, without their SOA records.
type delta struct {
	from, to       *dns.SOA
	removed, added []dns.RR
}

// maxDeltas limits the journal of a zone. It is limited by size, too: a secondary for which the way over the journal would
// take more records than the zone has is better served with the whole zone (RFC 1995 §5).
const maxDeltas = 32

func newVersion(z *zone) *version {
	return &version{zone: z, sorted: sync.OnceValue(func() []dns.RR {
		var all []dns.RR
		for _, n := range z.nodes {
			for t, set := range n {
				if t != dns.TypeSOA {
					all = append(all, set...)
				}
			}
		}
		sortRecords(all)
		return all
	})}
}

// serial is the serial number of the version.
func (v *version) serial() uint32 { return v.zone.soa.Serial }

// next returns the version with the records of z that follows v, nil when z holds what v holds.
func (v *version) next(z *zone) *version {
	d := difference(v.zone, z)
	if len(d.removed)+len(d.added) == 0 && (z.generated || wireOf(d.from) == wireOf(d.to)) {
		return nil
	}
	n := newVersion(z)
	if !newer(z.soa.Serial, v.serial()) {
		return n // a delta between such versions means nothing to a secondary
	}
	n.journal = append(slices.Clone(v.journal), d)
	size := 0
	for i := len(n.journal) - 1; i >= 0; i-- {
		size += len(n.journal[i].removed) + len(n.journal[i].added) + 2
		if len(n.journal)-i > maxDeltas || size > z.records {
			n.journal = slices.Clone(n.journal[i+1:])
			break
		}
	}
	return n
}

// since returns the deltas that lead from a serial number to v, nil when the journal does not reach back that far.
func (v *version) since(serial uint32) []delta {
	for i := range v.journal {
		if v.journal[i].from.Serial == serial {
			return v.journal[i:]
		}
	}
	return nil
}

// newer compares serial numbers as RFC 1982 §3.2 does.
func newer(a, b uint32) bool { return int32(a-b) > 0 }

// difference compares two versions name by name.
func difference(was, is *zone) delta {
	d := delta{from: was.soa, to: is.soa}
	for name, n := range was.nodes {
		d.removed = missing(d.removed, n, is.nodes[name])
	}
	for name, n := range is.nodes {
		d.added = missing(d.added, n, was.nodes[name])
	}
	sortRecords(d.removed)
	sortRecords(d.added)
	return d
}

// missing appends the records of n that other lacks.
func missing(out []dns.RR, n, other node) []dns.RR {
	for t, set := range n {
		if t == dns.TypeSOA {
			continue
		}
		known := make(map[string]bool, len(other[t]))
		for _, rr := range other[t] {
			known[wireOf(rr)] = true
		}
		for _, rr := range set {
			if !known[wireOf(rr)] {
				out = append(out, rr)
			}
		}
	}
	return out
}

// wireOf returns a record's wire form, by which records are equal to a secondary, TTL included.
func wireOf(rr dns.RR) string {
	b := make([]byte, dns.Len(rr)+1)
	n, err := dns.PackRR(dns.Copy(rr), b, 0, nil, false)
	if err != nil {
		return rr.String() // cannot be sent either, but is still unlike others
	}
	return string(b[:n])
}

func sortRecords(rrs []dns.RR) {
	slices.SortStableFunc(rrs, func(a, b dns.RR) int {
		return cmp.Or(cmp.Compare(a.Header().Name, b.Header().Name), cmp.Compare(a.Header().Rrtype, b.Header().Rrtype))
	})
}

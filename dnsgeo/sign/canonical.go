package sign

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxRecords is the largest set that is signed; an answer over TCP has no room for many more.
const maxRecords = 512

// errSet says that records are no RRset.
var errSet = errors.New("sign: these records are no set: they must have one name, type, class and TTL")

// canonical is a set of records as it is signed (RFC 4034 §6): names in lower case, sorted, without duplicates. One can be used for many sets, not for
// two at the same time.
type canonical struct {
	buf     []byte // the records one after the other, as they came
	records [][]byte
	out     []byte // the records in their order
	labels  uint8  // of the owner, without the root and without a leading asterisk
}

// load reads a set. It does not use dns.RRSIG.Sign, which takes every name that begins with an asterisk for a wildcard, "*a.test." too, and would
// sign something else than the name at hand.
func (c *canonical) load(set []dns.RR) error {
	if len(set) == 0 || len(set) > maxRecords {
		return errSet
	}
	h := set[0].Header()
	c.buf, c.records, c.out = c.buf[:0], c.records[:0], c.out[:0]
	c.labels = uint8(dns.CountLabel(h.Name))
	if strings.HasPrefix(h.Name, "*.") {
		c.labels--
	}
	ends := make([]int, 0, 8)
	for _, rr := range set {
		o := rr.Header()
		if o.Rrtype != h.Rrtype || o.Class != h.Class || o.Ttl != h.Ttl || !strings.EqualFold(o.Name, h.Name) {
			return errSet
		}
		start := len(c.buf)
		c.buf = slices.Grow(c.buf, dns.Len(rr)+1)
		// PackRR notes a length in the record, which others may be reading.
		end, err := dns.PackRR(dns.Copy(rr), c.buf[:cap(c.buf)], start, nil, false)
		if err != nil {
			return err
		}
		c.buf = c.buf[:end]
		lowerNames(c.buf[start:], o.Rrtype)
		ends = append(ends, end)
	}
	for i, start := 0, 0; i < len(ends); i++ {
		c.records = append(c.records, c.buf[start:ends[i]])
		start = ends[i]
	}
	if len(c.records) > 1 {
		slices.SortFunc(c.records, compareData)
		c.records = slices.CompactFunc(c.records, bytes.Equal)
	}
	for _, r := range c.records {
		c.out = append(c.out, r...)
	}
	return nil
}

// compareData orders the records of one set by their data (RFC 4034 §6.3): what stands before it is the same in all, but for the length, which does
// not count.
func compareData(a, b []byte) int {
	return bytes.Compare(a[dataAt(a):], b[dataAt(b):])
}

// dataAt returns where the data of an uncompressed record begins.
func dataAt(rr []byte) int {
	off := 0
	for rr[off] != 0 {
		off += 1 + int(rr[off])
	}
	return off + 1 + 10
}

// lowerNames puts the owner of an uncompressed record and the names in its data in lower case, where RFC 4034 §6.2 with RFC 6840 §5.1 says so. The
// lengths of labels are below 64, so that none is taken for a letter.
func lowerNames(rr []byte, rrtype uint16) {
	data := dataAt(rr)
	lower(rr[:data-10])
	d := rr[data:]
	from, to := len(d), len(d)
	switch rrtype {
	case dns.TypeNS, dns.TypeMD, dns.TypeMF, dns.TypeCNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypePTR, dns.TypeDNAME, dns.TypeMINFO, dns.TypeRP:
		from = 0
	case dns.TypeMX, dns.TypeAFSDB, dns.TypeRT, dns.TypeKX, dns.TypePX:
		from = 2
	case dns.TypeSRV:
		from = 6
	case dns.TypeSOA:
		from, to = 0, len(d)-20
	case dns.TypeNAPTR:
		from = 4
		for range 3 { // flags, services and expression are strings
			if from < len(d) {
				from += 1 + int(d[from])
			}
		}
	}
	if from < to && to <= len(d) {
		lower(d[from:to])
	}
}

func lower(b []byte) {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}

// signed is what a signature covers: the data of the RRSIG record without the signature (RFC 4034 §3.1.8.1), then the set.
func (c *canonical) signed(sig *dns.RRSIG, zone []byte) []byte {
	b := make([]byte, 0, 18+len(zone)+len(c.out))
	b = binary.BigEndian.AppendUint16(b, sig.TypeCovered)
	b = append(b, sig.Algorithm, sig.Labels)
	b = binary.BigEndian.AppendUint32(b, sig.OrigTtl)
	b = binary.BigEndian.AppendUint32(b, sig.Expiration)
	b = binary.BigEndian.AppendUint32(b, sig.Inception)
	b = binary.BigEndian.AppendUint16(b, sig.KeyTag)
	b = append(b, zone...)
	return append(b, c.out...)
}

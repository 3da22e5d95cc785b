package dnsgeo

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"perigee/dnsgeo/sign"
)

// signatures are answers with their signatures in wire form. There are few different ones: of each name every answer of the map, and its static sets. Each is packed when it is
// first asked for, with a signature that the Signer makes, or has from before; a map that is swapped costs no new signatures for what has not changed.
type signatures struct {
	signer *sign.Signer
	zone   *zone
	// slots has one place for each answer of each steered name and kind, and one for each static set.
	slots []atomic.Pointer[signedPack]
}

// signedPack is packed until the Signer is asked again, which renews signatures long before they expire, or has other keys.
type signedPack struct {
	packed
	until time.Time
	keys  *sign.KeySet
}

// keepSigned is for how long an answer is used before the Signer is asked again.
const keepSigned = 10 * time.Minute

// maxSigned bounds the slots, at 8 bytes each and some 200 for those that are asked for.
const maxSigned = 1 << 19

// newSignatures makes places for the answers of h, nil if there are too many of them.
func (s *Server) newSignatures(h *hot) *signatures {
	g := &signatures{signer: s.signer, zone: h.zone}
	n := 0
	for key, e := range h.table {
		e.slot = n
		if e.steered {
			n += hotKinds * len(h.steered)
		}
		n += len(e.sets)
		h.table[key] = e
	}
	if n > maxSigned {
		return nil
	}
	g.slots = make([]atomic.Pointer[signedPack], n)
	return g
}

// held returns what is in a place; nil when it is empty or old.
func (g *signatures) held(slot int, now time.Time) *packed {
	p := g.slots[slot].Load()
	if p == nil || !now.Before(p.until) || p.keys != g.signer.Keys() {
		return nil
	}
	return &p.packed
}

// fill puts a set, which is plain in wire form, with its signature into a place; nil when it has to be answered the long way.
func (g *signatures) fill(slot int, now time.Time, plain *packed, set []dns.RR) *packed {
	keys := g.signer.Keys()
	if len(set) == 0 || plain.authorities+plain.additionals > 0 || set[0].Header().Ttl > uint32(keys.MaxTTL/time.Second) {
		return nil
	}
	sig, err := g.signer.Sign(set, now)
	if err != nil {
		return nil
	}
	record, ok := packOwned(sig)
	if !ok {
		return nil
	}
	p := &signedPack{packed{answers: plain.answers + 1, records: append(append([]byte(nil), plain.records...), record...)}, now.Add(keepSigned), keys}
	g.slots[slot].Store(p)
	return &p.packed
}

// packOwned packs a record whose owner is the name of the question.
func packOwned(rr dns.RR) ([]byte, bool) {
	b := make([]byte, 1024)
	n, err := dns.PackRR(rr, b, 0, nil, false)
	if err != nil {
		return nil, false
	}
	owner := len(wireKey(rr.Header().Name))
	return append(binary.BigEndian.AppendUint16(nil, 0xc000|headerSize), b[owner:n]...), true
}

// steered returns answer number n of a kind, plain in wire form, with its signature for the name of the question.
func (g *signatures) steered(q *asked, e hotName, n, kind int, plain *packed) *packed {
	slot := e.slot + hotKinds*n + kind
	if p := g.held(slot, q.now); p != nil {
		return p
	}
	name, _, err := dns.UnpackDomainName(q.key[:q.n], 0)
	if err != nil {
		return nil
	}
	return g.fill(slot, q.now, plain, plain.unpack(name))
}

// unpack returns the records of an answer for a name.
func (p *packed) unpack(name string) []dns.RR {
	b := make([]byte, headerSize, headerSize+256+len(p.records))
	b = append(append(b, wireKey(name)...), 0, 0, 0, 0) // the question that the records point to
	at := len(b)
	b = append(b, p.records...)
	set := make([]dns.RR, 0, p.answers)
	for range p.answers {
		rr, next, err := dns.UnpackRR(b, at)
		if err != nil {
			return nil // not from this package
		}
		set, at = append(set, rr), next
	}
	return set
}

// static returns static set number i of a name with its signature; answers is how many the map has.
func (g *signatures) static(q *asked, e hotName, answers, i int) *packed {
	slot := e.slot + i
	if e.steered {
		slot += hotKinds * answers
	}
	if p := g.held(slot, q.now); p != nil {
		return p
	}
	name, _, err := dns.UnpackDomainName(q.key[:q.n], 0)
	if err != nil {
		return nil
	}
	return g.fill(slot, q.now, &e.sets[i].packed, g.zone.nodes[lower(name)][q.qtype])
}

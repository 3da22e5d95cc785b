package dnsgeo

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// TSIGKey is a secret that is shared with a secondary (RFC 8945).
type TSIGKey struct {
	Name      string // a domain name; both sides call the key by it
	Algorithm string // "hmac-sha256" or "hmac-sha512"
	Secret    []byte // at least 16 bytes
}

// tsigKey is a TSIGKey as the wire has it.
type tsigKey struct {
	name      []byte // canonical
	algorithm []byte
	called    string // the algorithm's name
	hash      func() hash.Hash
	secret    []byte
}

// keyring is the keys by canonical name.
type keyring map[string]*tsigKey

const (
	minSecret = 16
	tsigFudge = 300 // seconds that two clocks may differ: RFC 8945 §10
)

func newKeyring(keys []TSIGKey) (keyring, error) {
	ring := make(keyring, len(keys))
	for _, k := range keys {
		name := canonical(k.Name)
		if _, ok := dns.IsDomainName(k.Name); !ok || name == "." {
			return nil, fmt.Errorf("TSIG key %q: its name is no domain name", k.Name)
		}
		var h func() hash.Hash
		switch k.Algorithm {
		case "hmac-sha256":
			h = sha256.New
		case "hmac-sha512":
			h = sha512.New
		default:
			return nil, fmt.Errorf("TSIG key %s: the algorithm %q is none of hmac-sha256, hmac-sha512", k.Name, k.Algorithm)
		}
		if len(k.Secret) < minSecret {
			return nil, fmt.Errorf("TSIG key %s: the secret has %d bytes, it needs at least %d", k.Name, len(k.Secret), minSecret)
		}
		if ring[name] != nil {
			return nil, fmt.Errorf("TSIG key %s: it is there twice", k.Name)
		}
		ring[name] = &tsigKey{wireName(name), wireName(k.Algorithm + "."), k.Algorithm + ".", h, k.Secret}
	}
	return ring, nil
}

// wireName returns the uncompressed form of a name that is known to be one.
func wireName(name string) []byte {
	b := make([]byte, 256)
	n, err := dns.PackDomainName(name, b, 0, nil, false)
	if err != nil {
		panic("dns: a checked name cannot be packed: " + err.Error())
	}
	return b[:n]
}

// access is a compiled Transfer.
type access struct {
	keys  map[*tsigKey]bool
	allow []netip.Prefix
}

func newAccess(t Transfer, ring keyring) (access, error) {
	a := access{allow: t.Allow, keys: make(map[*tsigKey]bool)}
	for _, name := range t.Keys {
		k := ring[canonical(name)]
		if k == nil {
			return a, fmt.Errorf("the TSIG key %q of its transfers is not known", name)
		}
		a.keys[k] = true
	}
	return a, nil
}

// permits reports whether who signs with key, nil for nobody, and comes from an address may have the zone.
func (a *access) permits(from netip.Addr, key *tsigKey) bool {
	if len(a.keys)+len(a.allow) == 0 || len(a.keys) > 0 && !a.keys[key] {
		return false
	}
	from = from.Unmap().WithZone("")
	for _, p := range a.allow {
		if p.Contains(from) {
			return true
		}
	}
	return len(a.allow) == 0
}

// tsigRecord is a TSIG record: RFC 8945 §4.2.
type tsigRecord struct {
	name, algorithm string
	signed          uint64 // seconds since 1970
	fudge           uint16
	mac             []byte
	original        uint16 // message ID
	failure         uint16 // an extended RCODE
	other           []byte
}

var errTSIG = errors.New("malformed TSIG record")

// parseTSIG reads the record at off, which is the last one of b.
func parseTSIG(b []byte, off int) (r tsigRecord, err error) {
	var rr dns.RR
	if rr, _, err = dns.UnpackRR(b, off); err != nil {
		return r, errTSIG
	}
	t, ok := rr.(*dns.TSIG)
	if !ok || t.Hdr.Class != dns.ClassANY || t.Hdr.Ttl != 0 {
		return r, errTSIG
	}
	r = tsigRecord{
		name: canonical(t.Hdr.Name), algorithm: canonical(t.Algorithm), signed: t.TimeSigned, fudge: t.Fudge,
		original: t.OrigId, failure: t.Error,
	}
	var merr, oerr error
	r.mac, merr = hex.DecodeString(t.MAC)
	r.other, oerr = hex.DecodeString(t.OtherData)
	return r, errors.Join(merr, oerr)
}

// signing is a signed exchange: a request and the messages of its answer.
type signing struct {
	key     *tsigKey
	request tsigRecord
	failure uint16 // why the request is not accepted, an extended RCODE; 0 when it is
	prior   []byte // the MAC that the next message continues from
	more    bool   // the first message of the answer is signed
}

// verify checks the signature of a message whose TSIG record lies at off. prior is the MAC of the request when the message
// is an answer. The error says that the record is malformed; all other faults are in failure, in the order of RFC 8945 §5.2.
func (ring keyring) verify(b []byte, off int, prior []byte, now time.Time) (*signing, error) {
	r, err := parseTSIG(b, off)
	if err != nil {
		return nil, errTSIG
	}
	s := &signing{key: ring[r.name], request: r, prior: r.mac}
	if s.key == nil || string(wireName(r.algorithm)) != string(s.key.algorithm) {
		s.key, s.failure = nil, dns.RcodeBadKey
		return s, nil
	}
	h := s.key.begin(prior)
	head := [headerSize]byte(b)
	binary.BigEndian.PutUint16(head[:], r.original)
	binary.BigEndian.PutUint16(head[10:], binary.BigEndian.Uint16(head[10:])-1)
	h.Write(head[:])
	h.Write(b[headerSize:off])
	s.key.variables(h, r.signed, r.fudge, r.failure, r.other)
	want := h.Sum(nil)
	// RFC 8945 §5.2.2.1: what is longer than the hash or shorter than half of it is malformed. Less than all of it is
	// refused as a matter of policy; nobody needs it.
	switch n := len(r.mac); {
	case n > len(want) || n < max(10, len(want)/2):
		return nil, errTSIG
	case !hmac.Equal(r.mac, want[:n]):
		s.failure = dns.RcodeBadSig
	case n < len(want):
		s.failure = dns.RcodeBadTrunc
	case now.Sub(time.Unix(int64(r.signed), 0)).Abs() > time.Duration(r.fudge)*time.Second:
		s.failure = dns.RcodeBadTime
	}
	return s, nil
}

func (k *tsigKey) begin(prior []byte) hash.Hash {
	h := hmac.New(k.hash, k.secret)
	if prior != nil {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(prior))))
		h.Write(prior)
	}
	return h
}

// variables adds the fields of a TSIG record that are signed: RFC 8945 §4.3.3.
func (k *tsigKey) variables(h hash.Hash, signed uint64, fudge, failure uint16, other []byte) {
	b := append([]byte(nil), k.name...)
	b = append(b, 0, dns.ClassANY, 0, 0, 0, 0)
	b = append(b, k.algorithm...)
	b = appendTimers(b, signed, fudge)
	b = binary.BigEndian.AppendUint16(b, failure)
	b = binary.BigEndian.AppendUint16(b, uint16(len(other)))
	h.Write(append(b, other...))
}

func appendTimers(b []byte, signed uint64, fudge uint16) []byte {
	b = append(b, byte(signed>>40), byte(signed>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(signed))
	return binary.BigEndian.AppendUint16(b, fudge)
}

// sign adds the TSIG record to the next message of an answer, which has none yet. A message that says BADKEY or BADSIG
// carries the record without a signature, since nobody shares a secret (RFC 8945 §5.3.2).
func (s *signing) sign(b []byte, now time.Time) []byte {
	signed, other := uint64(now.Unix()), []byte(nil)
	if s.failure == dns.RcodeBadTime {
		other = appendTimers(nil, signed, 0)[:6]
		signed = s.request.signed
	}
	id := binary.BigEndian.Uint16(b)
	name, algorithm := wireName(s.request.name), wireName(s.request.algorithm)
	var mac []byte
	if s.failure != dns.RcodeBadKey && s.failure != dns.RcodeBadSig {
		h := s.key.begin(s.prior)
		h.Write(b)
		if s.more {
			h.Write(appendTimers(nil, signed, tsigFudge))
		} else {
			s.key.variables(h, signed, tsigFudge, s.failure, other)
		}
		mac = h.Sum(nil)
		s.prior, s.more = mac, true
	}
	b = append(b, name...)
	b = append(b, 0, byte(dns.TypeTSIG), 0, dns.ClassANY, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(algorithm)+16+len(mac)+len(other)))
	b = append(b, algorithm...)
	b = appendTimers(b, signed, tsigFudge)
	b = binary.BigEndian.AppendUint16(b, uint16(len(mac)))
	b = append(b, mac...)
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, s.failure)
	b = binary.BigEndian.AppendUint16(b, uint16(len(other)))
	b = append(b, other...)
	binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])+1)
	return b
}

// size is how many bytes sign adds at most.
func (s *signing) size() int {
	return len(s.request.name) + 1 + 10 + len(s.request.algorithm) + 1 + 16 + sha512.Size + 6
}

package sign

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dchest/siphash"
	"github.com/miekg/dns"
)

const (
	// Early is how long before it is made a signature is good: clocks of validators may be late.
	Early = time.Hour
	// Validity is how long after it is made a signature is good.
	Validity = 7 * 24 * time.Hour
	// Renew is what is left of a signature's validity when it is made anew.
	Renew = Validity / 3
)

// tcpQueue is how many may wait for one slot over TCP, where each has a goroutine of its own.
const tcpQueue = 64

// ErrUnsigned says that the zone has no key that signs at this moment.
var ErrUnsigned = errors.New("sign: no key is active")

// ErrBusy says that a signature for a name that anyone may invent was not made, because its client or everybody asks for too many.
var ErrBusy = errors.New("sign: too many signatures are asked for")

// Limits bound what a Signer spends. Zero values stand for the defaults.
type Limits struct {
	Answers int // signatures of what the zone has that are remembered; 32768
	Denials int // signatures for invented names that are remembered; 4096
	// Slots is how many signatures for invented names are made at the same time, over UDP and over TCP each: a quarter of the processors, at least one.
	// Ordinary answers always find a processor then.
	Slots int
	Queue int // queries for invented names that may wait for a slot over UDP, each of which keeps one that answers others from it; as many as Slots
	// Rate and Burst are how many signatures for invented names a network (/24, /56) gets per second, in the long run and at once, over UDP and
	// over TCP each; 50 and 200.
	Rate, Burst int
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	set(&l.Answers, 1<<15)
	set(&l.Denials, 1<<12)
	set(&l.Slots, max(1, runtime.GOMAXPROCS(0)/4))
	set(&l.Queue, l.Slots)
	set(&l.Rate, 50)
	set(&l.Burst, 200)
	return l
}

// Counters count since the start. Each is safe to read at any time.
type Counters struct {
	Made    atomic.Uint64 // signatures made
	Reused  atomic.Uint64 // signatures taken from memory
	Limited atomic.Uint64 // signatures refused because of the rate of a network
	Busy    atomic.Uint64 // signatures refused because too many others waited
}

// Signer signs the answers of one zone. It is safe for concurrent use.
type Signer struct {
	zone     string
	wire     []byte // zone on the wire
	keys     atomic.Pointer[KeySet]
	answers  *cache
	denials  *cache
	udp, tcp *lane
	seed     [2]uint64
	scratch  sync.Pool // of *canonical
	counters Counters
}

// NewSigner returns a Signer for the zone of keys. Now is the time of the clock that all calls use.
func NewSigner(keys *KeySet, now time.Time, l Limits) (*Signer, error) {
	if err := CheckZone(keys.Zone); err != nil {
		return nil, err
	}
	l = l.withDefaults()
	s := &Signer{zone: keys.Zone, answers: newCache(l.Answers), denials: newCache(l.Denials)}
	s.wire = make([]byte, len(s.zone)+1)
	n, err := dns.PackDomainName(s.zone, s.wire, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", s.zone, err)
	}
	s.wire = s.wire[:n]
	var seed [48]byte
	_, _ = rand.Read(seed[:]) // never fails: crypto/rand ends the process instead
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(seed[8*i:]) }
	s.seed = [2]uint64{word(0), word(1)}
	s.udp = &lane{newGate(l.Slots, l.Queue), newRate(l.Rate, l.Burst, [2]uint64{word(2), word(3)}, now)}
	s.tcp = &lane{newGate(l.Slots, tcpQueue*l.Slots), newRate(l.Rate, l.Burst, [2]uint64{word(4), word(5)}, now)}
	s.scratch.New = func() any { return new(canonical) }
	s.keys.Store(keys)
	return s, nil
}

// Zone returns the canonical name of the zone.
func (s *Signer) Zone() string { return s.zone }

// Keys returns the key set in use.
func (s *Signer) Keys() *KeySet { return s.keys.Load() }

// Counters returns the counters of the Signer.
func (s *Signer) Counters() *Counters { return &s.counters }

// Use puts a newer key set of the same zone into use. The same set again is fine and changes nothing.
func (s *Signer) Use(keys *KeySet) error {
	for {
		was := s.keys.Load()
		switch {
		case keys.Zone != s.zone:
			return fmt.Errorf("use keys: they are for zone %s, not %s", keys.Zone, s.zone)
		case keys.Serial < was.Serial:
			return fmt.Errorf("use keys: serial %d is older than %d, which is in use", keys.Serial, was.Serial)
		case keys.Serial == was.Serial:
			return nil
		}
		if s.keys.CompareAndSwap(was, keys) {
			return nil
		}
	}
}

// Signs reports whether the zone is signed at a moment.
func (s *Signer) Signs(now time.Time) bool { return s.keys.Load().active(now) != nil }

// Sign returns the signature of a set that the zone has, at the time now; the set may be an answer made for one client. The name of the RRSIG record is that
// of the set, letter case included; the record is the caller's. A name whose first label is "*" is signed as the wildcard itself.
func (s *Signer) Sign(set []dns.RR, now time.Time) (*dns.RRSIG, error) {
	k := s.keys.Load().active(now)
	if k == nil {
		return nil, ErrUnsigned
	}
	return s.sign(set, k, now, s.answers, nil, netip.Addr{})
}

// SignFor is Sign for a set at a name that anyone may invent: a denial, or what a wildcard stands for. Client is who asks; proven says that its address is
// not forged, as over TCP. It returns ErrBusy beyond the limits.
func (s *Signer) SignFor(set []dns.RR, now time.Time, client netip.Addr, proven bool) (*dns.RRSIG, error) {
	k := s.keys.Load().active(now)
	if k == nil {
		return nil, ErrUnsigned
	}
	l := s.udp
	if proven {
		l = s.tcp
	}
	return s.sign(set, k, now, s.denials, l, client)
}

// SignKeys returns the signatures of the DNSKEY set, one by each key in it: a validator may trust any of them by its DS.
func (s *Signer) SignKeys(set []dns.RR, now time.Time) ([]dns.RR, error) {
	var out []dns.RR
	for _, k := range s.keys.Load().In(now, Published, Active, Retired) {
		sig, err := s.sign(set, k, now, s.answers, nil, netip.Addr{})
		if err != nil {
			return nil, err
		}
		out = append(out, sig)
	}
	return out, nil
}

// sign returns the signature of set by k. It is bounded by a lane, for the sake of client, unless that is nil: names that nobody can invent are few, and
// signed once.
func (s *Signer) sign(set []dns.RR, k *Key, now time.Time, remember *cache, l *lane, client netip.Addr) (*dns.RRSIG, error) {
	c := s.scratch.Get().(*canonical)
	defer s.scratch.Put(c)
	if err := c.load(set); err != nil {
		return nil, err
	}
	lo, hi := siphash.Hash128(s.seed[0], s.seed[1]^k.id, c.out)
	unix := now.Unix()
	e := remember.get(lo, hi, unix)
	if e != nil && (unix < e.renew || !e.renewing.CompareAndSwap(false, true)) {
		s.counters.Reused.Add(1)
		return e.owned(set), nil
	}
	if l != nil {
		if e == nil && !l.allow(client, now) {
			s.counters.Limited.Add(1)
			return nil, ErrBusy
		}
		if !l.enter() {
			s.counters.Busy.Add(1)
			if e != nil { // good for days yet
				e.renewing.Store(false)
				return e.owned(set), nil
			}
			return nil, ErrBusy
		}
		defer l.leave()
	}
	sig, err := s.make(c, set[0].Header(), k, now)
	if err != nil {
		if e != nil {
			e.renewing.Store(false)
		}
		return nil, err
	}
	fresh := &entry{lo: lo, hi: hi, sig: sig, renew: now.Add(Validity - Renew).Unix()}
	remember.put(fresh, unix)
	return fresh.owned(set), nil
}

// owned returns the signature for a caller, with the name of set as it is written there.
func (e *entry) owned(set []dns.RR) *dns.RRSIG {
	sig := *e.sig
	sig.Hdr.Name = set[0].Header().Name
	return &sig
}

// make makes one signature: RFC 4034 §3.1.8.1, RFC 6605 §4.
func (s *Signer) make(c *canonical, h *dns.RR_Header, k *Key, now time.Time) (*dns.RRSIG, error) {
	sig := &dns.RRSIG{
		Hdr:         dns.RR_Header{Rrtype: dns.TypeRRSIG, Class: h.Class, Ttl: h.Ttl},
		TypeCovered: h.Rrtype, Algorithm: dns.ECDSAP256SHA256, Labels: c.labels, OrigTtl: h.Ttl,
		Inception: uint32(now.Add(-Early).Unix()), Expiration: uint32(now.Add(Validity).Unix()), KeyTag: k.Tag, SignerName: s.zone,
	}
	digest := sha256.Sum256(c.signed(sig, s.wire))
	der, err := ecdsa.SignASN1(rand.Reader, k.private, digest[:])
	if err != nil {
		return nil, fmt.Errorf("sign %s %s: %w", h.Name, dns.Type(h.Rrtype), err)
	}
	var point struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &point); err != nil {
		return nil, fmt.Errorf("sign %s %s: %w", h.Name, dns.Type(h.Rrtype), err)
	}
	var raw [64]byte
	point.R.FillBytes(raw[:32])
	point.S.FillBytes(raw[32:])
	sig.Signature = base64.StdEncoding.EncodeToString(raw[:])
	s.counters.Made.Add(1)
	return sig, nil
}

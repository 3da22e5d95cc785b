package sign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// State is where a key is in its life.
type State string

// The states of a key, in their order.
const (
	Planned   State = "planned"   // nothing of it is in the zone yet
	Published State = "published" // its DNSKEY is in the zone
	Active    State = "active"    // it signs the zone
	Retired   State = "retired"   // it signs nothing but the DNSKEY set
	Removed   State = "removed"   // nothing of it is in the zone any more
)

// Key is one key of a zone with the times at which it changes its state; a zero time has not been decided yet. It is immutable.
type Key struct {
	Tag       uint16 // RFC 4034 appendix B; unique among the keys of a set
	Published time.Time
	SeenDS    time.Time // when its DS was seen at the parent
	Active    time.Time
	Retired   time.Time
	Removed   time.Time

	private *ecdsa.PrivateKey
	dnskey  *dns.DNSKEY
	id      uint64 // of its public key, for telling keys with the same tag apart
}

// newKey makes a key for the canonical zone with a tag that is not in taken.
func newKey(zone string, taken func(tag uint16) bool) (*Key, error) {
	for range 100 {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		k, err := keyOf(zone, private)
		if err != nil || !taken(k.Tag) {
			return k, err
		}
	}
	return nil, errors.New("make a key: its tag is taken, a hundred times in a row")
}

func keyOf(zone string, private *ecdsa.PrivateKey) (*Key, error) {
	point, err := private.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("read a public key: %w", err)
	}
	k := &Key{private: private, dnskey: &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: uint32(KeyTTL / time.Second)},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
		PublicKey: base64.StdEncoding.EncodeToString(point[1:]), // without the byte that says that it is not compressed: RFC 6605 §4
	}}
	k.Tag = k.dnskey.KeyTag()
	sum := sha256.Sum256(point)
	k.id = binary.BigEndian.Uint64(sum[:])
	return k, nil
}

// State returns the state at a moment.
func (k *Key) State(now time.Time) State {
	reached := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case reached(k.Removed):
		return Removed
	case reached(k.Retired):
		return Retired
	case reached(k.Active):
		return Active
	case reached(k.Published):
		return Published
	}
	return Planned
}

// DNSKEY returns the public key as a record of the zone.
func (k *Key) DNSKEY() *dns.DNSKEY { return dns.Copy(k.dnskey).(*dns.DNSKEY) }

// DS returns the record that the parent has to publish for the key, with a SHA-256 digest (RFC 4509).
func (k *Key) DS() *dns.DS { return k.dnskey.ToDS(dns.SHA256) }

// keyFile is a key in a file. The private key is the scalar, 32 bytes, as in RFC 6605 §6.
type keyFile struct {
	Tag       uint16    `json:"tag"`
	Algorithm uint8     `json:"algorithm"`
	Private   []byte    `json:"private"`
	Published time.Time `json:"published"`
	SeenDS    time.Time `json:"seen_ds,omitzero"`
	Active    time.Time `json:"active,omitzero"`
	Retired   time.Time `json:"retired,omitzero"`
	Removed   time.Time `json:"removed,omitzero"`
}

func (k *Key) file() (keyFile, error) {
	scalar, err := k.private.Bytes()
	if err != nil {
		return keyFile{}, fmt.Errorf("write key %d: %w", k.Tag, err)
	}
	return keyFile{k.Tag, dns.ECDSAP256SHA256, scalar, k.Published, k.SeenDS, k.Active, k.Retired, k.Removed}, nil
}

func (f *keyFile) key(zone string) (*Key, error) {
	if f.Algorithm != dns.ECDSAP256SHA256 {
		return nil, fmt.Errorf("key %d: algorithm %d is not known, only 13", f.Tag, f.Algorithm)
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), f.Private)
	if err != nil {
		return nil, fmt.Errorf("key %d: %w", f.Tag, err)
	}
	k, err := keyOf(zone, private)
	if err != nil {
		return nil, err
	}
	if k.Tag != f.Tag {
		return nil, fmt.Errorf("key %d: the private key in it has tag %d", f.Tag, k.Tag)
	}
	k.Published, k.SeenDS, k.Active, k.Retired, k.Removed = f.Published, f.SeenDS, f.Active, f.Retired, f.Removed
	return k, k.check()
}

// check looks for times in the wrong order.
func (k *Key) check() error {
	if k.Published.IsZero() {
		return fmt.Errorf("key %d: it has no time of publication", k.Tag)
	}
	last := k.Published
	for _, t := range []time.Time{k.Active, k.Retired, k.Removed} {
		if t.IsZero() {
			continue
		}
		if t.Before(last) {
			return fmt.Errorf("key %d: its times are not in order", k.Tag)
		}
		last = t
	}
	return nil
}

// String names the key without its secret, so that a key that is printed by mistake gives nothing away.
func (k *Key) String() string { return fmt.Sprintf("key %d", k.Tag) }

// MarshalJSON refuses: only a KeySet writes keys.
func (k *Key) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a key is written with its set only")
}

var _ json.Marshaler = (*Key)(nil)

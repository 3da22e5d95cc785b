package sign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/miekg/dns"
)

const (
	// KeyTTL is the TTL of the DNSKEY, CDS and CDNSKEY records.
	KeyTTL = time.Hour
	// Spread is the longest time that a key set may need to reach all servers of the zone.
	Spread = time.Hour
	// DefaultMaxTTL is the longest TTL of a signed record unless a key set says otherwise.
	DefaultMaxTTL = 24 * time.Hour

	maxMaxTTL = 7 * 24 * time.Hour / 3 // a signature must outlive its record in caches: no more than what Renew leaves
	maxKeys   = 8
	maxSet    = 16 << 10 // bytes of a key set in a file or message
	setFormat = 1
)

// KeySet is the keys of a zone. It is immutable: what changes it returns another one with a higher serial.
type KeySet struct {
	Zone   string // canonical
	Serial uint64 // of two sets of a zone the higher one is in force
	// MaxTTL is the longest TTL of a signed record: answers with longer ones are shortened, since a rollover waits that long.
	MaxTTL time.Duration
	// Withdrawn is when the parent was first asked, by CDS and CDNSKEY records, to delete all DS records (RFC 8078 §4); zero if it is not.
	Withdrawn time.Time
	Keys      []*Key // in the order in which they become active
}

// Unsigned returns the set of a zone without keys. Every other set of the zone supersedes it.
func Unsigned(zone string) *KeySet {
	return &KeySet{Zone: dns.CanonicalName(zone), MaxTTL: DefaultMaxTTL}
}

// setFile is the form of a key set in files and messages.
type setFile struct {
	Format    int       `json:"format"`
	Zone      string    `json:"zone"`
	Serial    uint64    `json:"serial"`
	MaxTTL    int64     `json:"max_ttl_s"`
	Withdrawn time.Time `json:"withdrawn,omitzero"`
	Keys      []keyFile `json:"keys"`
}

// Marshal returns the set, private keys included, in the form that Parse reads.
func (s *KeySet) Marshal() ([]byte, error) {
	f := setFile{Format: setFormat, Zone: s.Zone, Serial: s.Serial, MaxTTL: int64(s.MaxTTL / time.Second), Withdrawn: s.Withdrawn, Keys: []keyFile{}}
	for _, k := range s.Keys {
		kf, err := k.file()
		if err != nil {
			return nil, err
		}
		f.Keys = append(f.Keys, kf)
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write key set: %w", err)
	}
	return append(b, '\n'), nil
}

// Parse reads a key set. It accepts only what Marshal writes: unknown fields and anything after the end are errors.
func Parse(b []byte) (*KeySet, error) {
	s, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	return s, nil
}

func parse(b []byte) (*KeySet, error) {
	if len(b) > maxSet {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", len(b), maxSet)
	}
	var f setFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows its end")
	}
	maxTTL := time.Duration(f.MaxTTL) * time.Second
	switch {
	case f.Format != setFormat:
		return nil, fmt.Errorf("its format %d is not known to this version", f.Format)
	case CheckZone(f.Zone) != nil:
		return nil, CheckZone(f.Zone)
	case f.Serial == 0:
		return nil, errors.New("it has no serial")
	case f.MaxTTL < 1 || f.MaxTTL > int64(maxMaxTTL/time.Second):
		return nil, fmt.Errorf("its longest TTL of %d s is not between 1 s and %v", f.MaxTTL, maxMaxTTL)
	case len(f.Keys) > maxKeys:
		return nil, fmt.Errorf("it has %d keys, at most %d are kept", len(f.Keys), maxKeys)
	}
	s := &KeySet{Zone: f.Zone, Serial: f.Serial, MaxTTL: maxTTL, Withdrawn: f.Withdrawn}
	for i := range f.Keys {
		k, err := f.Keys[i].key(s.Zone)
		if err != nil {
			return nil, err
		}
		s.Keys = append(s.Keys, k)
	}
	return s, s.check()
}

// check looks for what no sequence of changes leads to: the keys follow one another without a gap and without an overlap.
func (s *KeySet) check() error {
	for i, k := range s.Keys {
		if s.find(k.Tag) != k {
			return fmt.Errorf("two keys have tag %d", k.Tag)
		}
		last := i == len(s.Keys)-1
		switch {
		case k.Active.IsZero() && (!last || !k.Retired.IsZero() || !k.Removed.IsZero()):
			return fmt.Errorf("key %d: only the last key may wait for its time, and nothing comes before that", k.Tag)
		case !last && !s.Keys[i+1].Active.Equal(k.Retired) && (!s.Keys[i+1].Active.IsZero() || !k.Retired.IsZero()):
			return fmt.Errorf("key %d does not take over when key %d retires", s.Keys[i+1].Tag, k.Tag)
		case !k.Removed.IsZero() && k.Retired.IsZero():
			return fmt.Errorf("key %d: it is removed and never retired", k.Tag)
		}
	}
	return nil
}

// CheckZone returns why zone is not a zone that can be signed: it must be a domain name in canonical form of letters, digits, '-' and '_',
// because it names a file.
func CheckZone(zone string) error {
	if _, ok := dns.IsDomainName(zone); !ok || zone == "." || len(zone) > 200 {
		return fmt.Errorf("%q is no name of a zone", zone)
	}
	for i := range len(zone) {
		c := zone[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return fmt.Errorf("zone %q: only lower-case letters, digits, '-', '_' and '.' may be in the name of a signed zone", zone)
		}
	}
	if !dns.IsFqdn(zone) || zone[0] == '.' {
		return fmt.Errorf("zone %q does not end in '.'", zone)
	}
	return nil
}

func (s *KeySet) find(tag uint16) *Key {
	for _, k := range s.Keys {
		if k.Tag == tag {
			return k
		}
	}
	return nil
}

// In returns the keys that are in one of the states at a moment.
func (s *KeySet) In(now time.Time, states ...State) []*Key {
	var out []*Key
	for _, k := range s.Keys {
		for _, want := range states {
			if k.State(now) == want {
				out = append(out, k)
			}
		}
	}
	return out
}

// active returns the key that signs at a moment; nil when the zone is not signed.
func (s *KeySet) active(now time.Time) *Key {
	for _, k := range s.Keys {
		if k.State(now) == Active {
			return k
		}
	}
	return nil
}

// Same reports whether two sets have the same keys, times and serial.
func (s *KeySet) Same(other *KeySet) bool {
	a, err := s.Marshal()
	if err != nil {
		return false
	}
	b, err := other.Marshal()
	return err == nil && bytes.Equal(a, b)
}

// Supersedes reports whether s takes the place of old, which may be nil: it is of the same zone and newer.
func (s *KeySet) Supersedes(old *KeySet) bool {
	return old == nil || s.Zone == old.Zone && s.Serial > old.Serial
}

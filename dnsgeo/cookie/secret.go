package cookie

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// SecretSize is the length of a secret in bytes: a key of SipHash-2-4.
const SecretSize = 16

// Secret is what cookies are made with. It masks itself when it is printed; the zero Secret stands for none.
type Secret [SecretSize]byte

// String masks the secret.
func (Secret) String() string { return "********" }

// GoString masks the secret for %#v.
func (s Secret) GoString() string { return s.String() }

// Format masks the secret for every verb, %x included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// ParseSecret reads a secret as other servers' configurations have it: 32 hexadecimal digits. The error does not tell them.
func ParseSecret(text string) (Secret, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != SecretSize {
		return Secret{}, errors.New("a cookie secret is 32 hexadecimal digits, such as `openssl rand -hex 16` prints")
	}
	s := Secret(b)
	if s == (Secret{}) {
		return Secret{}, errors.New("a cookie secret is not all zero; make one with `openssl rand -hex 16`")
	}
	return s, nil
}

// Secrets are those that a Jar works with. To go over to a new one on several servers (RFC 9018 §5): first it becomes Next everywhere;
// then, everywhere, Current, and what was Current becomes Previous; an hour after the last server did so, Previous can go.
type Secrets struct {
	Current  Secret // makes cookies
	Previous Secret // is still accepted; may be zero
	Next     Secret // is accepted already; may be zero
}

// The places in a set.
const (
	current = iota
	previous
	next
	places
)

// set is what a Jar uses at one time. It does not change.
type set struct {
	secrets [places]secret
	period  int64 // number of the period it was derived for
}

type secret struct {
	k0, k1 uint64
	set    bool
}

func (s Secret) key() secret {
	return secret{binary.LittleEndian.Uint64(s[:8]), binary.LittleEndian.Uint64(s[8:]), s != Secret{}}
}

func newSet(s Secrets, period int64) *set {
	return &set{secrets: [places]secret{s.Current.key(), s.Previous.key(), s.Next.key()}, period: period}
}

// New makes a Jar of given secrets; Current must be there.
func New(s Secrets) (*Jar, error) {
	j := &Jar{}
	if err := j.Replace(s); err != nil {
		return nil, err
	}
	return j, nil
}

// Replace gives the jar other secrets; the next query is judged by them. It fails for secrets without a current one, and for a Jar that derives
// its own; then nothing changes.
func (j *Jar) Replace(s Secrets) error {
	if j.derive != nil {
		return errors.New("replace cookie secrets: they are derived")
	}
	if s.Current == (Secret{}) {
		return errors.New("cookie secrets: the current one is missing")
	}
	j.set.Store(newSet(s, 0))
	return nil
}

// derivation is how secrets follow from a shared key.
type derivation struct {
	key    []byte
	period int64 // in seconds
}

// The bounds of what NewDerived takes.
const (
	MinKey    = 16                  // bytes of a shared key
	MinPeriod = time.Hour           // a cookie outlives the secret it was made with by up to an hour, which Previous then covers
	MaxPeriod = 36 * 24 * time.Hour // RFC 7873 §7.1
)

// NewDerived makes a Jar whose secrets follow from a key, at least MinKey bytes, that all servers share, and from the time: a new
// one begins with each period since 1970. Servers whose clocks differ by less than a period accept each other's cookies, as far as
// their age allows.
func NewDerived(key []byte, period time.Duration) (*Jar, error) {
	if len(key) < MinKey {
		return nil, fmt.Errorf("cookie secrets: the shared key has %d bytes; give it at least %d", len(key), MinKey)
	}
	if period < MinPeriod || period > MaxPeriod || period%time.Second != 0 {
		return nil, fmt.Errorf("cookie secrets: a period of %v is not a whole number of seconds from %v to %v", period, MinPeriod, MaxPeriod)
	}
	return &Jar{derive: &derivation{append([]byte(nil), key...), int64(period / time.Second)}}, nil
}

// Derive returns the secret of a period by its number: HKDF (RFC 5869) with SHA-256, so that none of them tells another one or the key.
func Derive(key []byte, period int64) Secret {
	b, err := hkdf.Key(sha256.New, key, nil, "perigee dns cookie "+strconv.FormatInt(period, 10), SecretSize)
	if err != nil {
		panic("cookie: " + err.Error()) // only for a length that SHA-256 cannot give
	}
	return Secret(b)
}

// at returns the secrets of this moment. Two callers who meet at the turn of a period derive the same.
func (j *Jar) at(now time.Time) *set {
	s := j.set.Load()
	if j.derive == nil {
		return s
	}
	period := now.Unix() / j.derive.period
	if s == nil || s.period != period {
		d := j.derive
		s = newSet(Secrets{Derive(d.key, period), Derive(d.key, period-1), Derive(d.key, period+1)}, period)
		j.set.Store(s)
	}
	return s
}

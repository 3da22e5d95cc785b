// Package cookie makes and checks the server cookies of DNS (RFC 7873) in the form that servers of different make share
// (RFC 9018: version 1, SipHash-2-4). A client that returns one has received an answer at the address it asks from, and has not
// forged it.
//
// It reads and writes the data of one EDNS option, nothing else: finding the option, answering FORMERR or BADCOOKIE and being
// kinder to who has a good cookie are the caller's. It keeps nothing about clients, starts no goroutine and reads no clock.
//
// # Secrets
//
// A Jar makes cookies with one secret and accepts those of three: the current one, the one before and the one that comes next, so
// that many servers behind one address can go over to a new secret at slightly different times (RFC 9018 §5). They are either given, and then
// replaced by whoever gave them, or derived from a key that all servers share and the number of the period it is: such servers
// agree without talking, and go over by themselves with the first query of a new period. A secret is never printed.
package cookie

import (
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/dchest/siphash"
)

// The option and its parts, in bytes: RFC 7873 §4, RFC 9018 §4.
const (
	OptionCode = 10 // of the EDNS option COOKIE
	ClientSize = 8  // of a client cookie
	ServerSize = 16 // of a server cookie as made here
	Size       = ClientSize + ServerSize

	minServer, maxServer = 8, 32 // what a server cookie may measure, whoever made it
)

// How old a cookie may be, RFC 9018 §4.3.
const (
	lifetime = time.Hour        // older ones are bad
	ahead    = 5 * time.Minute  // made by a server whose clock is further ahead than this: bad
	renewal  = 30 * time.Minute // older ones are good, and replaced
)

const version1 = 1

// Verdict is what a COOKIE option is.
type Verdict uint8

// The verdicts. An answer to any of them but Absent and Malformed carries a COOKIE option: see Reply.
const (
	// Absent: the query has no such option.
	Absent Verdict = iota
	// Malformed: its length is none that an option may have, to be answered with FORMERR (RFC 7873 §5.2.2).
	Malformed
	// ClientOnly: the client does not know a server cookie yet (RFC 7873 §5.2.3).
	ClientOnly
	// Bad: its server cookie was not made here for this client, or too long ago; to be treated as ClientOnly (RFC 7873 §5.2.4).
	Bad
	// Good: the client has its address from us to thank for (RFC 7873 §5.2.5).
	Good
	// Renew is Good, but the cookie is in its second half hour or was made with another secret than the current one; Reply gives a new one.
	Renew
)

var verdicts = [...]string{"absent", "malformed", "client-only", "bad", "good", "renew"}

// String returns the verdict as metrics and logs call it.
func (v Verdict) String() string {
	if int(v) < len(verdicts) {
		return verdicts[v]
	}
	return "unknown"
}

// Proven reports whether the client has shown that it receives what is sent to its address.
func (v Verdict) Proven() bool { return v == Good || v == Renew }

// Jar makes and checks cookies. Its methods are safe for concurrent use and allocate nothing, but for the first call in a new
// period of derived secrets.
type Jar struct {
	set    atomic.Pointer[set]
	derive *derivation // nil when the secrets are given
	counts [len(verdicts)]count
}

// count has a cache line for itself.
type count struct {
	atomic.Uint64
	_ [56]byte
}

// Count returns how many options were found to be v.
func (j *Jar) Count(v Verdict) uint64 {
	if int(v) >= len(j.counts) {
		return 0
	}
	return j.counts[v].Load()
}

// Check judges the data of a query's COOKIE option, nil if it has none, that came from client at the time now. Data that is empty and not
// nil is an option without data.
func (j *Jar) Check(option []byte, client netip.Addr, now time.Time) Verdict {
	v := j.judge(option, client, now)
	j.counts[v].Add(1)
	return v
}

func (j *Jar) judge(option []byte, client netip.Addr, now time.Time) Verdict {
	server := len(option) - ClientSize
	switch {
	case option == nil:
		return Absent
	case server == 0:
		return ClientOnly
	case server < minServer || server > maxServer:
		return Malformed
	case server != ServerSize || option[ClientSize] != version1 || !client.IsValid():
		return Bad
	}
	// Serial arithmetic (RFC 1982), so that 2106 is a year like any other.
	made := binary.BigEndian.Uint32(option[ClientSize+4:])
	age := time.Duration(int32(uint32(now.Unix())-made)) * time.Second
	if age > lifetime || age < -ahead {
		return Bad
	}
	keys := j.at(now)
	for i := range keys.secrets {
		s := &keys.secrets[i]
		if !s.set {
			continue
		}
		// The reserved bytes go into the hash as they came: RFC 9018 §4.2.
		var want [8]byte
		s.hash(&want, option[:Size-len(want)], client)
		if subtle.ConstantTimeCompare(want[:], option[Size-len(want):]) == 1 {
			if i != current || age > renewal {
				return Renew
			}
			return Good
		}
	}
	return Bad
}

// Reply appends the data of the COOKIE option that answers an option which Check found to be v: the same cookie while it is good,
// a new one for the same client cookie else, nothing for Absent and Malformed.
func (j *Jar) Reply(dst, option []byte, v Verdict, client netip.Addr, now time.Time) []byte {
	switch {
	case v == Good:
		return append(dst, option...)
	case v == Absent, v == Malformed, len(option) < ClientSize:
		return dst
	}
	return j.Make(dst, [ClientSize]byte(option), client, now)
}

// Make appends the data of a COOKIE option: a client cookie and the server cookie for it, Size bytes.
func (j *Jar) Make(dst []byte, cookie [ClientSize]byte, client netip.Addr, now time.Time) []byte {
	from := len(dst)
	dst = append(dst, cookie[:]...)
	dst = append(dst, version1, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(now.Unix()))
	var h [8]byte
	j.at(now).secrets[current].hash(&h, dst[from:], client)
	return append(dst, h[:]...)
}

// hash is RFC 9018 §4.4: the client cookie, the server cookie up to the hash, and the client's address, 4 or 16 bytes.
func (s *secret) hash(out *[8]byte, head []byte, client netip.Addr) {
	var b [ClientSize + 8 + 16]byte
	n := copy(b[:], head)
	if client = client.Unmap(); client.Is4() {
		a := client.As4()
		n += copy(b[n:], a[:])
	} else {
		a := client.As16()
		n += copy(b[n:], a[:])
	}
	binary.LittleEndian.PutUint64(out[:], siphash.Hash(s.k0, s.k1, b[:n]))
}

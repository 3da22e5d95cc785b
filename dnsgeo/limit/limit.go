// Package limit is response rate limiting: it bounds how many answers over UDP go to one network, so that queries with a forged
// source address cannot turn the server against somebody.
//
// It counts answers, not queries: by the client's network (/24 and /56, unless configured otherwise) and by what kind of answer it
// is, as BIND and Knot do, and all kinds together. What is beyond the rate is dropped, or every n-th time answered with an empty
// truncated answer that costs no more than the query did: a real client then asks again over TCP, which nobody can forge, and a
// client that has shown its address otherwise (TCP, a good cookie) is not limited at all.
//
// It is not a firewall: a query has been read and answered when it is asked, so it protects others, not this server.
//
// # The table
//
// A bucket is one word of 64 bits: the beginning of a keyed hash of (network, class, name), and the moment at which the bucket will be full
// again, the only number that a token bucket needs (it is the generic cell rate algorithm). Eight buckets share a cache line, and a
// hash leads to one line; nothing is locked. A bucket that is full again is as good as none, so its place is taken without loss. Only in a line in which eight
// are in use is the fullest given up: an attacker who floods the table with networks throws out those that are hardly limited first, and
// his victim's last. Two keys are taken for one with a probability of 1 in 500,000, and the hash is keyed at random in each process, so that
// nobody can aim at it. Two cores that make the same bucket at the same moment may make it twice; then it lets through up to twice its burst, once.
//
// A Limiter starts no goroutine and reads no clock. Its memory is fixed when it is made.
package limit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// Class is what kind of answer is limited.
type Class uint8

// The classes. Only positive answers are counted by name: the others can be had for any name that comes to mind, so all names share a bucket.
const (
	Positive Class = iota // records of the name that was asked
	NoData                // the name is there, the type is not
	NXDomain              // no such name
	Referral              // ask another server
	Error                 // REFUSED, FORMERR, SERVFAIL …: no answer at all
	all                   // what comes on top: every answer to the network
	classes
)

var classNames = [...]string{"positive", "nodata", "nxdomain", "referral", "error", "all"}

// Classes are those that Check takes.
var Classes = [...]Class{Positive, NoData, NXDomain, Referral, Error}

// String returns the class as configuration and metrics call it.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// Verdict is what becomes of an answer.
type Verdict uint8

// The verdicts.
const (
	Answer Verdict = iota // send it
	Slip                  // send only its head and question, with TC set
	Drop                  // send nothing
)

const (
	ways = 8 // buckets in a line

	// A bucket is, from the top: fingerprint, how many answers were suppressed since the last slip, when it will be full.
	fullBits, slipBits = 38, 4
	fullMask           = 1<<fullBits - 1 // in microseconds since the start, round and round every 76 hours
	slipMask           = 1<<slipBits - 1
	slipUnit           = 1 << fullBits
	printShift         = fullBits + slipBits

	// slack is by how much cores may differ in what time it is. A bucket that is to be full later than any can be was left from the last round.
	slack = uint64(time.Minute / time.Microsecond)

	// tries bounds how often a bucket is tried again that other cores keep changing. Who reaches it is in the midst of a flood.
	tries = 16
)

// line is a cache line of buckets.
type line [ways]atomic.Uint64

// Limiter bounds answers. Its methods are safe for concurrent use and allocate nothing. A nil *Limiter lets everything through.
type Limiter struct {
	lines    []line
	seed     maphash.Seed
	start    time.Time
	interval [classes]uint64 // microseconds for which one answer fills a bucket; 0 is no limit
	burst    uint64          // microseconds that fit into a bucket
	slip     uint64
	v4       uint32
	v6       [2]uint64
	exempt   []netip.Prefix // sorted, none within another

	// Counters count since the start.
	Counters Counters
}

// Counters count since the start. Each is safe to read at any time.
type Counters struct {
	Dropped [len(Classes)]atomic.Uint64 // answers not sent, by Class
	Slipped [len(Classes)]atomic.Uint64 // answers sent truncated and empty, by Class
	Overall atomic.Uint64               // of both, those within the rate of their class and beyond that of all classes
	Evicted atomic.Uint64               // buckets given up while they were in use: a growing number asks for a larger table
}

// Check says what becomes of an answer to client. For a Positive one name is the owner of its records in canonical form, any bytes that are the same for
// the same owner: the wildcard's and not the asked one when a wildcard made it, or random names each get a bucket of their own. The type
// does not count, so that asking for many types of one name gains nothing. For other classes name is ignored.
// Do not ask for clients that have shown their address: TCP, a good cookie.
func (l *Limiter) Check(client netip.Addr, class Class, name []byte, now time.Time) Verdict {
	if l == nil || class >= all || !client.IsValid() {
		return Answer
	}
	client = client.Unmap()
	if len(l.exempt) > 0 && l.exempted(client) {
		return Answer
	}
	network := l.network(client)
	t := uint64(max(now.Sub(l.start), 0)/time.Microsecond) & fullMask
	key := network + uint64(class)
	if class == Positive {
		key += maphash.Bytes(l.seed, name)
	}
	v := l.take(mix(key), l.interval[class], t)
	if v == Answer {
		if v = l.take(mix(network+uint64(all)), l.interval[all], t); v != Answer {
			l.Counters.Overall.Add(1)
		}
	}
	switch v {
	case Drop:
		l.Counters.Dropped[class].Add(1)
	case Slip:
		l.Counters.Slipped[class].Add(1)
	}
	return v
}

// network is the keyed hash of a client's network and its family.
func (l *Limiter) network(client netip.Addr) uint64 {
	var b [17]byte
	if client.Is4() {
		a := client.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(a[:])&l.v4)
		b[16] = 4
		return maphash.Bytes(l.seed, b[:])
	}
	a := client.As16()
	binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(a[:])&l.v6[0])
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(a[8:])&l.v6[1])
	b[16] = 6
	return maphash.Bytes(l.seed, b[:])
}

// mix spreads a sum of hashes over all bits (the finalizer of MurmurHash3). What goes in is keyed already.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// take takes one answer out of the bucket of a key.
func (l *Limiter) take(key, interval, t uint64) Verdict {
	if interval == 0 {
		return Answer
	}
	set := &l.lines[key&uint64(len(l.lines)-1)]
	print := max(key>>printShift, 1)
	for range tries {
		b, old, fill := l.find(set, print, t)
		if old>>printShift != print {
			// No such bucket: a full one takes the place.
			if !b.CompareAndSwap(old, print<<printShift|(t+interval)&fullMask) {
				continue
			}
			if fill > 0 {
				l.Counters.Evicted.Add(1)
			}
			return Answer
		}
		if fill+interval <= l.burst {
			if b.CompareAndSwap(old, old&^fullMask|(t+fill+interval)&fullMask) {
				return Answer
			}
			continue
		}
		if l.slip <= 1 {
			return [...]Verdict{Drop, Slip}[l.slip]
		}
		n := old>>fullBits&slipMask + 1
		if n < l.slip {
			if b.CompareAndSwap(old, old+slipUnit) {
				return Drop
			}
		} else if b.CompareAndSwap(old, old-(n-1)*slipUnit) {
			return Slip
		}
	}
	return Drop
}

// find returns the bucket with a fingerprint, or the one that such a bucket may replace, what it holds, and how much is missing in it in microseconds.
func (l *Limiter) find(set *line, print, t uint64) (b *atomic.Uint64, old, fill uint64) {
	for i := range set {
		if w := set[i].Load(); w>>printShift == print {
			return &set[i], w, l.missing(w, t)
		}
	}
	fill = ^uint64(0)
	for i := range set {
		w := set[i].Load()
		if m := l.missing(w, t); m < fill {
			b, old, fill = &set[i], w, m
			if m == 0 {
				break
			}
		}
	}
	return b, old, fill
}

// missing returns how long it takes until a bucket is full.
func (l *Limiter) missing(w, t uint64) uint64 {
	if m := (w - t) & fullMask; w != 0 && m <= l.burst+slack {
		return m
	}
	return 0
}

// exempted reports whether client is in one of the exempt networks.
func (l *Limiter) exempted(client netip.Addr) bool {
	lo, hi := 0, len(l.exempt)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if l.exempt[mid].Addr().Compare(client) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo > 0 && l.exempt[lo-1].Contains(client)
}

package rtt

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/fleet"
)

// The bounds of a Table.
const (
	// Size is how many networks a Table holds, at some 80 bytes each.
	Size = 8192
	// MinReport is how many new connections of a network make it worth a report.
	MinReport = 3
	ways      = 8 // places that a network may have; it competes with those that share them
	sets      = Size / ways
	kept      = 15 // round trips of a network, the last ones
)

// takeEvery is the least time between two parts: a node that reports more often, because the log moves, has nothing new of clients.
const takeEvery = fleet.ReportEvery * 4 / 5

// halfLife is how long it takes a network to count half as much against newcomers when nothing of it comes any more.
const halfLife = 10 * time.Minute

// Table holds round trips by network. It is safe for concurrent use.
type Table struct {
	clock   clock.Clock
	began   time.Time
	seed    uint64 // so that nobody can choose addresses that compete for the same places
	added   atomic.Int64
	evicted atomic.Int64
	held    atomic.Int64

	sets [sets]set

	mu    sync.Mutex // of those who take
	turn  int        // the set where the next part begins
	taken time.Time
}

type set struct {
	mu   sync.Mutex
	ways [ways]entry
}

// entry is a network; with key 0 it is nobody's.
type entry struct {
	key    uint64
	last   uint32 // seconds since the table began
	count  uint32 // connections, up to the largest number
	fresh  uint16 // of those, since the last report, up to the largest number
	n      uint8  // round trips held
	at     uint8  // where the next one goes
	micros [kept]uint32
}

// New returns an empty Table.
func New(c clock.Clock) *Table { return &Table{clock: c, began: c.Now(), seed: rand.Uint64()} }

// Add takes in the round trip of a connection with a client, in microseconds. What cannot be reported is left out: no time at all, more than a
// minute, no address.
func (t *Table) Add(client netip.Addr, micros uint32) {
	key := keyOf(client.Unmap())
	if key == 0 || micros == 0 || micros > fleet.MaxMicros {
		return
	}
	now := uint32(t.clock.Now().Sub(t.began) / time.Second)
	s := &t.sets[mix(key^t.seed)%sets]
	t.added.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.place(key, now)
	switch {
	case e.key == 0:
		t.held.Add(1)
	case e.key != key:
		t.evicted.Add(1)
	}
	if e.key != key {
		*e = entry{key: key}
	}
	e.last = now
	e.micros[e.at] = micros
	e.at = (e.at + 1) % kept
	e.n = min(e.n+1, kept)
	if e.count < math.MaxUint32 {
		e.count++
	}
	if e.fresh < math.MaxUint16 {
		e.fresh++
	}
}

// place returns the place of a network: its own, a free one, or that of the one with the least connections, the longest unseen among equals.
func (s *set) place(key uint64, now uint32) *entry {
	least := &s.ways[0]
	for i := range s.ways {
		e := &s.ways[i]
		if e.key == key {
			return e
		}
		a, b := e.weight(now), least.weight(now)
		if a < b || a == b && e.last < least.last {
			least = e
		}
	}
	return least
}

// weight is what a network has to say against newcomers; 0 for a free place.
func (e *entry) weight(now uint32) uint32 {
	if e.key == 0 {
		return 0
	}
	idle := now - min(now, e.last)
	return max(1, e.count>>min(31, idle/uint32(halfLife/time.Second)))
}

// Take returns the next part of what is new, at most limit networks. Those that did not fit come next time, so that all have their turn.
// Calls that follow one another faster than reports on time return nothing.
func (t *Table) Take(limit int) []fleet.PrefixRTT {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	if !t.taken.IsZero() && now.Sub(t.taken) < takeEvery {
		return nil
	}
	t.taken = now
	var out []fleet.PrefixRTT
	for range sets {
		s := &t.sets[t.turn]
		s.mu.Lock()
		for i := range s.ways {
			e := &s.ways[i]
			if e.key == 0 || e.fresh < MinReport {
				continue
			}
			if len(out) == limit {
				s.mu.Unlock()
				return out // this set again next time, for what is left of it
			}
			out = append(out, fleet.PrefixRTT{Prefix: prefixOf(e.key), Micros: e.median(), N: e.fresh})
			e.fresh = 0
		}
		s.mu.Unlock()
		t.turn = (t.turn + 1) % sets
	}
	return out
}

func (e *entry) median() uint32 {
	var m [kept]uint32
	n := copy(m[:], e.micros[:e.n])
	slices.Sort(m[:n])
	return m[n/2]
}

// Stats are figures of a Table since it was made.
type Stats struct {
	Added    int64 // connections measured
	Evicted  int64 // networks that gave way to others
	Networks int64 // networks held now
}

// Stats returns the figures of now.
func (t *Table) Stats() Stats {
	return Stats{Added: t.added.Load(), Evicted: t.evicted.Load(), Networks: t.held.Load()}
}

// The families, in the highest byte of a key. The address follows: three bytes, or six.
const (
	family4 = 4 << 56
	family6 = 6 << 56
)

// keyOf returns the network of an address as a number; 0 for none.
func keyOf(a netip.Addr) uint64 {
	switch {
	case !a.IsValid() || a.IsUnspecified():
		return 0
	case a.Is4():
		b := a.As4()
		return family4 | uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2])
	}
	b := a.As16()
	return family6 | binary.BigEndian.Uint64(b[:8])>>16
}

func prefixOf(key uint64) netip.Prefix {
	if key>>56 == 4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(key >> 16), byte(key >> 8), byte(key)}), 24)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], key<<16)
	return netip.PrefixFrom(netip.AddrFrom16(b), 48)
}

// mix is the finaliser of SplitMix64.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

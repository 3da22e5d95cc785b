package sign

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/dchest/siphash"
)

// lane is what bounds the signatures for invented names over one transport: those over TCP, whose clients are who they say, must not wait behind those
// over UDP.
type lane struct {
	*gate
	*rate
}

// gate lets a fixed number of signatures be made at a time.
type gate struct {
	slots   chan struct{}
	queue   int64
	waiting atomic.Int64
}

func newGate(slots, queue int) *gate {
	return &gate{slots: make(chan struct{}, slots), queue: int64(queue)}
}

// enter waits for a slot. It reports false at once when as many as the queue holds wait already.
func (g *gate) enter() bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return false
	}
	g.slots <- struct{}{}
	return true
}

func (g *gate) leave() { <-g.slots }

// rate limits how often something happens for each network: a token bucket in the form of one time, that of the moment at which it would be full again.
// The times of all networks lie in two tables of fixed size. A network has a place in each, by two hashes, and may as long as one of them
// allows it: it is limited for another's sake only where it meets busy ones in both.
type rate struct {
	start    time.Time
	every    int64 // nanoseconds per token
	burst    int64 // nanoseconds' worth of tokens
	key      [2]uint64
	one, two []atomic.Int64
}

const ratePlaces = 1 << 14

func newRate(perSecond, burst int, key [2]uint64, start time.Time) *rate {
	every := int64(time.Second) / int64(perSecond)
	return &rate{start: start, every: every, burst: every * int64(burst), key: key,
		one: make([]atomic.Int64, ratePlaces), two: make([]atomic.Int64, ratePlaces)}
}

// allow takes a token of the client's network, /24 or /56, and reports whether there was one.
func (r *rate) allow(client netip.Addr, now time.Time) bool {
	lo, hi := siphash.Hash128(r.key[0], r.key[1], network(client))
	at := int64(now.Sub(r.start)) // on the monotonic clock: a step of the wall clock gives and takes nothing
	first := take(&r.one[lo%ratePlaces], at, r.every, r.burst)
	second := take(&r.two[hi%ratePlaces], at, r.every, r.burst)
	return first || second
}

func take(full *atomic.Int64, now, every, burst int64) bool {
	for {
		was := full.Load()
		next := max(was, now) + every
		if next > now+burst {
			return false
		}
		if full.CompareAndSwap(was, next) {
			return true
		}
	}
}

// network returns the first 24 bits of an IPv4 address, the first 56 of an IPv6 address.
func network(a netip.Addr) []byte {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return b[:3]
	}
	b := a.As16()
	return b[:7]
}

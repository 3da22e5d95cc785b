package sign

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/miekg/dns"
)

// cache remembers signatures in a fixed number of places, four for each hash. It is read without a lock; who writes replaces one place. Losing an
// entry costs one more signature, nothing else.
type cache struct {
	places []atomic.Pointer[entry]
	mask   uint64
}

const ways = 4

// entry is one signature.
type entry struct {
	lo, hi   uint64 // what was signed, by which key
	sig      *dns.RRSIG
	renew    int64 // Unix time after which it should be made anew
	renewing atomic.Bool
}

func newCache(size int) *cache {
	n := ways
	for n < size {
		n *= 2
	}
	return &cache{places: make([]atomic.Pointer[entry], n), mask: uint64(n - 1)}
}

func (c *cache) set(lo uint64) []atomic.Pointer[entry] {
	i := lo & c.mask &^ (ways - 1)
	return c.places[i : i+ways]
}

// get returns the entry that is good at the Unix time now; nil when there is none.
func (c *cache) get(lo, hi uint64, now int64) *entry {
	set := c.set(lo)
	for i := range set {
		if e := set[i].Load(); e != nil && e.lo == lo && e.hi == hi && now < int64(e.sig.Expiration) && now >= int64(e.sig.Inception) {
			return e
		}
	}
	return nil
}

// put remembers e in the place of its older self, else in an empty place, else in that of one that is due, else in any.
func (c *cache) put(e *entry, now int64) {
	set := c.set(e.lo)
	at, rank := rand.IntN(ways), 0
	for i := range set {
		switch was := set[i].Load(); {
		case was == nil:
			if rank < 2 {
				at, rank = i, 2
			}
		case was.lo == e.lo && was.hi == e.hi:
			set[i].Store(e)
			return
		case now >= was.renew && rank < 1:
			at, rank = i, 1
		}
	}
	set[at].Store(e)
}

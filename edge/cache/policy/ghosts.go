package policy

import "sync/atomic"

// ghosts remembers how often records were asked for that are not held, or were not when they were brought: print(18) count(6) epoch(8) in 32 bits,
// in sets of 16, one cache line. There are no pointers and no locks; of two writers in one set one may be lost, and in one set of 2^14
// another's count is taken: both cost a worse decision and nothing else. Epochs repeat after 256, 64 times the cache's size offered; an entry that
// stayed so long untouched looks new.
type ghosts struct {
	slots []atomic.Uint32
	mask  uint64
	used  *atomic.Bool // something was put: until then slots has no memory, and nobody should touch it for nothing
}

const (
	ways      = 16
	ghostHalf = 64  // epochs in which a count is halved: 16 times the cache's size offered
	ghostLife = 200 // epochs after which an entry says nothing
	maxCount  = 63
	printMask = ^uint32(1<<14 - 1)
)

func newGhosts(n int) ghosts {
	sets := 1
	for sets*ways < n {
		sets *= 2
	}
	return ghosts{slots: make([]atomic.Uint32, sets*ways), mask: uint64(sets - 1), used: new(atomic.Bool)}
}

// split returns the set of tag and its print, which is never 0: 0 is an empty entry.
func (g *ghosts) split(tag uint64) ([]atomic.Uint32, uint32) {
	at := (tag & g.mask) * ways
	return g.slots[at : at+ways], max(uint32(tag>>32)&printMask, 1<<14)
}

// find returns the count remembered of tag, 0 if there is none.
func (g *ghosts) find(tag uint64, now uint32) uint32 {
	if !g.used.Load() {
		return 0
	}
	set, print := g.split(tag)
	for i := range set {
		if e := set[i].Load(); e&printMask == print {
			age := uint32(uint8(now) - uint8(e))
			if age > ghostLife {
				return 0
			}
			return e >> 8 & maxCount >> (age / ghostHalf)
		}
	}
	return 0
}

// put remembers count for tag, over what was remembered of it or of the one that was changed longest ago.
func (g *ghosts) put(tag uint64, count, now uint32) {
	if !g.used.Load() {
		g.used.Store(true)
	}
	set, print := g.split(tag)
	e := print | min(count, maxCount)<<8 | now&0xff
	victim, worst := 0, -1
	for i := range set {
		old := set[i].Load()
		if old&printMask == print {
			set[i].Store(e)
			return
		}
		rank := int(uint8(now) - uint8(old))
		if old == 0 {
			rank = 256
		}
		if rank > worst {
			victim, worst = i, rank
		}
	}
	set[victim].Store(e)
}

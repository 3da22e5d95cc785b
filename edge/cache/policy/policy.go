// Package policy decides what a log-structured cache holds: which new records it takes and which survive when a segment is reclaimed.
//
// The store has two logs of segments. Probation takes what is not known; Main takes what was asked for often enough. Reclaim sees the live records of
// the oldest segment of one log and marks those worth writing again. The value of a record is its requests per size^Alpha: Alpha 0 would favour bytes
// hit, 1 requests hit. The bar is the least value that gets into Main or stays there; it is steered so that Main turns over once for turnover
// times the cache's size of missed bytes, which is long enough to tell popular records apart and bounds what relocation writes. A dropped record leaves
// a ghost of 4 bytes with its count, so that a return is recognised. Sizes whose first-time admission brings less than the bar, measured on
// Probation itself, are refused until they have been asked for often enough.
//
// It is not a store and not an index: it does no I/O, knows no names and keeps no record; the caller keeps 6 bits of heat for each.
// Life cycle: New, optionally Load, then use; Save at any time. It starts no goroutine and owns no file. Hit, Admit and ProbationShare are for any
// number of goroutines; Reclaim, Save and Load for one at a time. Nothing fails but Load, which then leaves the policy as it was.
package policy

import (
	"math"
	"slices"
	"sync/atomic"
)

// Log is one of the two logs of the store.
type Log uint8

// The two logs.
const (
	Probation Log = iota // records that are not known to be asked for again
	Main                 // records whose value reached the bar
)

// Admission is what becomes of a new record; each value stands for one reason.
type Admission uint8

// The outcomes of Admit.
const (
	ToProbation Admission = iota // not known well enough: append to Probation
	ToMain                       // known, and its value reaches the bar: append to Main
	Refuse                       // not known well enough, and of a size for which trying it does not pay: do not store
)

// MaxHeat is the largest heat; it fits in 6 bits. Heat is 0 for a new record and otherwise opaque: twice a count of requests, and 1 if there
// was one since the record was written.
const MaxHeat = 63

// Candidate is a live record of a segment that is to be reclaimed.
type Candidate struct {
	Tag  uint64 // hash of the record's key, uniform in all bits
	Size int64  // bytes on disk
	Heat uint8  // 0..MaxHeat; Reclaim sets the heat of those kept
	Keep bool   // set by Reclaim: append to Main
}

// Config describes the cache. Zero values but Size mean the defaults.
type Config struct {
	Size   int64 // bytes of the cache, of both logs together
	Ghosts int   // records remembered, 4 bytes each, rounded up to a power of two; default Size/8 KiB, at least 64 Ki, at most 16 Mi
	// Alpha is the exponent of size in the value of a record, from 0 to 1. Default DefaultAlpha; negative means 0.
	Alpha float64
}

// DefaultAlpha serves both hit ratios; docs/sim.md has the measurements.
const DefaultAlpha = 0.45

// Policy is the state of the decisions. Use New.
type Policy struct {
	size   int64
	weight [classes]float64 // size^Alpha by class of size
	ghosts ghosts
	fresh  atomic.Int64         // bytes offered to the cache: missed and storable; the clock of everything here
	newly  atomic.Int64         // bytes admitted since the last Reclaim: what relocation is paid with
	bar    atomic.Uint64        // bits of a float64; written by Reclaim alone
	share  atomic.Uint64        // likewise
	tries  [classes]atomic.Bool // classes of size that are tried at first sight

	// The rest belongs to Reclaim.
	budget     float64 // bytes that may still be relocated
	last       [2]int64
	pass       [2]float64 // bytes offered per byte reclaimed of each log, smoothed
	seen, hits [classes]float64
	order      []ranked
}

// ranked is a candidate that may be kept.
type ranked struct {
	value float64
	i     int32
}

// The constants were found on the generated mixes of edge/cache/sim; docs/sim.md says how.
const (
	classes    = 96       // half powers of two of the size, from 1 byte
	probShare  = 0.10     // of the cache is Probation
	maxShare   = 0.6      // of the cache may become Probation when Main has no use for it
	grow       = 1.02     // by which a reclaimed segment of Main moves the share
	turnover   = 6        // sizes of the cache missed while Main is written once
	step       = 1.05     // by which a reclaimed segment of Main moves the bar
	tryFactor  = 4        // a size is tried if its yield in Probation is this much of what the bar yields in Main
	tryAnyway  = 16       // one in so many is tried all the same, so that the yield is known when it changes
	oneShot    = 4        // what a hit in Probation counts for: the time there is short
	staleValue = 0.3      // what the old count of a record of Main is worth that was not asked for during a whole pass
	keptShare  = 0.75     // of a segment's bytes may be kept; the rest is won
	relocation = 0.5      // bytes relocated per byte admitted, on average
	smooth     = 1.0 / 64 // of the newest segment in averages
	minBar     = 1.0 / (1 << 11)
	maxBar     = 64
)

// New returns the policy of an empty cache.
func New(c Config) *Policy {
	p := &Policy{size: max(c.Size, 1), pass: [2]float64{1, 1}}
	n := c.Ghosts
	if n <= 0 {
		n = int(min(max(p.size>>13, 1<<16), 1<<24))
	}
	p.ghosts = newGhosts(min(n, 1<<28))
	alpha := c.Alpha
	if alpha == 0 {
		alpha = DefaultAlpha
	}
	alpha = min(max(alpha, 0), 1)
	for i := range p.weight {
		p.weight[i] = math.Exp2(float64(i) / 2 * alpha)
		p.tries[i].Store(true)
	}
	p.setBar(minBar)
	p.share.Store(math.Float64bits(probShare))
	return p
}

// Hit returns the heat of a record after a request for it.
func (p *Policy) Hit(heat uint8, size int64) uint8 { return min(heat|1, MaxHeat-2) + 2 }

// Admit says where a record that is to be stored goes. It is asked once for each miss.
func (p *Policy) Admit(tag uint64, size int64) Admission {
	size = max(size, 1)
	now := p.epoch(p.fresh.Add(size))
	count := p.ghosts.find(tag, now)
	p.ghosts.put(tag, count+1, now)
	c := class(size)
	switch {
	case count > 0 && float64(count) >= p.theBar()*p.weight[c]:
		p.newly.Add(size)
		return ToMain
	case !p.tries[c].Load() && tag>>32%tryAnyway != 0:
		return Refuse
	}
	p.newly.Add(size)
	return ToProbation
}

// ProbationShare is the share of the cache's bytes that Probation should have, 0 to 1: when room is needed and Probation has more, its oldest
// segment is the one to reclaim, otherwise that of Main.
func (p *Policy) ProbationShare() float64 { return math.Float64frombits(p.share.Load()) }

// Reclaim marks the records of the oldest segment of l which are to be kept. It keeps at most three quarters of the bytes, so room is won each time; over
// time it relocates at most half a byte for each byte admitted.
func (p *Policy) Reclaim(l Log, seg []Candidate) {
	p.budget = min(p.budget+relocation*float64(p.newly.Swap(0)), float64(p.size)/16)
	offered := p.fresh.Load()
	now := p.epoch(offered)
	var total int64
	for i := range seg {
		seg[i].Keep = false
		total += seg[i].Size
	}
	if total <= 0 {
		return
	}
	p.turn(l, offered, total)
	if l == Probation {
		p.learn(seg)
	}
	p.rank(l, seg, now)
	left := int64(min(keptShare*float64(total), p.budget))
	for _, r := range p.order {
		if c := &seg[r.i]; c.Size <= left {
			left -= c.Size
			p.budget -= float64(c.Size)
			c.Keep = true
		}
	}
	for i := range seg {
		c := &seg[i]
		if !c.Keep {
			p.ghosts.put(c.Tag, uint32(c.Heat)+1, now)
			continue
		}
		// Counts are halved by chance and not always down, or a count of 1 would be worth nothing after each pass.
		c.Heat = 2 * ((c.Heat + uint8(c.Tag>>40+uint64(now))&1) / 2)
		p.ghosts.put(c.Tag, 1, now) // what it knew is in the heat now
	}
}

// turn takes note that total bytes of l are reclaimed, and moves the bar towards the turnover wanted.
func (p *Policy) turn(l Log, offered, total int64) {
	pass := float64(offered-p.last[l]) / float64(total)
	p.last[l] = offered
	p.pass[l] += (pass - p.pass[l]) * smooth
	if l == Probation {
		return
	}
	bar := p.theBar()
	if pass < turnover {
		bar *= step
	} else {
		bar /= step
	}
	p.setBar(min(max(bar, minBar), maxBar))
	// A bar on the ground says that Main has more room than it has use for.
	share := p.ProbationShare()
	if bar <= minBar {
		share *= grow
	} else {
		share /= grow
	}
	p.share.Store(math.Float64bits(min(max(share, probShare), maxShare)))
}

// rank turns the heat of seg into counts, and lists in p.order those that reach the bar, the most valuable first.
func (p *Policy) rank(l Log, seg []Candidate, now uint32) {
	p.order = p.order[:0]
	bar := p.theBar()
	for i := range seg {
		c := &seg[i]
		touched := c.Heat&1 != 0
		count := uint32(min(c.Heat, MaxHeat) / 2)
		if l == Main || touched {
			// The ghost counts the request that brought the record too, which is no reuse.
			count += max(p.ghosts.find(c.Tag, now), 1) - 1
		}
		c.Heat = uint8(min(count, MaxHeat/2))
		v := float64(count) / p.weight[class(c.Size)]
		switch {
		case l == Probation:
			v *= oneShot
		case !touched:
			v *= staleValue
		}
		if count > 0 && v >= bar {
			p.order = append(p.order, ranked{v, int32(i)})
		}
	}
	slices.SortFunc(p.order, func(a, b ranked) int {
		switch {
		case a.value > b.value:
			return -1
		case a.value < b.value:
			return 1
		}
		return int(a.i - b.i)
	})
}

// learn compares, for each class of size, what its records brought in Probation with what a record at the bar brings in Main, per size^Alpha and time.
func (p *Policy) learn(seg []Candidate) {
	for i := range p.seen {
		p.seen[i] *= 0.99
		p.hits[i] *= 0.99
	}
	for i := range seg {
		c := class(seg[i].Size)
		p.seen[c]++
		p.hits[c] += float64(seg[i].Heat / 2)
	}
	p.judge()
}

// judge says by what was learnt which classes of size are tried.
func (p *Policy) judge() {
	// Counts are halved each pass, so a steady rate makes twice the requests of one pass.
	bar := tryFactor * p.theBar() / (2 * max(p.pass[Main], 0.1) * (1 - p.ProbationShare()))
	for i := range p.seen {
		// One hit too many for each class: what is not known is tried.
		yield := (p.hits[i] + 1) / (p.seen[i] + 1) / p.weight[i] / (max(p.pass[Probation], 0.1) * p.ProbationShare())
		p.tries[i].Store(yield >= bar || p.theBar() <= minBar)
	}
}

func (p *Policy) theBar() float64  { return math.Float64frombits(p.bar.Load()) }
func (p *Policy) setBar(v float64) { p.bar.Store(math.Float64bits(v)) }

// epoch is the clock of ghosts: a quarter of the cache's size offered is one step.
func (p *Policy) epoch(bytes int64) uint32 { return uint32(bytes / max(p.size/4, 1)) }

// class is the class of a size, in half powers of two.
func class(size int64) int {
	if size < 2 {
		return 0
	}
	// The exponent of a float64 and the first bit of its mantissa are the logarithm in halves, nearly.
	return min(int(math.Float64bits(float64(size))>>51)-2*1023, classes-1)
}

package sim

import "perigee/edge/cache/policy"

// chunk is the largest record of the store; a larger object is cut.
const chunk = 1 << 20

// perigee is the edge's policy over a model of its store: two logs of segments, whole segments reclaimed, large objects in chunks with a
// tag each. The 80 bytes of a record's head are left out, so that traces of objects of size 1 make sense. A segment closes when the next record does not
// fit; one of a small simulated cache may consist of a single record larger than Size/256.
type perigee struct {
	policy  *policy.Policy
	size    int64
	segment int64 // bytes; 0: by the rule of limit
	largest int64 // record seen
	used    int64
	bytes   [2]int64
	logs    [2][]*segment // oldest first; the last one is open
	index   map[uint64]place
	cands   []policy.Candidate
	moved   int64 // bytes relocated by the current request
}

type segment struct {
	log   policy.Log
	bytes int64
	recs  []record
}

type record struct {
	key  uint64
	size int64
	heat uint8
}

type place struct {
	seg *segment
	i   int32
}

func newPerigee(c Config) *perigee {
	p := policy.Config{Size: c.Size, Alpha: c.Alpha}
	if c.Objects > 0 {
		p.Ghosts = int(min(max(2*c.Size/c.Objects, 1<<12), 1<<26))
	}
	return &perigee{policy: policy.New(p), size: c.Size, segment: c.Segment, index: map[uint64]place{}}
}

// Request implements Cache.
func (c *perigee) Request(r Request) Outcome {
	c.moved = 0
	var o Outcome
	for i, rest := uint64(0), r.Size; rest > 0; i, rest = i+1, rest-chunk {
		n := min(rest, chunk)
		tag := mix(r.Key + i*0x9e3779b97f4a7c15)
		if at, ok := c.index[tag]; ok {
			rec := &at.seg.recs[at.i]
			rec.heat = c.policy.Hit(rec.heat, rec.size)
			o.Held += n
			continue
		}
		a := c.policy.Admit(tag, n)
		if a == policy.Refuse || n > c.size {
			continue
		}
		l := policy.Probation
		if a == policy.ToMain {
			l = policy.Main
		}
		c.write(l, record{tag, n, 0})
		o.Written += n
	}
	o.Written += c.moved
	return o
}

// limit is the size of a segment: a 256th of the cache and at least 2 MiB, as in the store. Below 64 MiB, where the store would not go, and for
// traces of small records the least is twice the largest record and a 32nd of the cache, so that a small model behaves like a large store.
func (c *perigee) limit() int64 {
	if c.segment > 0 {
		return c.segment
	}
	return max(c.size/256, min(2*c.largest, c.size/32), 1)
}

func (c *perigee) write(l policy.Log, r record) {
	c.largest = max(c.largest, r.size)
	for c.used+r.size > c.size {
		c.reclaim()
	}
	c.append(l, r)
}

func (c *perigee) append(l policy.Log, r record) {
	segs := c.logs[l]
	if len(segs) == 0 || segs[len(segs)-1].bytes > 0 && segs[len(segs)-1].bytes+r.size > c.limit() {
		segs = append(segs, &segment{log: l})
		c.logs[l] = segs
	}
	s := segs[len(segs)-1]
	c.index[r.key] = place{s, int32(len(s.recs))}
	s.recs = append(s.recs, r)
	s.bytes += r.size
	c.bytes[l] += r.size
	c.used += r.size
}

// reclaim frees the oldest segment of one log.
func (c *perigee) reclaim() {
	l := policy.Main
	if len(c.logs[policy.Main]) == 0 || float64(c.bytes[policy.Probation]) > c.policy.ProbationShare()*float64(c.size) {
		l = policy.Probation
	}
	if len(c.logs[l]) == 0 {
		l = 1 - l
	}
	s := c.logs[l][0]
	c.logs[l][0] = nil
	c.logs[l] = c.logs[l][1:]
	c.bytes[l] -= s.bytes
	c.used -= s.bytes
	c.cands = c.cands[:0]
	for _, r := range s.recs {
		c.cands = append(c.cands, policy.Candidate{Tag: r.key, Size: r.size, Heat: r.heat})
		delete(c.index, r.key)
	}
	c.policy.Reclaim(l, c.cands)
	for _, d := range c.cands {
		if d.Keep {
			c.append(policy.Main, record{d.Tag, d.Size, d.Heat})
			c.moved += d.Size
		}
	}
}

// Used implements Cache.
func (c *perigee) Used() int64 { return c.used }

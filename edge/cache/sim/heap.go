package sim

// ordered is a cache that evicts the object with the least priority: a binary heap, with the place of each object by key.
type ordered struct {
	size, used int64
	heap       []ranked
	at         map[uint64]int32
}

type ranked struct {
	key  uint64
	size int64
	prio float64
	freq float64
}

func newOrdered(size int64) ordered { return ordered{size: size, at: map[uint64]int32{}} }

// Used implements Cache.
func (o *ordered) Used() int64 { return o.used }

func (o *ordered) push(e ranked) {
	o.heap = append(o.heap, e)
	o.used += e.size
	o.up(len(o.heap) - 1)
}

// pop removes the object with the least priority.
func (o *ordered) pop() ranked {
	e, last := o.heap[0], len(o.heap)-1
	delete(o.at, e.key)
	o.used -= e.size
	o.heap[0] = o.heap[last]
	o.heap = o.heap[:last]
	if last > 0 {
		o.down(0)
	}
	return e
}

// fix restores the order after the priority at i changed.
func (o *ordered) fix(i int) { o.down(o.up(i)) }

func (o *ordered) up(i int) int {
	e := o.heap[i]
	for i > 0 && e.prio < o.heap[(i-1)/2].prio {
		o.set(i, o.heap[(i-1)/2])
		i = (i - 1) / 2
	}
	o.set(i, e)
	return i
}

func (o *ordered) down(i int) {
	e := o.heap[i]
	for {
		k := 2*i + 1
		if k >= len(o.heap) {
			break
		}
		if k+1 < len(o.heap) && o.heap[k+1].prio < o.heap[k].prio {
			k++
		}
		if o.heap[k].prio >= e.prio {
			break
		}
		o.set(i, o.heap[k])
		i = k
	}
	o.set(i, e)
}

func (o *ordered) set(i int, e ranked) {
	o.heap[i] = e
	o.at[e.key] = int32(i)
}

// gdsf is Greedy-Dual-Size-Frequency (Cherkasova 1998) with cost 1: priority is age + frequency/size.
type gdsf struct {
	ordered
	age float64
}

func newGDSF(size int64) *gdsf { return &gdsf{ordered: newOrdered(size)} }

// Request implements Cache.
func (c *gdsf) Request(r Request) Outcome {
	if i, ok := c.at[r.Key]; ok {
		e := &c.heap[i]
		e.freq++
		e.prio = c.age + e.freq/float64(e.size)
		c.fix(int(i))
		return Outcome{Held: r.Size}
	}
	if r.Size > c.size {
		return Outcome{}
	}
	for c.used+r.Size > c.size {
		c.age = c.pop().prio
	}
	c.push(ranked{r.Key, r.Size, c.age + 1/float64(r.Size), 1})
	return Outcome{Written: r.Size}
}

// belady evicts what is asked for again last, and does not take what would be evicted first; exact for objects of one size, and the usual
// bound of byte hit ratio for others: it ignores size in the choice and counts it in the room.
type belady struct {
	ordered
	future *Future
	now    int
}

func newBelady(size int64, f *Future) *belady { return &belady{ordered: newOrdered(size), future: f} }

// Request implements Cache. The requests must be those of the Future, in its order.
func (c *belady) Request(r Request) Outcome {
	next := c.future.next[c.now]
	c.now++
	if i, ok := c.at[r.Key]; ok {
		c.heap[i].prio = -float64(next)
		c.fix(int(i))
		return Outcome{Held: r.Size}
	}
	if r.Size > c.size || next == never {
		return Outcome{}
	}
	for c.used+r.Size > c.size {
		if c.heap[0].prio >= -float64(next) {
			return Outcome{}
		}
		c.pop()
	}
	c.push(ranked{r.Key, r.Size, -float64(next), 1})
	return Outcome{Written: r.Size}
}

// never is the next use of what is not asked for again.
const never = ^uint32(0)

// Future knows for each request of a trace when its object is asked for again: 4 bytes per request, and while it is built 30 per object.
type Future struct {
	next []uint32
	last map[uint64]uint32
}

// Add appends a request. At most 4 billion fit.
func (f *Future) Add(r Request) {
	if f.last == nil {
		f.last = map[uint64]uint32{}
	}
	i := uint32(len(f.next))
	if j, ok := f.last[r.Key]; ok {
		f.next[j] = i
	}
	f.last[r.Key] = i
	f.next = append(f.next, never)
}

// Done frees what only Add needs.
func (f *Future) Done() { f.last = nil }

// Requests returns the number of requests added.
func (f *Future) Requests() int { return len(f.next) }

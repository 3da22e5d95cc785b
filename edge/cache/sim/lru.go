package sim

// lru evicts what was asked for longest ago.
type lru struct {
	arena
	size int64
	all  list
}

func newLRU(size int64) *lru { return &lru{arena: newArena(), size: size, all: emptyList()} }

// Request implements Cache.
func (c *lru) Request(r Request) Outcome {
	if i, ok := c.find(r.Key); ok {
		c.front(&c.all, i)
		return Outcome{Held: r.Size}
	}
	if r.Size > c.size {
		return Outcome{}
	}
	for c.all.bytes+r.Size > c.size {
		i := c.all.tail
		c.unlink(&c.all, i)
		c.drop(i)
	}
	c.push(&c.all, c.add(r))
	return Outcome{Written: r.Size}
}

// Used implements Cache.
func (c *lru) Used() int64 { return c.all.bytes }

// sieve is SIEVE (Zhang et al., NSDI 2024): one queue, a bit per object, and a hand that moves from the oldest to the newest.
type sieve struct {
	arena
	size int64
	all  list
	hand int32
}

func newSieve(size int64) *sieve {
	return &sieve{arena: newArena(), size: size, all: emptyList(), hand: -1}
}

// Request implements Cache.
func (c *sieve) Request(r Request) Outcome {
	if i, ok := c.find(r.Key); ok {
		c.nodes[i].freq = 1
		return Outcome{Held: r.Size}
	}
	if r.Size > c.size {
		return Outcome{}
	}
	for c.all.bytes+r.Size > c.size {
		c.evict()
	}
	c.push(&c.all, c.add(r))
	return Outcome{Written: r.Size}
}

func (c *sieve) evict() {
	i := c.hand
	for {
		if i < 0 {
			i = c.all.tail
		}
		if c.nodes[i].freq == 0 {
			break
		}
		c.nodes[i].freq = 0
		i = c.nodes[i].prev
	}
	c.hand = c.nodes[i].prev
	c.unlink(&c.all, i)
	c.drop(i)
}

// Used implements Cache.
func (c *sieve) Used() int64 { return c.all.bytes }

package sim

// s3fifo is S3-FIFO (Yang et al., SOSP 2023): a small queue of a tenth of the bytes, a main queue with up to 3 second chances, and a ghost queue
// that remembers as many bytes as main holds. What was asked for twice while in the small queue goes on to main.
type s3fifo struct {
	arena
	size        int64
	small, main list
	ghosts      arena
	ghost       list
}

const (
	inSmall = iota
	inMain
)

func newS3FIFO(size int64) *s3fifo {
	return &s3fifo{arena: newArena(), size: size, small: emptyList(), main: emptyList(), ghosts: newArena(), ghost: emptyList()}
}

// Request implements Cache.
func (c *s3fifo) Request(r Request) Outcome {
	if i, ok := c.find(r.Key); ok {
		c.nodes[i].freq = min(c.nodes[i].freq+1, 3)
		return Outcome{Held: r.Size}
	}
	if r.Size > c.size {
		return Outcome{}
	}
	for c.Used()+r.Size > c.size {
		if c.small.bytes > c.size/10 || c.main.n == 0 {
			c.evictSmall()
		} else {
			c.evictMain()
		}
	}
	i := c.add(r)
	if g, ok := c.ghosts.find(r.Key); ok {
		c.ghosts.unlink(&c.ghost, g)
		c.ghosts.drop(g)
		c.nodes[i].list = inMain
		c.push(&c.main, i)
	} else {
		c.push(&c.small, i)
	}
	return Outcome{Written: r.Size}
}

func (c *s3fifo) evictSmall() {
	for c.small.n > 0 {
		i := c.small.tail
		c.unlink(&c.small, i)
		n := &c.nodes[i]
		if n.freq > 1 {
			n.freq, n.list = 0, inMain
			c.push(&c.main, i)
			continue
		}
		c.remember(Request{n.key, n.size})
		c.drop(i)
		return
	}
}

func (c *s3fifo) evictMain() {
	for {
		i := c.main.tail
		c.unlink(&c.main, i)
		if c.nodes[i].freq == 0 {
			c.drop(i)
			return
		}
		c.nodes[i].freq--
		c.push(&c.main, i)
	}
}

func (c *s3fifo) remember(r Request) {
	for c.ghost.n > 0 && c.ghost.bytes+r.Size > c.size*9/10 {
		g := c.ghost.tail
		c.ghosts.unlink(&c.ghost, g)
		c.ghosts.drop(g)
	}
	c.ghosts.push(&c.ghost, c.ghosts.add(r))
}

// Used implements Cache.
func (c *s3fifo) Used() int64 { return c.small.bytes + c.main.bytes }

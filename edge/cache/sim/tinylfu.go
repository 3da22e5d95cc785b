package sim

// tinyLFU is W-TinyLFU (Einziger et al., ToS 2017) with aggregated victims for objects of many sizes (Einziger et al., 2021): a window of 1 %
// in LRU order, a segmented LRU with 80 % protected, and a sketch of frequencies. What leaves the window is admitted if it was
// asked for more often than all together that would have to go for it.
type tinyLFU struct {
	arena
	size                         int64
	window, probation, protected list
	sketch                       sketch
}

const (
	inWindow = iota
	inProbation
	inProtected
)

func newTinyLFU(size int64) *tinyLFU {
	return &tinyLFU{arena: newArena(), size: size, window: emptyList(), probation: emptyList(), protected: emptyList(), sketch: newSketch(1 << 10)}
}

// Request implements Cache.
func (c *tinyLFU) Request(r Request) Outcome {
	c.sketch.fit(len(c.nodes) - len(c.free))
	c.sketch.add(r.Key)
	if i, ok := c.find(r.Key); ok {
		c.hit(i)
		return Outcome{Held: r.Size}
	}
	if r.Size > c.size {
		return Outcome{}
	}
	// A candidate larger than the window passes through it at once.
	c.push(&c.window, c.add(r))
	room := c.windowSize()
	for c.window.bytes > room && c.window.n > 0 {
		i := c.window.tail
		c.unlink(&c.window, i)
		c.offer(i)
	}
	if _, ok := c.find(r.Key); ok {
		return Outcome{Written: r.Size}
	}
	return Outcome{}
}

func (c *tinyLFU) windowSize() int64 { return max(c.size/100, 1) }

func (c *tinyLFU) hit(i int32) {
	switch c.nodes[i].list {
	case inWindow:
		c.front(&c.window, i)
	case inProtected:
		c.front(&c.protected, i)
	default:
		c.unlink(&c.probation, i)
		c.nodes[i].list = inProtected
		c.push(&c.protected, i)
		for c.protected.bytes > (c.size-c.windowSize())*8/10 {
			j := c.protected.tail
			c.unlink(&c.protected, j)
			c.nodes[j].list = inProbation
			c.push(&c.probation, j)
		}
	}
}

// offer admits candidate i to probation, or drops it.
func (c *tinyLFU) offer(i int32) {
	need := c.probation.bytes + c.protected.bytes + c.nodes[i].size - (c.size - c.windowSize())
	mine, theirs, freed := c.sketch.estimate(c.nodes[i].key), 0, int64(0)
	victims := 0
	v, inProt := c.probation.tail, false
	for freed < need {
		if v < 0 && !inProt {
			v, inProt = c.protected.tail, true
		}
		if v < 0 {
			break
		}
		theirs += c.sketch.estimate(c.nodes[v].key)
		if theirs >= mine {
			c.drop(i) // it need not look further: the sum only grows
			return
		}
		freed += c.nodes[v].size
		victims++
		v = c.nodes[v].prev
	}
	if freed < need {
		c.drop(i)
		return
	}
	for range victims {
		l := &c.probation
		if l.n == 0 {
			l = &c.protected
		}
		v := l.tail
		c.unlink(l, v)
		c.drop(v)
	}
	c.nodes[i].list = inProbation
	c.push(&c.probation, i)
}

// Used implements Cache.
func (c *tinyLFU) Used() int64 { return c.window.bytes + c.probation.bytes + c.protected.bytes }

// sketch is a count-min sketch of 4 rows with counters to 15, halved after 10 requests per object in the cache.
type sketch struct {
	rows    [4][]uint8
	added   int
	objects int
}

func newSketch(n int) sketch {
	s := sketch{objects: n}
	for i := range s.rows {
		s.rows[i] = make([]uint8, 2*n)
	}
	return s
}

// fit doubles the rows when the cache holds more objects than they are for; each counter is copied, so no estimate shrinks.
func (s *sketch) fit(objects int) {
	if objects <= s.objects {
		return
	}
	s.objects *= 2
	for i, row := range s.rows {
		s.rows[i] = append(append(make([]uint8, 0, 2*len(row)), row...), row...)
	}
}

func (s *sketch) cell(i int, key uint64) *uint8 {
	h := mix(key + uint64(i)*0x9e3779b97f4a7c15)
	return &s.rows[i][h&uint64(len(s.rows[i])-1)]
}

func (s *sketch) add(key uint64) {
	for i := range s.rows {
		if c := s.cell(i, key); *c < 15 {
			*c++
		}
	}
	if s.added++; s.added >= 10*s.objects {
		s.added /= 2
		for _, row := range s.rows {
			for i := range row {
				row[i] /= 2
			}
		}
	}
}

func (s *sketch) estimate(key uint64) int {
	e := 15
	for i := range s.rows {
		e = min(e, int(*s.cell(i, key)))
	}
	return e
}

// mix spreads x over all 64 bits (the finaliser of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

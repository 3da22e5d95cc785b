package ram

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// traffic asks for keys as an edge does: what is not there is offered.
func (c *Cache) ask(i, size int) bool {
	v, ok := c.getKey(i)
	v.Release()
	if !ok {
		c.putKey(i, room[:size])
	}
	return ok
}

var room [MaxEntry]byte

// A walk over keys that are asked for once must leave the hot ones where they are.
func TestScanLeavesWhatIsHot(t *testing.T) {
	ratio := func(scan int) (got, best float64) {
		c := newTest(t, Config{Size: 8 << 20})
		r := rand.New(rand.NewPCG(3, 4))
		zipf := rand.NewZipf(r, 1.01, 10, 99_999)
		next, hits := 1_000_000, 0
		var count [100_000]int
		for n := range 300_000 {
			i := int(zipf.Uint64())
			hit := c.ask(i, 2000)
			if n >= 100_000 {
				count[i]++
				if hit {
					hits++
				}
			}
			for range scan {
				c.ask(next, 2000)
				next++
			}
		}
		check(t, c)
		slices.SortFunc(count[:], func(a, b int) int { return b - a })
		for _, n := range count[:c.limit/2100] {
			best += float64(n)
		}
		return float64(hits) / 200_000, best / 200_000
	}
	alone, best := ratio(0)
	scanned, _ := ratio(2)
	t.Logf("hit ratio %.3f alone, %.3f with twice as many requests of a scan, %.3f at best", alone, scanned, best)
	if alone < best-0.08 || scanned < alone-0.05 {
		t.Errorf("hit ratio %.3f alone, %.3f with a scan, %.3f at best", alone, scanned, best)
	}
}

// When other keys become hot they get in.
func TestWhatBecomesHotGetsIn(t *testing.T) {
	for _, size := range []int{500, 20_000} {
		c := newTest(t, Config{Size: 8 << 20})
		r := rand.New(rand.NewPCG(5, 6))
		zipf := rand.NewZipf(r, 1.2, 10, 99_999)
		for range 3 {
			offset := 1_000_000 * r.IntN(1000)
			hits := 0
			for n := range 200_000 {
				if c.ask(offset+int(zipf.Uint64()), size) && n >= 100_000 {
					hits++
				}
			}
			t.Logf("entries of %d: hit ratio %.3f", size, float64(hits)/100_000)
			if hits < 50_000 {
				t.Errorf("entries of %d: %d hits of 100000", size, hits)
			}
		}
		check(t, c)
	}
}

// A bar that a hotter time has set comes down when all that is asked for is colder, while what was hot is held and not asked for.
func TestBarComesDown(t *testing.T) {
	c := newTest(t, Config{Size: 1 << 20})
	for range 500 {
		for i := range 400 {
			c.ask(i, 1000)
		}
	}
	for i := range 2000 { // as many as it takes for slabs to be reclaimed
		for range 20 {
			c.ask(10_000+i, 1000)
		}
	}
	admitted := c.Stats().Admissions
	for i := range 40_000 {
		for range 3 {
			v, _ := c.getKey(100_000 + i)
			v.Release()
		}
		c.putKey(100_000+i, room[:1000])
	}
	if n := c.Stats().Admissions - admitted; n < 1000 {
		t.Errorf("%d of 40000 got in", n)
	}
}

// A large entry must be asked for more often than a small one.
func TestSizeCounts(t *testing.T) {
	c := newTest(t, Config{Size: 32 << 20})
	r := rand.New(rand.NewPCG(7, 8))
	sizes := []int{1 << 10, 256 << 10}
	var hits, asked [2]int
	// 40 000 small ones and 400 large ones, each of the 40 400 equally popular; they would take 140 MiB.
	for n := range 400_000 {
		i := r.IntN(40_400)
		kind := 0
		if i >= 40_000 {
			kind = 1
		}
		ok := c.ask(i, sizes[kind])
		if n >= 200_000 {
			asked[kind]++
			if ok {
				hits[kind]++
			}
		}
	}
	small, large := float64(hits[0])/float64(asked[0]), float64(hits[1])/float64(asked[1])
	t.Logf("hit ratio of 1 KiB %.3f, of 256 KiB %.3f", small, large)
	if small < 0.5 || small < 2*large {
		t.Errorf("hit ratio of 1 KiB %.3f, of 256 KiB %.3f", small, large)
	}
	check(t, c)
}

func TestSketch(t *testing.T) {
	sh := &shard{sketch: make([]uint64, 1024), n: 1000}
	r := rand.New(rand.NewPCG(9, 10))
	var now uint64
	hot := make([]uint64, 10)
	for i := range hot {
		hot[i] = r.Uint64()
	}
	over := 0
	for range 2040 {
		now++
		h := r.Uint64()
		sh.miss(h, now)
		if now%20 == 0 {
			sh.miss(hot[now/20%10], now)
		}
		if sh.estimate(h) > 1 {
			over++
		}
	}
	if over > 100 {
		t.Errorf("%d of 2040 keys seen once are taken for more", over)
	}
	for _, h := range hot {
		if n := sh.estimate(h); n < 3 || n > maxCount {
			t.Errorf("seen 10 times, halved once: %d", n)
		}
	}
	for range 100_000 {
		now++
		sh.miss(r.Uint64(), now)
	}
	for _, h := range hot {
		if n := sh.estimate(h); n > 3 {
			t.Errorf("forgotten long ago: %d", n)
		}
	}
}

package ram

import "math"

// Put offers an entry: its words and its parts, which are copied and lie in memory one behind the other. h is Hash(key). An entry of the same key
// is replaced, the newest wins. False: it is not kept, being larger than MaxEntry of this cache, with a key longer than MaxKey or more
// parts than MaxParts, or not asked for often enough, or since all memory is pinned or the Cache closed; an older entry of the key is gone all the same.
//
// It may reclaim a slab, which takes as long as copying most of it; other Puts wait, Gets do not.
func (c *Cache) Put(h uint64, key []byte, stamp uint64, marks [2]uint64, parts ...[]byte) bool {
	if !c.put(h, key, stamp, marks, parts) {
		c.Drop(h, key)
		c.rejections.Add(1)
		return false
	}
	c.admissions.Add(1)
	return true
}

func (c *Cache) put(h uint64, key []byte, stamp uint64, marks [2]uint64, parts [][]byte) bool {
	if len(key) > MaxKey || len(parts) > MaxParts {
		return false
	}
	total := len(key)
	for _, p := range parts {
		if total += len(p); total > c.maxEntry {
			return false
		}
	}
	if total > c.maxEntry {
		return false
	}
	size := sizeOf(key, parts)
	sh := c.shard(h)
	c.w.Lock()
	defer c.w.Unlock()
	if c.closed {
		return false
	}
	c.tidy()
	hits, born, known := c.standing(sh, h, key)
	if !known && c.spare < minSpare && !c.worth(hits, born, size) || !c.room(sh, size) {
		return false
	}
	s, off := c.take(size)
	entry(s.data[off:]).write(h, key, stamp, born, hits, marks, parts)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i, _, _ := c.find(sh, h, key); i >= 0 {
		c.remove(sh, i)
	}
	s.live.Add(int64(size))
	sh.live += int64(size)
	sh.insert(h, c.loc(s, off))
	return true
}

// standing returns how often a key was asked for, in units of 1/hitUnit, and since when; known if an entry of it is held.
func (c *Cache) standing(sh *shard, h uint64, key []byte) (hits uint32, born uint64, known bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i, s, off := c.find(sh, h, key); i >= 0 {
		e := entry(s.data[off:])
		return e.hits(), e.born(), true
	}
	return uint32(sh.estimate(h)) * hitUnit, sh.lookback(c.misses.Load()), false
}

// minSpare is how many slabs must be spare for memory not to be full: one is kept for what a reclaim moves.
const minSpare = 2

// worth reports whether a newcomer is to have what others must give way for.
//
// What is refused lowers the bar, by half for as many bytes as the cache has: else a bar that was set by a mix of requests gone by would never
// be passed again, and without newcomers there is no reclaim to set it anew.
func (c *Cache) worth(hits uint32, born uint64, size int) bool {
	switch {
	case hits < 2*hitUnit:
		return false
	case hits >= maxCount*hitUnit: // as far as the sketch counts; it may be any number more
		return true
	case float64(grade(hits, c.misses.Load()-born, size)) > c.bar:
		return true
	}
	c.bar -= gradesPerOctave * float64(size) / float64(c.limit)
	return false
}

// Grades are logarithms of value: requests per miss of all keys and per square root of bytes. Half way between bytes hit and requests hit, a large
// entry must be asked for more often than a small one, but not as much more often as it is larger.
const (
	gradesPerOctave = 4
	gradeZero       = 64 // octaves below 1 that have grades of their own
	grades          = 120 * gradesPerOctave
)

// grade returns from 0, not asked for at all, to grades-1.
func grade(hits uint32, span uint64, size int) int {
	if hits == 0 {
		return 0
	}
	octaves := math.Log2(float64(hits)) - math.Log2(float64(max(span, 1))) - math.Log2(float64(size))/2
	return min(max(int((octaves+gradeZero)*gradesPerOctave), 1), grades-1)
}

// room makes room for size bytes in the slab in use and for one more entry in sh. False: all is pinned, or c closed. It unlocks c.w for a while if
// OnEvict must be told.
func (c *Cache) room(sh *shard, size int) bool {
	keep := true
	for range 2*len(c.slabs) + 2 {
		crowded := sh.crowded()
		switch {
		case crowded:
		case c.fits(size):
			return true
		case c.spare >= minSpare && c.open():
			continue
		}
		if !c.reclaim(keep) && (crowded || !c.open()) {
			return false
		}
		if c.closed {
			return false
		}
		// What was kept may have used up the room, the more so if entries are as large as slabs. The next reclaim keeps nothing.
		keep = false
		c.tidy()
	}
	return false
}

// reclaim takes the oldest slab that nobody reads, appends its better entries anew if keep, and evicts the others. False: there is none.
func (c *Cache) reclaim(keep bool) bool {
	s := c.oldest()
	if s == nil {
		return false
	}
	now := c.misses.Load()
	cut, budget := grades, int64(0)
	if keep {
		cut, budget = c.survey(s, now)
	}
	told := false
	for off := 0; off < s.end; {
		e := entry(s.data[off:])
		told = c.settle(s, off, now, cut, &budget) || told
		off += e.size()
	}
	s.state = retired
	c.retired++
	if told && c.onEvict != nil {
		// Pinned, its bytes stay, Close or not; retired, nobody else looks at the fates in it.
		s.pins.Add(1)
		c.w.Unlock()
		for off := 0; off < s.end; {
			e := entry(s.data[off:])
			if fate := e[atFate]; fate != 0 {
				c.onEvict(e.key(), fate-1)
			}
			off += e.size()
		}
		c.w.Lock()
		s.unpin(c, 1)
	}
	return true
}

// survey grades what s holds. Entries above cut stay, and budget bytes of those at cut: three quarters at most, so that a quarter is won.
func (c *Cache) survey(s *slab, now uint64) (cut int, budget int64) {
	var bytes [grades]int64
	var live int64
	for off := 0; off < s.end; {
		e := entry(s.data[off:])
		h, loc := e.hash(), c.loc(s, off)
		sh := c.shard(h)
		sh.mu.Lock()
		if sh.at(h, loc) >= 0 {
			bytes[grade(e.hits(), now-min(e.born(), now), e.size())] += int64(e.size())
			live += int64(e.size())
		}
		sh.mu.Unlock()
		off += e.size()
	}
	if live == 0 {
		return grades, 0
	}
	kept := live
	for cut = 0; ; cut++ {
		kept -= bytes[cut]
		if kept <= live*3/4 {
			break
		}
	}
	budget = live*3/4 - kept
	// The bar follows what gives way.
	if c.bar == 0 {
		c.bar = float64(cut)
	}
	c.bar += (float64(cut) - c.bar) / 4
	// What is far below the bar is not worth the copying, even if its neighbours are worse.
	if low := int(c.bar) - gradesPerOctave; cut < low {
		return low, 0
	}
	if cut == 0 {
		budget = 0
	}
	return cut, budget
}

// settle moves or evicts the entry at off of s, if it can be found at all. True: evicted.
func (c *Cache) settle(s *slab, off int, now uint64, cut int, budget *int64) bool {
	e := entry(s.data[off:])
	h, size, loc := e.hash(), e.size(), c.loc(s, off)
	sh := c.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.at(h, loc)
	if i < 0 {
		return false
	}
	hits, span := e.hits(), now-min(e.born(), now)
	g := grade(hits, span, size)
	stays := g > cut
	if g == cut && *budget >= int64(size) {
		*budget -= int64(size)
		stays = true
	}
	if !stays || !c.fits(size) && !c.open() {
		c.remove(sh, i)
		c.evictions.Add(1)
		e[atFate] = byte(1 + min(hits/hitUnit, 254))
		return true
	}
	// The lock is held while the bytes are copied: at most 512 KiB, some 50 µs, in which one shard waits.
	to, at := c.take(size)
	entry(to.data[at:]).move(e, now-span/2, hits/2)
	to.live.Add(int64(size))
	sh.table[i] = tagOf(h) | c.loc(to, at)
	c.leave(s, size)
	return false
}

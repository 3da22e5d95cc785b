package ram

// The sketch of a shard estimates how often a key was missed lately: a count-min sketch of four rows of 4-bit counters, all four in one block of 64
// bytes, of which each row has two words. When it has counted enough, all counters are halved.
const (
	blockWords = 8
	maxCount   = 15
)

// cells calls nothing and allocates nothing: it returns the first word of the block and, for each row, the word within it and the shift.
func (sh *shard) cells(h uint64) (word [4]int, shift [4]uint) {
	x := (h ^ h>>29) * 0xBF58476D1CE4E5B9 // other bits than those that choose shard and slot
	block := int((x>>32)*uint64(len(sh.sketch)/blockWords)>>32) * blockWords
	pick := (x ^ x>>32) * 0x94D049BB133111EB >> 44 // 5 bits a row
	for row := range 4 {
		word[row] = block + 2*row + int(pick&1)
		shift[row] = uint(pick>>1&15) * 4
		pick >>= 5
	}
	return word, shift
}

// estimate returns how often h was missed lately, 0 to maxCount. The caller holds the lock.
func (sh *shard) estimate(h uint64) int {
	if len(sh.sketch) == 0 {
		return 0
	}
	word, shift := sh.cells(h)
	least := maxCount
	for row := range 4 {
		least = min(least, int(sh.sketch[word[row]]>>shift[row]&15))
	}
	return least
}

// miss counts a miss. now is c.misses. The caller holds the lock.
func (sh *shard) miss(h uint64, now uint64) {
	if len(sh.sketch) == 0 {
		return
	}
	word, shift := sh.cells(h)
	least := maxCount
	for row := range 4 {
		least = min(least, int(sh.sketch[word[row]]>>shift[row]&15))
	}
	if least < maxCount {
		// Only the least are raised: others count other keys as well.
		for row := range 4 {
			if int(sh.sketch[word[row]]>>shift[row]&15) == least {
				sh.sketch[word[row]] += 1 << shift[row]
			}
		}
	}
	sh.adds++
	// Looked back on are at most twice as many misses as a quarter of the cells of a row, so that few keys share all four; and fewer if there
	// are few entries: what is worth keeping among them comes more often.
	if sh.adds < min(2*len(sh.sketch), max(16*sh.n, 64)) {
		return
	}
	for i, w := range sh.sketch {
		sh.sketch[i] = w >> 1 & 0x7777777777777777
	}
	sh.adds = 0
	sh.window, sh.halved = now-sh.halved, now
}

// lookback returns from which of c.misses on the estimates of now count, roughly: after n equal windows a count is that of nearly two.
func (sh *shard) lookback(now uint64) uint64 {
	span := now - min(sh.halved, now) + sh.window
	return now - min(max(span, 1), now)
}

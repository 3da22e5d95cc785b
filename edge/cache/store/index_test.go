package store

import (
	"math/rand/v2"
	"testing"
)

// The index does what a map does, through growth and deletion, with tags that crowd at the end and the beginning of a table.
func TestIndexIsAMap(t *testing.T) {
	for _, recovering := range []bool{false, true} {
		rng := rand.New(rand.NewPCG(3, 4))
		var x index
		if recovering {
			x.beginRecovery(500)
		}
		want := map[uint64]word{}
		tags := make([]uint64, 3000)
		for i := range tags {
			tags[i] = rng.Uint64() &^ (0x3ff << 54) // few shards
			switch i % 4 {
			case 0:
				tags[i] |= 0x000ffff000000000 // homes at the end
			case 1:
				tags[i] &^= 0x000ffff000000000 // and at the beginning
			}
		}
		for range 200_000 {
			tag := tags[rng.IntN(len(tags))]
			w := makeWord(rng.IntN(5), int64(1+rng.IntN(1000))*unit, 64, Class(rng.IntN(2)))
			switch rng.IntN(5) {
			case 0, 1:
				if old := x.put(tag, w); old != want[tag] {
					t.Fatalf("put found %x instead of %x", old, want[tag])
				}
				want[tag] = w
			case 2:
				if _, ok := x.remove(tag, want[tag].ref()); ok != (want[tag] != 0) {
					t.Fatalf("removed: %v", ok)
				}
				delete(want, tag)
			case 3:
				x.check(tag, w.ref())
				if w.is(want[tag].ref()) {
					want[tag] |= checkBit
				}
			case 4:
				w = w&^1 | want[tag]&1 // a record that is written again keeps its class
				if x.swap(tag, want[tag].ref(), w) {
					want[tag] = w
				}
			}
			if got := x.get(tag); got != want[tag] {
				t.Fatalf("got %x instead of %x", got, want[tag])
			}
		}
		for _, slot := range []int{-1, 2} {
			if slot >= 0 {
				x.removeSlot(slot)
			}
			names := 0
			for _, tag := range tags {
				if want[tag] != 0 && want[tag].slot() == slot {
					delete(want, tag)
				}
				if got := x.get(tag); got != want[tag] {
					t.Fatalf("got %x instead of %x", got, want[tag])
				}
			}
			for _, w := range want {
				if w.class() == Names {
					names++
				}
			}
			if n, b, _ := x.stats(); int(n) != names || int(n+b) != len(want) {
				t.Errorf("%d names and %d bodies, want %d and %d", n, b, names, len(want)-names)
			}
		}
	}
}

// An entry costs 12 bytes and the free room of the tables.
func TestIndexBytes(t *testing.T) {
	var x index
	rng := rand.New(rand.NewPCG(5, 6))
	for n := 1; n <= 400_000; n++ {
		x.put(rng.Uint64(), makeWord(1, unit, unit, Bodies))
		if n >= 200_000 && n%10_000 == 0 {
			if _, _, bytes := x.stats(); float64(bytes)/float64(n) > 15.5 {
				t.Errorf("%.1f bytes an entry with %d", float64(bytes)/float64(n), n)
			}
		}
	}
}

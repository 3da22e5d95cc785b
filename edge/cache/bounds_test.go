package cache

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"perigee/clock"
	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

// TestLRU compares with a list that is searched from end to end.
func TestLRU(t *testing.T) {
	type item struct{ key, cost int }
	for _, limit := range []int{0, 1, 7, 30} {
		var evicted, wantEvicted []int
		l := newLRU(int64(limit), func(c int) int64 { return int64(c) }, func(k, _ int) { evicted = append(evicted, k) })
		var list []item // least recently used first
		find := func(k int) int { return slices.IndexFunc(list, func(x item) bool { return x.key == k }) }
		shrink := func(limit int) {
			for {
				sum := 0
				for _, x := range list {
					sum += x.cost
				}
				if sum <= limit {
					return
				}
				wantEvicted = append(wantEvicted, list[0].key)
				list = list[1:]
			}
		}
		r := rand.New(rand.NewPCG(1, uint64(limit)))
		for range 5000 {
			k, cost := r.IntN(12), r.IntN(9)
			i := find(k)
			switch r.IntN(6) {
			case 0, 1, 2:
				l.put(k, cost)
				if i >= 0 {
					list = slices.Delete(list, i, i+1)
				}
				list = append(list, item{k, cost})
				shrink(limit)
			case 3:
				if _, ok := l.get(k); ok != (i >= 0) {
					t.Fatalf("get says %v", ok)
				}
				if i >= 0 {
					x := list[i]
					list = append(slices.Delete(list, i, i+1), x)
				}
			case 4:
				l.remove(k)
				if i >= 0 {
					list = slices.Delete(list, i, i+1)
				}
			case 5:
				n := r.IntN(limit + 1)
				l.shrink(int64(n))
				shrink(n)
			}
			var got []item
			used := int64(0)
			for k, c := range l.each {
				got, used = append(got, item{k, c}), used+int64(c)
			}
			if !slices.Equal(got, list) || l.len() != len(list) || l.used != used || used > int64(limit) {
				t.Fatalf("has %v (used %d), want %v", got, l.used, list)
			}
			if !slices.Equal(evicted, wantEvicted) {
				t.Fatalf("evicted %v, want %v", evicted, wantEvicted)
			}
		}
	}
}

func TestNamesAreBounded(t *testing.T) {
	const limit = 160
	r := newRig(t, func(c *Config) { c.Names = limit })
	for i := range 3 * limit {
		r.apply(pointerEntry(cachetest.Pointer("www", object.Path(fmt.Sprintf("/%d", i)), 1, nil)))
	}
	if s := r.e.Stats(); s.Names != limit {
		t.Errorf("%d names, the limit is %d", s.Names, limit)
	}
	for i := range limit {
		r.resolve(object.Path(fmt.Sprintf("/absent-%d", i)))
	}
	s := r.e.Stats()
	if s.Absent != limit/8 || s.Names != limit {
		t.Errorf("%d absent names, the limit is %d; %d names beside them", s.Absent, limit/8, s.Names)
	}
	r.restart()
	if s := r.e.Stats(); s.Names > limit || s.Absent != 0 {
		t.Errorf("after a restart: %+v", s)
	}
	// All of them are on disk.
	r.e.Confirm(r.cfg.Clock.Now())
	for i := range 3 * limit {
		if _, o, err := r.resolve(object.Path(fmt.Sprintf("/%d", i))); err != nil || !o.Hit() {
			t.Fatalf("%d: %s, %v", i, words(o), err)
		}
	}
	if s := r.e.Stats(); s.Names != limit {
		t.Errorf("%d names, the limit is %d", s.Names, limit)
	}
}

// Epochs beyond the limit are folded into one: more is revalidated than needed, never less.
func TestEpochsAreFolded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = 1 << 30 })
	data := cachetest.Bytes(50, 1)
	r.publishTagged(1, data)
	r.o.Publish("www", "/bystander", 1, data)
	r.mustGet("/dir/file", data)
	r.mustGet("/bystander", data)
	r.apply(purge.Entry{Kind: purge.KindPrefix, Prefix: "/dir/"})
	tb := r.e.table
	for i := range maxEpochs - 2 {
		tb.now++
		tb.raise(epochKey{purge.KindTag, "www", fmt.Sprint(i)}, false)
	}
	if len(tb.epochs) != maxEpochs-1 || tb.all.Hard != 0 {
		t.Fatalf("%d epochs, all %+v", len(tb.epochs), tb.all)
	}
	expect(t, r.mustGet("/bystander", data), "hit ram")
	r.apply(purge.Entry{Kind: purge.KindTag, Tag: "one-more"})
	r.apply(purge.Entry{Kind: purge.KindTag, Tag: "one-more"}) // known: needs no room
	if len(tb.epochs) != maxEpochs || tb.all.Hard != 0 {
		t.Fatalf("%d epochs, all %+v", len(tb.epochs), tb.all)
	}
	r.apply(softly(purge.Entry{Kind: purge.KindTag, Tag: "too-many"}))
	if len(tb.epochs) != 0 || tb.all.Hard != tb.now {
		t.Fatalf("%d epochs, all %+v at %d", len(tb.epochs), tb.all, tb.now)
	}
	r.o.SetDown(errUnplugged)
	if _, _, err := r.get("/dir/file"); err == nil {
		t.Error("the fold forgot a hard purge")
	}
	r.o.SetDown(nil)
	r.mustGet("/dir/file", data)
	expect(t, r.mustGet("/bystander", data), "stale purged")
	expect(t, r.mustGet("/bystander", data), "hit ram")
}

// What is on disk never exceeds the size, journal and all, however much goes through; and all of it stays right.
func TestDiskLimitIsExact(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = MinSize; c.RAM = 0 })
	const files = 40
	path := func(i int) object.Path { return object.Path(fmt.Sprintf("/%d", i)) }
	data := make([][]byte, files)
	for i := range data { // 60 MiB altogether
		data[i] = cachetest.Bytes(int64(i*79_000+1), uint64(i))
		r.o.Publish("www", path(i), 1, data[i])
	}
	for range 3 {
		for i := range data {
			r.mustGet(path(i), data[i])
			r.checkBounds()
		}
	}
	if s := r.e.Stats(); s.Store.Reclaims == 0 {
		t.Errorf("nothing had to make room: %+v", s.Store)
	}
	r.restart()
	r.e.Confirm(r.cfg.Clock.Now())
	r.checkBounds()
	hits := 0
	for i := range data {
		if o, err := r.check(path(i), data[i]); err != nil {
			t.Fatal(err)
		} else if o.Hit() {
			hits++
		}
	}
	if hits == 0 {
		t.Error("nothing was held after a restart")
	}
}

func TestSizeThatIsTooSmallIsRefused(t *testing.T) {
	_, err := Open(Config{Dir: t.TempDir(), Size: MinSize - 1, Origin: cachetest.NewOrigin(), Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "32 MiB") {
		t.Errorf("%v", err)
	}
}

// A memory of no size holds nothing, a small one no more than its size.
func TestMemoryIsBounded(t *testing.T) {
	for _, size := range []int64{0, 1, 1 << 20, 16 << 20} {
		r := newRig(t, func(c *Config) { c.RAM = size })
		for i := range 100 {
			data := cachetest.Bytes(100_000, uint64(i))
			path := object.Path(fmt.Sprintf("/%d", i))
			r.o.Publish("www", path, 1, data)
			r.mustGet(path, data)
			r.mustGet(path, data)
			r.checkBounds()
		}
		if s := r.e.Stats(); size < 1<<20 && s.RAM.Entries != 0 || size >= 16<<20 && s.RAM.Entries == 0 {
			t.Errorf("%d bytes hold %+v", size, s.RAM)
		}
	}
}

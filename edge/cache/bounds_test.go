package cache

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

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
	if s := r.e.Stats(); s.Names != limit || s.Absent != 0 {
		t.Errorf("after a restart: %+v", s)
	}
	// The latest ones are there.
	r.e.Confirm(r.cfg.Clock.Now())
	if _, o, err := r.resolve(object.Path(fmt.Sprintf("/%d", 3*limit-1))); err != nil || !o.Hit() {
		t.Errorf("%s, %v", words(o), err)
	}
}

// Epochs beyond the limit are folded into one: more is revalidated than needed, never less.
func TestEpochsAreFolded(t *testing.T) {
	r := newRig(t, nil)
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

func TestDiskLimitIsExact(t *testing.T) {
	const block = 4096
	for _, c := range []struct {
		size, space int64
	}{{1, block}, {block, block}, {block + 1, 2 * block}, {mib, mib}, {mib + 1, mib + block}, {2 * mib, 2*mib + block}} {
		if got := spaceFor(c.size); got != c.space {
			t.Errorf("spaceFor(%d) = %d, want %d", c.size, got, c.space)
		}
	}
	r := newRig(t, func(c *Config) { c.Size = 8 * block; c.RAM = 0 })
	var files [8][]byte
	path := func(i int) object.Path { return object.Path(fmt.Sprintf("/%d", i)) }
	for i := range files {
		files[i] = cachetest.Bytes(block, uint64(i))
		r.o.Publish("www", path(i), 1, files[i])
		r.mustGet(path(i), files[i])
		r.idle()
	}
	if s := r.e.Stats(); s.Blobs != 8 || s.DiskBytes != s.DiskLimit {
		t.Fatalf("eight blobs of one block must fit: %+v", s)
	}
	expect(t, r.mustGet(path(0), files[0]), "hit disk") // now 1 is the oldest
	one := cachetest.Bytes(1, 100)
	r.o.Publish("www", "/one", 1, one)
	r.mustGet("/one", one)
	r.idle()
	expect(t, r.mustGet(path(0), files[0]), "hit disk")
	expect(t, r.mustGet(path(1), files[1]), "miss not-held stored")
	r.idle()
	r.checkDisk()
	r.stop()
	r.cfg.Size = 3 * block // the operator has made it smaller
	r.open()
	if s := r.e.Stats(); s.Blobs != 3 {
		t.Errorf("%+v", s)
	}
	r.checkDisk()
	exact := cachetest.Bytes(3*block, 101)
	r.e.Confirm(r.cfg.Clock.Now())
	r.o.Publish("www", "/exact", 1, exact)
	expect(t, r.mustGet("/exact", exact), "uri-miss not-held stored")
	r.idle()
	over := cachetest.Bytes(3*block+1, 102)
	r.o.Publish("www", "/over", 1, over)
	expect(t, r.mustGet("/over", over), "uri-miss larger-than-cache")
	r.checkDisk()
}

func TestRAMLimitIsExact(t *testing.T) {
	const size = 1000
	r := newRig(t, func(c *Config) { c.RAM = 3 * (size + ramOverhead) })
	for i := range 10 {
		data := cachetest.Bytes(size, uint64(i))
		path := object.Path(fmt.Sprintf("/%d", i))
		r.o.Publish("www", path, 1, data)
		r.mustGet(path, data)
		r.idle()
		expect(t, r.mustGet(path, data), "hit ram")
		if s := r.e.Stats(); s.RAMBytes != int64(min(i+1, 3))*(size+ramOverhead) {
			t.Errorf("%+v", s)
		}
	}
	big := cachetest.Bytes(3*(size+ramOverhead)-ramOverhead+1, 50) // by one byte
	r.o.Publish("www", "/big", 1, big)
	r.mustGet("/big", big)
	r.idle()
	expect(t, r.mustGet("/big", big), "hit disk")
	if s := r.e.Stats(); s.RAMBytes != 3*(size+ramOverhead) {
		t.Errorf("a blob that cannot fit must evict nothing: %+v", s)
	}
}

// The space of fills that run at once is counted too.
func TestFillsShareTheDisk(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = 5 * mib; c.RAM = 0 })
	release := make(chan struct{})
	var readers []*reader
	var files [3][]byte
	for i := range files {
		files[i] = cachetest.Bytes(2*mib, uint64(i))
		p := r.o.Publish("www", object.Path(fmt.Sprintf("/%d", i)), 1, files[i])
		r.o.Break(p.Blob, cachetest.Fault{Hold: release, At: mib + 1})
		readers = append(readers, r.follow(t.Context(), p))
	}
	expect(t, words(readers[1].o), "miss not-held stored")
	expect(t, words(readers[2].o), "bypass larger-than-cache") // than what is left of it
	if s := r.e.Stats(); s.DiskBytes > s.DiskLimit || s.DiskBytes < 4*mib {
		t.Errorf("%+v", s)
	}
	close(release)
	for i, f := range readers {
		if err := <-f.done; err != nil || f.out.buf.String() != string(files[i]) {
			t.Errorf("wrong bytes or error %v", err)
		}
	}
	r.idle()
	r.checkDisk()
}

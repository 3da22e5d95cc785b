package ram

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// newTest makes a cache on the Go heap, where the race detector sees it.
func newTest(t testing.TB, cfg Config) *Cache {
	c := newCache(cfg, heap{})
	t.Cleanup(c.Close)
	return c
}

func key(i int) []byte { return fmt.Appendf(nil, "site\x00/path/%d", i) }

// body is n bytes that tell i and generation.
func body(i, generation, n int) []byte {
	b := make([]byte, max(n, 16))
	binary.LittleEndian.PutUint64(b, uint64(i))
	binary.LittleEndian.PutUint64(b[8:], uint64(generation))
	r := rand.NewPCG(uint64(i), uint64(generation))
	for j := 16; j+8 <= len(b); j += 8 {
		binary.LittleEndian.PutUint64(b[j:], r.Uint64())
	}
	return b
}

func (c *Cache) putKey(i int, parts ...[]byte) bool {
	return c.Put(Hash(key(i)), key(i), 0, [2]uint64{}, parts...)
}

func (c *Cache) getKey(i int) (View, bool) { return c.Get(Hash(key(i)), key(i)) }

// check compares what the cache says of itself with what it has.
func check(t testing.TB, c *Cache) {
	t.Helper()
	s := c.Stats()
	if s.Bytes > s.Limit && s.Limit > 0 || s.Bytes < 0 {
		t.Fatalf("%d bytes held, %d allowed", s.Bytes, s.Limit)
	}
	c.w.Lock()
	defer c.w.Unlock()
	bySlab := map[*slab]int64{}
	var n, live int64
	for i := range c.shards {
		sh := &c.shards[i]
		for _, slot := range sh.table {
			if slot == 0 {
				continue
			}
			sl, off := c.place(slot & locMask)
			e := entry(sl.data[off:])
			if got, ok := c.Peek(e.hash(), e.key()); !ok {
				t.Fatalf("%q is in a slot where it is not found", e.key())
			} else {
				got.Release()
			}
			n++
			live += int64(e.size())
			bySlab[sl] += int64(e.size())
			if sl.state != full && sl.state != filling {
				t.Fatalf("%q is in a slab of state %d", e.key(), sl.state)
			}
		}
	}
	if n != s.Entries || live != s.Live {
		t.Fatalf("%d entries of %d bytes, counted %d of %d", n, live, s.Entries, s.Live)
	}
	spares, retireds, held := 0, 0, int64(0)
	for i := range c.slabs {
		sl := &c.slabs[i]
		held += int64(len(sl.data))
		if sl.live.Load() != bySlab[sl] {
			t.Fatalf("slab %d has %d live bytes, counted %d", i, bySlab[sl], sl.live.Load())
		}
		switch sl.state {
		case spare:
			spares++
		case retired:
			retireds++
		}
	}
	if spares != c.spare || retireds != c.retired {
		t.Fatalf("%d spare and %d retired, counted %d and %d", spares, retireds, c.spare, c.retired)
	}
	if held > s.Bytes {
		t.Fatalf("slabs have %d bytes, %d are counted in all", held, s.Bytes)
	}
}

func TestEntryComesBackWhole(t *testing.T) {
	for _, mem := range []memory{heap{}, anonymous{}} {
		c := newCache(Config{Size: 16 << 20}, mem)
		defer c.Close()
		for _, parts := range [][][]byte{
			nil, {nil}, {[]byte("a")}, {[]byte("head"), []byte("body"), []byte("id")}, {nil, []byte("x"), nil, []byte("yz"), nil},
			{bytes.Repeat([]byte{7}, 500<<10), []byte("end")},
		} {
			k := key(len(parts))
			if !c.Put(Hash(k), k, 42, [2]uint64{1 << 63, 5}, parts...) {
				t.Fatalf("%d parts are refused", len(parts))
			}
			v, ok := c.Get(Hash(k), k)
			if !ok {
				t.Fatalf("%d parts are not found", len(parts))
			}
			for i, p := range parts {
				if got := v.Value(i); !bytes.Equal(got, p) || cap(got) != len(p) {
					t.Errorf("part %d of %d is %d bytes, want %d", i, len(parts), len(got), len(p))
				}
			}
			if got, want := v.Values(0, len(parts)), bytes.Join(parts, nil); !bytes.Equal(got, want) {
				t.Errorf("together %d bytes, want %d", len(got), len(want))
			}
			if len(parts) > 2 {
				if got, want := v.Values(1, 3), bytes.Join(parts[1:3], nil); !bytes.Equal(got, want) {
					t.Errorf("1 and 2 are %q, want %q", got, want)
				}
			}
			if v.Value(len(parts)) != nil || v.Value(-1) != nil {
				t.Error("a part that was not given")
			}
			if v.Stamp().Load() != 42 || v.Mark(0) != 1<<63 || v.Mark(1) != 5 {
				t.Errorf("words %d %d %d", v.Stamp().Load(), v.Mark(0), v.Mark(1))
			}
			v.Stamp().Store(43)
			v.Release()
			v, _ = c.Peek(Hash(k), k)
			if v.Stamp().Load() != 43 {
				t.Errorf("stamp %d, 43 was stored", v.Stamp().Load())
			}
			v.Release()
			if s := c.Stats(); s.Pinned != 0 {
				t.Errorf("%d slabs pinned", s.Pinned)
			}
		}
		check(t, c)
	}
}

func TestWhatIsTooLargeIsRefused(t *testing.T) {
	c := newTest(t, Config{Size: 64 << 20})
	if c.MaxEntry() != MaxEntry {
		t.Fatalf("max entry %d", c.MaxEntry())
	}
	k := key(1)
	for name, cse := range map[string]struct {
		key   []byte
		parts [][]byte
		want  bool
	}{
		"largest":        {k, [][]byte{make([]byte, MaxEntry-len(k))}, true},
		"one byte more":  {k, [][]byte{make([]byte, MaxEntry-len(k)), {1}}, false},
		"longest key":    {make([]byte, MaxKey), [][]byte{make([]byte, MaxEntry-MaxKey)}, true},
		"key too long":   {make([]byte, MaxKey+1), nil, false},
		"most parts":     {k, make([][]byte, MaxParts), true},
		"too many parts": {k, make([][]byte, MaxParts+1), false},
		"empty key":      {nil, [][]byte{{1}}, true},
	} {
		if got := c.Put(Hash(cse.key), cse.key, 0, [2]uint64{}, cse.parts...); got != cse.want {
			t.Errorf("%s: %v, want %v", name, got, cse.want)
		}
		v, ok := c.Get(Hash(cse.key), cse.key)
		if ok != cse.want {
			t.Errorf("%s: found %v, want %v", name, ok, cse.want)
		}
		v.Release()
	}
	check(t, c)
}

func TestSizeIsTheBound(t *testing.T) {
	for _, size := range []int64{-1, 0, 1, 4096, 40_000, 64 << 10, 100_000, 1 << 20, 3_333_333, 16 << 20, 40 << 20} {
		c := newTest(t, Config{Size: size})
		for i := range 3000 {
			v, _ := c.getKey(i % 700)
			v.Release()
			c.putKey(i%700, body(i, 0, i%5000))
		}
		check(t, c)
		s := c.Stats()
		if size >= 40_000 && s.Entries == 0 || size < 4096 && s.Entries+s.Bytes != 0 {
			t.Errorf("size %d holds %+v", size, s)
		}
		if size >= 1<<20 && size < 4<<20 && s.Live < size/2 {
			t.Errorf("of %d only %d are used", size, s.Live)
		}
		c.Close()
		if s := c.Stats(); size >= 40_000 && s.Bytes > size/20+20_000 || s.Entries != 0 {
			t.Errorf("after Close %+v", s)
		}
	}
}

func TestNewestWins(t *testing.T) {
	c := newTest(t, Config{Size: 1 << 20})
	old, _ := View{}, false
	for generation := range 2000 {
		if !c.putKey(1, body(1, generation, 3000)) {
			t.Fatalf("generation %d is refused", generation)
		}
		v, ok := c.getKey(1)
		if !ok || !bytes.Equal(v.Value(0), body(1, generation, 3000)) {
			t.Fatalf("generation %d: not what was put", generation)
		}
		if generation == 0 {
			old = v
			continue
		}
		v.Release()
	}
	if !bytes.Equal(old.Value(0), body(1, 0, 3000)) {
		t.Error("bytes changed under a View")
	}
	old.Release()
	if s := c.Stats(); s.Entries != 1 || s.Evictions != 0 {
		t.Errorf("%+v", s)
	}
	check(t, c)
	if c.putKey(1, make([]byte, MaxEntry)) {
		t.Error("more than the largest entry")
	}
	if v, ok := c.getKey(1); ok {
		v.Release()
		t.Error("the old entry is there although a newer one was offered")
	}
}

func TestAllPinned(t *testing.T) {
	c := newTest(t, Config{Size: 1 << 20})
	var views []View
	var of []int
	for i := range 1000 {
		c.getKey(i)
		c.getKey(i)
		c.getKey(i)
		if c.putKey(i, body(i, 0, 4000)) {
			v, ok := c.getKey(i)
			if !ok {
				t.Fatal("not found")
			}
			views, of = append(views, v), append(of, i)
		}
	}
	s := c.Stats()
	if s.Pinned != len(c.slabs) || s.Rejections == 0 {
		t.Fatalf("%d slabs: %+v", len(c.slabs), s)
	}
	for i, v := range views {
		if !bytes.Equal(v.Value(0), body(of[i], 0, 4000)) {
			t.Fatalf("bytes of %d changed under a View", of[i])
		}
		if v, ok := c.getKey(of[i]); !ok {
			t.Fatalf("%d is pinned and not found", of[i])
		} else {
			v.Release()
		}
		v.Release()
	}
	check(t, c)
	for range 20 {
		c.getKey(5000)
	}
	if !c.putKey(5000, body(5000, 0, 4000)) {
		t.Error("nothing is pinned and nothing is taken")
	}
	check(t, c)
}

func TestDropIf(t *testing.T) {
	c := newTest(t, Config{Size: 4 << 20})
	for i := range 500 {
		c.putKey(i, body(i, 0, 100))
	}
	c.DropIf(func(k []byte) bool { return k[len(k)-1]%2 == 0 })
	for i := range 500 {
		v, ok := c.getKey(i)
		if ok != (i%2 == 1) {
			t.Fatalf("%d: %v", i, ok)
		}
		v.Release()
	}
	check(t, c)
	c.DropIf(func([]byte) bool { return true })
	if s := c.Stats(); s.Entries != 0 || s.Live != 0 {
		t.Errorf("%+v", s)
	}
	check(t, c)
	// What was dropped makes room at once, without anybody having to be worth more.
	for i := range 10_000 {
		c.putKey(i, body(i, 0, 1000))
	}
	if c.putKey(99_999, body(0, 0, 1000)) {
		t.Error("a newcomer that nobody asked for gets into a full cache")
	}
	c.DropIf(func([]byte) bool { return true })
	if !c.putKey(99_999, body(0, 0, 1000)) {
		t.Error("an empty cache refuses a newcomer")
	}
	check(t, c)
}

func TestEvictionIsTold(t *testing.T) {
	told := map[string]int{}
	var most uint8
	var c *Cache
	c = newTest(t, Config{Size: 256 << 10, OnEvict: func(k []byte, hits uint8) {
		told[string(k)]++
		if hits > 4 { // three, and by chance one or other of another key
			t.Errorf("%q was asked for %d times", k, hits)
		}
		most = max(most, hits)
		if v, ok := c.Peek(Hash(k), k); ok {
			v.Release()
			t.Errorf("%q is evicted and there", k)
		}
	}})
	put := map[string]int{}
	for i := range 2000 {
		c.getKey(i)
		c.getKey(i)
		c.getKey(i)
		if c.putKey(i, body(i, 0, 1000)) {
			put[string(key(i))]++
		}
	}
	if most < 3 {
		t.Errorf("nobody was asked for more than %d times", most)
	}
	s := c.Stats()
	if s.Evictions == 0 || int(s.Evictions) != len(told) {
		t.Errorf("%d told of, %+v", len(told), s)
	}
	for k, n := range told {
		if put[k] != n {
			t.Errorf("%q: evicted %d times, put %d times", k, n, put[k])
		}
	}
	if int64(len(put)-len(told)) != s.Entries {
		t.Errorf("%d put, %d evicted, %d there", len(put), len(told), s.Entries)
	}
	check(t, c)
}

// The index of a cache of tiny entries is full before the slabs are.
func TestTinyEntries(t *testing.T) {
	c := newTest(t, Config{Size: 1 << 20})
	for i := range 30_000 {
		c.getKey(i)
		c.getKey(i)
		c.getKey(i)
		c.putKey(i, []byte{1})
	}
	check(t, c)
	if s := c.Stats(); s.Entries < 1<<20/bytesPerSlot/2 || s.Evictions == 0 {
		t.Errorf("%+v", s)
	}
}

// All keys in one chain of the index: removal must keep each of them within reach.
func TestCollidingHashes(t *testing.T) {
	c := newTest(t, Config{Size: 1 << 20})
	hashes := []uint64{0, 1 << 63, 1<<64 - 1, 1<<64 - 1 - 1<<20, 0xffffffff}
	has := map[int]bool{}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		i := r.IntN(200)
		h := hashes[i%len(hashes)]
		if r.IntN(2) == 0 {
			has[i] = c.Put(h, key(i), 0, [2]uint64{}, body(i, 0, 16))
		} else {
			c.Drop(h, key(i))
			has[i] = false
		}
		j := r.IntN(200)
		v, ok := c.Peek(hashes[j%len(hashes)], key(j))
		if ok && !bytes.Equal(v.Value(0), body(j, 0, 16)) {
			t.Fatalf("%d is another", j)
		}
		v.Release()
		if ok && !has[j] {
			t.Fatalf("%d is there, it was dropped", j)
		}
	}
	check(t, c)
}

package ram

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// model is what must be there, or must have been evicted: nothing else may ever be found.
type model struct {
	t     testing.TB
	c     *Cache
	want  map[int]int // key to generation
	views []held
	next  int
}

type held struct {
	v             View
	i, generation int
	stamp         uint64
}

func (m *model) same(h held) {
	m.t.Helper()
	b := body(h.i, h.generation, int(h.v.Mark(0)))
	if !bytes.Equal(h.v.Value(0), b) || !bytes.Equal(h.v.Value(1), key(h.i)) || h.v.Mark(1) != uint64(h.generation) || h.v.Stamp().Load() != h.stamp {
		m.t.Fatalf("%d of generation %d is not what was put", h.i, h.generation)
	}
}

// step does one thing, chosen by the arguments.
func (m *model) step(op byte, i, n int) {
	k := key(i)
	h := Hash(k)
	switch op % 8 {
	case 0, 1, 2: // put
		m.next++
		if m.c.Put(h, k, uint64(m.next), [2]uint64{uint64(max(n, 16)), uint64(m.next)}, body(i, m.next, n), k) {
			m.want[i] = m.next
		} else {
			delete(m.want, i)
		}
		if v, ok := m.c.Peek(h, k); ok != (m.want[i] != 0) {
			m.t.Fatalf("put %d: found %v", i, ok)
		} else {
			v.Release()
		}
	case 3, 4, 5: // get, and sometimes hold
		v, ok := m.c.Get(h, k)
		if !ok {
			delete(m.want, i) // evicted
			return
		}
		if m.want[i] == 0 {
			m.t.Fatalf("%d was dropped or evicted and is found", i)
		}
		got := held{v, i, m.want[i], uint64(m.want[i])}
		m.same(got)
		if op%8 == 5 && len(m.views) < 20 {
			m.views = append(m.views, got)
			return
		}
		v.Release()
	case 6: // release the oldest View, which still has its bytes
		if len(m.views) > 0 {
			m.same(m.views[0])
			m.views[0].v.Release()
			m.views = m.views[1:]
		}
	case 7:
		if n%50 == 0 {
			m.c.DropIf(func(k []byte) bool { return k[len(k)-1] == '7' })
			for j := range m.want {
				if j%10 == 7 {
					delete(m.want, j)
				}
			}
			return
		}
		m.c.Drop(h, k)
		delete(m.want, i)
	}
}

func (m *model) end() {
	check(m.t, m.c)
	m.c.Close()
	for _, v := range m.views {
		m.same(v)
		v.v.Release()
	}
	if s := m.c.Stats(); s.Pinned != 0 || s.Entries != 0 {
		m.t.Fatalf("after Close and Release: %+v", s)
	}
	for i := range m.c.slabs {
		if m.c.slabs[i].data != nil {
			m.t.Fatalf("slab %d keeps its memory", i)
		}
	}
}

func TestModel(t *testing.T) {
	for seed := range uint64(6) {
		mem := []memory{heap{}, anonymous{}}[seed%2]
		m := &model{t: t, c: newCache(Config{Size: []int64{100_000, 1 << 20, 3 << 20}[seed%3]}, mem), want: map[int]int{}}
		r := rand.New(rand.NewPCG(seed, 1))
		zipf := rand.NewZipf(r, 1.1, 10, 2000)
		for range 20_000 {
			m.step(byte(r.Uint32()), int(zipf.Uint64()), r.IntN(4000))
		}
		if s := m.c.Stats(); s.Evictions == 0 || s.Hits == 0 {
			t.Errorf("nothing was tried: %+v", s)
		}
		m.end()
	}
}

func FuzzModel(f *testing.F) {
	f.Add([]byte{0, 1, 10, 3, 1, 0, 5, 1, 0, 7, 1, 1, 6, 0, 0})
	f.Add(bytes.Repeat([]byte{0, 2, 255, 3, 9, 1, 1, 3, 200, 5, 2, 0}, 100))
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := &model{t: t, c: newCache(Config{Size: 64 << 10}, heap{}), want: map[int]int{}}
		for ; len(ops) >= 3; ops = ops[3:] {
			m.step(ops[0], int(ops[1]), int(ops[2])*16)
		}
		m.end()
	})
}

// Readers, writers, droppers and at last Close, all at once: whatever is found is one whole entry of that key.
func TestAllAtOnce(t *testing.T) {
	for _, mem := range []memory{heap{}, anonymous{}} {
		var evicted atomic.Int64
		c := newCache(Config{Size: 1 << 20, OnEvict: func(k []byte, _ uint8) {
			if !bytes.HasPrefix(k, []byte("site\x00/path/")) {
				t.Errorf("evicted %q", k)
			}
			evicted.Add(1)
		}}, mem)
		var all sync.WaitGroup
		for g := range 6 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 2))
				zipf := rand.NewZipf(r, 1.1, 10, 3000)
				var kept []View
				var of []int
				for n := range 6000 {
					i := int(zipf.Uint64())
					k := key(i)
					v, ok := c.Get(Hash(k), k)
					switch {
					case ok:
						intact(t, v, i)
						v.Stamp().Store(v.Stamp().Load()/1000*1000 + uint64(g))
						if kept, of = append(kept, v), append(of, i); len(kept) > 3 {
							intact(t, kept[0], of[0])
							kept[0].Release()
							kept, of = kept[1:], of[1:]
						}
					case n%50 == 0:
						c.Drop(Hash(k), k)
					default:
						size := r.IntN(3000)
						c.Put(Hash(k), k, uint64(i)*1000, [2]uint64{uint64(max(size, 16)), uint64(n)}, body(i, n, size))
					}
					if n%1000 == 0 {
						c.DropIf(func(k []byte) bool { return k[len(k)-1] == byte('0'+g) })
						c.Stats()
					}
					if g == 0 && n == 5000 {
						c.Close()
					}
				}
				for j, v := range kept {
					intact(t, v, of[j])
					v.Release()
				}
			})
		}
		all.Wait()
		s := c.Stats()
		if s.Hits == 0 || s.Evictions == 0 || s.Evictions != uint64(evicted.Load()) || s.Pinned != 0 || s.Entries != 0 {
			t.Errorf("%d told of, %+v", evicted.Load(), s)
		}
		for i := range c.slabs {
			if c.slabs[i].data != nil {
				t.Errorf("slab %d keeps its memory", i)
			}
		}
	}
}

func intact(t *testing.T, v View, i int) {
	b := v.Value(0)
	n, generation := v.Mark(0), v.Mark(1)
	if uint64(len(b)) != n || binary.LittleEndian.Uint64(b) != uint64(i) || !bytes.Equal(b, body(i, int(generation), int(n))) {
		t.Errorf("%d of generation %d is not whole", i, generation)
	}
	if got := v.Stamp().Load() / 1000; got != uint64(i) {
		t.Errorf("%d has the stamp of %d", i, got)
	}
}

func TestAfterClose(t *testing.T) {
	for _, size := range []int64{0, 1 << 20} {
		c := New(Config{Size: size})
		c.putKey(1, []byte("a"))
		v, ok := c.getKey(1)
		if ok != (size > 0) {
			t.Fatalf("size %d: found %v", size, ok)
		}
		c.Close()
		c.Close()
		if ok && (string(v.Value(0)) != "a" || v.Stamp().Load() != 0) {
			t.Error("a View that is held does not outlive Close")
		}
		v.Release()
		if c.putKey(1, []byte("b")) {
			t.Error("put after Close")
		}
		if _, ok := c.getKey(1); ok {
			t.Error("found after Close")
		}
		if _, ok := c.Peek(Hash(key(1)), key(1)); ok {
			t.Error("found after Close")
		}
		c.Drop(Hash(key(1)), key(1))
		c.DropIf(func([]byte) bool { return true })
		if s := c.Stats(); s.Entries != 0 || s.Pinned != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// A system that refuses memory makes the cache smaller, nothing else.
func TestMemoryIsRefused(t *testing.T) {
	for limit := range 6 {
		m := &scarce{left: limit}
		c := newCache(Config{Size: 1 << 20}, m)
		for i := range 2000 {
			for range 3 {
				v, _ := c.getKey(i)
				v.Release()
			}
			c.putKey(i, body(i, 0, 3000))
		}
		check(t, c)
		s := c.Stats()
		if limit < 2 && s.Entries != 0 || limit >= 2 && s.Entries == 0 || limit >= 4 && s.Evictions == 0 {
			t.Errorf("%d pieces of memory: %+v", limit, s)
		}
		c.Close()
		if m.left != limit {
			t.Errorf("%d pieces of %d came back", m.left, limit)
		}
	}
}

type scarce struct {
	heap
	left int
}

func (m *scarce) alloc(n int) []byte {
	if m.left == 0 {
		return nil
	}
	m.left--
	return m.heap.alloc(n)
}

func (m *scarce) free([]byte) { m.left++ }

package ram

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

const million = 1 << 20

func filled(b *testing.B) *Cache {
	c := New(Config{Size: 700 << 20})
	b.Cleanup(c.Close)
	var k [16]byte
	for i := range million {
		binary.LittleEndian.PutUint64(k[:], uint64(i))
		if !c.Put(Hash(k[:]), k[:], 0, [2]uint64{}, room[:300], room[:100]) {
			b.Fatalf("%d: %+v", i, c.Stats())
		}
	}
	return c
}

// BenchmarkGet asks 1 M entries, uniformly, by Zipf's law, and one of them alone.
func BenchmarkGet(b *testing.B) {
	c := filled(b)
	r := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(r, 1.1, 1, million-1)
	for name, next := range map[string]func() uint64{
		"uniform": func() uint64 { return r.Uint64() % million },
		"zipf":    zipf.Uint64,
		"one":     func() uint64 { return 77 },
	} {
		keys := make([][16]byte, 1<<20)
		for i := range keys {
			binary.LittleEndian.PutUint64(keys[i][:], next())
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for i := 0; b.Loop(); i++ {
				k := keys[i&(1<<20-1)][:]
				v, ok := c.Get(Hash(k), k)
				if ok {
					n += len(v.Value(0))
					v.Release()
				}
			}
			if n == 0 {
				b.Fatal("nothing found")
			}
		})
	}
}

// BenchmarkPut offers to a full cache what was asked for three times.
func BenchmarkPut(b *testing.B) {
	c := New(Config{Size: 64 << 20})
	defer c.Close()
	b.SetBytes(2000)
	b.ReportAllocs()
	var k [16]byte
	for i := 0; b.Loop(); i++ {
		binary.LittleEndian.PutUint64(k[:], uint64(i))
		h := Hash(k[:])
		for range 3 {
			if v, ok := c.Get(h, k[:]); ok {
				v.Release()
			}
		}
		c.Put(h, k[:], 0, [2]uint64{}, room[:1900], room[:100])
	}
	b.ReportMetric(float64(c.Stats().Admissions)/float64(b.N), "admitted/op")
}

func TestGetDoesNotAllocate(t *testing.T) {
	c := newTest(t, Config{Size: 1 << 20})
	c.putKey(1, []byte("a"))
	n := testing.AllocsPerRun(1000, func() {
		var b [32]byte
		k := append(b[:0], "site\x00/path/1"...)
		if v, ok := c.Get(Hash(k), k); !ok || len(v.Value(0)) != 1 {
			t.Error("not found")
		} else {
			v.Release()
		}
		k = append(k, '9')
		if v, ok := c.Peek(Hash(k), k); ok {
			v.Release()
		}
		c.Get(Hash(k), k)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package store

import (
	"testing"
	"time"

	"perigee/edge/cache/policy"
)

// TestMillion says what an entry costs and how long a start takes; the figures decide nothing.
func TestMillion(t *testing.T) {
	const n = 1 << 20
	r := newRig(t, func(c *Config) { c.Size = 1 << 30; c.Policy = policy.New(policy.Config{Size: 1 << 30}) })
	meta := make([]byte, 100)
	began := time.Now()
	for i := range uint64(n) {
		if _, err := r.Put(Names, key(i), meta, nil); err != nil {
			t.Fatal(err)
		}
	}
	put := time.Since(began)
	s := r.Stats()
	if s.Entries < n-3 || s.IndexBytes > 16*n {
		t.Errorf("%d entries in %d bytes", s.Entries, s.IndexBytes)
	}
	began = time.Now()
	r.kill()
	t.Logf("%d entries: put in %v, %.1f bytes each, opened after a kill in %v", n, put, float64(s.IndexBytes)/n, time.Since(began))
	if got := r.Stats(); got.Entries < n-3 || got.IndexBytes > 16*n {
		t.Errorf("%d entries in %d bytes", got.Entries, got.IndexBytes)
	}
	for i := uint64(0); i < n; i += 997 {
		r.expect(i, string(meta), nil, false)
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10} {
		b.Run(sizeName(size), func(b *testing.B) {
			r := newRig(b, nil)
			const n = 64
			keys := [n]Key{}
			for i := range uint64(n) {
				keys[i] = key(i)
				r.mustPut(Bodies, i, "meta", content(i, size))
			}
			buf := make([]byte, size+1000)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			i := 0
			for b.Loop() {
				k := keys[i%n]
				i++
				ref, _ := r.Find(k)
				r.Touch(k)
				if _, err := r.Read(k, ref, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func sizeName(n int) string {
	if n < 100<<10 {
		return "1KiB"
	}
	return "100KiB"
}

func BenchmarkFind(b *testing.B) {
	r := newRig(b, func(c *Config) { c.Size = 1 << 30 })
	const n = 1 << 20
	keys := make([]Key, n)
	for i := range uint64(n) {
		keys[i] = key(i)
		if _, err := r.Put(Names, keys[i], nil, nil); err != nil {
			b.Fatal(err)
		}
	}
	i := 0
	for b.Loop() {
		if _, ok := r.Find(keys[i&(n-1)]); !ok {
			b.Fatal("missing")
		}
		i += 7919
	}
}

func BenchmarkPut(b *testing.B) {
	r := newRig(b, func(c *Config) { c.Size = 1 << 30 })
	body := content(1, 64<<10)
	b.SetBytes(int64(len(body)))
	i := uint64(0)
	for b.Loop() {
		if _, err := r.Put(Bodies, key(i), nil, body); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

package origin_test

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"perigee/object"
	"perigee/origin"
	"perigee/origin/origintest"
)

// workers is how many clients run at once in the benchmarks.
const workers = 8

// BenchmarkPut stores new objects durably; BenchmarkGet reads one over and over. Client and server share the machine.
func BenchmarkPut(b *testing.B) {
	s := origintest.Start(b)
	for _, size := range []int{16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			w, err := origin.NewWriter(b.Context(), s.Config())
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			body := make([]byte, size)
			var n atomic.Int64
			b.SetBytes(int64(size))
			b.SetParallelism(workers / 2) // per processor, of which we count on two
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					key := object.Key(fmt.Sprintf("b/%02x/%d-%d", i%256, size, i))
					if _, err := w.Put(b.Context(), key, body, origin.PutOptions{}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := origintest.Start(b)
	w, err := origin.NewWriter(b.Context(), s.Config())
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	for _, size := range []int{16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			r, err := origin.NewReader(s.EdgeConfig())
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			key := object.Key(fmt.Sprintf("b/%d", size))
			if _, err := w.Put(b.Context(), key, make([]byte, size), origin.PutOptions{}); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.SetParallelism(workers / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					body, _, err := r.Get(b.Context(), key, origin.GetOptions{})
					if err == nil {
						_, err = io.Copy(io.Discard, body)
						body.Close()
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

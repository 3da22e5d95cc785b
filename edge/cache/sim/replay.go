package sim

import (
	"context"
	"fmt"
	"sync"
	"time"

	"perigee/clock"
)

// Run is one cache in a replay and what came of it.
type Run struct {
	Policy string `json:"policy"`
	Size   int64  `json:"size"` // bytes of the cache

	Requests    int64         `json:"requests"`
	Hits        int64         `json:"hits"`         // requests of which everything was held
	Bytes       int64         `json:"bytes"`        // requested
	HitBytes    int64         `json:"hit_bytes"`    // of them held, those of requests held in part included
	Written     int64         `json:"written"`      // bytes written to the cache, relocation included
	Busy        time.Duration `json:"busy_ns"`      // time spent in the policy
	ObjectRatio float64       `json:"object_ratio"` // Hits/Requests
	ByteRatio   float64       `json:"byte_ratio"`   // HitBytes/Bytes
	WriteRatio  float64       `json:"write_ratio"`  // Written/(Bytes-HitBytes)
	PerRequest  time.Duration `json:"per_request_ns"`

	cache Cache
}

// Source calls f with each request of a trace, in order, until f fails, and returns that error or its own.
type Source func(f func(Request) error) error

// NewRun returns a run of cache, which New made for policy and size.
func NewRun(policy string, size int64, cache Cache) *Run {
	return &Run{Policy: policy, Size: size, cache: cache}
}

// batch is how many requests are read before the caches get them: enough that starting goroutines costs nothing, 1 MiB of memory.
const batch = 1 << 16

// Replay sends each request of src to all runs, the runs of a batch at the same time. It returns when all is done, or with the first error of src or ctx.
func Replay(ctx context.Context, clk clock.Clock, src Source, runs []*Run) error {
	buf := make([]Request, 0, batch)
	flush := func() error {
		var wg sync.WaitGroup
		for _, r := range runs {
			wg.Go(func() { r.serve(clk, buf) })
		}
		wg.Wait()
		buf = buf[:0]
		return ctx.Err()
	}
	err := src(func(r Request) error {
		buf = append(buf, r)
		if len(buf) < batch {
			return nil
		}
		return flush()
	})
	if err != nil {
		return fmt.Errorf("replay trace: %w", err)
	}
	if err := flush(); err != nil {
		return fmt.Errorf("replay trace: %w", err)
	}
	for _, r := range runs {
		r.finish()
	}
	return nil
}

func (r *Run) serve(clk clock.Clock, reqs []Request) {
	start := clk.Now()
	for _, q := range reqs {
		o := r.cache.Request(q)
		r.Requests++
		r.Bytes += q.Size
		held := min(o.Held, q.Size)
		r.HitBytes += held
		if held == q.Size {
			r.Hits++
		}
		r.Written += o.Written
	}
	r.Busy += clk.Now().Sub(start)
}

func (r *Run) finish() {
	if r.Requests == 0 {
		return
	}
	r.ObjectRatio = float64(r.Hits) / float64(r.Requests)
	r.ByteRatio = float64(r.HitBytes) / float64(r.Bytes)
	if missed := r.Bytes - r.HitBytes; missed > 0 {
		r.WriteRatio = float64(r.Written) / float64(missed)
	}
	r.PerRequest = r.Busy / time.Duration(r.Requests)
}

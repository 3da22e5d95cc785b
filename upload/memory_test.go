//go:build !race

package upload

import (
	"io"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestMemoryIsFlat: however large a file is, publishing it takes a few parts of memory. The S3 server is another process.
// The race detector's own memory would be measured too, so this is not run under it.
func TestMemoryIsFlat(t *testing.T) {
	b := newBench(t, Config{})
	const limit = 100 << 20
	for _, c := range []struct {
		name string
		size int64
		send func(size int64) answer
	}{
		{"PUT", 1 << 30, func(size int64) answer {
			return b.call("PUT", "/api/v1/sites/www/files/put", sized{io.LimitReader(newLoop(), size), size})
		}},
		{"PUT of unknown length", 256 << 20, func(size int64) answer {
			return b.call("PUT", "/api/v1/sites/www/files/chunked", io.LimitReader(newLoop(), size))
		}},
		{"tus", 256 << 20, func(size int64) answer {
			url := b.create("/tus", int(size))
			return b.call("PATCH", url, sized{io.LimitReader(newLoop(), size), size}, "Tus-Resumable", "1.0.0", "Content-Type", chunkType, "Upload-Offset", "0")
		}},
	} {
		debug.FreeOSMemory()
		stop, peak := make(chan struct{}), make(chan uint64)
		go func() { peak <- peakMemory(stop) }()
		started := time.Now()
		a := c.send(c.size)
		took := time.Since(started)
		close(stop)
		most := <-peak
		if a.status != 201 && a.status != 204 {
			t.Fatalf("%s: %d %s", c.name, a.status, a.body)
		}
		t.Logf("%s: %d MiB in %v, %d MiB/s, memory of the process at most %d MiB", c.name, c.size>>20, took.Round(time.Millisecond),
			int64(float64(c.size>>20)/took.Seconds()), most>>20)
		if most > limit {
			t.Errorf("%s: %d MiB of memory, the limit is %d", c.name, most>>20, limit>>20)
		}
	}
	b.consistent()
}

// peakMemory returns the most memory the process had of the system until stop is closed.
func peakMemory(stop <-chan struct{}) (most uint64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.Sys-m.HeapReleased)
		select {
		case <-stop:
			return most
		case <-tick.C:
		}
	}
}

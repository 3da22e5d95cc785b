package cache

import (
	"runtime"
	"sync"
	"testing"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// stalled is a writer whose reader takes nothing until it is told to.
type stalled struct {
	compare
	arrived *sync.WaitGroup
	once    sync.Once
	release chan struct{}
}

func (s *stalled) Write(p []byte) (int, error) {
	s.once.Do(s.arrived.Done)
	<-s.release
	return s.compare.Write(p)
}

// Five hundred clients that take nothing hold a copy buffer each, not the file.
func TestMemoryOfSlowClients(t *testing.T) {
	const clients, perClient = 500, 100 << 10
	for _, c := range []struct {
		name string
		size int64
		hold bool // the fill stands still as well
	}{{"stored", 10 * mib, false}, {"filling", 10 * mib, true}, {"stored, one chunk", mib, false}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			data := cachetest.Bytes(c.size, 1)
			p := r.o.Publish("www", "/file", 1, data)
			fill := make(chan struct{})
			if c.hold {
				r.o.Break(p.Blob, cachetest.Fault{Hold: fill, At: 2 * mib})
				r.read(p, object.Range{Length: 2 * mib})
			} else {
				r.mustGet("/file", data)
				r.idle()
			}
			before := heap()
			var arrived, done sync.WaitGroup
			release := make(chan struct{})
			for range clients {
				arrived.Add(1)
				done.Go(func() {
					b, _, err := r.e.Locate(t.Context(), p, object.Range{Length: 300_000})
					if err != nil {
						t.Error(err)
						arrived.Done()
						return
					}
					defer b.Close()
					w := &stalled{compare: compare{want: data}, arrived: &arrived, release: release}
					if _, err := b.Copy(t.Context(), w); err != nil {
						t.Error(err)
					}
				})
			}
			arrived.Wait()
			if used := heap() - before; used > clients*perClient {
				t.Errorf("%d clients hold %d KiB, %d each", clients, used>>10, used/clients)
			}
			close(fill)
			close(release)
			done.Wait()
			r.idle()
		})
	}
}

// heap returns how many bytes are in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools hold goes with the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

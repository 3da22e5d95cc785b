package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"perigee/purge"
	"perigee/purge/purgetest"
)

// TestKilled kills the server again and again while entries are appended. Whatever was acknowledged must reach every
// follower, once, in the order of positions, and no follower may be reset.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	server := startChild(t, "127.0.0.1:0", dir)
	url := "nats://" + server.addr
	l := connect(t, ClientConfig{URL: url}).Log(LogConfig{AskEvery: 100 * time.Millisecond})
	if err := l.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	sinks := make([]collector, 3)
	for i := range sinks {
		follow(t, connect(t, ClientConfig{URL: url}).Log(LogConfig{AskEvery: 100 * time.Millisecond}), purge.Position{}, &sinks[i])
	}
	var mu sync.Mutex
	var seqs = map[string]uint64{}
	const rounds, each = 4, 150
	for round := range rounds {
		var wg sync.WaitGroup
		kill := make(chan struct{})
		wg.Go(func() {
			for i := range each {
				if i == each/2 {
					close(kill)
				}
				e := purgetest.NewEntry(fmt.Sprintf("%d-%d", round, i))
				for {
					p, err := l.Append(t.Context(), e)
					if err == nil {
						m, _ := p.Mark("r1")
						mu.Lock()
						seqs[e.ID] = m.Seq
						mu.Unlock()
						break
					}
					if t.Context().Err() != nil {
						return
					}
					time.Sleep(time.Millisecond)
				}
			}
		})
		<-kill
		server.kill()
		server = startChild(t, server.addr, dir)
		wg.Wait()
	}
	for i := range sinks {
		s := &sinks[i]
		eventually(t, "every entry", s.see(func() bool { return len(s.ids) >= rounds*each }))
		s.mu.Lock()
		if len(s.resets) > 0 || len(s.ids) != rounds*each {
			t.Errorf("follower %d: %d entries, want %d; resets %v", i, len(s.ids), rounds*each, s.resets)
		}
		for n, id := range s.ids {
			if seqs[id] != uint64(n)+1 {
				t.Errorf("follower %d: entry %s came as number %d and was acknowledged as %d", i, id, n+1, seqs[id])
			}
		}
		s.mu.Unlock()
	}
}

// TestWiped loses the server together with its disk.
func TestWiped(t *testing.T) {
	dir := t.TempDir()
	server := startChild(t, "127.0.0.1:0", dir)
	url := "nats://" + server.addr
	l := connect(t, ClientConfig{URL: url}).Log(LogConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	if err := l.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sink collector
	follow(t, connect(t, ClientConfig{URL: url}).Log(LogConfig{AskEvery: 100 * time.Millisecond}), purge.Position{}, &sink)
	for i := range 5 {
		if _, err := l.Append(t.Context(), purgetest.NewEntry(fmt.Sprint("old", i))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the old entries", sink.see(func() bool { return len(sink.ids) == 5 }))
	server.kill()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	startChild(t, server.addr, dir)
	eventually(t, "Reset", sink.see(func() bool { return len(sink.resets) > 0 }))
	eventually(t, "the writer's connection", l.c.Connected)
	if _, err := l.Append(t.Context(), purgetest.NewEntry("new")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new entry", sink.see(func() bool { return slices.Contains(sink.ids, "new") }))
	sink.mu.Lock()
	defer sink.mu.Unlock()
	if len(sink.resets) != 1 || !errors.Is(sink.resets[0], purge.ErrGap) {
		t.Errorf("resets %v", sink.resets)
	}
}

// TestLatency appends one entry at a time and measures how long each of three followers takes. Only a gross delay
// fails: the machine may be busy.
func TestLatency(t *testing.T) {
	s := startServer(t, ServerConfig{})
	l := connect(t, ClientConfig{URL: s.URL()}).Log(LogConfig{})
	if err := l.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	sinks := make([]collector, 3)
	for i := range sinks {
		follow(t, connect(t, ClientConfig{URL: s.URL()}).Log(LogConfig{}), purge.Position{}, &sinks[i])
		eventually(t, "a Confirm", sinks[i].see(func() bool { return sinks[i].confirms > 0 }))
	}
	var applied, acked []time.Duration
	for i := range 200 {
		id := fmt.Sprint(i)
		start := time.Now()
		if _, err := l.Append(t.Context(), purgetest.NewEntry(id)); err != nil {
			t.Fatal(err)
		}
		acked = append(acked, time.Since(start))
		var last time.Time
		for j := range sinks {
			c := &sinks[j]
			eventually(t, "entry "+id, c.see(func() bool {
				if at := c.at[id]; at.After(last) {
					last = at
				}
				return !c.at[id].IsZero()
			}))
		}
		applied = append(applied, last.Sub(start))
	}
	slices.Sort(applied)
	slices.Sort(acked)
	t.Logf("append to acknowledged: p50 %v, p99 %v; append to applied by all three: p50 %v, p99 %v, most %v",
		acked[100], acked[198], applied[100], applied[198], applied[199])
	if applied[100] > time.Second {
		t.Errorf("half of the entries took longer than %v: they do not come by the feed", applied[100])
	}
}

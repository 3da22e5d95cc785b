package edge

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"syscall"
	"time"

	"perigee/clock"
	"perigee/fleet"
)

// loadMeter turns counters into rates, once a second.
type loadMeter struct {
	clock    clock.Clock
	server   *Server
	capacity float64 // bytes per second to clients; 0 when it is not known
	latest   atomic.Pointer[fleet.Load]
}

func newLoadMeter(c clock.Clock, s *Server, capacity float64) *loadMeter {
	m := &loadMeter{clock: c, server: s, capacity: capacity}
	m.latest.Store(&fleet.Load{Headroom: 1, Capacity: capacity})
	return m
}

// now returns the load of the last second.
func (m *loadMeter) now() fleet.Load {
	l := *m.latest.Load()
	l.Conns = int(m.server.conns())
	return l
}

func (m *loadMeter) run(ctx context.Context) error {
	t := m.clock.NewTicker(time.Second)
	defer t.Stop()
	at, requests, sent, cpu := m.clock.Now(), int64(0), int64(0), processCPU()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
		t := m.server.tally.total()
		now, r, s, p := m.clock.Now(), t.requests, t.sent, processCPU()
		secs := now.Sub(at).Seconds()
		if secs <= 0 {
			continue
		}
		l := &fleet.Load{
			Requests: float64(r-requests) / secs, Sent: float64(s-sent) / secs, Memory: processMemory(), Headroom: 1, Capacity: m.capacity,
			CPU: min(1, (p-cpu).Seconds()/secs/float64(runtime.NumCPU())),
		}
		if m.capacity > 0 {
			l.Headroom = min(1, max(0, 1-l.Sent/m.capacity))
		}
		m.latest.Store(l)
		at, requests, sent, cpu = now, r, s, p
	}
}

// processCPU returns the processor time the process has used.
func processCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func processMemory() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}

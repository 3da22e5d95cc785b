//go:build amd64 || arm64

package lane

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Each connection is shown once when it is closed, while its descriptor is still its own, and one in use now and then before.
func TestConnectionsAreMeasured(t *testing.T) {
	type shown struct {
		remote netip.AddrPort
		err    error
	}
	var mu sync.Mutex
	var all []shown
	news := make(chan struct{}, 100)
	measure := func(fd int, remote netip.AddrPort) {
		peer, err := syscall.Getpeername(fd)
		if err == nil && addrPort(peer) != remote {
			t.Errorf("shown %v as %v", addrPort(peer), remote)
		}
		mu.Lock()
		all = append(all, shown{remote, err})
		mu.Unlock()
		news <- struct{}{}
	}
	clock := newManual()
	s := start(t, Config{Handler: echo, Loops: 1, Clock: clock, Measure: measure, Idle: time.Hour}, time.Second)
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	for range 3 {
		if _, err := c.Write([]byte("GET /hot HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1024)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(news); n != 0 {
		t.Fatalf("requests were measured: %d", n)
	}
	hear := func(what string) {
		t.Helper()
		select {
		case <-news:
		case <-time.After(patience):
			t.Fatal(what)
		}
	}
	// A turn may do two sweeps in one, so there may have to be more of them. The clock stays within the time in which the connection was in use.
	for i := 0; i < 10_000 && len(news) == 0; i++ {
		clock.advance(sweepEvery)
		if _, err := c.Write([]byte("GET /hot HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1024)); err != nil {
			t.Fatal(err)
		}
	}
	hear("a connection in use is not measured")
	c.Close()
	hear("a connection that was closed is not measured")
	s.stop()
	mu.Lock()
	defer mu.Unlock()
	if len(all) < 2 {
		t.Fatalf("shown %v", all)
	}
	for _, m := range all[:len(all)-1] {
		if m.remote != local || m.err != nil {
			t.Errorf("shown %v, %v", m.remote, m.err)
		}
	}
	if last := all[len(all)-1]; last.remote != local {
		t.Errorf("shown %v at the end", last.remote)
	}
}

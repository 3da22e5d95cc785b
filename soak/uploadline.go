package main

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// line forwards connections, and can break them all or refuse them for a while.
type line struct {
	l            net.Listener
	network, to  string
	bytesASecond int // that a connection carries towards to; 0 is no limit
	wg           sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	down  bool
}

// newLine forwards from an address of its own to another; network is that of both.
func newLine(network, from, to string, bytesASecond int) (*line, error) {
	if network == "unix" {
		if err := os.Remove(from); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	l, err := net.Listen(network, from)
	if err != nil {
		return nil, err
	}
	n := &line{l: l, network: network, to: to, bytesASecond: bytesASecond, conns: map[net.Conn]bool{}}
	n.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.wg.Go(func() { n.forward(c) })
		}
	})
	return n, nil
}

func (n *line) addr() string { return n.l.Addr().String() }

// add notes the two ends of a connection; false while the line is down.
func (n *line) add(c, s net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.down {
		n.conns[c], n.conns[s] = true, true
	}
	return !n.down
}

func (n *line) forward(c net.Conn) {
	defer c.Close()
	s, err := net.Dial(n.network, n.to)
	if err != nil {
		return
	}
	defer s.Close()
	if !n.add(c, s) {
		return
	}
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.conns, c)
		delete(n.conns, s)
	}()
	n.wg.Go(func() {
		_, _ = io.Copy(c, s)
		c.Close()
	})
	_, _ = io.Copy(s, n.slowly(c))
}

// slowly makes what is read from c arrive at the line's speed.
func (n *line) slowly(c io.Reader) io.Reader {
	if n.bytesASecond == 0 {
		return c
	}
	return &slow{r: c, bytesASecond: n.bytesASecond}
}

// slow is a Reader that has so many bytes a second.
type slow struct {
	r            io.Reader
	bytesASecond int
	next         time.Time
}

func (s *slow) Read(b []byte) (int, error) {
	time.Sleep(time.Until(s.next))
	n, err := s.r.Read(b)
	if now := time.Now(); s.next.Before(now) {
		s.next = now
	}
	s.next = s.next.Add(time.Duration(n) * time.Second / time.Duration(s.bytesASecond))
	return n, err
}

// cut breaks every connection.
func (n *line) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if t, ok := c.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		c.Close()
	}
}

// set makes the line carry nothing, or carry again.
func (n *line) set(down bool) {
	n.mu.Lock()
	n.down = down
	n.mu.Unlock()
	if down {
		n.cut()
	}
}

func (n *line) close() {
	n.l.Close()
	n.cut()
	n.wg.Wait()
}

package dnsgeo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"perigee/clock"
)

// Connections, of TCP and of TLS alike. Each has a goroutine that reads; queries that arrive while others are answered are
// answered beside them, at most maxPipeline of a connection at the same time, and the answers leave in the order in which they
// are ready (RFC 7766 §6.2.1.1). Nothing is read beyond that, and an answer that is ready waits until the one before it is
// written: what is held for a reader that is slow is bounded, and one that takes nothing for tcpTransfer is cut off.
//
// There are at most Config.MaxConns connections, a quarter of them, but not less than minPerClient, from one client. The more of them are
// open, the sooner a silent one is closed.

const (
	maxTCPQuery   = 4096            // bytes; a query has a name of 255 and some options
	tcpTransfer   = 2 * time.Second // for the rest of a query that has begun, and for writing an answer
	handshakeTime = 5 * time.Second // for TLS
	maxPipeline   = 8
	maxTransfers  = 8 // zones that are sent at the same time, over all connections
	minPerClient  = 16
	// leastPatience is the part of Config.Idle that a silent connection has when all are taken.
	leastPatience = 16
)

// streams is the connections of a server.
type streams struct {
	clock     clock.Clock
	idle      time.Duration
	tls       *tls.Config
	slots     chan struct{} // one per open connection
	perClient int
	transfers chan struct{} // one per zone that is being sent
	buffers   sync.Pool     // *[]byte of answerBuffer bytes

	mu      sync.Mutex
	open    map[*stream]struct{}
	clients map[netip.Prefix]int
	ended   bool // no further connection is served
}

const answerBuffer = 4096

func newStreams(c *Config) (*streams, error) {
	s := &streams{
		clock: c.Clock, idle: c.Idle, open: make(map[*stream]struct{}), clients: make(map[netip.Prefix]int),
		transfers: make(chan struct{}, maxTransfers),
		buffers:   sync.Pool{New: func() any { b := make([]byte, answerBuffer); return &b }},
	}
	if s.idle <= 0 {
		s.idle = 10 * time.Second
	}
	n := c.MaxConns
	if n <= 0 {
		n = 512
	}
	s.slots, s.perClient = make(chan struct{}, n), max(n/4, minPerClient)
	if c.ListenTLS == "" {
		return s, nil
	}
	var err error
	s.tls, err = tlsForDNS(c.TLS)
	return s, err
}

// clientOf is what counts as one client: an IPv4 address, an IPv6 network of 64 bits.
func clientOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// serveStreams accepts connections until ctx ends, and returns when all of them are closed. config is nil for plain TCP.
func (s *Server) serveStreams(ctx context.Context, l *net.TCPListener, config *tls.Config) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		if !s.streams.slot(ctx) {
			return nil
		}
		conn, err := l.Accept()
		if err != nil {
			<-s.streams.slots
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, net.ErrClosed):
				return fmt.Errorf("accept TCP: %w", err)
			}
			s.log.Warn("dns: accept TCP", "err", err)
			s.pause(ctx)
			continue
		}
		wg.Go(func() {
			defer func() { <-s.streams.slots }()
			defer conn.Close()
			c := &stream{Server: s, Conn: conn, from: conn.RemoteAddr().(*net.TCPAddr).AddrPort(), work: make(chan struct{}, maxPipeline)}
			if s.begin(c, conn) {
				defer s.end(c)
				if c.secure(ctx, config) {
					c.serve(ctx)
					c.Conn.Close() // over TLS, this says goodbye first
				}
			}
		})
	}
}

// slot waits for the right to one more connection; others wait in the kernel's queue meanwhile. It reports false when ctx ends.
func (s *streams) slot(ctx context.Context) bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
		s.hurry()
	}
	select {
	case s.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// hurry shortens the patience with connections that are silent already.
func (s *streams) hurry() {
	patience := s.patience()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	for c := range s.open {
		if !c.silent.IsZero() {
			_ = c.socket.SetReadDeadline(c.silent.Add(patience))
		}
	}
}

// patience is how long a silent connection may stay open: Config.Idle while fewer than half of the connections are taken,
// then less and less.
func (s *streams) patience() time.Duration {
	taken, all := len(s.slots), cap(s.slots)
	if taken <= all/2 {
		return s.idle
	}
	return max(s.idle*time.Duration(2*(all-taken))/time.Duration(all), s.idle/leastPatience)
}

// begin registers a connection; it reports false when the server is about to end or the client has too many.
func (s *Server) begin(c *stream, socket net.Conn) bool {
	c.socket, c.client = socket, clientOf(c.from.Addr())
	t := s.streams
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || t.clients[c.client] >= t.perClient {
		return false
	}
	t.open[c] = struct{}{}
	t.clients[c.client]++
	s.counters.Conns.Add(1)
	return true
}

func (s *Server) end(c *stream) {
	t := s.streams
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	if t.clients[c.client]--; t.clients[c.client] == 0 {
		delete(t.clients, c.client)
	}
	s.counters.Conns.Add(-1)
}

// endStreams wakes everything that waits for peers, but for answers that are on their way: they have tcpTransfer left.
func (s *Server) endStreams() {
	for _, l := range []*net.TCPListener{s.tcp, s.tls} {
		if l != nil {
			_ = l.SetDeadline(time.Unix(1, 0))
		}
	}
	t := s.streams
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	for c := range t.open {
		_ = c.socket.SetReadDeadline(time.Unix(1, 0))
		_ = c.socket.SetWriteDeadline(t.clock.Now().Add(tcpTransfer))
	}
}

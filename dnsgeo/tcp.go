package dnsgeo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	maxTCPQuery = 4096            // bytes; a query has a name of 255 and some options
	tcpTransfer = 2 * time.Second // for the rest of a query that has begun, and for writing an answer
)

// serveTCP accepts connections until ctx ends, and returns when all of them are closed.
func (s *Server) serveTCP(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case s.slots <- struct{}{}: // beyond that many, connections wait in the kernel's queue
		case <-ctx.Done():
			return nil
		}
		conn, err := s.tcp.Accept()
		if err != nil {
			<-s.slots
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
			defer func() { <-s.slots }()
			defer conn.Close()
			if s.begin(conn) {
				defer s.end(conn)
				s.serveConn(ctx, conn)
			}
		})
	}
}

// begin registers a connection; it reports false when the server is about to end.
func (s *Server) begin(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.conns[c] = struct{}{}
	s.counters.Conns.Add(1)
	return true
}

func (s *Server) end(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.counters.Conns.Add(-1)
}

// endConns wakes everything that waits for TCP peers.
func (s *Server) endConns() {
	_ = s.tcp.SetDeadline(time.Unix(1, 0))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for c := range s.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// serveConn answers the queries of one connection in their order until it is silent for too long (RFC 7766 §6.2.3).
func (s *Server) serveConn(ctx context.Context, c net.Conn) {
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	in, out := make([]byte, 0, 512), make([]byte, 2+4096)
	for {
		var length [2]byte
		if !s.await(c, s.patience()) || !read(c, length[:1]) || !s.await(c, tcpTransfer) || !read(c, length[1:]) {
			return
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n > maxTCPQuery {
			return
		}
		if cap(in) < n {
			in = make([]byte, n)
		}
		in = in[:n]
		if !read(c, in) {
			return
		}
		s.counters.TCP.Add(1)
		answer := s.respond(in, from, true, out[2:])
		if answer == nil {
			return // what sends no queries over TCP is no DNS client
		}
		message := append(out[:0], byte(len(answer)>>8), byte(len(answer)))
		message = append(message, answer...) // onto itself, unless the answer was too long for out
		_ = c.SetWriteDeadline(s.clock.Now().Add(tcpTransfer))
		if _, err := c.Write(message); err != nil || ctx.Err() != nil {
			return
		}
	}
}

// patience is how long a silent connection may stay open: briefly when more than half of all slots are taken.
func (s *Server) patience() time.Duration {
	if len(s.slots) > cap(s.slots)/2 {
		return s.idle / 8
	}
	return s.idle
}

// await sets the deadline for the next read, unless the server is about to end: the deadline that wakes the
// connection then must not be overwritten.
func (s *Server) await(c net.Conn, d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended && c.SetReadDeadline(s.clock.Now().Add(d)) == nil
}

func read(c net.Conn, b []byte) bool {
	_, err := io.ReadFull(c, b)
	return err == nil
}

//go:build !linux || !(amd64 || arm64)

package dnsgeo

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/miekg/dns"
)

// udpSockets opens the one socket that all workers share.
func udpSockets(address *net.UDPAddr, _ int) ([]*net.UDPConn, error) {
	c, err := net.ListenUDP("udp", address)
	if err != nil {
		return nil, err
	}
	return []*net.UDPConn{c}, nil
}

// serveSocket answers packets, one after the other, until ctx ends.
func (s *Server) serveSocket(ctx context.Context, conn *net.UDPConn) error {
	in, out := make([]byte, 4096), make([]byte, dns.MaxMsgSize)
	var q asked
	var t tally
	for {
		n, session, err := dns.ReadFromSessionUDP(conn, in)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read UDP: %w", err)
		default:
			s.log.Warn("dns: read UDP", "err", err)
			s.pause(ctx)
			continue
		}
		t.queries++
		from := session.RemoteAddr().(*net.UDPAddr).AddrPort()
		var answer []byte
		if h := s.fresh(); h != nil {
			answer = out[:h.answer(&q, in[:n], from.Addr(), out, &t)]
		}
		if len(answer) == 0 {
			answer = s.respond(in[:n], from, false, out)
		}
		t.flush(&s.counters)
		if len(answer) == 0 || from.Port() == 0 {
			continue
		}
		if _, err := dns.WriteToSessionUDP(conn, answer, session); err != nil {
			s.log.Debug("dns: write UDP", "to", from.String(), "err", err)
		}
	}
}

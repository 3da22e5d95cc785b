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
func (s *Server) serveSocket(ctx context.Context, index int, conn *net.UDPConn) error {
	in, out := make([]byte, 4096), make([]byte, dns.MaxMsgSize)
	a := answerer{s: s, index: index}
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
		a.begin()
		n = a.answer(in[:n], session.RemoteAddr().(*net.UDPAddr).AddrPort(), out)
		a.end()
		if n == 0 {
			continue
		}
		if _, err := dns.WriteToSessionUDP(conn, out[:n], session); err != nil {
			s.log.Debug("dns: write UDP", "err", err)
		}
	}
}

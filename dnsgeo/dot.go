package dnsgeo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// alpnDoT is the protocol's name in a TLS handshake (RFC 7858, registered as "dot").
const alpnDoT = "dot"

// tlsForDNS returns the configuration of the listener for DNS over TLS.
func tlsForDNS(c *tls.Config) (*tls.Config, error) {
	switch {
	case c == nil:
		return nil, errors.New("DNS over TLS: TLS is required")
	case len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil:
		return nil, errors.New("DNS over TLS: there is no certificate")
	}
	c = c.Clone()
	if !slices.Contains(c.NextProtos, alpnDoT) {
		c.NextProtos = append(slices.Clone(c.NextProtos), alpnDoT)
	}
	// RFC 7858 §3.2 asks for what RFC 7525 recommends, whose successor RFC 9325 has TLS 1.2 as the least.
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c, nil
}

func (s *Server) listenTLS(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("DNS over TLS: %w", err)
	}
	s.tls = l.(*net.TCPListener)
	return nil
}

// AddrTLS is the address of DNS over TLS; the zero AddrPort when it is not served.
func (s *Server) AddrTLS() netip.AddrPort {
	if s.tls == nil {
		return netip.AddrPort{}
	}
	return s.tls.Addr().(*net.TCPAddr).AddrPort()
}

// secure makes the handshake of a stream, within the time that it has for one message in either direction.
func (c *stream) secure(ctx context.Context, config *tls.Config) bool {
	if config == nil {
		return true
	}
	t := tls.Server(c.Conn, config)
	if !c.awaitRead(handshakeTime) || !c.awaitWrite(handshakeTime) || t.HandshakeContext(ctx) != nil {
		return false
	}
	c.Conn, c.encrypted = t, true
	return true
}

package origin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"perigee/clock"
)

const (
	connectTimeout = 5 * time.Second
	// poolSize is how many idle connections are kept; an edge under load has that many fills at once.
	poolSize = 256
	// patience is how many times longer than usual a store may think about completing a multipart upload: it may have
	// to copy terabytes before it answers, and says nothing while it does.
	patience = 20
)

// newTransport returns a connection pool whose connections break when the other side is silent for longer than
// silence. It sets no ResponseHeaderTimeout: the limit on silence covers waiting for headers too.
func newTransport(silence time.Duration, c clock.Clock) *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &watchedConn{Conn: conn, silence: silence, clock: c}, nil
		},
		TLSHandshakeTimeout:   connectTimeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConns:          poolSize,
		MaxIdleConnsPerHost:   poolSize,
		IdleConnTimeout:       silence * 3 / 4, // retire an idle connection before its pending read times out
		DisableCompression:    true,            // an object is its bytes: a transparently unpacked one has another length
	}
}

// watchedConn fails a read or write that makes no progress for longer than silence.
type watchedConn struct {
	net.Conn
	silence time.Duration
	clock   clock.Clock
}

func (c *watchedConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(c.clock.Now().Add(c.silence)); err != nil {
		return 0, fmt.Errorf("read from %s: %w", c.RemoteAddr(), err)
	}
	return c.Conn.Read(p)
}

// Write moves the read deadline too. A pooled connection has a read pending since its last answer; without this a new
// request would be cut short by what is left of the old deadline.
func (c *watchedConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(c.clock.Now().Add(c.silence)); err != nil {
		return 0, fmt.Errorf("write to %s: %w", c.RemoteAddr(), err)
	}
	return c.Conn.Write(p)
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, c clock.Clock, d time.Duration) {
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
	case <-ctx.Done():
	}
}

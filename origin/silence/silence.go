// Package silence breaks connections whose other side says nothing. It owns no goroutine; deadlines are moved by the calls themselves.
package silence

import (
	"fmt"
	"net"
	"time"

	"perigee/clock"
)

// Limit returns conn with a limit on how long a read or write may make no progress.
func Limit(conn net.Conn, limit time.Duration, c clock.Clock) net.Conn {
	return &limited{Conn: conn, limit: limit, clock: c}
}

type limited struct {
	net.Conn
	limit time.Duration
	clock clock.Clock
}

func (c *limited) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(c.clock.Now().Add(c.limit)); err != nil {
		return 0, fmt.Errorf("read from %s: %w", c.RemoteAddr(), err)
	}
	return c.Conn.Read(p)
}

// Write moves the read deadline too. A pooled connection has a read pending since its last answer; without this a new
// request would be cut short by what is left of the old deadline.
func (c *limited) Write(p []byte) (int, error) {
	if err := c.SetDeadline(c.clock.Now().Add(c.limit)); err != nil {
		return 0, fmt.Errorf("write to %s: %w", c.RemoteAddr(), err)
	}
	return c.Conn.Write(p)
}

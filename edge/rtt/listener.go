package rtt

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// Listener measures the connections of a listener when they are closed, for servers that do not show their descriptors.
type Listener struct {
	net.Listener
	Table *Table // nil measures nothing
}

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || l.Table == nil {
		return c, err
	}
	return &conn{Conn: c, table: l.Table}, nil
}

type conn struct {
	net.Conn
	table *Table
	once  sync.Once
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		sc, ok := c.Conn.(syscall.Conn)
		if !ok {
			return
		}
		raw, err := sc.SyscallConn()
		if err != nil {
			return
		}
		// An error says that it is closed already.
		_ = raw.Control(func(fd uintptr) {
			if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
				c.table.Sample(int(fd), a.AddrPort())
			}
		})
	})
	return c.Conn.Close()
}

// Sample takes in the round trip of a connection that its owner is about to close, or that is in use. It does not block and does not keep the descriptor.
func (t *Table) Sample(fd int, client netip.AddrPort) {
	if us, ok := Measure(fd); ok {
		t.Add(client.Addr(), us)
	}
}

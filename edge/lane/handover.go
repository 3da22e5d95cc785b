package lane

import (
	"io"
	"net"
)

// replayed is a connection that yields bytes which were read before it was handed over. Whoever takes its descriptor,
// by SyscallConn or File, misses those bytes; net/http does not.
type replayed struct {
	*net.TCPConn
	first []byte
}

// Read yields the bytes first, then those of the connection.
func (c *replayed) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.TCPConn.Read(p)
	}
	n := copy(p, c.first)
	if c.first = c.first[n:]; len(c.first) == 0 {
		c.first = nil
	}
	return n, nil
}

// WriteTo yields the bytes first as well.
func (c *replayed) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(c.first)
	c.first = c.first[n:]
	if err != nil {
		return int64(n), err
	}
	m, err := c.TCPConn.WriteTo(w)
	return int64(n) + m, err
}

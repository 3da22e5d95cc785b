package strict

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
)

// Listener wraps the connections of a listener.
type Listener struct{ net.Listener }

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Wrap(c), nil
}

// Wrap returns c as a server may read it. A server that writes to it writes to c.
func Wrap(c net.Conn) *Conn { return &Conn{Conn: c} }

// Conn is a connection whose messages were checked before they can be read. Reads must not be made at the same time.
type Conn struct {
	net.Conn
	in  []byte // came, and is not checked yet
	out []byte // is checked, and is not read yet
	state
	one [1]byte
	err error // nothing can be read any more
	why error // what was refused
	// flood is how much of a field without an end may still be read.
	flood int
}

// state is where in the stream of messages the checks are.
type state struct {
	at    place
	left  int64 // bytes of a body, or of a chunk
	seen  int   // bytes of the part at hand that were checked for its end
	blank bool  // an empty line was left out
}

// place is a part of a message.
type place uint8

const (
	inHead place = iota
	inBody
	inSize    // of a chunk
	inChunk   // its data
	inEnd     // the CRLF after it
	inTrailer // after the last one
)

// The limits of the parts of chunked bodies, in bytes.
const (
	maxSizeLine = 512
	maxTrailer  = 8 << 10
)

// refused stands in the place of a message that is not let through: every server answers 400 to it.
var refused = []byte("REFUSED\r\n\r\n")

// tooLarge begins a message in the place of one whose head is too large. Its field goes on until the server has had enough, and answers 431.
var tooLarge = []byte("GET / HTTP/1.1\r\nHost: large\r\nLarge: ")

// maxFlood is beyond what a server that uses this package takes for a head, in bytes.
const maxFlood = 1 << 20

// Refused says why the connection was cut short, nil if it was not.
func (c *Conn) Refused() error { return c.why }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if c.flood > 0 {
			return c.pour(p), nil
		}
		if c.err != nil {
			return 0, c.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if n, err, ok := c.straight(p); ok {
			return n, err
		}
		if err := c.more(len(p)); err != nil {
			return 0, err
		}
		c.check()
	}
	n := copy(p, c.out)
	if c.out = c.out[n:]; len(c.out) == 0 {
		c.out = nil
	}
	return n, nil
}

// pour yields more of a field that has no end.
func (c *Conn) pour(p []byte) int {
	n := min(len(p), c.flood)
	for i := range p[:n] {
		p[i] = 'a'
	}
	c.flood -= n
	return n
}

// straight reads bytes of a body as they come, without a copy.
func (c *Conn) straight(p []byte) (n int, err error, ok bool) {
	if len(c.in) > 0 || c.at != inBody && c.at != inChunk {
		return 0, nil, false
	}
	n, err = c.Conn.Read(p[:min(int64(len(p)), c.left)])
	if c.left -= int64(n); c.left == 0 {
		c.ended()
	} else if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err, true
}

// ended goes on behind the end of a body or of a chunk's data.
func (c *Conn) ended() {
	if c.at == inBody {
		c.state = state{at: inHead}
		return
	}
	c.state = state{at: inEnd}
}

// room is memory to read into. It is not on the stack: a server has a goroutine for each connection that waits here while an answer is made.
var room = sync.Pool{New: func() any { return new([4096]byte) }}

// more reads what there is, for somebody who wants some bytes. An error that passes, as that of a deadline, is returned and forgotten.
func (c *Conn) more(want int) error {
	var n int
	var err error
	if want == 1 { // to see whether the client is still there; it waits for long, and needs no memory for that
		n, err = c.Conn.Read(c.one[:])
		c.in = append(c.in, c.one[:n]...)
	} else {
		buf := room.Get().(*[4096]byte)
		n, err = c.Conn.Read(buf[:])
		c.in = append(c.in, buf[:n]...)
		room.Put(buf)
	}
	var timed net.Error
	switch {
	case err == nil || n > 0 && err != io.EOF:
		return nil
	case errors.As(err, &timed) && timed.Timeout():
		return err
	}
	c.err = err
	if err == io.EOF && c.at != inHead {
		c.err = io.ErrUnexpectedEOF
	}
	return nil
}

// check moves what is right from in to out.
func (c *Conn) check() {
	for len(c.in) > 0 {
		n, err := c.step()
		if err != nil {
			c.refuse(err)
			return
		}
		if n == 0 {
			return
		}
		c.out = append(c.out, c.in[:n]...)
		if c.in = c.in[n:]; len(c.in) == 0 {
			c.in = nil
		}
	}
}

// refuse ends the connection for reading, after something that no server accepts.
func (c *Conn) refuse(why error) {
	c.why, c.err, c.in = why, io.EOF, nil
	switch {
	case c.at != inHead:
		c.err = io.ErrUnexpectedEOF
	case why == errMany:
		c.out, c.flood = append(c.out, tooLarge...), maxFlood
	default:
		c.out = append(c.out, refused...)
	}
}

// step checks the next part of a message and returns its length; 0 if it has not come to its end.
func (c *Conn) step() (int, error) {
	switch c.at {
	case inHead:
		return c.head()
	case inBody, inChunk:
		n := int(min(int64(len(c.in)), c.left))
		if c.left -= int64(n); c.left == 0 {
			c.ended()
		}
		return n, nil
	case inSize:
		return c.size()
	case inEnd:
		if len(c.in) < 2 {
			return 0, nil
		}
		if c.in[0] != '\r' || c.in[1] != '\n' {
			return 0, errChunk
		}
		c.state = state{at: inSize}
		return 2, nil
	}
	return c.trailer()
}

// part looks for the end of a part of at most limit bytes and returns its length, 0 if it has not come.
func (c *Conn) part(end string, limit int) (int, error) {
	from := max(c.seen-len(end)+1, 0)
	i := bytes.Index(c.in[from:], []byte(end))
	if i < 0 {
		c.seen = len(c.in)
		if c.seen > limit {
			return 0, errMany
		}
		return 0, nil
	}
	n := from + i + len(end)
	if n > limit {
		return 0, errMany
	}
	c.seen = 0
	return n, nil
}

func (c *Conn) head() (int, error) {
	// One empty line before a request is to be ignored (RFC 9112 §2.2).
	if bytes.HasPrefix(c.in, []byte("\r\n")) {
		if c.blank {
			return 0, errRequest
		}
		c.in, c.state = c.in[2:], state{blank: true}
		if len(c.in) == 0 {
			return 0, nil
		}
		return c.head()
	}
	from := c.seen
	n, err := c.part("\r\n\r\n", MaxHead)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, c.noBareLF(max(from-1, 0)) // its end may never come
	}
	f, err := checkHead(c.in[:n])
	switch {
	case err != nil:
		return 0, err
	case f.chunked:
		c.state = state{at: inSize}
	case f.length > 0:
		c.state = state{at: inBody, left: f.length}
	default:
		c.state = state{}
	}
	return n, nil
}

// noBareLF checks what has come of a head.
func (c *Conn) noBareLF(from int) error {
	for i := from; ; i++ {
		j := bytes.IndexByte(c.in[i:], '\n')
		if j < 0 {
			return nil
		}
		if i += j; i == 0 || c.in[i-1] != '\r' {
			return errLine
		}
	}
}

// size reads the line before a chunk: its size, and extensions, which mean nothing to anybody.
func (c *Conn) size() (int, error) {
	n, err := c.part("\n", maxSizeLine)
	if n == 0 || err != nil {
		return 0, err
	}
	line := c.in[:n]
	if n < 3 || line[n-2] != '\r' || bytes.IndexByte(line[:n-2], '\r') >= 0 {
		return 0, errChunk
	}
	digits, ext, has := bytes.Cut(line[:n-2], []byte(";"))
	if has && !isFieldValue(string(ext)) {
		return 0, errChunk
	}
	size, ok := hexadecimal(digits)
	switch {
	case !ok:
		return 0, errChunk
	case size == 0:
		c.state = state{at: inTrailer}
	default:
		c.state = state{at: inChunk, left: size}
	}
	return n, nil
}

func hexadecimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 15 {
		return 0, false
	}
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}

// trailer reads the fields after the last chunk, up to the empty line.
func (c *Conn) trailer() (int, error) {
	if len(c.in) < 2 {
		return 0, nil
	}
	n := 2
	if c.in[0] != '\r' || c.in[1] != '\n' {
		var err error
		if n, err = c.part("\r\n\r\n", maxTrailer); n == 0 || err != nil {
			return 0, err
		}
		for line := range bytes.SplitSeq(c.in[:n-4], []byte("\r\n")) {
			if len(line) == 0 || bytes.ContainsAny(line, "\r\n") {
				return 0, errLine
			}
			if err := new(head).field(string(line)); err != nil {
				return 0, err
			}
		}
	}
	c.state = state{at: inHead}
	return n, nil
}

//go:build amd64 || arm64

package lane

import (
	"net/netip"
	"runtime/debug"
	"syscall"
	"time"
)

// phase is what a connection does; see the package comment.
type phase uint8

const (
	reading phase = iota
	writing
	serving
	lingering
)

// lingerTime and lingerBytes bound what a client may still send after the last answer.
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 256 << 10
)

// flushAt is how many bytes of answers are collected before they are sent; a client that pipelines and does not read costs at
// most this and one answer.
const flushAt = 64 << 10

// conn is a connection. An idle one costs this, its place in a table, and what the kernel keeps.
type conn struct {
	rest     []byte   // read and not used: part of a head, or what waits for an answer to be sent
	owed     []piece  // of answers that the client has not taken
	service  *service // in serving
	since    int64    // loop time: of the last answer or progress, or when the head began
	remote   netip.AddrPort
	fd       int32
	slot     int32
	gen      int32
	drained  int32 // bytes thrown away in lingering
	phase    phase
	readable bool // there may be something to read
	peerDone bool // the client has said that it sends no more: read on until the end
	unparsed bool // rest has not been looked at since it could be
	last     bool // the answer that is being written is the last
	queued   bool // in loop.again
}

// piece is a part of an answer. It is in memory of its own, or pinned.
type piece struct {
	b   []byte
	pin Pin
}

// arrive begins a connection.
func (l *loop) arrive(a arrival) {
	l.gen++
	c := &conn{fd: int32(a.fd), remote: a.remote, gen: l.gen, since: l.since()}
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
		l.conns[c.slot] = c
	} else {
		c.slot = int32(len(l.conns))
		l.conns = append(l.conns, c)
	}
	if err := l.poll.watch(a.fd, c.slot, c.gen); err != nil {
		l.cfg.Log.Warn("no room for a connection", "err", err)
		l.drop(c)
		return
	}
	// What came before it was watched is an event as well; but an order to end may have come before.
	if l.cut {
		l.reset(c)
	} else if l.drained {
		c.readable = true
		l.proceed(c)
	}
}

// leave takes a connection from the table.
func (l *loop) leave(c *conn) {
	l.conns[c.slot] = nil
	l.free = append(l.free, c.slot)
	for _, p := range c.owed {
		if p.pin != nil {
			p.pin.Release()
		}
	}
	c.owed, c.rest, c.phase = nil, nil, lingering
	l.run.left(l)
}

// drop closes a connection. All that was written reaches the client, unless it sent what nobody has read.
func (l *loop) drop(c *conn) {
	l.measure(c)
	syscall.Close(int(c.fd))
	l.leave(c)
}

// measure shows a connection to who measures.
func (l *loop) measure(c *conn) {
	if l.cfg.Measure != nil {
		l.cfg.Measure(int(c.fd), c.remote)
	}
}

// reset closes a connection so that the client sees an error and no end.
func (l *loop) reset(c *conn) {
	_ = syscall.SetsockoptLinger(int(c.fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: 0})
	l.drop(c)
}

// event handles what happened to a connection.
func (l *loop) event(c *conn, events uint32) {
	if events&(eventIn|eventPeer|eventGone) != 0 {
		c.readable = true
	}
	if events&(eventPeer|eventGone) != 0 {
		c.peerDone = true
	}
	switch c.phase {
	case reading:
		if !c.queued {
			l.proceed(c)
		}
	case writing:
		if events&(eventOut|eventGone) != 0 {
			l.resume(c)
		}
	case serving:
		if events&(eventPeer|eventGone) != 0 {
			c.service.gone()
		}
		if events&(eventOut|eventGone) != 0 {
			c.service.writable()
		}
	case lingering:
		l.linger(c)
	}
}

// proceed reads once and answers what is complete.
func (l *loop) proceed(c *conn) {
	n := copy(l.in, c.rest)
	if c.unparsed && n > 0 {
		c.unparsed = false
	} else {
		m, ok := l.read(c, n)
		if !ok {
			return
		}
		n += m
	}
	used := l.answer(c, l.in[:n])
	if used < 0 {
		return
	}
	if c.phase == reading && l.drained && used == n && !c.readable {
		l.drop(c)
		return
	}
	l.keep(c, l.in[used:n])
	if c.phase == reading && (c.readable || c.unparsed) {
		l.enqueue(c)
	}
}

// enqueue makes a connection proceed in the next turn, after the others had theirs.
func (l *loop) enqueue(c *conn) {
	if !c.queued {
		c.queued = true
		l.again = append(l.again, c)
	}
}

// read reads after the n bytes that are in l.in. It returns false if nothing came, or no more will.
func (l *loop) read(c *conn, n int) (int, bool) {
	if !c.readable {
		if l.drained && n == 0 {
			l.drop(c)
		}
		return 0, false
	}
	m, e := read(int(c.fd), l.in[n:])
	switch {
	case e == syscall.EAGAIN:
		c.readable = false
		if l.drained && n == 0 {
			l.drop(c)
		}
		return 0, false
	case e != 0:
		l.drop(c)
		return 0, false
	case m == 0:
		if n == 0 {
			l.drop(c)
		} else {
			l.handOver(c, l.in[:n]) // half a head: net/http has words for that
		}
		return 0, false
	}
	// Less than there was room for means that the kernel has no more, and will say so when it has. The end, however, may have
	// come with the event that is being handled.
	if m < len(l.in)-n && !c.peerDone {
		c.readable = false
	}
	if n == 0 {
		c.since = l.since()
	}
	return m, true
}

// keep keeps what was read and not used, in as little memory as possible: this is what a slow head costs.
func (l *loop) keep(c *conn, b []byte) {
	switch {
	case len(b) == 0:
		c.rest, c.unparsed = nil, false
	case len(b) <= cap(c.rest):
		c.rest = append(c.rest[:0], b...)
	default:
		c.rest = append(make([]byte, 0, len(b)), b...)
	}
}

// answer answers the requests in b, in order, until one is incomplete or cannot be answered yet. It returns how many bytes it
// used, or -1 if the connection is gone or has been taken care of.
func (l *loop) answer(c *conn, b []byte) int {
	used := 0
	for used < len(b) {
		n, v := parse(&l.request, b[used:], l.cfg.MaxHead)
		if v == partial {
			break
		}
		hot := false
		if v == accepted {
			r := &l.request
			r.Remote, r.Received, r.Loop = c.remote, l.now, l.index
			if l.drained {
				r.Close = true
			}
			hot = l.hot(r)
		}
		if hot {
			used += n
			c.last = l.request.Close
			if !c.last && l.reply.size() < flushAt {
				continue
			}
		}
		// The answers so far go out first. While the client has not taken them, the rest waits, to be parsed again.
		if !l.flush(c) {
			return -1
		}
		if c.phase == writing {
			c.unparsed = true
			return used
		}
		switch {
		case c.last:
			l.finish(c)
			return -1
		case v == refused || !hot && l.cfg.Handler.Elsewhere(&l.request):
			l.handOver(c, b[used:])
			return -1
		case !hot:
			used += n
			l.serve(c, l.request.clone())
			c.unparsed = true
			return used
		}
	}
	if !l.flush(c) {
		return -1
	}
	if c.phase == writing {
		c.unparsed = true
	}
	if used > 0 && used < len(b) {
		c.since = l.since() // another head has begun
	}
	return used
}

// hot asks the handler for an answer.
func (l *loop) hot(r *Request) (yes bool) {
	n, m := len(l.reply.buf), len(l.reply.bodies)
	defer func() {
		if p := recover(); p != nil {
			l.panicked(p)
			yes = false
		}
		if !yes {
			l.reply.cut(n, m)
		}
	}()
	return l.cfg.Handler.Hot(r, &l.reply)
}

func (l *loop) panicked(p any) {
	l.cfg.Log.Error("a handler of the fast lane has panicked", "panic", p, "stack", string(debug.Stack()))
}

// finish ends a connection whose last answer has been taken by the kernel.
func (l *loop) finish(c *conn) {
	c.phase, c.rest, c.since = lingering, nil, l.since()
	if err := syscall.Shutdown(int(c.fd), syscall.SHUT_WR); err != nil {
		l.drop(c)
		return
	}
	c.readable = true
	l.linger(c)
}

// linger throws away what comes, until the client has seen the end: bytes that are never read would make the kernel send a
// reset, which may overtake the answer (RFC 9112 §9.6).
func (l *loop) linger(c *conn) {
	for c.readable {
		n, e := read(int(c.fd), l.in)
		switch {
		case e == syscall.EAGAIN:
			c.readable = false
			return
		case e != 0 || n == 0:
			l.drop(c)
			return
		}
		if c.drained += int32(n); c.drained > lingerBytes {
			l.drop(c)
			return
		}
	}
}

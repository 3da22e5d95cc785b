//go:build amd64 || arm64

package lane

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// flush sends the reply. What the client does not take at once stays with the connection, which is then writing. It returns
// false if the connection is gone.
func (l *loop) flush(c *conn) bool {
	w := &l.reply
	if w.size() == 0 {
		return true
	}
	if len(w.bodies) > 0 {
		c.owed = w.pieces(c.owed)
		w.forget()
		return l.push(c)
	}
	n, e := send(int(c.fd), w.buf)
	if e != 0 && e != syscall.EAGAIN {
		w.forget()
		l.drop(c)
		return false
	}
	if n < len(w.buf) {
		c.owed = append(c.owed, piece{b: append([]byte(nil), w.buf[n:]...)})
		c.phase = writing
	}
	c.since = l.since()
	w.forget()
	return true
}

// pieces appends the reply as pieces. Bytes to copy are copied, bodies go over with their pins.
func (w *Reply) pieces(to []piece) []piece {
	heads := append([]byte(nil), w.buf...)
	at := 0
	for _, b := range w.bodies {
		if b.at > at {
			to = append(to, piece{b: heads[at:b.at]})
			at = b.at
		}
		to = append(to, piece{b.body, b.pin})
	}
	if at < len(heads) {
		to = append(to, piece{b: heads[at:]})
	}
	return to
}

// push sends what is owed, and returns false if the connection is gone. All that could be sent leaves it reading.
func (l *loop) push(c *conn) bool {
	for len(c.owed) > 0 {
		want := 0
		for i := range c.owed {
			want += len(c.owed[i].b)
			if !l.vector.add(c.owed[i].b) {
				break
			}
		}
		n, e := l.vector.send(int(c.fd), false)
		if e != 0 && e != syscall.EAGAIN {
			l.drop(c)
			return false
		}
		if n > 0 {
			c.since = l.since()
			c.took(n)
		}
		if n < want {
			c.phase = writing
			return true
		}
	}
	c.owed, c.phase = nil, reading
	return true
}

// took takes n bytes from the front of what is owed.
func (c *conn) took(n int) {
	done := 0
	for done < len(c.owed) && n >= len(c.owed[done].b) {
		n -= len(c.owed[done].b)
		if p := c.owed[done].pin; p != nil {
			p.Release()
		}
		c.owed[done] = piece{}
		done++
	}
	if c.owed = c.owed[done:]; len(c.owed) > 0 {
		c.owed[0].b = c.owed[0].b[n:]
	}
}

// resume goes on with a connection that had to wait for its client.
func (l *loop) resume(c *conn) {
	if !l.push(c) || c.phase == writing {
		return
	}
	c.since = l.since()
	if c.last {
		l.finish(c)
		return
	}
	l.proceed(c)
}

// handOver gives a connection to net/http, with the bytes of it that were read.
func (l *loop) handOver(c *conn, b []byte) {
	first := append([]byte(nil), b...)
	fd := int(c.fd)
	l.poll.forget(fd)
	l.leave(c)
	l.run.calls.Go(func() {
		conn, err := adopt(fd)
		if err != nil {
			l.cfg.Log.Warn("a connection is lost between fast lane and net/http", "err", err)
			return
		}
		l.cfg.Fallback(&replayed{conn, first})
	})
}

// adopt makes a descriptor a connection of package net, which watches it from here on.
func adopt(fd int) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("adopt connection: %w", err)
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("adopt connection: %T is not TCP", c)
	}
	return t, nil
}

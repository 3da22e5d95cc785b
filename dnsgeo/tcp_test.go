package dnsgeo

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// dial opens a TCP connection that the test may wait on for a while.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	return c
}

func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// receive reads one answer.
func receive(t *testing.T, c net.Conn) *dns.Msg {
	t.Helper()
	m, err := (&dns.Conn{Conn: c}).ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// closed reports whether the server closes c without another byte.
func closed(t *testing.T, c net.Conn) bool {
	t.Helper()
	var b [1]byte
	n, err := c.Read(b[:])
	if err, ok := err.(net.Error); ok && err.Timeout() {
		return false
	}
	return n == 0 && err != nil
}

func TestManyQueriesOnOneConnection(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial()
	a := framed(pack(t, question("www.perigee.test.", dns.TypeA, london), nil))
	b := framed(pack(t, question("big.perigee.test.", dns.TypeTXT, ""), nil))
	// In one write, and then byte by byte.
	if _, err := c.Write(append(append([]byte(nil), a...), b...)); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, c); address(t, m) != "127.0.1.1" {
		t.Errorf("%v", m)
	}
	if m := receive(t, c); len(m.Answer) != 1 || m.Len() < 1400 {
		t.Errorf("%v", m)
	}
	for i := range a {
		if _, err := c.Write(a[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if m := receive(t, c); address(t, m) != "127.0.1.1" {
		t.Errorf("%v", m)
	}
}

func TestConnectionsThatMisbehaveAreClosed(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Idle = 50 * time.Millisecond })
	for name, send := range map[string][]byte{
		"silent":           nil,
		"oversized":        framed(withOption(t, "www.perigee.test.", dns.TypeA, dns.EDNS0PADDING, make([]byte, maxTCPQuery))),
		"oversized, cut":   {0xff, 0xff},
		"half a length":    {0},
		"a response":       framed(append([]byte{0, 1, 0x80}, make([]byte, 20)...)),
		"an empty message": {0, 0},
	} {
		c := r.dial()
		if _, err := c.Write(send); err != nil {
			t.Fatal(err)
		}
		if !closed(t, c) {
			t.Errorf("%s: the connection stays open", name)
		}
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxConns = 2; c.Idle = time.Hour })
	query := framed(pack(t, question("www.perigee.test.", dns.TypeA, ""), nil))
	open := func() net.Conn {
		c := r.dial()
		if _, err := c.Write(query); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second := open(), open()
	receive(t, first)
	receive(t, second)
	third := open()
	if err := third.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := third.Read(b[:]); err == nil {
		t.Error("a third connection is served")
	}
	if n := r.Counters().Conns.Load(); n != 2 {
		t.Errorf("%d connections are counted", n)
	}
	// UDP is not affected, and a slot that is given back is used.
	if m := r.ask("udp", question("www.perigee.test.", dns.TypeA, "")); len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := third.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(third, b[:]); err != nil {
		t.Errorf("the third connection waits on: %v", err)
	}
}

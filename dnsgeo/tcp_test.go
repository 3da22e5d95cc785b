package dnsgeo

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
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
	// Both are there at once, so that the answers may come in either order (RFC 7766 §6.2.1.1).
	for range 2 {
		switch m := receive(t, c); m.Question[0].Qtype {
		case dns.TypeA:
			if address(t, m) != "127.0.1.1" {
				t.Errorf("%v", m)
			}
		default:
			if len(m.Answer) != 1 || m.Len() < 1400 {
				t.Errorf("%v", m)
			}
		}
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

// TestPipelining sends many queries without reading, so many that the answers do not fit the buffers between: nothing may be
// lost, and what is held for the client stays bounded.
func TestPipelining(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial()
	const queries = 3000
	sent := make(chan error, 1)
	go func() {
		for i := range queries {
			q := question("big.perigee.test.", dns.TypeTXT, "")
			q.Id = uint16(i)
			b, err := q.Pack()
			if err == nil {
				_, err = c.Write(framed(b))
			}
			if err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	seen := map[uint16]bool{}
	for range queries {
		m := receive(t, c)
		if seen[m.Id] || len(m.Answer) != 1 {
			t.Fatalf("%v", m)
		}
		seen[m.Id] = true
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestASlowReaderIsCutOff(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial()
	query := framed(pack(t, question("big.perigee.test.", dns.TypeTXT, ""), nil))
	// It never reads: the server stops reading, waits for a while and closes, which ends the writing.
	for {
		if _, err := c.Write(query); err != nil {
			if err, ok := err.(net.Error); ok && err.Timeout() {
				t.Fatal("the connection of a client that reads nothing stays open")
			}
			return
		}
	}
}

func TestAnswersInFlightReachWhoHasClosedItsSide(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial()
	query := framed(pack(t, question("www.perigee.test.", dns.TypeA, ""), nil))
	if _, err := c.Write(append(append([]byte(nil), query...), query...)); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if m := receive(t, c); len(m.Answer) != 1 {
			t.Errorf("%v", m)
		}
	}
	if !closed(t, c) {
		t.Error("the connection stays open")
	}
}

// keepalive returns the time of the keepalive option in units of 100 ms, -1 when there is none.
func keepalive(m *dns.Msg) int {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if k, ok := o.(*dns.EDNS0_TCP_KEEPALIVE); ok {
				return int(k.Timeout)
			}
		}
	}
	return -1
}

func TestKeepalive(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Idle = 8 * time.Second })
	q := question("www.perigee.test.", dns.TypeA, london)
	q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
	query := framed(pack(t, q, nil))
	c := r.dial()
	if _, err := c.Write(query); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, c); keepalive(m) != 80 || subnetOf(m) == nil || address(t, m) != "127.0.1.1" {
		t.Errorf("%v", m)
	}
	if m := r.ask("tcp", question("www.perigee.test.", dns.TypeA, "")); keepalive(m) != -1 {
		t.Errorf("not asked for: %v", m)
	}
	if m := r.ask("udp", q); keepalive(m) != -1 {
		t.Errorf("over UDP: %v", m) // RFC 7828 §3.2.1
	}
}

func TestOneClientDoesNotTakeAllConnections(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxConns = 200; c.Idle = time.Hour })
	query := framed(pack(t, question("www.perigee.test.", dns.TypeA, ""), nil))
	served := 0
	for range 60 {
		c := r.dial()
		if _, err := c.Write(query); err != nil {
			continue
		}
		if _, err := (&dns.Conn{Conn: c}).ReadMsg(); err == nil {
			served++
		}
	}
	if served != 50 {
		t.Errorf("%d connections of one client are served, want a quarter of 200", served)
	}
}

func TestPatience(t *testing.T) {
	s := &streams{idle: 16 * time.Second, slots: make(chan struct{}, 8)}
	var got []time.Duration
	for range 8 {
		s.slots <- struct{}{}
		got = append(got, s.patience()/time.Second)
	}
	if want := []time.Duration{16, 16, 16, 16, 12, 8, 4, 1}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// FuzzTransports gives packets to what stands around the answering of queries: signatures, and what a transport adds to an
// answer. What comes out is well-formed, and says what the answer said.
func FuzzTransports(f *testing.F) {
	seed(f)
	key := map[string]string{"one.key.": clientKeys["one.key."]}
	for _, name := range []string{"www.perigee.test.", "example.org.", "."} {
		q := question(name, dns.TypeA, london)
		q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 9)}, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
		f.Add(pack(f, q, nil))
		q.SetTsig("one.key.", dns.HmacSHA256, 300, 1)
		b, _, err := dns.TsigGenerate(q, key["one.key."], "", false)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	r := prepare(f, func(c *Config) { c.TSIGKeys = testKeys })
	f.Cleanup(func() { r.Close() })
	c := &stream{Server: r.Server, encrypted: true}
	f.Fuzz(func(t *testing.T, b []byte) {
		answer := r.respond(b, anybody, true, nil)
		if answer == nil {
			return
		}
		var plain, decorated dns.Msg
		if err := plain.Unpack(answer); err != nil {
			t.Fatalf("%v in % x", err, answer)
		}
		o, _ := outlineOf(b)
		out := c.decorated(b, o, answer)
		if err := decorated.Unpack(out); err != nil {
			t.Fatalf("%v in % x", err, out)
		}
		if section(plain.Answer) != section(decorated.Answer) || plain.Rcode != decorated.Rcode || (subnetOf(&plain) == nil) != (subnetOf(&decorated) == nil) {
			t.Fatalf("%v\nbecame\n%v", &plain, &decorated)
		}
		if opt := decorated.IsEdns0(); opt != nil && o.tsig == 0 && o.hasOption(b, dns.EDNS0PADDING) && len(out)%468 != 0 {
			t.Fatalf("%d bytes: %v", len(out), &decorated)
		}
	})
}

//go:build linux

package lane

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A head may come in any pieces.
func TestPieces(t *testing.T) {
	s := start(t, Config{Handler: echo}, time.Minute)
	c := s.dial()
	all := get("/hot/1", "X: y\r\n") + get("/served") + get("/hot/2")
	for i := range len(all) {
		c.send(all[i : i+1])
		if i%5 == 0 {
			runtime.Gosched()
		}
	}
	for _, w := range []string{"/hot/1", "/served", "/hot/2"} {
		c.want(w)
	}
}

// tickUntil moves the clock, second by second, until the connection has ended; it returns the seconds.
func tickUntil(t *testing.T, m *manual, c *client) int {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, c.r)
		ended <- err
	}()
	for n := 0; n < 2000; n++ {
		select {
		case <-ended:
			return n
		case <-time.After(2 * time.Millisecond):
			m.advance(time.Second)
		}
	}
	t.Fatal("the connection does not end")
	return 0
}

func TestDeadlines(t *testing.T) {
	body := noise(32 << 20)
	h := echo
	h.hot = func(r *Request, w *Reply) bool {
		if string(r.Target) == "/big" {
			w.Send(head(r, len(body)), body, nil)
			return true
		}
		return echo.hot(r, w)
	}
	for name, tc := range map[string]struct {
		send  string
		least int
	}{
		"idle":      {"", 120},
		"answered":  {get("/hot"), 120},
		"slow head": {get("/hot") + "GET / HTTP/1.1\r\nHo", 10},
	} {
		t.Run(name, func(t *testing.T) {
			m := newManual()
			s := start(t, Config{Handler: h, Clock: m}, 0)
			c := s.dial()
			c.send(tc.send)
			if tc.send != "" {
				c.want("/hot")
			}
			eventually(t, "the lane has it", func() bool { return s.lane.Conns() == 1 })
			if n := tickUntil(t, m, c); n < tc.least {
				t.Fatalf("ended after %d s, want %d", n, tc.least)
			}
			if s.fallbacks.Load() != 0 {
				t.Fatal("fell back")
			}
		})
	}
	t.Run("slow head drips", func(t *testing.T) {
		m := newManual()
		s := start(t, Config{Handler: h, Clock: m}, 0)
		c := s.dial()
		c.send("GET /hot HTTP/1.1\r\nHost: a\r\nX: ")
		for n := 0; ; n++ {
			if n > 2000 {
				t.Fatal("a head may drip for ever")
			}
			if _, err := c.Write([]byte("x")); err != nil {
				break
			}
			m.advance(time.Second)
			time.Sleep(time.Millisecond)
		}
	})
	t.Run("slow reader", func(t *testing.T) {
		m := newManual()
		s := start(t, Config{Handler: h, Clock: m}, 0)
		c := s.dial()
		c.send(get("/big"))
		if _, err := io.ReadFull(c.r, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			if s.lane.Conns() == 0 {
				break
			}
			m.advance(time.Second)
			time.Sleep(time.Millisecond)
		}
		if n, err := io.Copy(io.Discard, c.r); err == nil {
			t.Fatalf("after %d bytes it ends like a whole answer", n)
		}
	})
}

// A Writer gives up on a client that takes nothing.
func TestWriterDeadline(t *testing.T) {
	m := newManual()
	failed := make(chan error, 1)
	h := handler{serve: func(_ context.Context, r *Request, w *Writer) {
		w.Head([]byte("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"))
		_, err := w.Write(make([]byte, 64<<20))
		failed <- err
	}}
	s := start(t, Config{Handler: h, Clock: m}, 0)
	c := s.dial()
	c.send(get("/"))
	if _, err := io.ReadFull(c.r, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		select {
		case err := <-failed:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%v", err)
			}
			done = true
		case <-time.After(time.Millisecond):
			m.advance(time.Second)
		}
	}
	if n, err := io.Copy(io.Discard, c.r); err == nil {
		t.Fatalf("after %d bytes it ends like a whole answer", n)
	}
}

// A client that has sent its request and closed its side is answered.
func TestHalfClose(t *testing.T) {
	h := echo
	h.serve = func(_ context.Context, r *Request, w *Writer) {
		w.Head(head(r, 9<<20))
		w.Write(make([]byte, 9<<20))
	}
	s := start(t, Config{Handler: h}, time.Minute)
	for range 20 {
		c := s.dial()
		c.send(get("/hot/1"), get("/served"), get("/hot/2"))
		c.CloseWrite()
		c.want("/hot/1")
		c.want(string(make([]byte, 9<<20)))
		c.want("/hot/2")
		if rest, err := c.ended(); rest != "" || err != nil {
			t.Fatalf("%q, %v", rest, err)
		}
	}
	c := s.dial()
	c.send("GET /half HTTP/1.1\r\nHo")
	c.CloseWrite()
	if got, err := c.ended(); !strings.HasPrefix(got, "HTTP/1.1 400") || err != nil {
		t.Fatalf("half a head: %q, %v", got, err)
	}
}

// The context of Serve ends when the client goes.
func TestClientGone(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	h := handler{serve: func(ctx context.Context, r *Request, w *Writer) {
		began <- struct{}{}
		<-ctx.Done()
		w.Abort()
		ended <- struct{}{}
	}}
	s := start(t, Config{Handler: h}, time.Minute)
	for _, linger := range []int{-1, 0} {
		c := s.dial()
		c.SetLinger(linger)
		c.send(get("/"))
		<-began
		c.Close()
		<-ended
	}
	eventually(t, "no connection is left", func() bool { return s.lane.Conns() == 0 })
}

// Fallback gets every byte from the first that the lane does not use.
func TestFallbackBytes(t *testing.T) {
	tail := "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + get("/hot/not-ours") + string(noise(200<<10))
	for _, before := range []string{"", get("/hot"), get("/served"), get("/served") + get("/hot")} {
		got := make(chan []byte, 1)
		s := start(t, Config{Handler: echo, Fallback: func(c net.Conn) {
			defer c.Close()
			b, err := io.ReadAll(c)
			if err != nil {
				t.Error(err)
			}
			got <- b
		}}, time.Minute)
		c := s.dial()
		c.send(before, tail)
		c.CloseWrite()
		if b := <-got; !bytes.Equal(b, []byte(tail)) {
			t.Fatalf("after %q: %d bytes, want %d", before, len(b), len(tail))
		}
	}
}

// What can never be accepted goes to net/http before the head has ended, and a head that is too long when that is clear.
func TestFallbackEarly(t *testing.T) {
	s := start(t, Config{Handler: echo, MaxHead: 1000}, time.Minute)
	for send, want := range map[string]string{
		"GET /lf HTTP/1.1\nHost: a\n\n":                                      "fallback GET /lf ",
		"OPTIONS /o HTTP/1.1\r\nHost: a\r\n\r\n":                             "fallback OPTIONS /o ",
		get("/long", "X: "+strings.Repeat("x", 5000)+"\r\n"):                 "fallback GET /long ",
		"GET /" + strings.Repeat("x", 3000) + " HTTP/1.1\r\nHost: a\r\n\r\n": "fallback GET /" + strings.Repeat("x", 3000) + " ",
	} {
		c := s.dial()
		c.send(send)
		c.want(want)
	}
	if n := s.fallbacks.Load(); n != 4 {
		t.Fatalf("%d fallbacks", n)
	}
}

func TestMaxConns(t *testing.T) {
	s := start(t, Config{Handler: echo, MaxConns: 2}, time.Minute)
	a, b := s.dial(), s.dial()
	for _, c := range []*client{a, b} {
		c.send(get("/hot"))
		c.want("/hot")
	}
	c := s.dial()
	c.send(get("/hot/3"))
	a.send(get("/hot"))
	a.want("/hot")
	if n := s.lane.Conns(); n != 2 {
		t.Fatalf("%d connections", n)
	}
	a.Close()
	c.want("/hot/3")
}

// At the end idle connections close at once, requests under way finish and are told that they are the last, and what
// takes longer than grace is cut.
func TestGrace(t *testing.T) {
	release, began := make(chan struct{}), make(chan string, 2)
	cut := make(chan error, 1)
	h := echo
	h.serve = func(ctx context.Context, r *Request, w *Writer) {
		began <- string(r.Target)
		if string(r.Target) == "/for-ever" {
			<-ctx.Done()
			w.Head([]byte("HTTP/1.1 200 OK\r\n\r\n"))
			_, err := w.Write(make([]byte, 64<<20))
			cut <- err
			return
		}
		<-release
		echo.serve(ctx, r, w)
	}
	m := newManual()
	s := start(t, Config{Handler: h, Clock: m, Loops: 1}, time.Minute)
	idle, under, ever, begun := s.dial(), s.dial(), s.dial(), s.dial()
	idle.send(get("/hot"))
	idle.want("/hot")
	begun.send(get("/hot"), "GET /hot/last HTTP/1.1\r\n")
	begun.want("/hot")
	under.send(get("/under"))
	<-began
	ever.send(get("/for-ever"))
	<-began
	s.end()
	if rest, err := idle.ended(); rest != "" || err != nil {
		t.Fatalf("idle: %q, %v", rest, err)
	}
	begun.send("Host: a\r\n\r\n")
	if resp, body := begun.response("GET"); !resp.Close || body != "/hot/last" {
		t.Fatalf("begun: close %v, %q", resp.Close, body)
	}
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Fatal("still accepts")
	}
	close(release)
	under.want("/under")
	if rest, err := under.ended(); rest != "" || err != nil {
		t.Fatalf("under way: %q, %v", rest, err)
	}
	select {
	case <-s.result:
		t.Fatal("Serve returned before the last request ended")
	default:
	}
	m.advance(time.Minute)
	if err := <-cut; err == nil {
		t.Fatal("what is cut writes on")
	}
	if got, err := ever.ended(); err == nil {
		t.Fatalf("cut: %q ends like a whole answer", got)
	}
	s.stop()
}

func descriptors(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// Nothing is left of a Lane that was busy.
func TestNothingIsLeft(t *testing.T) {
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	t.Run("busy", func(t *testing.T) {
		s := start(t, Config{Handler: echo}, 0)
		var wg sync.WaitGroup
		var answers atomic.Int64
		for i := range 16 {
			c := s.dial()
			wg.Go(func() {
				for {
					target := "/hot"
					if i%3 == 0 {
						target = "/served"
					}
					if _, err := io.WriteString(c.TCPConn, get(target)+get("/hot")); err != nil {
						return
					}
					for range 2 {
						line, err := c.r.ReadString('\n')
						if err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") {
							return
						}
						for line != "\r\n" && err == nil {
							line, err = c.r.ReadString('\n')
						}
						if _, err := c.r.Discard(len("/hot")); err != nil {
							return
						}
						if target == "/served" {
							target = "/hot"
							c.r.Discard(len("/served") - len("/hot"))
						}
						answers.Add(1)
					}
				}
			})
		}
		eventually(t, "answers", func() bool { return answers.Load() > 500 })
		s.stop()
		wg.Wait()
	})
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "all descriptors are closed", func() bool { return descriptors(t) <= fds })
}

// otherListener is a listener whose descriptor cannot be had.
type otherListener struct{ net.Listener }

func TestOtherListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	l := New(Config{Handler: echo, Fallback: func(c net.Conn) { c.Write([]byte("hello")); c.Close() }})
	result := make(chan error, 1)
	go func() { result <- l.Serve(ctx, otherListener{ln}, 0) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	c.Close()
	end()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

// An idle connection costs the lane its entry, and no buffer.
func TestIdleMemory(t *testing.T) {
	const n = 8_000 // both ends are in this process, which may have 20,000 descriptors on many machines
	s := start(t, Config{Handler: echo}, 0)
	raw := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range raw {
			c.Close()
		}
	}()
	request, answer := []byte(get("/hot")), make([]byte, len(head(&Request{}, 4))+4)
	dial := func() {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, c)
		c.Write(request)
		if _, err := io.ReadFull(c, answer); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		dial()
	}
	// The clients' side is in the same heap, so what is measured is the sum of what the loops hold.
	var held, free runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&held)
	s.stop()
	runtime.GC()
	runtime.ReadMemStats(&free)
	per := (int64(held.HeapAlloc) - int64(free.HeapAlloc)) / n
	t.Logf("%d bytes for an idle connection", per)
	if per > 512 {
		t.Fatalf("%d bytes for an idle connection", per)
	}
}

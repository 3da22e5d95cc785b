package lane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/clock"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// handler is a Handler made of functions.
type handler struct {
	hot   func(*Request, *Reply) bool
	serve func(context.Context, *Request, *Writer)
}

func (h handler) Hot(r *Request, w *Reply) bool {
	if h.hot == nil {
		return false
	}
	return h.hot(r, w)
}

// Elsewhere sends what asks for it to net/http.
func (handler) Elsewhere(r *Request) bool { return bytes.HasPrefix(r.Target, []byte("/elsewhere")) }

func (h handler) Serve(ctx context.Context, r *Request, w *Writer) { h.serve(ctx, r, w) }

// head is the head of a 200 for a body of n bytes.
func head(r *Request, n int) []byte {
	s := "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(n) + "\r\n"
	if r.Close {
		s += "Connection: close\r\n"
	}
	return []byte(s + "\r\n")
}

// echo answers /hot/... at once and all else with Serve; the body is the target.
var echo = handler{
	hot: func(r *Request, w *Reply) bool {
		w.Append(head(r, len(r.Target)))
		if !bytes.HasPrefix(r.Target, []byte("/hot")) {
			return false
		}
		if r.Method == GET {
			w.Append(r.Target)
		}
		return true
	},
	serve: func(_ context.Context, r *Request, w *Writer) {
		w.Head(head(r, len(r.Target)))
		if r.Method == GET {
			w.Write(r.Target)
		}
	},
}

// manual is a clock that stands until a test moves it.
type manual struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*manualTimer]struct{}
	made   chan struct{} // one for each timer that was set
}

type manualTimer struct {
	m     *manual
	at    time.Time
	every time.Duration
	c     chan time.Time
}

func newManual() *manual {
	return &manual{now: time.Unix(1e9, 0), timers: map[*manualTimer]struct{}{}, made: make(chan struct{}, 1000)}
}

func (m *manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *manual) add(d, every time.Duration) *manualTimer {
	t := &manualTimer{m: m, every: every, c: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

func (m *manual) NewTimer(d time.Duration) clock.Timer { return m.add(d, 0) }

type manualTicker struct{ *manualTimer }

func (t manualTicker) Stop() { t.manualTimer.Stop() }

func (m *manual) NewTicker(d time.Duration) clock.Ticker { return manualTicker{m.add(d, d)} }

func (t *manualTimer) C() <-chan time.Time { return t.c }

func (t *manualTimer) Stop() bool {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	_, was := t.m.timers[t]
	delete(t.m.timers, t)
	return was
}

func (t *manualTimer) Reset(d time.Duration) bool {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	_, was := t.m.timers[t]
	select {
	case <-t.c:
	default:
	}
	t.at = t.m.now.Add(d)
	t.m.timers[t] = struct{}{}
	select {
	case t.m.made <- struct{}{}:
	default:
	}
	return was
}

// advance moves the clock and fires what is due.
func (m *manual) advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	for t := range m.timers {
		if t.at.After(m.now) {
			continue
		}
		select {
		case t.c <- m.now:
		default:
		}
		if t.every > 0 {
			t.at = m.now.Add(t.every)
		} else {
			delete(m.timers, t)
		}
	}
}

// server is a Lane that runs, with net/http behind it.
type server struct {
	t         *testing.T
	lane      *Lane
	addr      string
	end       context.CancelFunc
	result    chan error
	fallbacks atomic.Int64
	stopOnce  sync.Once
}

// chanListener is a listener that is given its connections.
type chanListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

func (l *chanListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *chanListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *chanListener) Addr() net.Addr { return l.addr }

// start runs a Lane until the test ends. What falls back is answered with "fallback " + method + " " + target + " " + body.
func start(t *testing.T, cfg Config, grace time.Duration) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, addr: ln.Addr().String(), result: make(chan error, 1)}
	back := &chanListener{conns: make(chan net.Conn), done: make(chan struct{}), addr: ln.Addr()}
	if cfg.Fallback == nil {
		cfg.Fallback = func(c net.Conn) {
			s.fallbacks.Add(1)
			select {
			case back.conns <- c:
			case <-back.done:
				c.Close()
			}
		}
	}
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "fallback %s %s %s", r.Method, r.RequestURI, body)
	})}
	go hs.Serve(back)
	if cfg.Loops == 0 {
		cfg.Loops = 2
	}
	s.lane = New(cfg)
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	go func() { s.result <- s.lane.Serve(ctx, ln, grace) }()
	t.Cleanup(func() {
		hs.Close()
		s.stop()
		if n := s.lane.Conns(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return s
}

// stop ends the Lane and waits.
func (s *server) stop() {
	s.stopOnce.Do(func() {
		s.end()
		if err := <-s.result; err != nil {
			s.t.Errorf("Serve: %v", err)
		}
	})
}

// client is a connection with a reader.
type client struct {
	t *testing.T
	*net.TCPConn
	r *bufio.Reader
}

func (s *server) dial() *client {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	s.t.Cleanup(func() { c.Close() })
	return &client{s.t, c.(*net.TCPConn), bufio.NewReaderSize(c, 64<<10)}
}

func (c *client) send(parts ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c.TCPConn, strings.Join(parts, "")); err != nil {
		c.t.Fatal(err)
	}
}

// response reads one answer and its body.
func (c *client) response(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("read body: %v", err)
	}
	return resp, string(body)
}

func (c *client) want(body string) {
	c.t.Helper()
	if _, got := c.response("GET"); got != body {
		c.t.Fatalf("body %q, want %q", got, body)
	}
}

// ended waits for the end of the connection and returns what came before.
func (c *client) ended() (string, error) {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection does not end")
	}
	return string(b), err
}

// get is a request in canonical form.
func get(target string, fields ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: a.example\r\n" + strings.Join(fields, "") + "\r\n"
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still not true: " + what)
		}
	}
}

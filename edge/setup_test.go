package edge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/clock"
	"perigee/edge/cache"
	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

const mib = object.ChunkSize

// patience is how long an event that must happen is waited for. It never decides a test that passes.
const patience = 30 * time.Second

var errUnplugged = errors.New("unplugged")

// web is a server on a real listener before an origin in memory, with the site www at www.example.
type web struct {
	t    *testing.T
	o    *cachetest.Origin
	e    *cache.Engine
	s    *Server
	addr string
	ln   *pipeListener // in place of addr, if made by newPipes
	seq  uint64
	stop func() error
}

func newEngine(t testing.TB, o *cachetest.Origin, edit func(*cache.Config)) *cache.Engine {
	t.Helper()
	cfg := cache.Config{
		Dir: t.TempDir(), Size: 256 << 20, RAM: 16 << 20, Origin: o, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(&cfg)
	}
	e, err := cache.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// newWeb starts a server that has heard from the log a moment ago.
func newWeb(t *testing.T, edit func(*cache.Config)) *web {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &web{t: t, addr: ln.Addr().String()}
	w.start(ln, edit, time.Second)
	return w
}

// opener starts a server on one of the transports.
type opener func(t *testing.T, edit func(*cache.Config)) *web

// overBoth runs a test over the lane, with net/http for what the lane hands over, and over net/http alone.
func overBoth(t *testing.T, test func(t *testing.T, newWeb opener)) {
	t.Run("lane", func(t *testing.T) { test(t, newWeb) })
	t.Run("net/http", func(t *testing.T) {
		test(t, func(t *testing.T, edit func(*cache.Config)) *web {
			t.Helper()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			w := &web{t: t, addr: ln.Addr().String()}
			w.start(slowListener{ln}, edit, time.Second)
			return w
		})
	})
}

// slowListener is a listener that the lane cannot use.
type slowListener struct{ net.Listener }

// newPipes starts a server whose connections are pipes: what one side writes blocks until the other reads, and in a
// synctest bubble its deadlines pass without waiting.
func newPipes(t *testing.T, grace time.Duration) *web {
	t.Helper()
	w := &web{t: t, ln: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
	w.start(w.ln, nil, grace)
	return w
}

func (w *web) start(ln net.Listener, edit func(*cache.Config), grace time.Duration) {
	w.o = cachetest.NewOrigin()
	w.e = newEngine(w.t, w.o, edit)
	w.e.Confirm(clock.System.Now())
	w.s = NewServer(ServerConfig{Node: "fra", Engine: w.e, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	w.site(cachetest.Site("www", "www.example"))
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.s.Serve(ctx, ln, grace) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	w.t.Cleanup(func() {
		if err := w.stop(); err != nil {
			w.t.Error(err)
		}
	})
}

// site tells the engine of a site.
func (w *web) site(r *object.SiteRecord) {
	w.apply(purge.Entry{Kind: purge.KindRules, Site: r.Site, Record: r})
}

// rules changes the rules of www.
func (w *web) rules(rules object.SiteRules) {
	r := cachetest.Site("www", "www.example")
	r.Rules, r.Version = rules, cachetest.Version(int(w.seq)+1)
	w.site(r)
}

func (w *web) apply(e purge.Entry) {
	w.t.Helper()
	w.seq++
	e.Format, e.ID = 1, "e"
	if e.Site == "" {
		e.Site = "www"
	}
	if err := e.Validate(); err != nil {
		w.t.Fatal(err)
	}
	w.e.Apply(purge.Record{Entry: e, Position: purge.At("one", purge.Mark{Stream: "s", Seq: w.seq})})
}

// known stops the engine from answering that it does not know its sites yet.
func (w *web) known() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { w.e.Run(ctx); close(done) }()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := w.e.Site("nobody.example"); errors.Is(err, cache.ErrUnknownSite) {
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatal("the sites were never read")
		}
	}
	cancel()
	<-done
}

func (w *web) dial() net.Conn {
	w.t.Helper()
	if w.ln != nil {
		return w.ln.dial()
	}
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// answer is a whole answer.
type answer struct {
	*http.Response
	body []byte
}

// reason returns the detail of Cache-Status.
func (a *answer) reason() string {
	_, r, _ := strings.Cut(a.Header.Get("Cache-Status"), "; detail=")
	return r
}

// wire is a request on the wire. The Host is www.example unless fields have one.
func wire(method, target string, fields ...string) string {
	all := strings.Join(fields, "\r\n")
	if !strings.Contains(all, "Host:") {
		fields = append([]string{"Host: www.example"}, fields...)
	}
	return method + " " + target + " HTTP/1.1\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

// ask sends a request on a connection of its own and reads the whole answer.
func (w *web) ask(method, target string, fields ...string) *answer {
	w.t.Helper()
	c := w.dial()
	defer c.Close()
	return w.askOn(c, bufio.NewReader(c), method, target, fields...)
}

// askOn is ask on a connection that goes on.
func (w *web) askOn(c net.Conn, r *bufio.Reader, method, target string, fields ...string) *answer {
	w.t.Helper()
	if _, err := io.WriteString(c, wire(method, target, fields...)); err != nil {
		w.t.Fatal(err)
	}
	a, err := readAnswer(r, method)
	if err != nil {
		w.t.Fatalf("%s %.80s: %v", method, target, err)
	}
	return a
}

func readAnswer(r *bufio.Reader, method string) (*answer, error) {
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	a := &answer{Response: res}
	a.body, err = io.ReadAll(res.Body)
	return a, err
}

// mustGet fails unless target is answered 200 with want.
func (w *web) mustGet(target string, want []byte) *answer {
	w.t.Helper()
	a := w.ask("GET", target)
	if a.StatusCode != 200 || !bytes.Equal(a.body, want) {
		w.t.Fatalf("GET %.80s: %d with %d bytes: %.200s", target, a.StatusCode, len(a.body), a.body)
	}
	return a
}

// pipeListener listens for pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial() net.Conn {
	here, there := net.Pipe()
	l.conns <- there
	return here
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

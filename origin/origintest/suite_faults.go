package origintest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/origin"
)

// fault is something that goes wrong between Perigee and a store, or in one.
type fault struct {
	name string
	run  func(*testing.T, *bucket)
}

func faults() []fault {
	return []fault{
		{"ensure bucket", ensureBucket},
		{"unavailable", unavailable},
		{"body cut short", cutShort},
		{"answer lost", answerLost},
		{"connection reset while a conditional put is sent", resetWhileSending},
		{"slow line", slowLine},
		{"store that is busy", busy},
		{"store that stays busy", staysBusy},
	}
}

func ensureBucket(t *testing.T, b *bucket) {
	if err := b.r.Check(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.put("b/kept", []byte("x"))
	for range 2 {
		if err := b.w.EnsureBucket(b.ctx); err != nil {
			t.Fatal(err)
		}
	}
	b.holds("b/kept", []byte("x"))
}

func unavailable(t *testing.T, b *bucket) {
	cfg := b.cfg
	cfg.Endpoint = "http://" + freeAddr(t) // nobody listens there
	cfg.MaxRetries = -1
	down := open(t, cfg)
	_, _, err := down.get("b/x", origin.GetOptions{})
	is(t, err, origin.ErrUnavailable)
	_, err = down.r.Head(b.ctx, "b/x")
	is(t, err, origin.ErrUnavailable)
	is(t, down.r.Check(b.ctx), origin.ErrUnavailable)
	_, err = down.w.Put(b.ctx, "b/x", []byte("x"), origin.PutOptions{})
	is(t, err, origin.ErrUnavailable)
	_, err = down.w.Put(b.ctx, "b/x", []byte("x"), origin.PutOptions{IfNoneMatch: true})
	is(t, err, origin.ErrUnavailable) // not ErrUnknown: nothing was sent
	is(t, down.w.Delete(b.ctx, "b/x"), origin.ErrUnavailable)
	is(t, down.w.EnsureBucket(b.ctx), origin.ErrUnavailable)
	_, err = down.w.Complete(b.ctx, "u/x", "id", []origin.Part{{Number: 1, ETag: "e"}})
	is(t, err, origin.ErrUnavailable)
	for _, err := range down.r.List(b.ctx, "") {
		is(t, err, origin.ErrUnavailable)
	}
	for _, err := range down.w.ListUploads(b.ctx, "", clock.System.Now()) {
		is(t, err, origin.ErrUnavailable)
	}
}

// cutShort breaks the connection in the middle of a body.
func cutShort(t *testing.T, b *bucket) {
	body := blob("cut", 1<<20)
	b.put("b/cut", body)
	p := newProxy(t, b.cfg.Endpoint)
	p.answerLimit.Store(100 << 10)
	cut := open(t, p.config(b.cfg))
	for _, o := range []origin.GetOptions{{}, {Offset: 1000, Length: 500 << 10}} {
		got, _, err := cut.get("b/cut", o)
		if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, origin.ErrUnavailable) {
			t.Fatalf("a body that was cut short ended with %v after %d bytes", err, len(got))
		}
		if len(got) == 0 || !bytes.Equal(got, body[o.Offset:o.Offset+int64(len(got))]) {
			t.Fatalf("the %d bytes before the cut are wrong", len(got))
		}
	}
}

// answerLost breaks the connection after the store carried out a request and before its answer arrives.
func answerLost(t *testing.T, b *bucket) {
	p := newProxy(t, b.cfg.Endpoint)
	lossy := open(t, p.config(b.cfg))

	p.loseAnswers.Store(1)
	etag, err := lossy.w.Put(b.ctx, "p/lost", []byte("one"), origin.PutOptions{IfNoneMatch: true})
	if err != nil || p.loseAnswers.Load() > 0 {
		t.Fatalf("our own write was not recognised: %v", err)
	}
	p.loseAnswers.Store(1)
	etag, err = lossy.w.Put(b.ctx, "p/lost", []byte("two"), origin.PutOptions{IfMatch: etag})
	if err != nil {
		t.Fatalf("our own replacement was not recognised: %v", err)
	}
	b.holds("p/lost", []byte("two"))

	p.loseAnswers.Store(1)
	_, err = lossy.w.Put(b.ctx, "p/lost", []byte("three"), origin.PutOptions{IfMatch: "00000000000000000000000000000000"})
	is(t, err, origin.ErrPrecondition)

	p.loseAnswers.Store(1000)
	_, err = lossy.w.Put(b.ctx, "p/lost", []byte("four"), origin.PutOptions{IfMatch: etag})
	if !errors.Is(err, origin.ErrUnknown) {
		t.Fatalf("with all answers lost: %v, want %v", err, origin.ErrUnknown)
	}
	p.loseAnswers.Store(0)

	const key object.Key = "u/00000000000000000000000000000004"
	id := b.create(key)
	part := b.part(key, id, 1, []byte("only part"))
	p.loseAnswers.Store(1)
	if _, err := lossy.w.Complete(b.ctx, key, id, []origin.Part{part}); err != nil {
		t.Fatalf("a completion whose answer was lost: %v", err)
	}
	b.holds(key, []byte("only part"))
	if _, err := b.w.ListParts(b.ctx, key, id); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the upload is still open: %v", err)
	}
}

// resetWhileSending breaks connections while a body is on its way up: the store may have had all of it, or not. With an object that
// is in the way, as S3 may answer 412 and reset before it has read a body, the condition decides; without, the write is done.
func resetWhileSending(t *testing.T, b *bucket) {
	p := newProxy(t, b.cfg.Endpoint)
	body := blob("reset", 2<<20)
	put := func(cuts int64, key object.Key, body []byte) (broke bool, err error) {
		p.cutRequests.Store(cuts)
		defer p.cutRequests.Store(0)
		// A pool of its own: a connection that was spared stays so.
		_, err = open(t, p.config(b.cfg)).w.Put(b.ctx, key, body, origin.PutOptions{IfNoneMatch: true})
		return p.cutRequests.Load() < cuts, err
	}
	if broke, err := put(1, "p/reset", body); !broke || err != nil {
		t.Fatalf("a conditional put whose first connection broke (%v): %v", broke, err)
	}
	b.holds("p/reset", body)
	// A store that refuses before it has read the body spares the connection, or closes it so early that its answer is lost, each time: it is unknown, then.
	_, err := put(2, "p/reset", blob("other", 2<<20))
	for tries := 0; errors.Is(err, origin.ErrUnknown) && tries < 4; tries++ {
		_, err = put(1, "p/reset", blob("other", 2<<20))
	}
	is(t, err, origin.ErrPrecondition)
	b.holds("p/reset", body)
	if broke, err := put(1000, "p/none", body); !broke || !errors.Is(err, origin.ErrUnknown) {
		t.Fatalf("with all connections broken (%v): %v, want %v", broke, err, origin.ErrUnknown)
	}
	_, err = b.r.Head(b.ctx, "p/none")
	is(t, err, fs.ErrNotExist)
}

// slowLine takes longer for a body than a store may be silent. It is no silence, as something comes all the time.
func slowLine(t *testing.T, b *bucket) {
	p := newProxy(t, b.cfg.Endpoint)
	cfg := p.config(b.cfg)
	cfg.Silence = 5 * time.Second
	slow := open(t, cfg)
	body := blob("slow", 100<<10)
	b.put("b/slow", body)
	p.pause.Store(int64(60 * time.Millisecond)) // before each KiB: more than 6 s in all
	began := clock.System.Now()
	slow.holds("b/slow", body)
	if took := clock.System.Now().Sub(began); took < cfg.Silence {
		t.Fatalf("it took %v only: the line was not slow", took)
	}
}

// busyStore answers the next requests 503 SlowDown, as S3 does, before they reach the store.
type busyStore struct {
	left, refused atomic.Int64
}

func (s *busyStore) wrap(t http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		if s.left.Add(-1) < 0 {
			return t.RoundTrip(r)
		}
		s.refused.Add(1)
		if r.Body != nil {
			r.Body.Close()
		}
		const text = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`
		return &http.Response{
			Status: "503 Slow Down", StatusCode: http.StatusServiceUnavailable, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/xml"}}, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: r,
		}, nil
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// busy refuses each request more often than one is repeated that failed in another way.
func busy(t *testing.T, b *bucket) {
	for _, c := range []struct {
		name string
		do   func(*bucket) error
	}{
		{"put", func(b *bucket) error {
			_, err := b.w.Put(b.ctx, "b/busy", []byte("x"), origin.PutOptions{})
			return err
		}},
		{"conditional put", func(b *bucket) error {
			_, err := b.w.Put(b.ctx, "p/busy", []byte("x"), origin.PutOptions{IfNoneMatch: true})
			return err
		}},
		{"part", func(b *bucket) error {
			_, err := b.w.Part(b.ctx, "u/busy", b.create("u/busy"), 1, []byte("x"))
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &busyStore{}
			s.left.Store(4)
			cfg := b.cfg
			cfg.Wrap = s.wrap
			if err := c.do(open(t, cfg)); err != nil || s.refused.Load() != 4 {
				t.Fatalf("after %d refusals: %v", s.refused.Load(), err)
			}
		})
	}
}

// staysBusy sees who has to be told in the end: a reader soon, as it has other ways to answer, and nobody twice.
func staysBusy(t *testing.T, b *bucket) {
	b.put("b/stays", []byte("x"))
	s := &busyStore{}
	s.left.Store(1 << 40)
	cfg := b.cfg
	cfg.Wrap = s.wrap
	_, _, err := open(t, cfg).get("b/stays", origin.GetOptions{})
	is(t, err, origin.ErrUnavailable)
	if n := s.refused.Load(); n != 3 {
		t.Fatalf("a reader asked %d times", n)
	}
	cfg.MaxRetries = -1
	_, err = open(t, cfg).w.Put(b.ctx, "p/stays", nil, origin.PutOptions{IfNoneMatch: true})
	is(t, err, origin.ErrUnavailable) // not ErrUnknown: the store said that it did nothing
}

// proxy passes connections on to a store and spoils its answers.
type proxy struct {
	l      net.Listener
	target string
	// answerLimit is how many bytes of answers a connection passes before it breaks; 0 for no limit.
	answerLimit atomic.Int64
	// loseAnswers is how many connections break when the first byte of an answer arrives.
	loseAnswers atomic.Int64
	// cutRequests is how many connections break when they have carried 1 MiB to the store.
	cutRequests atomic.Int64
	// pause is how long it waits, in nanoseconds, before it passes on each KiB of an answer; 0 for not.
	pause atomic.Int64
	wg    sync.WaitGroup
}

func newProxy(t *testing.T, endpoint string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, target: hostOf(t, endpoint)}
	p.wg.Go(p.accept)
	t.Cleanup(func() { l.Close(); p.wg.Wait() })
	return p
}

// config is cfg through the proxy, without waiting connections from before.
func (p *proxy) config(cfg origin.Config) origin.Config {
	cfg.Endpoint = "http://" + p.l.Addr().String()
	return cfg
}

func (p *proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.pass(client) })
	}
}

func (p *proxy) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.wg.Go(func() {
		p.request(server, client)
		server.Close()
	})
	var passed int64
	buf := make([]byte, 16<<10)
	for {
		to := buf
		if pause := p.pause.Load(); pause > 0 {
			to = buf[:1<<10]
			<-clock.System.NewTimer(time.Duration(pause)).C()
		}
		n, err := server.Read(to)
		if err != nil || p.spoils(&passed, n) {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// request passes on what the client sends, until it is to break.
func (p *proxy) request(server io.Writer, client io.Reader) {
	if _, err := io.CopyN(server, client, 1<<20); err != nil || p.cutRequests.Add(-1) >= 0 {
		return
	}
	p.cutRequests.Store(0)
	// A connection that breaks is what the proxy is for.
	_, _ = io.Copy(server, client)
}

// spoils reports whether a connection that passed some bytes of answers and has n more is to break.
func (p *proxy) spoils(passed *int64, n int) bool {
	if p.loseAnswers.Add(-1) >= 0 {
		return true
	}
	p.loseAnswers.Store(0)
	*passed += int64(n)
	limit := p.answerLimit.Load()
	return limit > 0 && *passed > limit
}

func hostOf(t *testing.T, endpoint string) string {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" {
		t.Fatalf("endpoint %q: the suite's proxy speaks http only", endpoint)
	}
	return u.Host
}

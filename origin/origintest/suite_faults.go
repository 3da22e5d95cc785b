package origintest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"perigee/clock"
	"perigee/object"
	"perigee/origin"
)

func wrongSecret(t *testing.T, b *bucket) {
	b.put("b/secret", []byte("x"))
	cfg := b.cfg
	cfg.SecretKey = "wrong-" + cfg.SecretKey
	bad := openHalves(t, cfg)
	_, _, err := bad.get("b/secret", origin.GetOptions{})
	is(t, err, origin.ErrDenied)
	_, err = bad.w.Put(b.ctx, "b/secret", []byte("y"), origin.PutOptions{})
	is(t, err, origin.ErrDenied)
	_, err = bad.w.Put(b.ctx, "b/secret", []byte("y"), origin.PutOptions{IfNoneMatch: true})
	is(t, err, origin.ErrDenied)
	b.holds("b/secret", []byte("x"))
}

// missingBucket makes sure that a bucket that is gone does not pass for objects that are.
func missingBucket(t *testing.T, b *bucket) {
	cfg := b.cfg
	cfg.Bucket += "-none"
	cfg.MaxRetries = -1
	none := openHalves(t, cfg)
	_, _, err := none.get("b/x", origin.GetOptions{})
	is(t, err, origin.ErrUnavailable)
	_, err = none.r.Head(b.ctx, "b/x")
	is(t, err, origin.ErrUnavailable)
	is(t, none.r.Check(b.ctx), origin.ErrUnavailable)
	_, err = none.w.Put(b.ctx, "b/x", nil, origin.PutOptions{IfMatch: "e"})
	is(t, err, origin.ErrUnavailable)
	for _, err := range none.r.List(b.ctx, "b/") {
		is(t, err, origin.ErrUnavailable)
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
	down := openHalves(t, cfg)
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
	cut := openHalves(t, p.config(b.cfg))
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
	lossy := openHalves(t, p.config(b.cfg))

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

// proxy passes connections on to a store and spoils its answers.
type proxy struct {
	l      net.Listener
	target string
	// answerLimit is how many bytes of answers a connection passes before it breaks; 0 for no limit.
	answerLimit atomic.Int64
	// loseAnswers is how many connections break when the first byte of an answer arrives.
	loseAnswers atomic.Int64
	wg          sync.WaitGroup
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
		io.Copy(server, client)
		server.Close()
	})
	var passed int64
	buf := make([]byte, 16<<10)
	for {
		n, err := server.Read(buf)
		if err != nil || p.spoils(&passed, n) {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
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

package upload

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/object"
	"perigee/origin"
)

// second is another server on the bench's catalogue and bucket, as if the first one's lease had ended: it gets every upload it asks
// for, though the first still works on it. That is more than the lease ever allows, and what must do no harm.
func (b *bench) second(w Writer) *httptest.Server {
	b.t.Helper()
	cfg := b.pub.cfg
	cfg.Writer, cfg.Reader, cfg.Log = w, b.reader, slog.New(slog.DiscardHandler)
	pub, err := New(cfg)
	b.must(err)
	s := b.serve(pub)
	b.t.Cleanup(s.Close)
	return s
}

// at makes the bench speak to s until back is called.
func (b *bench) speakTo(s *httptest.Server) (back func()) {
	first := b.server
	b.server = s
	return func() { b.server = first }
}

// TestTakeover: a client goes on at another server while the first one hangs in the middle of its request. What the first one still
// writes is refused or does no harm; what is published is right.
func TestTakeover(t *testing.T) {
	b := newBench(t, Config{})
	two := b.second(b.writer)
	for i, size := range []int{5 << 20, 33<<20 + 1} {
		body := noiseBytes(byte(i), size)
		path := "/f" + string(rune('0'+i))
		url := b.create(path, size)
		hung := b.begin(url, 0, size, body[:size/3])
		back := b.speakTo(two)
		at := b.offset(url)
		b.want(b.patch(url, at, body[at:size/2]), 204)
		// Now the first one sees the end of its request and saves what it has.
		b.must(hung.CloseWrite())
		if a := readAnswer(t, hung, "PATCH"); a.status < 400 || at > 0 && a.status != 423 {
			t.Errorf("%s: the first server answered %d", path, a.status)
		}
		hung.Close()
		if now := b.offset(url); now != size/2 {
			t.Errorf("%s: offset %d, want %d", path, now, size/2)
		}
		b.want(b.patch(url, size/2, body[size/2:]), 204)
		back()
		b.published(object.Path(path), body)
		if vs, err := b.cat.Versions(t.Context(), "www", object.Path(path), "", 0); err != nil || len(vs) != 1 {
			t.Errorf("%s: published %d times, %v", path, len(vs), err)
		}
	}
	b.sweepExpired()
	b.consistent()
}

// latePart keeps a part back until it is told to send it, other requests not.
type latePart struct {
	Writer
	hold    chan struct{}
	over    <-chan struct{} // the test has ended, perhaps because it failed
	reached chan struct{}
	once    sync.Once
}

func (l *latePart) Part(ctx context.Context, key object.Key, id string, n int, body []byte) (origin.Part, error) {
	mine := false
	l.once.Do(func() { mine = true })
	if mine {
		body = bytes.Clone(body)
		close(l.reached)
		select {
		case <-l.hold:
		case <-l.over:
		}
		ctx = context.WithoutCancel(ctx)
	}
	return l.Writer.Part(ctx, key, id, n, body)
}

// TestLatePart: a part that the first server sent reaches the bucket after the second has stored its own under the same number. With
// the same bytes nothing is lost; with others the upload fails, and nothing wrong is published.
func TestLatePart(t *testing.T) {
	for name, same := range map[string]bool{"same bytes": true, "other bytes": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{})
			late := &latePart{Writer: b.writer, hold: make(chan struct{}), over: t.Context().Done(), reached: make(chan struct{})}
			b.cfg.Writer = late
			b.restart()
			body := noiseBytes(1, 20<<20)
			other := body
			if !same {
				other = noiseBytes(2, 20<<20)
			}
			two := b.second(b.writer)
			url := b.create("/f", len(body))
			// The upload gets its multipart at the first server, so that both write to one.
			b.want(b.patch(url, 0, body[:1]), 204)
			hung := b.begin(url, 1, len(body)-1, other[1:9<<20])
			<-late.reached
			back := b.speakTo(two)
			defer back()
			at := b.offset(url)
			if at != 1 {
				t.Fatalf("offset %d", at)
			}
			b.want(b.patch(url, at, body[at:17<<20]), 204)
			close(late.hold)
			b.must(hung.CloseWrite())
			if a := readAnswer(t, hung, "PATCH"); a.status < 400 {
				t.Errorf("the first server answered %d", a.status)
			}
			hung.Close()
			a := b.patch(url, 17<<20, body[17<<20:])
			if a.status == 204 {
				b.published("/f", body)
			} else if same {
				t.Errorf("%d %s", a.status, a.body)
			} else if a.status != 410 || !b.missing("/f") {
				t.Errorf("%d %s", a.status, a.body)
			}
			b.sweepExpired()
			b.consistent()
		})
	}
}

// TestBucketThatIsBusy: a bucket that refuses for a while is given time, and the client notices nothing but the time.
func TestBucketThatIsBusy(t *testing.T) {
	f := &faulty{}
	b := newBench(t, Config{Patience: time.Minute})
	f.Writer = b.writer
	b.cfg.Writer = f
	b.restart()
	var mu sync.Mutex
	left := map[string]int{}
	f.fail = func(op string, k object.Key) error {
		mu.Lock()
		defer mu.Unlock()
		kind := op + " " + strings.SplitN(string(k), "/", 2)[0]
		if op == "delete" || strings.HasPrefix(string(k), "p/") || strings.HasPrefix(string(k), "v/") || left[kind] == 2 {
			return nil
		}
		left[kind]++
		return origin.ErrUnavailable
	}
	body := noiseBytes(1, 20<<20)
	b.want(b.call("PUT", "/api/v1/sites/www/files/large", bytes.NewReader(body)), 201)
	b.published("/large", body)
	url := b.create("/tus", len(body))
	b.want(b.patch(url, 0, body[:11<<20]), 204)
	b.want(b.patch(url, 11<<20, body[11<<20:]), 204)
	b.published("/tus", body)
	mu.Lock()
	t.Log(left)
	if left["part u"] != 2 || left["put w"] != 2 || left["complete u"] != 2 {
		t.Errorf("refused %v", left)
	}
	mu.Unlock()
	b.consistent()
}

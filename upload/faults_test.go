package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
)

type faulty struct {
	Writer
	fail func(op string, key object.Key) error // before the write
	lose func(op string, key object.Key) error // after it
}

func (f *faulty) do(op string, key object.Key, write func() error) error {
	if f.fail != nil {
		if err := f.fail(op, key); err != nil {
			return err
		}
	}
	if err := write(); err != nil || f.lose == nil {
		return err
	}
	return f.lose(op, key)
}

func (f *faulty) Put(ctx context.Context, key object.Key, body []byte, o origin.PutOptions) (etag string, err error) {
	err = f.do("put", key, func() error { etag, err = f.Writer.Put(ctx, key, body, o); return err })
	return etag, err
}

func (f *faulty) Part(ctx context.Context, key object.Key, id string, n int, body []byte) (p origin.Part, err error) {
	err = f.do("part", key, func() error { p, err = f.Writer.Part(ctx, key, id, n, body); return err })
	return p, err
}

func (f *faulty) Complete(ctx context.Context, key object.Key, id string, parts []origin.Part) (etag string, err error) {
	err = f.do("complete", key, func() error { etag, err = f.Writer.Complete(ctx, key, id, parts); return err })
	return etag, err
}

func (f *faulty) Delete(ctx context.Context, key object.Key) error {
	return f.do("delete", key, func() error { return f.Writer.Delete(ctx, key) })
}

func failing(op, prefix string, err error) func(string, object.Key) error {
	return func(o string, k object.Key) error {
		if o == op && strings.HasPrefix(string(k), prefix) {
			return err
		}
		return nil
	}
}

func TestBucketFailures(t *testing.T) {
	f := &faulty{}
	b := newFaultyBench(t, f)
	b.want(b.put("/a", "old"), 201)
	large := string(noiseBytes(3, 20<<20))
	for _, c := range []struct {
		op, prefix, body string
		err              error
		status           int
	}{
		{"put", "b/", "x", origin.ErrUnavailable, 503},
		{"put", "b/", "y", origin.ErrFull, 507},
		{"put", "b/", "z", origin.ErrDenied, 502},
		{"put", "v/", "x", origin.ErrUnavailable, 503},
		{"put", "v/", "x", fmt.Errorf("%w: %w", origin.ErrUnknown, origin.ErrUnavailable), 503},
		{"put", "p/", "x", origin.ErrUnavailable, 503},
		{"part", "u/", large, origin.ErrUnavailable, 503},
		{"complete", "u/", large, origin.ErrUnavailable, 503},
		{"put", "t/", large, origin.ErrFull, 507},
	} {
		f.fail = failing(c.op, c.prefix, c.err)
		a := b.want(b.put("/a", c.body), c.status)
		if c.status == 503 && a.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: no Retry-After", c.op, c.prefix)
		}
		f.fail = nil
		if s, _ := b.content("www", "/a"); s != "old" {
			t.Errorf("%s %s: content is now %q", c.op, c.prefix, clip(s))
		}
		b.must(b.pub.Sweep(t.Context()))
		b.consistent()
		b.want(b.put("/a", "old"), 200) // nothing is blocked
	}
}

func TestCleaningFails(t *testing.T) {
	f := &faulty{}
	b := newFaultyBench(t, f)
	f.fail = func(op string, k object.Key) error {
		return errors.Join(failing("put", "t/", origin.ErrFull)(op, k), failing("delete", "u/", origin.ErrUnavailable)(op, k))
	}
	b.want(b.put("/a", string(noiseBytes(3, 20<<20))), 507)
	f.fail = nil
	if us, err := b.cat.StaleUploads(t.Context(), 0); err != nil || len(us) != 1 {
		t.Errorf("stale uploads %v, %v", us, err)
	}
	b.must(b.pub.Sweep(t.Context()))
	b.consistent()
}

func TestUnknownOutcome(t *testing.T) {
	for _, written := range []bool{true, false} {
		t.Run(fmt.Sprint("written=", written), func(t *testing.T) {
			f := &faulty{}
			b := newFaultyBench(t, f)
			b.want(b.put("/a", "old"), 201)
			fault := failing("put", "p/", fmt.Errorf("%w: %w", origin.ErrUnknown, origin.ErrUnavailable))
			if written {
				f.lose = fault
			} else {
				f.fail = fault
			}
			body, want := string(noiseBytes(3, 10<<20)), "old"
			if written {
				want = body
			}
			a := b.want(b.put("/a", body), 503)
			if !bytes.Contains(a.body, []byte("/problems/unsettled")) {
				t.Errorf("answer %s", a.body)
			}
			f.fail, f.lose = nil, nil
			b.must(b.pub.Sweep(t.Context())) // too early: the write may still be on its way
			if rs, err := b.cat.Stale(t.Context(), 0); err != nil || len(rs) != 0 {
				t.Errorf("stale %v, %v", rs, err)
			}
			b.clock.step(3 * time.Minute)
			b.must(b.pub.Sweep(t.Context()))
			if s, _ := b.content("www", "/a"); s != want {
				t.Errorf("content %q", clip(s))
			}
			b.consistent()
		})
	}
}

func TestLostReservation(t *testing.T) {
	f := &faulty{}
	b := newFaultyBench(t, f)
	b.want(b.put("/a", "old"), 201)
	large := string(noiseBytes(4, 9<<20))
	f.lose = func(op string, k object.Key) error {
		if op != "put" || !strings.HasPrefix(string(k), "p/") {
			return nil
		}
		// Between its head and its commit others settle its reservation wrongly, as if it had been silent for long, and
		// take the path.
		f.lose = nil
		b.clock.step(time.Hour)
		rs, err := b.cat.Stale(t.Context(), 0)
		if err != nil || len(rs) != 1 {
			t.Fatalf("stale: %v, %v", rs, err)
		}
		b.must(b.cat.Release(t.Context(), rs[0]))
		_, err = b.cat.Reserve(t.Context(), catalog.Change{Pointer: rs[0].Pointer})
		b.must(err)
		return nil
	}
	b.want(b.put("/a", large), 503)
	b.clock.step(time.Hour)
	b.must(b.pub.Sweep(t.Context()))
	if s, _ := b.content("www", "/a"); s != large {
		t.Errorf("content of %d bytes", len(s))
	}
	b.restart()
	b.must(b.pub.Sweep(t.Context()))
	b.want(b.put("/a", "next"), 200)
	b.consistent()
}

func TestForeignHead(t *testing.T) {
	b := newBench(t, Config{})
	ctx := t.Context()
	first := b.want(b.put("/a", "1"), 201).result(t)
	f, err := b.cat.File(ctx, "www", "/a")
	b.must(err)
	foreign := f.Pointer
	foreign.Version = object.NextVersion(b.clock.Now().Add(time.Second), 7, f.Pointer.Version)
	foreign.Modified = foreign.Modified.Add(10 * time.Second)
	write := func(body []byte) {
		t.Helper()
		_, err := b.writer.Put(ctx, object.HeadKey("www", "/a"), body, origin.PutOptions{})
		b.must(err)
	}
	write(object.MarshalPointer(&foreign))
	_, err = b.writer.Put(ctx, object.VersionKey("www", "/a", foreign.Version), object.MarshalPointer(&foreign), origin.PutOptions{})
	b.must(err)
	b.want(b.put("/a", "2", "If-Match", first.ETag), 412) // it is not the current version any more
	second := b.want(b.put("/a", "3", "If-Match", versionTag(foreign.Version)), 200).result(t)
	if second.Version <= foreign.Version {
		t.Errorf("version %s after %s", second.Version, foreign.Version)
	}
	b.consistent()

	write([]byte("garbage"))
	b.want(b.put("/a", "4"), 200)
	b.must(b.writer.Delete(ctx, object.HeadKey("www", "/a")))
	b.want(b.put("/a", "5"), 200)
	b.consistent()
}

func TestLogDown(t *testing.T) {
	b := newBench(t, Config{})
	b.log.SetReachable(false)
	r := b.want(b.put("/a", "x"), 201).result(t)
	if !r.Position.IsZero() {
		t.Errorf("position %v of a log that is down", r.Position)
	}
	b.log.SetReachable(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rows, err := b.cat.Rows(ctx, "", 0)
	b.must(err)
	if pos, err := b.pub.cfg.Outbox.Wait(ctx, rows[len(rows)-1].Entry.ID); err != nil || pos.IsZero() {
		t.Errorf("position %v, %v", pos, err)
	}
	b.consistent()
}

func TestBucketDown(t *testing.T) {
	b := newBench(t, Config{})
	b.want(b.put("/a", "old"), 201)
	b.s3.Kill(t)
	a := b.put("/a", "new")
	if a.status != 200 && a.status != 503 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := b.pub.Publish(t.Context(), File{Site: "www", Path: "/b", Body: io.LimitReader(noise(1, 1), 1), Size: 1}); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("after a minute: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.clock.step(3 * time.Minute)
	b.must(b.pub.Sweep(t.Context()))
	b.consistent()
}

func newFaultyBench(t *testing.T, f *faulty) *bench {
	t.Helper()
	b := newBench(t, Config{})
	f.Writer = b.writer
	b.cfg.Writer = f
	b.restart()
	return b
}

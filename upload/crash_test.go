package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
)

// errCrash is the panic that stands for the death of the process.
var errCrash = errors.New("crash")

// crashAt makes the process die at a step; it reports whether it did.
func (b *bench) crashAt(at step, do func()) (crashed bool) {
	b.t.Helper()
	b.pub.crash = func(s step) {
		if s == at {
			panic(errCrash)
		}
	}
	defer func() {
		if r := recover(); r != nil {
			if r != errCrash {
				panic(r)
			}
			crashed = true
		}
		b.restart()
	}()
	do()
	return false
}

var steps = []step{afterCheck, afterNote, afterCreate, afterPart, afterComplete, afterBlob, afterReserve, afterVersion, afterHead, afterCommit}

// TestCrashes kills the process between every two steps of every kind of change. What is found afterwards is the old file
// or the new one, the same in catalogue, bucket and log, and nothing else.
func TestCrashes(t *testing.T) {
	b := newBench(t, Config{})
	small, large := "new and small", string(noiseBytes(7, smallBody+1<<20))
	put := func(path object.Path, body string) func() {
		return func() {
			if _, err := b.pub.Publish(context.Background(), File{Site: "www", Path: path, Body: strings.NewReader(body), Size: int64(len(body))}); err != nil {
				t.Errorf("publish: %v", err)
			}
		}
	}
	for i, c := range []struct {
		name  string
		old   string // content before; "" for none
		new   string
		steps []step // that the change passes
		do    func(object.Path) func()
	}{
		{"new small", "", small, slices.Delete(slices.Clone(steps), 1, 5), func(p object.Path) func() { return put(p, small) }},
		{"overwrite small", "old", small, slices.Delete(slices.Clone(steps), 1, 5), func(p object.Path) func() { return put(p, small) }},
		{"new large", "", large, steps, func(p object.Path) func() { return put(p, large) }},
		{"overwrite large", "old", large, steps, func(p object.Path) func() { return put(p, large) }},
		{"delete", "old", "", steps[6:], func(p object.Path) func() {
			return func() {
				if _, err := b.pub.Delete(context.Background(), "www", p, catalog.Condition{}); err != nil {
					t.Errorf("delete: %v", err)
				}
			}
		}},
	} {
		for j, at := range steps {
			for _, sweepFirst := range []bool{true, false} {
				path := object.Path(fmt.Sprintf("/%d-%d-%v", i, j, sweepFirst))
				if c.old != "" {
					put(path, c.old)()
				}
				if crashed := b.crashAt(at, c.do(path)); crashed != slices.Contains(c.steps, at) {
					t.Fatalf("%s: died after %s: %v", c.name, at, crashed)
				}
				want := c.old
				if !slices.Contains(c.steps, at) || at == afterHead || at == afterCommit {
					want = c.new
				}
				if sweepFirst {
					b.must(b.pub.Sweep(t.Context()))
				}
				if got, ok := b.content("www", path); got != want || ok != (want != "") {
					t.Errorf("%s, died after %s: content of %d bytes, want %d", c.name, at, len(got), len(want))
				}
				if !sweepFirst { // the next publisher must not be held up, nor lose anything
					put(path, "next")()
					if got, _ := b.content("www", path); got != "next" {
						t.Errorf("%s, died after %s: the next publication gave %q", c.name, at, got)
					}
					b.must(b.pub.Sweep(t.Context()))
				}
			}
		}
	}
	b.consistent()
}

// TestCrashOfSiteChange: a site record that was changed reaches bucket and log in the next run.
func TestCrashOfSiteChange(t *testing.T) {
	b := newBench(t, Config{})
	rec, err := b.cat.CreateSite(t.Context(), object.SiteRecord{Format: 1, Site: "blog", Kind: object.Published})
	b.must(err)
	b.restart()
	b.must(b.pub.Sweep(t.Context()))
	if stored, err := b.read(object.SiteKey("blog")); err != nil || !bytes.Equal(stored, object.MarshalSite(rec)) {
		t.Errorf("stored %s, %v", stored, err)
	}
	if un, err := b.cat.UnstoredSites(t.Context()); err != nil || len(un) != 0 {
		t.Errorf("unconfirmed %v, %v", un, err)
	}
}

// TestSweeperRuns: Run settles what it finds at the start and ends with its context.
func TestSweeperRuns(t *testing.T) {
	b := newBench(t, Config{})
	if !b.crashAt(afterHead, func() {
		_, err := b.pub.Publish(context.Background(), File{Site: "www", Path: "/a", Body: strings.NewReader("x"), Size: 1})
		t.Errorf("survived: %v", err)
	}) {
		t.Fatal("did not die")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.pub.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); b.missing("/a"); {
		if time.Now().After(deadline) {
			t.Fatal("the sweeper did nothing for a minute")
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	b.must(<-done)
	if e := b.events[len(b.events)-1]; e.Kind != EventRecovered || e.Pointer.Path != "/a" {
		t.Errorf("event %+v", e)
	}
	b.consistent()
}

// faulty is a bucket whose writes fail when told to.
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

// failing returns a fault that hits writes of one kind to keys with a prefix.
func failing(op, prefix string, err error) func(string, object.Key) error {
	return func(o string, k object.Key) error {
		if o == op && strings.HasPrefix(string(k), prefix) {
			return err
		}
		return nil
	}
}

// TestBucketFailures: a bucket that fails at one write makes the answer an error and leaves the old file.
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

// TestCleaningFails: bytes that could not be removed after a failure are removed later.
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

// TestUnknownOutcome: when it is not known whether the head pointer was written, the answer says so, and the sweeper finds
// out, either way.
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

// TestLostReservation: a publisher that was settled while it wrote does not take away what the bucket names.
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

// TestForeignHead: a head pointer that was changed behind the catalogue's back is taken in, and the change goes on top.
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

// TestLogDown: publishing goes on without the log; the position comes later.
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
	rows, err := b.cat.Rows(ctx, 0, 0)
	b.must(err)
	if pos, err := b.pub.cfg.Outbox.Wait(ctx, rows[len(rows)-1].ID); err != nil || pos.IsZero() {
		t.Errorf("position %v, %v", pos, err)
	}
	b.consistent()
}

// TestBucketDown: with the bucket gone, publishing fails clearly and works again when it is back.
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

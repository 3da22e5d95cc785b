package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
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
// failing returns a fault that hits writes of one kind to keys with a prefix.
// TestBucketFailures: a bucket that fails at one write makes the answer an error and leaves the old file.
// TestCleaningFails: bytes that could not be removed after a failure are removed later.
// TestUnknownOutcome: when it is not known whether the head pointer was written, the answer says so, and the sweeper finds
// out, either way.
// TestLostReservation: a publisher that was settled while it wrote does not take away what the bucket names.
// TestForeignHead: a head pointer that was changed behind the catalogue's back is taken in, and the change goes on top.
// TestLogDown: publishing goes on without the log; the position comes later.
// TestBucketDown: with the bucket gone, publishing fails clearly and works again when it is back.

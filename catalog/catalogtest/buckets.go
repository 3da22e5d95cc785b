package catalogtest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
)

// testObjects: what a store was seen to have is recorded once, each change with a greater version, and only on the version it was looked for with.
func testObjects(t *testing.T, b *bench) {
	found := func(etag string, at int64) *object.Pointer {
		p, err := object.Info{Size: 1, ETag: etag, Modified: time.Unix(at, 0)}.Pointer("www", "/o", "", "media/o")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var last object.Version
	record := func(what string, o catalog.Observation, want bool) {
		t.Helper()
		o.Site, o.Path, o.After = "www", "/o", last
		changed, entry, err := b.RecordObject(b.ctx, o)
		if err != nil || changed != want || o.Quiet && entry != "" {
			t.Fatalf("%s: changed %v, entry %q, %v", what, changed, entry, err)
		}
		if changed != (entry != "") && !o.Quiet && !o.Passing {
			t.Errorf("%s: changed %v and entry %q", what, changed, entry)
		}
		if f, err := b.File(b.ctx, "www", "/o"); err == nil {
			if (f.Pointer.Version > last) != want {
				t.Errorf("%s: version %s after %s", what, f.Pointer.Version, last)
			}
			last = f.Pointer.Version
		}
	}
	record("nothing", catalog.Observation{}, false)
	record("passing", catalog.Observation{Passing: true}, false)
	record("new", catalog.Observation{Found: found("one", 100)}, true)
	record("the same", catalog.Observation{Found: found("one", 100)}, false)
	record("another of the same second", catalog.Observation{Found: found("two", 100)}, true)
	record("an older time", catalog.Observation{Found: found("three", 90)}, true)
	record("gone", catalog.Observation{}, true)
	record("gone still", catalog.Observation{}, false)
	record("back, quietly", catalog.Observation{Found: found("three", 90), Quiet: true}, true)
	if _, _, err := b.RecordObject(b.ctx, catalog.Observation{Site: "www", Path: "/o", After: "", Found: found("x", 200)}); !errors.Is(err, catalog.ErrLost) {
		t.Errorf("on another version: %v", err)
	}
	// Of many who looked at the same version one is recorded.
	var work sync.WaitGroup
	won := make(chan bool, 8)
	for i := range 8 {
		work.Go(func() {
			p := *found("c", 300+int64(i))
			changed, _, err := b.RecordObject(b.ctx, catalog.Observation{Site: "www", Path: "/o", After: last, Found: &p})
			if err != nil && !errors.Is(err, catalog.ErrLost) {
				t.Error(err)
			}
			won <- changed
		})
	}
	work.Wait()
	close(won)
	n := 0
	for w := range won {
		if w {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d of 8 were recorded", n)
	}
}

// testWatches: one node holds the watching of a site until its time is over or it lets go.
func testWatches(t *testing.T, b *bench) {
	hold := func(holder string, want error) catalog.Watch {
		t.Helper()
		w, err := b.HoldWatch(b.ctx, "media", holder, time.Minute)
		if !errors.Is(err, want) || want == nil && (err != nil || w.Holder != holder) {
			t.Fatalf("hold by %s: %+v, %v", holder, w, err)
		}
		return w
	}
	hold("a", nil)
	hold("a", nil)
	hold("b", catalog.ErrLost)
	if err := b.SaveWatch(b.ctx, "media", "a", `{"x":1}`); err != nil {
		t.Fatal(err)
	}
	if err := b.SaveWatch(b.ctx, "media", "b", "{}"); !errors.Is(err, catalog.ErrLost) {
		t.Errorf("saved by who does not hold: %v", err)
	}
	b.clock.step(2 * time.Minute)
	if w := hold("b", nil); w.State != `{"x":1}` {
		t.Errorf("state %q", w.State)
	}
	hold("a", catalog.ErrLost)
	if err := b.ReleaseWatch(b.ctx, "media", "b"); err != nil {
		t.Fatal(err)
	}
	hold("a", nil)
	at := b.clock.Now()
	for _, when := range []time.Time{at, at.Add(-time.Hour)} {
		if err := b.NoteEvent(b.ctx, "media", when, "webhook"); err != nil {
			t.Fatal(err)
		}
	}
	ws, err := b.Watches(b.ctx, "")
	if err != nil || len(ws) != 1 || ws[0].Source != "webhook" || ws[0].Event.UnixMicro() != at.UnixMicro() {
		t.Errorf("%+v, %v", ws, err)
	}
}

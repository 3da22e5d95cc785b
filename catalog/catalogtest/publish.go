package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/purge"
)

func testPublish(t *testing.T, b *bench) {
	_, err := b.File(b.ctx, "www", "/a")
	b.want("file never published", err, fs.ErrNotExist)

	r := b.reserve(content("www", "/a", "one"))
	if r.PrevVersion != "" || r.PrevETag != "" {
		t.Errorf("first reservation follows %q, %q", r.PrevVersion, r.PrevETag)
	}
	if _, err := b.File(b.ctx, "www", "/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a reserved file is visible: %v", err)
	}
	b.commit(r)
	f := b.file("www", "/a")
	if f.Pointer.Version != r.Pointer.Version || f.ETag != etagOf(r.Pointer) || f.Pointer.Hash != object.HashOf([]byte("one")) {
		t.Errorf("committed %+v, got %+v", r.Pointer, f)
	}

	r2 := b.reserve(content("www", "/a", "two"))
	if r2.PrevVersion != r.Pointer.Version || r2.PrevETag != etagOf(r.Pointer) {
		t.Errorf("second reservation follows %q, %q", r2.PrevVersion, r2.PrevETag)
	}
	b.must("release", b.Release(b.ctx, r2))
	b.must("release again", b.Release(b.ctx, r2))
	if got := b.file("www", "/a").Pointer.Version; got != r.Pointer.Version {
		t.Errorf("after a release the version is %s, want %s", got, r.Pointer.Version)
	}
	if n := len(b.rows()); n != 1 {
		t.Errorf("%d outbox rows, want 1: a release has none", n)
	}
}

func testConditions(t *testing.T, b *bench) {
	live := b.publish(content("www", "/live", "x")).Version
	b.publish(content("www", "/gone", "x"))
	gone := b.publish(tombstone("www", "/gone")).Version
	for _, c := range []struct {
		name string
		path object.Path
		cond catalog.Condition
		ok   bool
	}{
		{"none", "/live", catalog.Condition{}, true},
		{"none, new", "/new", catalog.Condition{}, true},
		{"none-match *, new", "/new", catalog.Condition{NoneMatchAny: true}, true},
		{"none-match *, live", "/live", catalog.Condition{NoneMatchAny: true}, false},
		{"none-match *, gone", "/gone", catalog.Condition{NoneMatchAny: true}, true},
		{"none-match other", "/live", catalog.Condition{NoneMatch: []object.Version{gone}}, true},
		{"none-match current", "/live", catalog.Condition{NoneMatch: []object.Version{live}}, false},
		{"match current", "/live", catalog.Condition{Match: []object.Version{gone, live}}, true},
		{"match other", "/live", catalog.Condition{Match: []object.Version{gone}}, false},
		{"match nothing", "/live", catalog.Condition{Match: []object.Version{}}, false},
		{"match tombstone", "/gone", catalog.Condition{Match: []object.Version{gone}}, false},
		{"match *, live", "/live", catalog.Condition{MatchAny: true}, true},
		{"match *, gone", "/gone", catalog.Condition{MatchAny: true}, false},
		{"match *, new", "/new", catalog.Condition{MatchAny: true}, false},
	} {
		check := b.Check(b.ctx, "www", c.path, c.cond)
		r, reserve := b.Reserve(b.ctx, catalog.Change{Pointer: content("www", c.path, "y"), Condition: c.cond})
		for _, err := range []error{check, reserve} {
			if c.ok && err != nil || !c.ok && !errors.Is(err, catalog.ErrPrecondition) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if reserve == nil {
			b.must("release", b.Release(b.ctx, r))
		}
	}
}

func testMonotonic(t *testing.T, b *bench) {
	last := b.publish(content("www", "/a", "0"))
	for i, step := range []time.Duration{0, 0, -time.Hour, time.Millisecond, -10 * time.Second, 5 * time.Hour} {
		b.clock.step(step)
		p := b.publish(content("www", "/a", fmt.Sprint(i)))
		if p.Version <= last.Version {
			t.Errorf("step %v: version %s after %s", step, p.Version, last.Version)
		}
		if !p.Modified.After(last.Modified) || p.Modified.Nanosecond() != 0 {
			t.Errorf("step %v: modified %v after %v", step, p.Modified, last.Modified)
		}
		last = p
	}
}

func testCommitTwice(t *testing.T, b *bench) {
	r := b.reserve(content("www", "/a", "x"))
	first := b.commit(r)
	if again := b.commit(r); again != first {
		t.Errorf("commit gave entry %s, then %s", first, again)
	}
	b.publish(content("www", "/a", "y"))
	if again := b.commit(r); again != first {
		t.Errorf("commit of an older version gave entry %s, want %s", again, first)
	}
	if n := len(b.rows()); n != 2 {
		t.Errorf("%d outbox rows, want 2", n)
	}
}

func testDelete(t *testing.T, b *bench) {
	_, err := b.Reserve(b.ctx, catalog.Change{Pointer: tombstone("www", "/a")})
	b.want("delete of nothing", err, fs.ErrNotExist)
	b.publish(content("www", "/a", "x"))
	gone := b.publish(tombstone("www", "/a"))
	_, err = b.Reserve(b.ctx, catalog.Change{Pointer: tombstone("www", "/a")})
	b.want("second delete", err, fs.ErrNotExist)
	if f := b.file("www", "/a"); f.Pointer.State != object.Gone || f.ETag != etagOf(gone) {
		t.Errorf("after delete: %+v", f)
	}
	if p := b.publish(content("www", "/a", "back")); p.Version <= gone.Version {
		t.Errorf("version %s after tombstone %s", p.Version, gone.Version)
	}
}

func testInvalidPointer(t *testing.T, b *bench) {
	for name, change := range map[string]func(*object.Pointer){
		"path":   func(p *object.Pointer) { p.Path = "/../etc" },
		"site":   func(p *object.Pointer) { p.Site = "WWW" },
		"blob":   func(p *object.Pointer) { p.Blob = "x" },
		"header": func(p *object.Pointer) { p.CacheControl = "a\r\nb" },
	} {
		p := content("www", "/a", "x")
		change(&p)
		_, err := b.Reserve(b.ctx, catalog.Change{Pointer: p})
		b.want(name, err, object.ErrInvalid)
	}
	if rs, err := b.Stale(b.ctx, 0); err != nil || len(rs) != 0 {
		t.Errorf("reservations left: %v, %v", rs, err)
	}
}

func testBusy(t *testing.T, b *bench) {
	first := b.reserve(content("www", "/a", "x"))
	b.must("another path is free", b.Release(b.ctx, b.reserve(content("www", "/b", "x"))))
	got := make(chan catalog.Reservation, 1)
	go func() {
		r, err := b.Reserve(b.ctx, catalog.Change{Pointer: content("www", "/a", "y")})
		if err != nil {
			t.Errorf("second reservation: %v", err)
		}
		got <- r
	}()
	select {
	case <-got:
		t.Fatal("two reservations of one path")
	case <-time.After(50 * time.Millisecond):
	}
	b.commit(first)
	second := <-got
	if second.PrevVersion != first.Pointer.Version {
		t.Errorf("second reservation follows %q, want %q", second.PrevVersion, first.Pointer.Version)
	}
	b.commit(second)
}

func testBusyGivesUp(t *testing.T, b *bench) {
	b.cfg.BusyWait = 20 * time.Millisecond
	b.reopen()
	first := b.reserve(content("www", "/a", "x"))
	_, err := b.Reserve(b.ctx, catalog.Change{Pointer: content("www", "/a", "y")})
	b.want("second reservation", err, catalog.ErrBusy)
	var busy *catalog.BusyError
	if !errors.As(err, &busy) || busy.Stale || busy.Holder.Pointer.Version != first.Pointer.Version {
		t.Errorf("busy error %+v", busy)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err = b.Reserve(ctx, catalog.Change{Pointer: content("www", "/a", "y")})
	b.want("with an ended context", err, context.Canceled)
}

func testExpired(t *testing.T, b *bench) {
	first := b.reserve(content("www", "/a", "x"))
	b.clock.step(59 * time.Second)
	if rs, err := b.Stale(b.ctx, 0); err != nil || len(rs) != 0 {
		t.Errorf("stale too early: %v, %v", rs, err)
	}
	b.clock.step(2 * time.Second)
	b.wantStale(t, first)
}

func testPastRun(t *testing.T, b *bench) {
	first := b.reserve(content("www", "/a", "x"))
	b.reopen()
	b.wantStale(t, first)
}

// wantStale checks that r is reported as stale, both ways, and can be settled.
func (b *bench) wantStale(t *testing.T, r catalog.Reservation) {
	t.Helper()
	rs, err := b.Stale(b.ctx, 0)
	if err != nil || len(rs) != 1 || rs[0].Pointer.Version != r.Pointer.Version {
		t.Fatalf("stale: %v, %v", rs, err)
	}
	_, err = b.Reserve(b.ctx, catalog.Change{Pointer: content(r.Pointer.Site, r.Pointer.Path, "z")})
	var busy *catalog.BusyError
	if !errors.As(err, &busy) || !busy.Stale {
		t.Fatalf("reserving a stale path: %v", err)
	}
	b.commit(busy.Holder)
	if got := b.file(r.Pointer.Site, r.Pointer.Path); got.Pointer.Version != r.Pointer.Version {
		t.Errorf("rolled forward to %s, want %s", got.Pointer.Version, r.Pointer.Version)
	}
	b.publish(content(r.Pointer.Site, r.Pointer.Path, "z"))
}

func testLateCommit(t *testing.T, b *bench) {
	b.publish(content("www", "/a", "0"))
	alone := b.reserve(content("www", "/a", "1"))
	b.must("release", b.Release(b.ctx, alone))
	b.commit(alone) // nothing else happened: it counts

	late := b.reserve(content("www", "/a", "2"))
	b.must("release", b.Release(b.ctx, late))
	other := b.reserve(content("www", "/a", "3"))
	_, err := b.Commit(b.ctx, late, "e")
	b.want("commit under another reservation", err, catalog.ErrLost)
	b.commit(other)
	_, err = b.Commit(b.ctx, late, "e")
	b.want("commit after another version", err, catalog.ErrLost)
	if got := b.file("www", "/a").Pointer.Version; got != other.Pointer.Version {
		t.Errorf("version %s, want %s", got, other.Pointer.Version)
	}
}

func testConcurrent(t *testing.T, b *bench) {
	const writers, each = 6, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				r, err := b.Reserve(b.ctx, catalog.Change{Pointer: content("www", "/a", fmt.Sprint(w, i))})
				if err == nil {
					_, err = b.Commit(b.ctx, r, etagOf(r.Pointer))
				}
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	wg.Wait()
	rows := b.rows()
	if len(rows) != writers*each {
		t.Fatalf("%d outbox rows, want %d", len(rows), writers*each)
	}
	var last object.Version
	for _, r := range rows {
		if r.Entry.Kind != purge.KindPointer || r.Entry.Pointer.Version <= last {
			t.Fatalf("entry %s: %s follows %s", r.Entry.ID, r.Entry.Pointer.Version, last)
		}
		last = r.Entry.Pointer.Version
	}
	if got := b.file("www", "/a").Pointer.Version; got != last {
		t.Errorf("current version %s, want %s", got, last)
	}
}

func testAdopt(t *testing.T, b *bench) {
	p := b.publish(content("www", "/a", "1"))
	newer := content("www", "/a", "2")
	newer.Version = object.NextVersion(b.clock.Now(), 1, p.Version)
	newer.Modified = p.Modified.Add(time.Second)
	id, err := b.Adopt(b.ctx, "www", "/a", &newer, "n")
	b.must("adopt", err)
	if f := b.file("www", "/a"); f.Pointer.Version != newer.Version || f.ETag != "n" || id == "" {
		t.Errorf("adopted %+v, entry %q", f, id)
	}
	for _, c := range []struct {
		name string
		head *object.Pointer
		etag string
	}{{"same", &newer, "n2"}, {"older", &p, "o"}, {"nothing", nil, ""}} {
		id, err := b.Adopt(b.ctx, "www", "/a", c.head, c.etag)
		b.must(c.name, err)
		if f := b.file("www", "/a"); id != "" || f.Pointer.Version != newer.Version || f.ETag != c.etag {
			t.Errorf("%s: %+v, entry %q", c.name, f, id)
		}
	}
	unknown := newer
	unknown.Path = "/new"
	_, err = b.Adopt(b.ctx, "www", "/new", &unknown, "n")
	b.must("adopt unknown", err)
	if f := b.file("www", "/new"); f.Pointer.Version != unknown.Version {
		t.Errorf("adopted %+v", f)
	}
	if n := len(b.rows()); n != 3 {
		t.Errorf("%d outbox rows, want 3", n)
	}
}

package bucketsites

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"perigee/object"
	"perigee/origin/origintest"
	"perigee/origin/watch"
)

// TestLiveAtOnce: what another tool writes, overwrites and deletes is in the catalogue and on every edge when its notification has come.
func TestLiveAtOnce(t *testing.T) {
	s := origintest.Start(t)
	w := newWorld(t, s.Config(), s.EdgeConfig(), setup{poll: 3600})
	w.tell(s)
	w.everywhere("/a.txt", nil) // absence is remembered, and must end
	etag := w.tool.Put(prefix+"a.txt", []byte("one"), "Content-Type: text/plain")
	p := w.row("/a.txt", etag)
	if p.Size != 3 || p.ContentType != "text/plain" || p.State != object.Live || p.Blob != prefix+"a.txt" {
		t.Errorf("row %+v", p)
	}
	w.everywhere("/a.txt", []byte("one"))
	for i := range 10 { // within one second, where Last-Modified says nothing
		body := fmt.Appendf(nil, "version %d", i)
		w.row("/a.txt", w.tool.Put(prefix+"a.txt", body))
		w.everywhere("/a.txt", body)
	}
	w.tool.Put(prefix+"b.txt", []byte("b"))
	w.tool.Put(prefix+"c/d.txt", []byte("d"))
	w.everywhere("/c/d.txt", []byte("d"))
	w.tool.Delete(prefix + "a.txt")
	w.row("/a.txt", "")
	w.everywhere("/a.txt", nil)
	w.tool.Delete(prefix+"b.txt", prefix+"c/d.txt")
	w.everywhere("/b.txt", nil)
	w.everywhere("/c/d.txt", nil)
	w.tool.Put(prefix+"a.txt", []byte("again"))
	w.everywhere("/a.txt", []byte("again"))
	st := w.status()
	if st.Mode != watch.ModeStorage || st.LastEvent.IsZero() || st.Watcher != "node-a" || st.Trouble != "" {
		t.Errorf("status %+v", st)
	}
}

// TestNeverAMix: an object is overwritten again and again while ranges of it and all of it are read. Every body is of one state from its first
// byte to its last, or breaks off.
func TestNeverAMix(t *testing.T) {
	s := origintest.Start(t)
	w := newWorld(t, s.Config(), s.EdgeConfig(), setup{poll: 3600})
	w.tell(s)
	const size = 9<<20 + 100
	state := func(n int) []byte { return bytes.Repeat([]byte{byte('a' + n%26)}, size) }
	w.tool.Put(prefix+"film", state(0))
	w.everywhere("/film", state(0))
	const rounds = 6
	whole, broken := 0, 0
	for n := 1; n <= rounds; n++ {
		for i, field := range []string{"", "Range: bytes=1000000-8999999"} {
			var fields []string
			if field != "" {
				fields = append(fields, field)
			}
			res, err := (&http.Transport{}).RoundTrip(w.request(i, "GET", "/film", fields...))
			if err != nil {
				t.Fatal(err)
			}
			first := make([]byte, 64<<10)
			if _, err := io.ReadFull(res.Body, first); err != nil {
				t.Fatalf("round %d: %v", n, err)
			}
			w.tool.Put(prefix+"film", state(2*n+i))
			rest, err := io.ReadAll(res.Body)
			res.Body.Close()
			got := append(first, rest...)
			if bytes.Count(got, got[:1]) != len(got) {
				t.Fatalf("round %d: a body has bytes of two states", n)
			}
			if err == nil {
				whole++
				if want := res.ContentLength; int64(len(got)) != want {
					t.Errorf("round %d: %d of %d bytes without an error", n, len(got), want)
				}
			} else {
				broken++
			}
			w.everywhere("/film", state(2*n+i))
		}
	}
	t.Logf("%d bodies came whole, %d broke off", whole, broken)
}

// TestLostNotification: nobody tells, and listings find what was written, overwritten and deleted.
func TestLostNotification(t *testing.T) {
	s := origintest.Start(t)
	w := newWorld(t, s.Config(), s.EdgeConfig(), setup{poll: 1, before: func(p *origintest.Tool) {
		p.Put(prefix+"keep", []byte("keep"))
		p.Put(prefix+"change", []byte("one"))
		p.Put(prefix+"go", []byte("gone soon"))
		p.Put(prefix+"skip//me", []byte("a key that is no path")) // the embedded server does not list it at all
	}})
	w.listed()
	w.everywhere("/change", []byte("one"))
	w.everywhere("/go", []byte("gone soon"))
	before := w.entries()
	w.tool.Put(prefix+"change", []byte("another"))
	w.tool.Put(prefix+"new", []byte("new"))
	w.tool.Delete(prefix + "go")
	w.everywhere("/change", []byte("another"))
	w.everywhere("/new", []byte("new"))
	w.everywhere("/go", nil)
	st := w.listed()
	if st.Missed != 3 || st.Last.Listed < 3 || st.Mode != watch.ModePolling || st.CycleSeconds < 1 || st.Trouble != "" {
		t.Errorf("status %+v, last listing %+v", st, st.Last)
	}
	w.eventually("three changes are three entries", func() bool { return w.entries() == before+3 })
	w.listed()
	if n := w.entries(); n != before+3 {
		t.Errorf("listings that find nothing have made %d entries", n-before-3)
	}
}

// TestFirstListing: what a bucket has before it becomes a site is recorded without an entry for each object; the storage dies meanwhile.
func TestFirstListing(t *testing.T) {
	s := origintest.Start(t)
	const objects = 1250 // more than a page
	var keys []string
	for i := range objects {
		key := fmt.Sprintf("d%d/f%d.txt", i%7, i)
		if i%100 == 0 {
			key = fmt.Sprintf("d%d.txt", i) // '.' sorts before '/'
		}
		keys = append(keys, key)
	}
	w := newWorld(t, s.Config(), s.EdgeConfig(), setup{poll: 3600, before: func(p *origintest.Tool) {
		var work sync.WaitGroup
		for part := range slices.Chunk(keys, 80) {
			work.Go(func() {
				for _, k := range part {
					p.Put(prefix+k, []byte(k))
				}
			})
		}
		work.Wait()
	}})
	s.Kill(t)
	w.eventually("the first listing has ended", func() bool { st := w.status(); return st.Last != nil })
	if st := w.status(); st.Last.Listed != objects || st.Last.Found > objects || st.Missed != 0 || st.Listing != nil {
		t.Errorf("status %+v, last listing %+v", st, st.Last)
	}
	var have []string
	for after := object.Path(""); ; {
		page, err := w.catalog.ListFiles(t.Context(), site, "", after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range page {
			have = append(have, string(f.Pointer.Path[1:]))
			after = f.Pointer.Path
		}
		if len(page) == 0 {
			break
		}
	}
	slices.Sort(keys)
	if !slices.Equal(keys, have) {
		t.Errorf("%d objects, %d rows", len(keys), len(have))
	}
	w.eventually("the entries are in the log", func() bool { return w.entries() >= 2 })
	if n := w.entries(); n != 2 { // of the site's record, and the one that announces
		t.Errorf("%d entries for a first listing", n)
	}
}

// TestOneWatches: of several nodes one watches a site, and another one goes on when it ends.
func TestOneWatches(t *testing.T) {
	s := origintest.Start(t)
	w := newWorld(t, s.Config(), s.EdgeConfig(), setup{poll: 1})
	w.listed()
	second, _ := w.startWatcher("node-b")
	w.listed()
	if st := w.status(); st.Watcher != "node-a" {
		t.Fatalf("watched by %q", st.Watcher)
	}
	w.stop()
	w.watcher = second
	w.eventually("the other node watches", func() bool { return w.status().Watcher == "node-b" })
	w.tool.Put(prefix+"x", []byte("x"))
	w.everywhere("/x", []byte("x"))
	// Notifications are taken in by any node.
	w.tool.Put(prefix+"y", []byte("y"))
	if n, err := second.Take(t.Context(), watch.SourceWebhook, []watch.Event{{Bucket: origintest.Bucket, Key: prefix + "y"}, {Bucket: origintest.Bucket, Key: "u/other"}}); n != 1 || err != nil {
		t.Errorf("taken %d, %v", n, err)
	}
	w.everywhere("/y", []byte("y"))
}

// TestHintsAreHarmless: notifications that come twice, late, in the wrong order, for things that never were, or for what is not served change nothing.
func TestHintsAreHarmless(t *testing.T) {
	s := origintest.Start(t)
	w := newWorld(t, s.Config(), s.EdgeConfig(), setup{poll: 3600})
	etag := w.tool.Put(prefix+"x", []byte("x"))
	take := func(keys ...string) {
		t.Helper()
		var events []watch.Event
		for _, k := range keys {
			events = append(events, watch.Event{Bucket: origintest.Bucket, Key: k})
		}
		if _, err := w.watcher.Take(t.Context(), watch.SourceWebhook, events); err != nil {
			t.Error(err)
		}
	}
	take(prefix + "x")
	before := w.row("/x", etag)
	take(prefix+"x", prefix+"x", "media%2Fx")
	take(prefix+"a//b", prefix+"dir/", "media/%zz", strings.Repeat("x", 2000), "b/00/1", "p/media/x")
	if p := w.row("/x", etag); p.Version != before.Version {
		t.Errorf("version %s became %s without a change", before.Version, p.Version)
	}
	w.tool.Delete(prefix + "x")
	take(prefix + "x")
	w.tool.Put(prefix+"x", []byte("x"))
	take(prefix + "x")
	take(prefix + "x")
	after := w.row("/x", etag)
	if after.Version <= before.Version {
		t.Errorf("version %s after %s", after.Version, before.Version)
	}
	w.everywhere("/x", []byte("x"))
}

// TestStoreDown: what is held is served while the store is away, the status says that it is, and all goes on when it is back.
func TestStoreDown(t *testing.T) {
	s := origintest.Start(t)
	w := newWorld(t, s.Config(), s.EdgeConfig(), setup{poll: 1})
	w.tool.Put(prefix+"held", []byte("held"))
	w.everywhere("/held", []byte("held"))
	s.Stop()
	if a := w.get(0, "/held"); a.StatusCode != 200 || string(a.body) != "held" {
		t.Errorf("held: %d %s", a.StatusCode, a.Header.Get("Cache-Status"))
	}
	if a := w.get(0, "/other"); a.StatusCode != http.StatusBadGateway || !strings.Contains(a.Header.Get("Cache-Status"), "origin-unreachable") {
		t.Errorf("not held: %d %s", a.StatusCode, a.Header.Get("Cache-Status"))
	}
	w.eventually("the trouble is told", func() bool { return w.status().Trouble != "" })
	if _, err := w.watcher.Take(t.Context(), watch.SourceWebhook, []watch.Event{{Bucket: origintest.Bucket, Key: prefix + "x"}}); err == nil {
		t.Error("an event was taken that could not be looked at")
	}
}

// Package bucketsites has the tests of sites of kind bucket, with all parts that have a hand in them in one process: a real S3 server, the catalogue, the
// log, the watcher and two edges.
package bucketsites

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/catalog/watched"
	"perigee/clock"
	"perigee/edge"
	"perigee/edge/cache"
	"perigee/fleet"
	"perigee/object"
	"perigee/origin"
	"perigee/origin/embedded"
	"perigee/origin/origintest"
	"perigee/origin/watch"
	"perigee/purge"
	"perigee/purge/purgetest"
)

func TestMain(m *testing.M) { origintest.Main(m) }

const (
	site   = object.Site("media")
	host   = "media.example"
	prefix = "media/"
)

// world is a bucket site and everything around it.
type world struct {
	t       *testing.T
	tool    *origintest.Tool
	reader  *origin.Reader
	catalog *catalog.Catalog
	log     *purgetest.Memory
	watcher *watch.Watcher
	entries func() int // of the log so far
	edges   []string   // their addresses
	stop    func()     // the watcher
}

// setup is what differs between worlds.
type setup struct {
	poll int64 // seconds
	// before is called before anything of Perigee is started.
	before func(*origintest.Tool)
}

// newWorld makes a world on an S3 server, with an account that may do everything and one that may read.
func newWorld(t *testing.T, all, reads origin.Config, s setup) *world {
	t.Helper()
	w := &world{t: t, tool: origintest.NewTool(t, all), log: purgetest.NewMemory("eu")}
	if s.before != nil {
		s.before(w.tool)
	}
	log := slog.New(slog.DiscardHandler)
	w.reader = w.newReader(all)
	var err error
	w.catalog, err = catalog.OpenSQLite(t.Context(), catalog.Config{File: filepath.Join(t.TempDir(), "c.db"), Clock: clock.System, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.catalog.Close() })
	var mu sync.Mutex
	n := 0
	w.entries = func() int { mu.Lock(); defer mu.Unlock(); return n }
	outbox, err := catalog.NewOutbox(catalog.OutboxConfig{
		Catalog: w.catalog, Appender: w.log, Clock: clock.System, Log: log,
		Appended: func(purge.Entry, purge.Position, time.Time) { mu.Lock(); n++; mu.Unlock() },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.start(outbox.Run)
	rec, err := w.catalog.CreateSite(t.Context(), object.SiteRecord{
		Format: 1, Site: site, Kind: object.Bucket, Hosts: []object.Host{host}, Bucket: &object.BucketSource{Prefix: prefix, Poll: s.poll},
	})
	if err == nil {
		_, err = w.catalog.SiteStored(t.Context(), site, rec.Version)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		w.startEdge(fmt.Sprintf("edge%d", i), reads)
	}
	w.watcher, w.stop = w.startWatcher("node-a")
	w.eventually("every edge knows the site", func() bool {
		for i := range w.edges {
			if w.get(i, "/none").StatusCode != http.StatusNotFound || !strings.Contains(w.get(i, "/none").Header.Get("Cache-Status"), "absent") {
				return false
			}
		}
		return true
	})
	return w
}

func (w *world) newReader(cfg origin.Config) *origin.Reader {
	w.t.Helper()
	r, err := origin.NewReader(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(r.Close)
	return r
}

// start runs f until the test, or stop, ends it.
func (w *world) start(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) startWatcher(node string) (*watch.Watcher, func()) {
	w.t.Helper()
	x, err := watch.New(watch.Config{
		Node: node, Book: watched.Book{Catalog: w.catalog}, Stores: map[string]watch.Store{"": w.reader}, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return x, w.start(x.Run)
}

func (w *world) startEdge(name string, reads origin.Config) {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	r := w.newReader(reads)
	n, err := edge.NewNode(edge.NodeConfig{
		Name: name, Listener: ln, Dir: w.t.TempDir(), Log: w.log, Report: func(*fleet.Report) error { return nil }, Clock: clock.System,
		Logger: slog.New(slog.DiscardHandler), Grace: time.Second,
		Cache: cache.Config{Size: 256 << 20, RAM: 16 << 20, Origin: edge.Bucket{Reader: r}, Objects: edge.Stores{"": r}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.start(n.Run)
	w.edges = append(w.edges, ln.Addr().String())
}

// tell has the embedded server tell the watcher of its events.
func (w *world) tell(s *origintest.Server) {
	s.OnEvent(func(e embedded.Event) {
		go w.watcher.Take(context.Background(), watch.SourceStorage, []watch.Event{watch.Event(e)})
	})
	w.t.Cleanup(func() { s.OnEvent(nil) })
}

// answer is a whole answer of an edge.
type answer struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

func (w *world) request(i int, method, target string, fields ...string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.edges[i]+target, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Host = host
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	return r
}

func (w *world) ask(i int, method, target string, fields ...string) *answer {
	w.t.Helper()
	res, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(w.request(i, method, target, fields...))
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	a := &answer{Response: res}
	a.body, a.err = io.ReadAll(res.Body)
	return a
}

func (w *world) get(i int, target string) *answer { w.t.Helper(); return w.ask(i, "GET", target) }

// everywhere waits until every edge answers with these bytes; nil for none at all.
func (w *world) everywhere(target string, want []byte) {
	w.t.Helper()
	for i := range w.edges {
		w.eventually(fmt.Sprintf("%s serves %d bytes at %s", w.edges[i], len(want), target), func() bool {
			a := w.get(i, target)
			if want == nil {
				return a.StatusCode == http.StatusNotFound
			}
			return a.StatusCode == http.StatusOK && a.err == nil && bytes.Equal(a.body, want)
		})
	}
}

// row waits until the catalogue has an object with an ETag; "" for none.
func (w *world) row(path object.Path, etag string) object.Pointer {
	w.t.Helper()
	var f catalog.File
	w.eventually(fmt.Sprintf("the catalogue has %s as %q", path, etag), func() bool {
		var err error
		f, err = w.catalog.File(w.t.Context(), site, path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.t.Fatal(err)
		}
		return f.Pointer.ETag == etag
	})
	return f.Pointer
}

// status returns how the site is watched.
func (w *world) status() watch.Status {
	w.t.Helper()
	list, err := w.watcher.Status(w.t.Context())
	if err != nil || len(list) != 1 {
		w.t.Fatalf("status %v, %v", list, err)
	}
	return list[0]
}

func (w *world) eventually(what string, done func() bool) {
	w.t.Helper()
	origintest.Eventually(w.t, what, done)
}

// listed waits for the end of a listing that begins from now on.
func (w *world) listed() watch.Status {
	w.t.Helper()
	now := time.Now()
	var s watch.Status
	w.eventually("a listing has ended", func() bool { s = w.status(); return s.Last != nil && s.Last.Started.After(now) })
	return s
}

func content(seed, n int) []byte {
	b := make([]byte, 0, n+32)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%d:%d,", seed, i)
	}
	return b[:n]
}

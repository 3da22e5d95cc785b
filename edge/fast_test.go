package edge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/clock"
	"perigee/edge/accesslog"
	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

// beside starts another server on w's engine.
func (w *web) beside(edit func(*Server), access *accesslog.Log, wrap func(net.Listener) net.Listener) *web {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	o := &web{t: w.t, o: w.o, e: w.e, addr: ln.Addr().String()}
	o.s = NewServer(ServerConfig{Node: "fra", Engine: w.e, Clock: clock.System, Log: slog.New(slog.DiscardHandler), Access: access})
	if edit != nil {
		edit(o.s)
	}
	if wrap != nil {
		ln = wrap(ln)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- o.s.Serve(ctx, ln, time.Second) }()
	o.stop = sync.OnceValue(func() error { cancel(); return <-done })
	w.t.Cleanup(func() {
		if err := o.stop(); err != nil {
			w.t.Error(err)
		}
	})
	return o
}

// comparable returns what must be the same whichever way an answer was made.
func (a *answer) comparable() (int, http.Header, string) {
	h := a.Header.Clone()
	h.Del("Date")
	if h.Get("Age") != "" {
		h.Set("Age", "some")
	}
	if s := h.Get("Cache-Status"); strings.HasPrefix(s, "fra; hit") {
		h.Set("Cache-Status", "fra; hit") // ttl moves on; ram and disk are the same to a client
	}
	return a.StatusCode, h, string(a.body)
}

// The three ways of an answer cannot be told apart: from memory on a loop, by the steps over the lane, by the steps
// over net/http.
func TestAllWaysSayTheSame(t *testing.T) {
	w := newWeb(t, nil)
	long := w.beside(func(s *Server) { s.memory = nil }, nil, nil)
	slow := w.beside(nil, nil, func(ln net.Listener) net.Listener { return slowListener{ln} })
	ways := []*web{w, long, slow}

	rnd := rand.New(rand.NewPCG(1, 2))
	targets := []string{"/absent", "/..", "/_perigee/v/x/y", "/empty?x"}
	conditions := []string{"", "", "", "X: y", "If-None-Match: *", `If-Match: "a"`, "If-Range: x", "If-Modified-Since: yesterday", "Range: bytes=0-0,2-3", "Range: bytes=5-4"}
	for i, size := range []int{0, 1, 100, copyBelow, copyBelow + 1, 100_000, 300_000, mib + 1} {
		path := object.Path(fmt.Sprintf("/dir/file %d.txt", i))
		if size == 0 {
			path = "/empty"
		}
		p := cachetest.Pointer("www", path, 1, cachetest.Bytes(int64(size), uint64(i)))
		p.ContentType = []string{"text/html", "", "image/png"}[i%3]
		p.CacheControl = []string{"", "max-age=9"}[i%2]
		w.o.PutBlob(cachetest.Bytes(int64(size), uint64(i)))
		w.o.PutPointer(p)
		date := func(d time.Duration) string { return p.Modified.Add(d).UTC().Format(http.TimeFormat) }
		targets = append(targets, string(path.Escape()), string(path.Escape())+"?a=b?c", "/_perigee/v/"+string(p.Version)+path.Escape(), strings.Replace(path.Escape(), "i", "%69", 1))
		conditions = append(conditions, "If-None-Match: "+p.Hash.ETag(), "If-Match: "+p.Hash.ETag(), `If-None-Match: "q", W/`+p.Hash.ETag(),
			"If-Range: "+p.Hash.ETag(), "If-Range: "+date(0), "If-Modified-Since: "+date(0), "If-Unmodified-Since: "+date(-time.Second),
			fmt.Sprintf("Range: bytes=%d-", size/2), fmt.Sprintf("Range: bytes=-%d", size/3), fmt.Sprintf("Range: bytes=%d-%d", size/4, size/4+10), fmt.Sprintf("Range: bytes=%d-", size))
	}
	type client struct {
		c net.Conn
		r *bufio.Reader
	}
	var clients [3]client
	for n := range 3000 {
		if n == 1500 { // the rules of the site are part of the heads in memory
			r := cachetest.Site("www", "www.example")
			r.Rules, r.Version = object.SiteRules{CacheControl: "max-age=77", AllowActive: object.Active{All: true}, Paths: someRules}, cachetest.Version(99)
			w.site(r)
		}
		if n%50 == 0 { // on a slow machine the lease would end, and memory with it
			w.e.Confirm(clock.System.Now())
		}
		if n%500 == 499 {
			w.apply(purge.Entry{Kind: purge.KindSite, Soft: true})
		}
		method, target := []string{"GET", "GET", "GET", "HEAD"}[rnd.IntN(4)], targets[rnd.IntN(len(targets))]
		var fields []string
		for range rnd.IntN(3) {
			f := conditions[rnd.IntN(len(conditions))]
			name, _, _ := strings.Cut(f, ":")
			if f != "" && !strings.Contains(strings.Join(fields, "\n"), name+":") {
				fields = append(fields, f)
			}
		}
		last := rnd.IntN(10) == 0
		if last {
			fields = append(fields, "Connection: close")
		}
		var first *answer
		for i, way := range ways {
			if clients[i].c == nil {
				c := way.dial()
				clients[i] = client{c, bufio.NewReader(c)}
			}
			a := way.askOn(clients[i].c, clients[i].r, method, target, fields...)
			if i == 0 {
				first = a
			}
			s1, h1, b1 := first.comparable()
			s2, h2, b2 := a.comparable()
			if strings.Contains(h1.Get("Cache-Status"), "fwd=") || strings.Contains(h2.Get("Cache-Status"), "fwd=") {
				h1.Del("Cache-Status") // the first of them has fetched it for the others
				h2.Del("Cache-Status")
				h1.Del("Age")
				h2.Del("Age")
			}
			if s1 != s2 || first.Close != a.Close || a.Close != last || !reflect.DeepEqual(h1, h2) || b1 != b2 {
				t.Fatalf("%s %s %q: way 0 said %d %v and %d bytes, way %d %d %v and %d", method, target, fields, s1, h1, len(b1), i, s2, h2, len(b2))
			}
			checkCacheStatus(t, a)
			if last {
				if _, err := clients[i].r.ReadByte(); err != io.EOF {
					t.Fatalf("way %d goes on after Connection: close: %v", i, err)
				}
				clients[i].c.Close()
				clients[i].c = nil
			}
		}
	}
	for i := range quickStatus {
		n := int64(0)
		for j := range w.s.tally.slots {
			n += w.s.tally.slots[j].quick.answers[i].Load()
		}
		if n < 10 {
			t.Errorf("%d answers with %d from memory: the test shows nothing", n, quickStatus[i])
		}
	}
	for _, way := range ways {
		s := way.s.tally.total()
		if s.requests != 3000 || s.hits+s.misses == 0 || s.sent == 0 {
			t.Errorf("%+v", s)
		}
	}
}

// One line for each request, whichever way it went, with the same words.
func TestOneLineForEachRequest(t *testing.T) {
	w := newWeb(t, nil)
	data := []byte("hello")
	w.o.Publish("www", "/file", 1, data)
	w.mustGet("/file", data)
	w.mustGet("/file", data)
	for name, c := range map[string]struct {
		edit func(*Server)
		wrap func(net.Listener) net.Listener
	}{
		"memory":   {nil, nil},
		"lane":     {func(s *Server) { s.memory = nil }, nil},
		"net/http": {nil, func(ln net.Listener) net.Listener { return slowListener{ln} }},
	} {
		var out lockedBuffer
		access, err := accesslog.Open(accesslog.Config{Path: "-", Stdout: &out, Format: accesslog.JSON, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		o := w.beside(c.edit, access, c.wrap)
		o.ask("GET", "/file?q", "User-Agent: me", "Referer: http://there/", "Connection: close")
		o.ask("HEAD", "/file", "Connection: close")
		o.ask("GET", "/file", "If-None-Match: *", "Connection: close")
		o.ask("GET", "/file", "Range: bytes=1-3", "Connection: close")
		o.ask("POST", "/file", "Connection: close")
		if err := o.stop(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := access.Run(ctx); err != nil {
			t.Fatal(err)
		}
		type line struct {
			Client, Method, Host, Target, Fwd, Reason, Referer, Agent string
			Status, Bytes                                             int64
		}
		got := map[line]int{}
		for _, s := range strings.Split(strings.TrimSpace(out.String()), "\n") {
			var l line
			if err := json.Unmarshal([]byte(s), &l); err != nil {
				t.Fatalf("%s: %q: %v", name, s, err)
			}
			got[l]++
		}
		const ip, host = "127.0.0.1", "www.example"
		page := int64(len("405 Method Not Allowed\nFiles are read here with GET or HEAD; they are published through the API.\n"))
		want := map[line]int{
			{ip, "GET", host, "/file?q", "", "ram", "http://there/", "me", 200, 5}: 1,
			{ip, "HEAD", host, "/file", "", "ram", "", "", 200, 0}:                 1,
			{ip, "GET", host, "/file", "", "ram", "", "", 304, 0}:                  1,
			{ip, "GET", host, "/file", "", "ram", "", "", 206, 3}:                  1,
			{ip, "POST", host, "/file", "", "method", "", "", 405, page}:           1,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\nwant %v", name, got, want)
		}
	}
}

// A purge that has been applied is effective for the very next request, whatever memory has.
func TestMemoryObeysPurges(t *testing.T) {
	w := newWeb(t, nil)
	for n := 1; n < 50; n++ {
		data := []byte(strings.Repeat("x", n))
		w.apply(pointerEntry(w.o.Publish("www", "/file", n, data)))
		for range 3 {
			w.mustGet("/file", data)
		}
	}
}

func TestFileFieldsSurvive(t *testing.T) {
	x := &exchange{site: cachetest.Site("www"), pointer: cachetest.Pointer("www", "/file", 1, []byte("hello"))}
	f := x.fileFieldsOf()
	enc := f.encode(x.site)
	got, ok := decodeFileFields(enc, x.site)
	if !ok || !bytes.Equal(got.lines, f.lines) || got.validators != f.validators || got.policy != f.policy || got.content != f.content || got.modified != f.modified || got.bare != f.bare {
		t.Errorf("%+v, %v", got, ok)
	}
	if string(got.etag()) != x.pointer.Hash.ETag() {
		t.Errorf("%q", got.etag())
	}
	other := *x.site
	other.Version = cachetest.Version(7)
	if _, ok := decodeFileFields(enc, &other); ok {
		t.Error("good under other rules")
	}
	for n := range enc[:headFixed+4] {
		decodeFileFields(enc[:n], x.site)
	}
}

func FuzzDecodeFileFields(f *testing.F) {
	x := &exchange{site: cachetest.Site("www"), pointer: cachetest.Pointer("www", "/file", 1, []byte("hello"))}
	fields := x.fileFieldsOf()
	f.Add(fields.encode(x.site))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, ok := decodeFileFields(b, x.site); ok {
			for _, status := range quickStatus {
				got.appendTo(nil, verdict{status: status}, 5)
			}
			got.etag()
		}
	})
}

package pull

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
	"perigee/edge/cache/policy"
	"perigee/edge/cache/store"
)

// origin answers as a test says, and remembers what it was asked.
type origin struct {
	mu     sync.Mutex
	asked  []*http.Request
	answer func(q *http.Request) (*http.Response, error)
}

// RoundTrip implements http.RoundTripper.
func (o *origin) RoundTrip(q *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.asked = append(o.asked, q)
	answer := o.answer
	o.mu.Unlock()
	resp, err := answer(q)
	if err == nil {
		resp.Request, resp.ProtoMajor, resp.ProtoMinor = q, 1, 1
	}
	return resp, err
}

func (o *origin) requests() []*http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*http.Request(nil), o.asked...)
}

// reply makes a response with a body and lines of fields.
func reply(status int, body string, lines ...string) *http.Response {
	h := http.Header{}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add(name, value)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// says sets the origin's next answers.
func (o *origin) says(answer func(q *http.Request) (*http.Response, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = answer
}

// repeats makes the origin answer everything alike.
func (o *origin) repeats(status int, body string, lines ...string) {
	o.says(func(*http.Request) (*http.Response, error) { return reply(status, body, lines...), nil })
}

type rig struct {
	t    *testing.T
	o    *origin
	dir  string
	st   *store.Store
	c    *Cache
	site *Site
	h    http.Handler
}

const rigSize = 64 << 20

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, o: &origin{}, dir: t.TempDir()}
	u, err := url.Parse("http://origin.example")
	if err != nil {
		t.Fatal(err)
	}
	r.site = &Site{Origin: u, Transport: r.o, StaleUnreachable: DefaultStaleUnreachable}
	r.open()
	t.Cleanup(r.close)
	return r
}

func (r *rig) open() {
	r.t.Helper()
	log := slog.New(slog.DiscardHandler)
	var err error
	r.st, err = store.Open(store.Config{Dir: r.dir, Size: rigSize, Clock: clock.System, Log: log, Policy: policy.New(policy.Config{Size: rigSize})})
	if err != nil {
		r.t.Fatal(err)
	}
	r.c = New(Config{Name: "edge", Records: r.st, RAM: 8 << 20, Clock: clock.System, Log: log})
	r.h = r.c.Handler(r.site)
}

func (r *rig) close() {
	r.c.Close()
	r.st.Close()
}

// got is an answer as a client has it.
type got struct {
	*httptest.ResponseRecorder
	broken bool
}

func (g *got) body() string { return g.Body.String() }

func (g *got) cacheStatus() string {
	list := g.Result().Header["Cache-Status"]
	return list[len(list)-1]
}

// request makes a client's request.
func request(method, target, body string, lines ...string) *http.Request {
	q := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		q.Body, q.ContentLength = http.NoBody, 0
	}
	q.Host = "www.example"
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		q.Header.Add(name, value)
	}
	return q
}

// send has a request answered.
func (r *rig) send(q *http.Request) (g *got) {
	g = &got{ResponseRecorder: httptest.NewRecorder()}
	defer func() {
		if e := recover(); e != nil {
			if err, ok := e.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(e)
			}
			g.broken = true
		}
	}()
	r.h.ServeHTTP(g, q)
	return g
}

// get sends a GET and waits until what it has begun is over.
func (r *rig) get(target string, lines ...string) *got {
	g := r.send(request(http.MethodGet, target, "", lines...))
	r.idle()
	return g
}

// idle waits for the end of fills.
func (r *rig) idle() { synctest.Wait() }

// expect checks an answer.
func (r *rig) expect(g *got, status int, body, cacheStatus string) {
	r.t.Helper()
	if g.broken || g.Code != status || g.body() != body {
		r.t.Fatalf("got %d %.60q (broken: %v), want %d %.60q", g.Code, g.body(), g.broken, status, body)
	}
	if s := g.cacheStatus(); !strings.Contains(s, cacheStatus) {
		r.t.Fatalf("Cache-Status %q, want %q in it", s, cacheStatus)
	}
}

// reads checks how often the origin was asked.
func (r *rig) reads(want int) {
	r.t.Helper()
	if n := len(r.o.requests()); n != want {
		r.t.Fatalf("the origin was asked %d times, want %d", n, want)
	}
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newRig(t)) })
}

// content returns n bytes that differ from place to place.
func content(n int) []byte {
	b := make([]byte, 0, n+16)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%d,", i*7)
	}
	return b[:n]
}

// ranged is an origin that has one resource and understands Range and validators.
func ranged(body []byte, lines ...string) func(q *http.Request) (*http.Response, error) {
	return func(q *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		for _, l := range lines {
			name, value, _ := strings.Cut(l, ": ")
			w.Header().Add(name, value)
		}
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(body))
		resp := w.Result()
		if n, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err == nil {
			resp.ContentLength = n
		}
		return resp, nil
	}
}

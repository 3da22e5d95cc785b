package pull

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/clock"
	"perigee/origin/site"
)

// wire is an edge and an origin on real sockets.
type wire struct {
	*rig
	addr   string
	mu     sync.Mutex
	asked  []*http.Request
	handle http.HandlerFunc
}

func newWire(t *testing.T, handle http.HandlerFunc) *wire {
	t.Helper()
	w := &wire{rig: newRig(t), handle: handle}
	o := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
		w.mu.Lock()
		w.asked = append(w.asked, q)
		w.mu.Unlock()
		w.handle(rw, q)
	}))
	t.Cleanup(o.Close)
	w.site.Origin, _ = url.Parse(o.URL)
	w.site.Transport = site.NewTransport(site.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Clock: clock.System})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, w.h, time.Second, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *wire) seen() []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

// raw sends bytes and returns what comes back until the connection ends or has said what is wanted.
func (w *wire) raw(stream string) string {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(c, stream)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "closed"
	}
	b, _ := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(b))
}

// Interim responses are passed on, and nothing of them is kept.
func TestInterimResponsesArePassedOn(t *testing.T) {
	w := newWire(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "</style.css>; rel=preload")
		rw.Header().Set("X-Mine", "1")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Del("Link")
		rw.Header().Del("X-Mine")
		rw.WriteHeader(http.StatusProcessing)
		rw.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(rw, "hello")
	})
	for _, want := range []string{"103 102 200 stored", "200 hit"} {
		var interim []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			interim = append(interim, fmt.Sprint(code))
			if code == 103 && (h.Get("Link") == "" || h.Get("X-Mine") == "") {
				t.Errorf("fields of 103: %v", h)
			}
			return nil
		}})
		q, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.addr+"/", nil)
		resp, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.Header.Get("X-Mine") != "" || string(b) != "hello" {
			t.Errorf("%v %q", resp.Header, b)
		}
		for w.c.Stats().Fills > 0 {
			time.Sleep(time.Millisecond)
		}
		got := strings.Join(append(interim, fmt.Sprint(resp.StatusCode)), " ")
		code, word, _ := strings.Cut(want, "200 ")
		if got != code+"200" || !strings.Contains(resp.Header.Get("Cache-Status"), word) {
			t.Errorf("got %s, %q; want %s", got, resp.Header.Get("Cache-Status"), want)
		}
	}
}

// Each of these is a way to make two programs see two different requests.
func TestSmugglingEndsAtTheEdge(t *testing.T) {
	w := newWire(t, func(rw http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body)
		io.WriteString(rw, "hello")
	})
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, stream := range map[string]string{
		"CL.TE":            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"TE.CL":            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n24\r\n" + smuggled + "\r\n0\r\n\r\n",
		"TE.TE":            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + smuggled,
		"obs-fold":         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"bare LF":          "GET / HTTP/1.1\nHost: a\n\n" + smuggled,
		"chunk extension":  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n24\r\n0\r\n\r\n" + smuggled,
		"duplicated Host":  "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"absolute-form":    "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"space before ':'": "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
		"NUL in a field":   "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
	} {
		if got := w.raw(stream); !strings.HasPrefix(got, "400") && got != "closed" && !strings.HasPrefix(got, "502") {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, q := range w.seen() {
		if q.URL.Path == "/smuggled" {
			t.Errorf("the origin saw %v", q)
		}
	}
}

// What no cache keys and some origins listen to does not reach them from the client.
func TestUnkeyedInputIsNotForwarded(t *testing.T) {
	w := newWire(t, func(rw http.ResponseWriter, q *http.Request) {
		rw.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(rw, "hello")
	})
	names := append(slices.Clone(unkeyed), "X_Forwarded_Host", "x-forwarded-host")
	q, _ := http.NewRequest(http.MethodGet, "http://"+w.addr+"/a", nil)
	for _, n := range names {
		q.Header.Set(n, "evil.example")
	}
	q.Header.Set("Connection", "X-Custom, Cache-Control, close")
	q.Header.Set("X-Custom", "1")
	q.Header.Set("Cookie", "a=b")
	resp, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	got := w.seen()[0]
	for name, lines := range got.Header {
		if strings.Contains(strings.Join(lines, ","), "evil") {
			t.Errorf("%s: %v reached the origin", name, lines)
		}
	}
	if got.Header.Get("X-Custom") != "" || got.Header.Get("Cookie") != "a=b" || got.Header.Get("X-Forwarded-Host") != w.addr || got.Header.Get("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("the origin got %v", got.Header)
	}
	if !strings.Contains(got.Header.Get("Via"), "1.1 perigee-") {
		t.Errorf("Via: %q", got.Header.Get("Via"))
	}
}

// Case and port in Host are no way to a second copy, or to somebody else's.
func TestHostIsCanonical(t *testing.T) {
	w := newWire(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(rw, "hello")
	})
	for _, host := range []string{"www.example", "WWW.Example", "www.example:80", "www.example."} {
		if got := w.raw("GET /a HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"); got != "200 hello" {
			t.Errorf("%s: %s", host, got)
		}
	}
	if n := len(w.seen()); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
	for _, host := range []string{"www.example:8080", "other.example"} {
		w.raw("GET /a HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
	}
	if n := len(w.seen()); n != 3 {
		t.Errorf("the origin was asked %d times", n)
	}
	for _, host := range []string{"", "a b", "a/b", "a@b", "a\\b", "a:b:c", "a:99x"} {
		if got := w.raw("GET /a HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "400") {
			t.Errorf("Host %q: %s", host, got)
		}
	}
}

// Two spellings of a path are two keys, and the origin sees each as it was spelt: what it decides, the key has.
func TestPathsAreNotNormalised(t *testing.T) {
	w := newWire(t, func(rw http.ResponseWriter, q *http.Request) {
		rw.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(rw, q.RequestURI)
	})
	for _, target := range []string{"/account", "/account/x.css", "/account;x.css", "/account%2fx.css", "/account%00.css", "/account%3fx.css", "/a/../account", "/a/%2e%2e/account", "//account", "/account?", "/account?a=1;b", "/ACCOUNT", "/account%23.css"} {
		if got := w.raw("GET " + target + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); got != "200 "+target {
			t.Errorf("%s: %s", target, got)
		}
	}
	if got := w.raw("GET /a#b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "400") {
		t.Errorf("a fragment: %s", got)
	}
}

// A GET with content reaches the origin, and neither is answered from the cache nor leaves anything there.
func TestFatGetIsNotCached(t *testing.T) {
	w := newWire(t, func(rw http.ResponseWriter, q *http.Request) {
		rw.Header().Set("Cache-Control", "max-age=60")
		b, _ := io.ReadAll(q.Body)
		fmt.Fprintf(rw, "<%s>", b)
	})
	fat := "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil"
	if got := w.raw(fat); got != "200 <evil>" {
		t.Error(got)
	}
	if got := w.raw("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); got != "200 <>" {
		t.Error(got)
	}
	if got := w.raw(fat); got != "200 <evil>" {
		t.Error(got)
	}
}

// An origin that leads back to the edge is found out at the first turn.
func TestLoopsAreFound(t *testing.T) {
	w := newWire(t, func(http.ResponseWriter, *http.Request) {})
	u, _ := url.Parse("http://" + w.addr)
	w.site.Origin = u
	if got := w.raw("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "508") {
		t.Error(got)
	}
}

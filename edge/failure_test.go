package edge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/edge/cache"
	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

// statusGrammar is Cache-Status with one member (RFC 9211 §2, RFC 8941 §3).
var statusGrammar = regexp.MustCompile(`^(?:[A-Za-z*][-!#$%&'*+.^_|~\w` + "`" + `:/]*|"(?:[ !#-\[\]-~]|\\["\\])*")(?:; [a-z][a-z_]*(?:=(?:-?\d{1,15}|[A-Za-z*][-!#$%&'*+.^_|~\w` + "`" + `:/]*))?)*$`)

// checkCacheStatus checks the grammar and what RFC 9211 says of the parameters.
func checkCacheStatus(t *testing.T, a *answer) {
	t.Helper()
	s := a.Header.Get("Cache-Status")
	if len(a.Header["Cache-Status"]) != 1 || !statusGrammar.MatchString(s) {
		t.Fatalf("Cache-Status %q", a.Header["Cache-Status"])
	}
	params := map[string]string{}
	for _, p := range strings.Split(s, "; ")[1:] {
		k, v, _ := strings.Cut(p, "=")
		if _, twice := params[k]; twice {
			t.Errorf("%q: %s twice", s, k)
		}
		params[k] = v
	}
	_, hit := params["hit"]
	fwd, forwarded := params["fwd"]
	_, stored := params["stored"]
	_, collapsed := params["collapsed"]
	switch {
	case hit && (forwarded || stored || collapsed):
		t.Errorf("%q: a hit that was forwarded", s)
	case !forwarded && (stored || collapsed):
		t.Errorf("%q: not forwarded", s)
	case stored && collapsed:
		t.Errorf("%q: who waited for another's answer stored nothing itself", s)
	case hit != (a.Header.Get("Age") != ""):
		t.Errorf("%q: Age %q", s, a.Header.Get("Age"))
	case params["detail"] == "":
		t.Errorf("%q: no detail", s)
	}
	if forwarded && !strings.Contains(" bypass method uri-miss vary-miss miss request stale partial ", " "+fwd+" ") {
		t.Errorf("%q: fwd=%s is not of RFC 9211", s, fwd)
	}
}

func TestFailures(t *testing.T) {
	silent := fmt.Errorf("no answer: %w", context.DeadlineExceeded)
	data := cachetest.Bytes(2*mib, 1)
	p := cachetest.Pointer("www", "/file", 1, data)
	head := object.HeadKey("www", "/file")
	for _, c := range []struct {
		name    string
		prepare func(w *web)
		status  int
		want    string // of Cache-Status
		text    string
	}{
		{"absent", func(w *web) { w.o.Delete(head) }, 404, "fra; fwd=uri-miss; detail=absent", "There is no file"},
		{"deleted", func(w *web) { w.apply(pointerEntry(cachetest.Tombstone("www", "/file", 2))) }, 404, "fra; hit; detail=deleted", "There is no file"},
		{"bucket down", func(w *web) { w.o.SetDown(errUnplugged) }, 502, "fra; fwd=uri-miss; detail=origin-unreachable", "cannot be reached"},
		{"bucket silent", func(w *web) { w.o.SetDown(silent) }, 504, "fra; fwd=uri-miss; detail=origin-timeout", "in time"},
		{"pointer damaged", func(w *web) { w.o.Put(head, []byte("{")) }, 502, "fra; fwd=uri-miss; detail=origin-corrupt", "something other"},
		{"blob down", func(w *web) { w.o.Break(p.Blob, cachetest.Fault{Err: errUnplugged}) }, 502, "fra; fwd=miss; detail=origin-unreachable", "cannot be reached"},
		{"blob silent", func(w *web) { w.o.Break(p.Blob, cachetest.Fault{Err: silent}) }, 504, "fra; fwd=miss; detail=origin-timeout", "in time"},
		{"blob missing", func(w *web) { w.o.Break(p.Blob, cachetest.Fault{Err: fs.ErrNotExist}) }, 502, "fra; fwd=miss; detail=origin-corrupt", "something other"},
		{"blob damaged", func(w *web) { w.o.Break(p.Blob, cachetest.Fault{Flip: true}) }, 502, "fra; fwd=miss; detail=origin-corrupt", "something other"},
		{"tree damaged", func(w *web) { w.o.Break(object.TreeKey(p.Blob), cachetest.Fault{Flip: true}) }, 502, "fra; fwd=miss; detail=origin-corrupt", "something other"},
		{"cut off", func(w *web) {
			w.rules(object.SiteRules{OnPartition: object.Refuse})
			w.ask("HEAD", "/file")
			w.o.SetDown(errUnplugged)
			time.Sleep(2 * cache.DefaultLease)
		}, 503, "fra; detail=partition-refused", "cut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, method := range []string{"GET", "HEAD"} {
					if method == "HEAD" && strings.Contains(c.want, "fwd=miss") {
						continue // needs no blob
					}
					w := newPipes(t, time.Second)
					w.o.Publish("www", "/file", 1, data)
					c.prepare(w)
					a := w.ask(method, "/file")
					if a.StatusCode != c.status || a.Header.Get("Cache-Status") != strings.Replace(c.want, "hit;", "hit;", 1) {
						t.Errorf("%s: %d %q", method, a.StatusCode, a.Header.Get("Cache-Status"))
					}
					if !strings.Contains(c.want, "hit") {
						checkCacheStatus(t, a)
					} else if a.Header.Get("Age") == "" {
						t.Error("a hit without Age")
					}
					if (method == "GET") != strings.Contains(string(a.body), c.text) {
						t.Errorf("%s: %q", method, a.body)
					}
					if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "text/plain; charset=utf-8" ||
						a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Etag") != "" || a.Header.Get("Content-Range") != "" {
						t.Errorf("%s: %v", method, a.Header)
					}
					if (c.status == 503) != (a.Header.Get("Retry-After") != "") {
						t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
					}
				}
			})
		})
	}
}

// Every kind of answer has a Cache-Status in its grammar, and Age if and only if it is a hit.
func TestCacheStatus(t *testing.T) {
	big := cachetest.Bytes(9*mib, 1)
	bigPointer := cachetest.Pointer("www", "/big", 1, big)
	tail := fmt.Sprintf("Range: bytes=%d-", 9*mib-5)
	synctest.Test(t, func(t *testing.T) {
		for _, node := range []string{"fra", "fra-1", "9", "1fra", "a b", `q"uo\te`, "Ü", ""} {
			w := newPipes(t, time.Second)
			w.s.node = cacheName(node)
			p := w.o.Publish("www", "/small", 1, []byte("hello"))
			if node == "fra" { // once is enough for so many bytes
				w.o.PutBlob(big)
				w.o.PutPointer(bigPointer)
			}
			for _, c := range []struct{ target, field, want string }{
				{"/small", "", "; fwd=uri-miss; stored; detail=not-held"},
				{"/small", "", "; hit; ttl=30; detail=ram"},
				{"/small", "If-None-Match: *", "; hit; ttl=30; detail=ram"},
				{"/small", "If-Match: \"x\"", "; hit; ttl=30; detail=ram"},
				{"/small", "Range: bytes=9-", "; hit; ttl=30; detail=ram"},
				{"/_perigee/v/" + string(p.Version) + "/small", "", "; fwd=uri-miss; detail=blob-held"},
				{"/_perigee/v/" + string(p.Version) + "/small", "", "; hit; ttl=30; detail=ram"},
				{"/big", tail, "; fwd=uri-miss; stored; detail=not-held"},
				{"/big", tail, "; hit; ttl=30; detail=disk"},
				{"/big", "", "; fwd=partial; stored; detail=partly-held"},
				{"/absent", "", "; fwd=uri-miss; detail=absent"},
				{"/absent", "", "; hit; detail=absent"},
				{"/..", "", "; detail=bad-request"},
			} {
				if c.target == "/big" && node != "fra" {
					continue
				}
				a := w.ask("GET", c.target, "X: y", c.field)
				if got := a.Header.Get("Cache-Status"); got != w.s.node+c.want {
					t.Errorf("%s %s: %q, want %q", c.target, c.field, got, c.want)
				}
				checkCacheStatus(t, a)
			}
			time.Sleep(7 * time.Second)
			if a := w.ask("GET", "/small"); a.Header.Get("Age") != "7" || a.Header.Get("Cache-Status") != w.s.node+"; hit; ttl=23; detail=ram" {
				t.Errorf("after 7 s: %v", a.Header)
			}
			w.apply(purge.Entry{Kind: purge.KindSite, Soft: true})
			if a := w.ask("GET", "/small"); a.Header.Get("Cache-Status") != w.s.node+"; fwd=stale; detail=purged" || a.Header.Get("Age") != "" {
				t.Errorf("after a purge: %v", a.Header)
			}
			time.Sleep(time.Minute)
			w.o.SetDown(errUnplugged)
			a := w.ask("GET", "/small")
			if a.Header.Get("Age") != "60" || a.Header.Get("Cache-Status") != w.s.node+"; hit; ttl=0; detail=lease-expired" {
				t.Errorf("cut off for 60 s: %v", a.Header)
			}
			checkCacheStatus(t, a)
		}
	})
}

// The origin dies in the middle of a body: the client must be able to tell.
func TestOriginDiesMidBody(t *testing.T) {
	data := cachetest.Bytes(3*mib, 2)
	for name, fault := range map[string]cachetest.Fault{
		"cut":     {Cut: true, At: 2*mib + 5},
		"damaged": {Flip: true, At: 2*mib + 5},
		"short":   {Short: true, At: 2 * mib},
	} {
		for _, field := range []string{"X: y", "Range: bytes=100-", "Connection: close"} {
			t.Run(name+"/"+field, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newPipes(t, time.Second)
					p := w.o.Publish("www", "/file", 1, data)
					w.o.Break(p.Blob, fault)
					c := w.dial()
					defer c.Close()
					go io.WriteString(c, wire("GET", "/file", field)) // a pipe may be closed under it
					a, err := readAnswer(bufio.NewReader(c), "GET")
					if err != io.ErrUnexpectedEOF {
						t.Fatalf("a client sees %v", err)
					}
					from := 0
					if a.StatusCode == 206 {
						from = 100
					}
					if len(a.body) >= len(data)-from || string(a.body) != string(data[from:from+len(a.body)]) {
						t.Errorf("%d bytes of %d, or wrong ones", len(a.body), len(data)-from)
					}
				})
			})
		}
	}
}

func TestOriginDiesMidBodyOverTCP(t *testing.T) { overBoth(t, testOriginDiesMidBodyOverTCP) }

func testOriginDiesMidBodyOverTCP(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	data := cachetest.Bytes(3*mib, 3)
	p := w.o.Publish("www", "/file", 1, data)
	w.o.Break(p.Blob, cachetest.Fault{Cut: true, At: 2*mib + 5})
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, wire("GET", "/file")); err != nil {
		t.Fatal(err)
	}
	raw, _ := io.ReadAll(c) // to the end of the connection, however it ends
	head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	if !strings.Contains(head, fmt.Sprintf("Content-Length: %d", len(data))) || strings.Contains(head, "chunked") {
		t.Errorf("head %q", head)
	}
	if len(body) >= len(data) || body != string(data[:len(body)]) {
		t.Errorf("%d bytes, or wrong ones", len(body))
	}
}

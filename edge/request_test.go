package edge

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

func TestMethods(t *testing.T) { overBoth(t, testMethods) }

func testMethods(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	data := []byte("hello")
	w.o.Publish("www", "/file", 1, data)
	for _, m := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"} {
		a := w.ask(m, "/file")
		if a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD" || a.reason() != "method" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", m, a.StatusCode, a.Header)
		}
	}
	if a := w.ask("POST", "/file", "Content-Length: 5", "", "hello"); a.StatusCode != 405 {
		t.Errorf("POST with a body: %d", a.StatusCode)
	}
	if n := w.o.Reads(object.HeadKey("www", "/file")); n != 0 {
		t.Errorf("%d origin reads", n)
	}
	head, get := w.ask("HEAD", "/file"), w.ask("GET", "/file")
	if head.StatusCode != 200 || len(head.body) != 0 || !bytes.Equal(get.body, data) {
		t.Errorf("HEAD %d with %d bytes, GET with %q", head.StatusCode, len(head.body), get.body)
	}
	for _, f := range []string{"Etag", "Last-Modified", "Content-Length", "Content-Type", "Cache-Control", "Accept-Ranges", "Repr-Digest", "X-Content-Type-Options"} {
		if head.Header.Get(f) == "" || head.Header.Get(f) != get.Header.Get(f) {
			t.Errorf("%s: HEAD %q, GET %q", f, head.Header.Get(f), get.Header.Get(f))
		}
	}
}

// HEAD asks for no bytes of the blob, so it must not claim to have caused a read of them, nor have caused one.
func TestHeadSaysWhatItDid(t *testing.T) { overBoth(t, testHeadSaysWhatItDid) }

func testHeadSaysWhatItDid(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	p := w.o.Publish("www", "/file", 1, []byte("hello"))
	for _, want := range []string{"fra; fwd=uri-miss; detail=not-held", "fra; hit; ttl=29; detail=not-held"} {
		if got := cacheStatus(w.ask("HEAD", "/file")); got != want {
			t.Errorf("HEAD: %q, want %q", got, want)
		}
	}
	// So do 304 and the other answers without the bytes.
	if got := cacheStatus(w.ask("GET", "/file", "If-None-Match: "+p.Hash.ETag())); got != "fra; hit; ttl=29; detail=not-held" {
		t.Errorf("304: %q", got)
	}
	if n := w.o.Reads(p.Blob); n != 0 {
		t.Errorf("%d reads of the blob", n)
	}
	w.mustGet("/file", []byte("hello"))
	for _, a := range []*answer{w.ask("HEAD", "/file"), w.ask("GET", "/file", "If-None-Match: *"), w.ask("GET", "/file")} {
		if got := cacheStatus(a); got != "fra; hit; ttl=29; detail=ram" {
			t.Errorf("%d: %q", a.StatusCode, got)
		}
	}
}

// cacheStatus returns Cache-Status with a lease of just below 30 s written as 29.
func cacheStatus(a *answer) string {
	return strings.Replace(a.Header.Get("Cache-Status"), "ttl=30", "ttl=29", 1)
}

func TestHosts(t *testing.T) { overBoth(t, testHosts) }

func testHosts(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	data := []byte("hello")
	w.o.Publish("www", "/file", 1, data)
	a := w.ask("GET", "/file", "Host: nobody.example")
	if a.StatusCode != 503 || a.reason() != "sites-unknown" || a.Header.Get("Retry-After") == "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("before the sites were read: %d %v", a.StatusCode, a.Header)
	}
	w.known()
	for host, want := range map[string]string{
		"www.example": "200 ram", "www.example:8100": "200 ram", "WWW.Example": "200 ram", "www.example.": "200 ram", "www.example.:80": "200 ram",
		"nobody.example": "404 unknown-site", "127.0.0.1": "404 unknown-site", "[::1]:80": "404 unknown-site",
		"www_example": "400 bad-request", "-x.example": "400 bad-request", "www..example": "400 bad-request", ":80": "400 bad-request",
		"[::1": "400 bad-request", "a b": "400 ", "www.example/x": "400 ", "": "400 bad-request",
		strings.Repeat("a", 64) + ".example": "400 bad-request", strings.Repeat("a.", 127) + "a": "400 bad-request", "xn--mnchen-3ya.example": "404 unknown-site",
		"wwẃ.example": "400 ",
	} {
		w.mustGet("/file", data)
		a := w.ask("GET", "/file", "Host: "+host)
		got := strings.TrimSpace(a.Status[:3]) + " " + a.reason()
		if got != want && !(want == "400 " && strings.HasPrefix(got, "400 ")) {
			t.Errorf("Host %q: %s, want %s", host, got, want)
		}
		if a.StatusCode != 200 && a.Header.Get("ETag") != "" {
			t.Errorf("Host %q: ETag of nothing", host)
		}
	}
	// The absolute form has the host in the target, and no other one in Host (RFC 9112 §3.2.2).
	for host, want := range map[string]int{"www.example": 200, "nobody.example": 400} {
		if a := w.ask("GET", "http://www.example/file", "Host: "+host); a.StatusCode != want {
			t.Errorf("absolute form beside Host %s: %d", host, a.StatusCode)
		}
	}
}

func TestPaths(t *testing.T) { overBoth(t, testPaths) }

func testPaths(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	files := map[object.Path]string{
		"/file": "file", "/index.html": "index", "/dir/index.html": "dir index", "/dir/file.txt": "dir file",
		"/文件/读我.txt": "chinese", "/with space.txt": "space", "/100%": "percent", "/a+b&c=d;e": "marks", "/quo\"te": "quote", "/ü": "umlaut",
		"/" + object.Path(strings.Repeat("d/", 127)) + "deep": "deep",
	}
	for p, data := range files {
		w.o.Publish("www", p, 1, []byte(data))
	}
	long := "/" + strings.Repeat("x", 255)
	w.o.Publish("www", object.Path(long), 1, []byte("long"))
	for target, want := range map[string]string{
		"/file": "file", "/": "index", "/dir/": "dir index", "/dir/file.txt": "dir file", "/file?query=1": "file", "/%66ile": "file", "/?x": "index",
		"/%E6%96%87%E4%BB%B6/%E8%AF%BB%E6%88%91.txt": "chinese", "/文件/读我.txt": "chinese", "/with%20space.txt": "space", "/100%25": "percent",
		"/a+b&c=d;e": "marks", "/a%2Bb%26c%3Dd%3Be": "marks", "/quo%22te": "quote", "/quo\"te": "quote", "/%C3%BC": "umlaut",
		"/" + strings.Repeat("d/", 127) + "deep": "deep", long: "long",
		"/dir": "404", "/File": "404", "/file2": "404", "/u%CC%88": "404", "/file#fragment": "404",
		"/dir//file.txt": "400", "//dir/file.txt": "400", "/../file": "400", "/dir/../file": "400", "/./file": "400", "/dir/..": "400", "/%2e%2e/file": "400",
		"/dir%2Ffile.txt": "400", "/dir%2ffile.txt": "400", "/dir%5Cfile.txt": "400", "/dir\\file.txt": "400", "/file%00": "400", "/%0a": "400", "/%7f": "400",
		"/%ff": "400", "/%c3": "400", "/%zz": "400", "/%4": "400", "/%": "400", "/dir/%2e/x": "400",
		// A character that has to be escaped used to make a %2F pass for a '/'.
		"/文件%2F读我.txt": "400", "/dir%2Ffi\"le": "400", "/dir%2Ffile.txt\"": "400", "/dir%2Ffile|.txt": "400",
		"/" + strings.Repeat("x", 256): "400", "/" + strings.Repeat("x", 5000): "400", "/" + strings.Repeat("%41", 5000): "400",
		"/" + strings.Repeat("y/", 127) + "z": "404", "/" + strings.Repeat("y/", 1024) + "z": "400",
		"/_perigee": "400", "/_perigee/": "400", "/_perigee/x": "400", "/_perigee/v": "400", "/%5Fperigee/x": "400", "/_perigee2": "404",
		"*": "400", "http://www.example": "index", "http://www.example/dir/": "dir index",
	} {
		a := w.ask("GET", target)
		got := string(a.body)
		if a.StatusCode != 200 {
			got = a.Status[:3]
		}
		if got != want {
			t.Errorf("GET %.60s: %.60q, want %q", target, got, want)
		}
		if want == "400" && (a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Cache-Status") != "fra; detail=bad-request") && a.Header.Get("Server") != "" {
			t.Errorf("GET %.60s: %v", target, a.Header)
		}
	}
}

func TestImmutableURLs(t *testing.T) { overBoth(t, testImmutableURLs) }

func testImmutableURLs(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	old, young := w.o.Publish("www", "/dir/file", 1, []byte("old")), w.o.Publish("www", "/dir/file", 2, []byte("young"))
	url := func(v object.Version, path string) string { return "/_perigee/v/" + string(v) + path }
	for target, want := range map[string]string{
		url(old.Version, "/dir/file"): "old", url(young.Version, "/dir/file"): "young", url(old.Version, "/%64ir/file"): "old",
		url(cachetest.Version(3), "/dir/file"): "404", url(old.Version, "/other"): "404", url(old.Version, ""): "404", url(old.Version, "/"): "404",
		url("nonsense", "/dir/file"): "404", url("", "/dir/file"): "404", url(old.Version, "/dir/"): "404", url(old.Version, "/../x"): "404",
		url(old.Version, "/_perigee/v/x"): "404", url(old.Version, "/dir%2Ffile"): "404", "/_perigee/v/" + strings.Repeat("0", 5000): "404",
	} {
		a := w.ask("GET", target)
		got := string(a.body)
		if a.StatusCode != 200 {
			got = a.Status[:3]
			if a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %v", target, a.Header)
			}
		} else if a.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: %v", target, a.Header)
		}
		if got != want {
			t.Errorf("GET %.80s: %.80q, want %q", target, got, want)
		}
	}
	// What is no version was not remembered, so it is no hit.
	if got := w.ask("GET", url("nonsense", "/x")).Header.Get("Cache-Status"); got != "fra; detail=absent" {
		t.Errorf("%q", got)
	}
	w.o.Delete(object.VersionKey("www", "/dir/file", old.Version))
	w.apply(purge.Entry{Kind: purge.KindErase, Path: "/dir/file", Versions: []object.Version{old.Version}})
	if a := w.ask("GET", url(old.Version, "/dir/file")); a.StatusCode != 410 || a.reason() != "deleted" {
		t.Errorf("a version that was removed: %d %v %s", a.StatusCode, a.Header, a.body)
	}
	gone := cachetest.Tombstone("www", "/erased", 1)
	w.o.PutPointer(gone)
	a := w.ask("GET", url(gone.Version, "/erased"))
	if a.StatusCode != 410 || a.reason() != "deleted" || a.Header.Get("Cache-Control") != "no-store" || !strings.Contains(string(a.body), "has been removed") {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
}

// TestSomeTypesAllowed: a site that lists types has those without a sandbox, and a change of the list counts at once, also for what memory holds.
func TestSomeTypesAllowed(t *testing.T) { overBoth(t, testSomeTypesAllowed) }

func testSomeTypesAllowed(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	for i, ct := range []string{"text/html; charset=utf-8", "image/svg+xml", "application/pdf"} {
		p := cachetest.Pointer("www", []object.Path{"/html", "/svg", "/pdf"}[i], i+1, []byte("<script>"))
		p.ContentType = ct
		w.o.PutBlob([]byte("<script>"))
		w.apply(pointerEntry(p))
	}
	for _, list := range [][]string{nil, {"image/svg+xml"}, {"text/html", "application/pdf"}, nil} {
		w.rules(object.SiteRules{AllowActive: object.Active{Types: list}})
		for path, ct := range map[string]string{"/html": "text/html", "/svg": "image/svg+xml", "/pdf": "application/pdf"} {
			for range 3 {
				got := w.ask("GET", path).Header.Get("Content-Security-Policy") == ""
				if got != slices.Contains(list, ct) {
					t.Errorf("%v: %s without a sandbox: %v", list, ct, got)
				}
				// What a browser stored with another policy must not keep it.
				now := w.ask("GET", path, "If-None-Match: *").Header.Values("Content-Security-Policy")
				if want := slices.Contains(list, ct); len(now) != 1 || (now[0] == "") != want {
					t.Errorf("%v: %s: a 304 has the policy %q", list, ct, now)
				}
			}
		}
	}
}

func TestSandbox(t *testing.T) { overBoth(t, testSandbox) }

func testSandbox(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	types := map[string]bool{
		"text/html; charset=utf-8": true, "text/html": true, "TEXT/HTML": true, "application/xhtml+xml": true, "image/svg+xml": true, "text/xml": true,
		"application/xml": true, "application/pdf": true, "text/xsl": true, "multipart/x-mixed-replace; boundary=x": true, "": true, "nonsense": true,
		"text/html, text/plain": true, "text/plain; charset": true,
		"text/plain; charset=utf-8": false, "image/png": false, "text/css": false, "application/octet-stream": false, "video/mp4": false,
		"application/javascript": true, "text/javascript; charset=utf-8": true, "message/rfc822": true,
	}
	for _, allowed := range []bool{false, true} {
		// A rule of the site may add a policy of its own, and takes neither ours away nor nosniff.
		w.rules(object.SiteRules{AllowActive: object.Active{All: allowed}, Paths: []object.Rule{{Path: "*", ResponseHeaders: &object.HeaderRule{
			Remove: []string{"Content-Security-Policy", "X-Content-Type-Options"}, Set: map[string]string{"Content-Security-Policy": "default-src 'self'"},
		}}}})
		for ct, active := range types {
			p := cachetest.Pointer("www", "/file", int(w.seq)+1, []byte("<script>"))
			p.ContentType = ct
			w.o.PutBlob([]byte("<script>"))
			w.apply(pointerEntry(p))
			for _, a := range []*answer{w.ask("GET", "/file"), w.ask("HEAD", "/file"), w.ask("GET", "/file", "If-None-Match: *"), w.ask("GET", "/file", "Range: bytes=0-1")} {
				if got := strings.Contains(strings.Join(a.Header.Values("Content-Security-Policy"), "\n"), "sandbox"); got != (active && !allowed) {
					t.Errorf("%q, allowed=%v, %d: sandbox %v", ct, allowed, a.StatusCode, got)
				}
				if !slices.Contains(a.Header.Values("Content-Security-Policy"), "default-src 'self'") {
					t.Errorf("%q: the site's own policy is gone: %v", ct, a.Header)
				}
				if got := a.Header.Values("X-Content-Type-Options"); len(got) != 1 || got[0] != "nosniff" {
					t.Errorf("%q: may be sniffed", ct)
				}
				if want := ct; a.StatusCode != 304 {
					if want == "" {
						want = "application/octet-stream"
					}
					if got := a.Header.Get("Content-Type"); got != want {
						t.Errorf("type %q, want %q", got, want)
					}
				}
			}
		}
	}
}

func TestCacheControlOfSiteAndPointer(t *testing.T) { overBoth(t, testCacheControlOfSiteAndPointer) }

func testCacheControlOfSiteAndPointer(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	p := w.o.Publish("www", "/file", 1, []byte("x"))
	own := cachetest.Pointer("www", "/own", 1, []byte("x"))
	own.CacheControl = "private, max-age=5"
	w.o.PutPointer(own)
	check := func(target, want string) {
		t.Helper()
		for _, f := range []string{"X: y", "If-None-Match: *"} {
			if got := w.ask("GET", target, f).Header.Get("Cache-Control"); got != want {
				t.Errorf("%s, %s: %q, want %q", target, f, got, want)
			}
		}
	}
	check("/file", "public, max-age=0, must-revalidate")
	check("/own", "private, max-age=5")
	w.rules(object.SiteRules{CacheControl: "public, max-age=60"})
	check("/file", "public, max-age=60")
	check("/own", "private, max-age=5")
	check("/_perigee/v/"+string(p.Version)+"/file", "public, max-age=31536000, immutable")
}

// Behind a middleware whose writer knows no deadlines every answer used to break off.
func TestHandlerWithoutDeadlines(t *testing.T) {
	w := newWeb(t, nil)
	w.o.Publish("www", "/file", 1, []byte("hello"))
	rec := httptest.NewRecorder()
	w.s.ServeHTTP(rec, httptest.NewRequest("GET", "http://www.example/file", nil))
	if rec.Code != http.StatusOK || rec.Body.String() != "hello" {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
	rec = httptest.NewRecorder()
	w.s.ServeHTTP(rec, httptest.NewRequest("POST", "http://www.example/file", io.LimitReader(strings.NewReader("x"), 1)))
	if rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("%d", rec.Code)
	}
}

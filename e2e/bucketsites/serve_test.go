package bucketsites

import (
	"net/http"
	"strings"
	"testing"

	"perigee/origin/origintest"
)

// TestContract is what readers of a bucket site may rely on.
func TestContract(t *testing.T) {
	s := origintest.Start(t)
	contract(t, newWorld(t, s.Config(), s.EdgeConfig(), setup{poll: 3600}))
}

// contract checks the answers of an edge, twice for each: from the bucket, and from the cache.
func contract(t *testing.T, w *world) {
	body := content(1, 3<<20+17)
	big := w.tool.Put(prefix+"film.mp4", body, "Content-Type: video/mp4", "Cache-Control: public, max-age=60")
	small := w.tool.Put(prefix+"a b/ü%41+.txt", []byte("small"), "Content-Type: text/plain", "Content-Encoding: br")
	index := w.tool.Put(prefix+"docs/index.html", []byte("<p>index"), "Content-Type: text/html")
	w.tool.Put(prefix+"empty", nil)
	w.tool.Put("elsewhere/x", []byte("not of the site"))
	modified := w.get(0, "/film.mp4").Header.Get("Last-Modified")
	for _, c := range []struct {
		name, method, target string
		fields               []string
		status               int
		body                 string
		want                 []string // "Name: value"; "Name:" must be absent
	}{
		{"whole", "GET", "/film.mp4", nil, 200, string(body), []string{"ETag: \"" + big + "\"", "Content-Type: video/mp4", "Cache-Control: public, max-age=60",
			"Content-Length: 3145745", "Accept-Ranges: bytes", "Repr-Digest:", "Content-Encoding:", "X-Content-Type-Options: nosniff"}},
		{"head", "HEAD", "/film.mp4", nil, 200, "", []string{"ETag: \"" + big + "\"", "Content-Length: 3145745"}},
		{"query", "GET", "/film.mp4?x=1", nil, 200, string(body), nil},
		{"range", "GET", "/film.mp4", []string{"Range: bytes=1048570-1048585"}, 206, string(body[1048570:1048586]), []string{"Content-Range: bytes 1048570-1048585/3145745"}},
		{"suffix", "GET", "/film.mp4", []string{"Range: bytes=-5"}, 206, string(body[len(body)-5:]), nil},
		{"beyond", "GET", "/film.mp4", []string{"Range: bytes=3145745-"}, 416, "", []string{"Content-Range: bytes */3145745"}},
		{"not modified", "GET", "/film.mp4", []string{"If-None-Match: \"" + big + "\""}, 304, "", []string{"ETag: \"" + big + "\"", "Cache-Control: public, max-age=60"}},
		{"not modified since", "GET", "/film.mp4", []string{"If-Modified-Since: " + modified}, 304, "", nil},
		{"modified", "GET", "/film.mp4", []string{`If-None-Match: "other"`}, 200, string(body), nil},
		{"matches", "GET", "/film.mp4", []string{"If-Match: \"" + big + "\"", "Range: bytes=0-0"}, 206, string(body[:1]), nil},
		{"matches no more", "GET", "/film.mp4", []string{`If-Match: "other"`}, 412, "", nil},
		{"range of the same", "GET", "/film.mp4", []string{"If-Range: \"" + big + "\"", "Range: bytes=0-1"}, 206, string(body[:2]), nil},
		{"range of another", "GET", "/film.mp4", []string{`If-Range: "other"`, "Range: bytes=0-1"}, 200, string(body), nil},
		{"range by a date", "GET", "/film.mp4", []string{"If-Range: " + modified, "Range: bytes=0-1"}, 200, string(body), nil},
		{"escaped", "GET", "/a%20b/%C3%BC%2541+.txt", nil, 200, "small", []string{"ETag: \"" + small + "\"", "Content-Encoding: br", "Content-Type: text/plain",
			"Cache-Control: public, max-age=0, must-revalidate"}},
		{"index", "GET", "/docs/", nil, 200, "<p>index", []string{"ETag: \"" + index + "\"", "Content-Type: text/html"}},
		{"empty", "GET", "/empty", nil, 200, "", []string{"Content-Length: 0"}},
		{"absent", "GET", "/nothing", nil, 404, "", nil},
		{"below a file", "GET", "/empty/x", nil, 404, "", nil},
		{"a directory", "GET", "/docs", nil, 404, "", nil},
		{"outside", "GET", "/..%2Felsewhere/x", nil, 400, "", nil},
		{"a version", "GET", "/_perigee/v/001j0sftorgu8000/film.mp4", nil, 404, "", nil},
		{"too long a key", "GET", "/" + strings.Repeat("abcdefghi/", 110) + "x", nil, 404, "", nil},
		{"written to", "PUT", "/film.mp4", nil, 405, "", nil},
	} {
		for _, again := range []string{"", ", again"} {
			a := w.ask(0, c.method, c.target, c.fields...)
			if a.StatusCode != c.status || a.err != nil || c.body != "" && string(a.body) != c.body {
				t.Errorf("%s%s: %d with %d bytes (%v), %s", c.name, again, a.StatusCode, len(a.body), a.err, a.Header.Get("Cache-Status"))
			}
			for _, f := range c.want {
				name, value, _ := strings.Cut(f, ":")
				if got := a.Header.Get(name); got != strings.TrimSpace(value) {
					t.Errorf("%s%s: %s is %q, want %q", c.name, again, name, got, value)
				}
			}
			if a.Header.Get("Cache-Status") == "" {
				t.Errorf("%s%s: no Cache-Status", c.name, again)
			}
		}
	}
	for target, want := range map[string]string{"/film.mp4": "hit", "/docs/": "hit", "/nothing": "hit"} {
		if s := w.get(0, target).Header.Get("Cache-Status"); !strings.Contains(s, want) {
			t.Errorf("%s: Cache-Status %q, want %s", target, s, want)
		}
	}
}

// TestOneRequestForMany: readers of one object at the same time cost its store one look and one read of each chunk.
func TestOneRequestForMany(t *testing.T) {
	s := origintest.Start(t)
	w := newWorld(t, s.Config(), s.EdgeConfig(), setup{poll: 3600})
	body := content(2, 2<<20)
	w.tool.Put(prefix+"x", body)
	done := make(chan *answer)
	for range 20 {
		go func() { done <- w.get(0, "/x") }()
	}
	missed := 0
	for range 20 {
		a := <-done
		if a.StatusCode != http.StatusOK || string(a.body) != string(body) {
			t.Errorf("%d with %d bytes", a.StatusCode, len(a.body))
		}
		if s := a.Header.Get("Cache-Status"); strings.Contains(s, "fwd=") && !strings.Contains(s, "collapsed") {
			missed++
		}
	}
	if missed > 2 { // one found the name, and perhaps another one the bytes
		t.Errorf("%d of 20 went to the bucket by themselves", missed)
	}
}

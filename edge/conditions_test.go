package edge

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

func pointerEntry(p *object.Pointer) purge.Entry {
	return purge.Entry{Kind: purge.KindPointer, Pointer: p}
}

func TestConditionsAndRanges(t *testing.T) { overBoth(t, testConditionsAndRanges) }

func testConditionsAndRanges(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	data := cachetest.Bytes(2*mib+100, 1)
	p := w.o.Publish("www", "/file", 1, data)
	size := len(data)
	etag, date := p.Hash.ETag(), p.Modified.UTC().Format(http.TimeFormat)
	before, after := p.Modified.Add(-time.Second).UTC().Format(http.TimeFormat), p.Modified.Add(time.Second).UTC().Format(http.TimeFormat)
	rfc850 := p.Modified.UTC().Format("Monday, 02-Jan-06 15:04:05 GMT")
	all := fmt.Sprintf("bytes 0-%d/%d", size-1, size)
	for _, c := range []struct {
		name   string
		fields []string
		status int
		span   string // Content-Range
	}{
		{"plain", nil, 200, ""},
		{"inm", []string{"If-None-Match: " + etag}, 304, ""},
		{"inm weak", []string{"If-None-Match: W/" + etag}, 304, ""},
		{"inm list", []string{`If-None-Match: "a", W/"b",` + etag + `, "c"`}, 304, ""},
		{"inm lines", []string{`If-None-Match: "a"`, "If-None-Match: " + etag}, 304, ""},
		{"inm any", []string{"If-None-Match: *"}, 304, ""},
		{"inm other", []string{`If-None-Match: "a"`}, 200, ""},
		{"inm unquoted", []string{"If-None-Match: " + strings.Trim(etag, `"`)}, 200, ""},
		{"inm wins over ims", []string{`If-None-Match: "a"`, "If-Modified-Since: " + after}, 200, ""},
		{"ims same", []string{"If-Modified-Since: " + date}, 304, ""},
		{"ims later", []string{"If-Modified-Since: " + after}, 304, ""},
		{"ims earlier", []string{"If-Modified-Since: " + before}, 200, ""},
		{"ims old format", []string{"If-Modified-Since: " + rfc850}, 304, ""},
		{"ims nonsense", []string{"If-Modified-Since: yesterday"}, 200, ""},
		{"im", []string{"If-Match: " + etag}, 200, ""},
		{"im any", []string{"If-Match: *"}, 200, ""},
		{"im weak", []string{"If-Match: W/" + etag}, 412, ""},
		{"im other", []string{`If-Match: "a"`}, 412, ""},
		{"im second line", []string{`If-Match: "a"`, "If-Match: " + etag}, 200, ""},
		{"im before inm", []string{`If-Match: "a"`, "If-None-Match: " + etag}, 412, ""},
		{"im then inm", []string{"If-Match: " + etag, "If-None-Match: " + etag}, 304, ""},
		{"ius same", []string{"If-Unmodified-Since: " + date}, 200, ""},
		{"ius earlier", []string{"If-Unmodified-Since: " + before}, 412, ""},
		{"ius nonsense", []string{"If-Unmodified-Since: tomorrow"}, 200, ""},
		{"im wins over ius", []string{"If-Match: " + etag, "If-Unmodified-Since: " + before}, 200, ""},
		{"range", []string{"Range: bytes=0-9"}, 206, fmt.Sprintf("bytes 0-9/%d", size)},
		{"range one", []string{"Range: bytes=5-5"}, 206, fmt.Sprintf("bytes 5-5/%d", size)},
		{"range over a border", []string{fmt.Sprintf("Range: bytes=%d-%d", mib-3, mib+3)}, 206, fmt.Sprintf("bytes %d-%d/%d", mib-3, mib+3, size)},
		{"range open", []string{fmt.Sprintf("Range: bytes=%d-", size-7)}, 206, fmt.Sprintf("bytes %d-%d/%d", size-7, size-1, size)},
		{"range suffix", []string{"Range: bytes=-7"}, 206, fmt.Sprintf("bytes %d-%d/%d", size-7, size-1, size)},
		{"range suffix too long", []string{"Range: bytes=-99999999"}, 206, all},
		{"range end too far", []string{"Range: bytes=0-99999999"}, 206, all},
		{"range huge", []string{"Range: bytes=0-99999999999999999999999"}, 206, all},
		{"range beyond", []string{fmt.Sprintf("Range: bytes=%d-", size)}, 416, fmt.Sprintf("bytes */%d", size)},
		{"range far beyond", []string{"Range: bytes=99999999999999999999999-"}, 416, fmt.Sprintf("bytes */%d", size)},
		{"range of nothing", []string{"Range: bytes=-0"}, 416, fmt.Sprintf("bytes */%d", size)},
		{"ranges", []string{"Range: bytes=0-1,5-6"}, 200, ""},
		{"range lines", []string{"Range: bytes=0-1", "Range: bytes=5-6"}, 200, ""},
		{"range backwards", []string{"Range: bytes=6-5"}, 200, ""},
		{"range other unit", []string{"Range: chunks=0-1"}, 200, ""},
		{"range malformed", []string{"Range: bytes=a-b"}, 200, ""},
		{"range negative", []string{"Range: bytes=--5"}, 200, ""},
		{"if-range etag", []string{"Range: bytes=0-9", "If-Range: " + etag}, 206, fmt.Sprintf("bytes 0-9/%d", size)},
		{"if-range weak", []string{"Range: bytes=0-9", "If-Range: W/" + etag}, 200, ""},
		{"if-range other", []string{"Range: bytes=0-9", `If-Range: "a"`}, 200, ""},
		{"if-range date", []string{"Range: bytes=0-9", "If-Range: " + date}, 206, fmt.Sprintf("bytes 0-9/%d", size)},
		{"if-range later", []string{"Range: bytes=0-9", "If-Range: " + after}, 200, ""},
		{"if-range nonsense", []string{"Range: bytes=0-9", "If-Range: x"}, 200, ""},
		{"if-range saves from 416", []string{"Range: bytes=99999999-", `If-Range: "a"`}, 200, ""},
		{"304 before range", []string{"Range: bytes=99999999-", "If-None-Match: *"}, 304, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, method := range []string{"GET", "HEAD"} {
				status, span := c.status, c.span
				if method == "HEAD" && (status == 206 || status == 416) { // Range is defined for GET (RFC 9110 §14.2)
					status, span = 200, ""
				}
				a := w.ask(method, "/file", c.fields...)
				if a.StatusCode != status || a.Header.Get("Content-Range") != span {
					t.Fatalf("%s: %d %q, want %d %q", method, a.StatusCode, a.Header.Get("Content-Range"), status, span)
				}
				checkBody(t, method, a, data)
				if a.Header.Get("ETag") != etag || a.Header.Get("Last-Modified") != date || a.Header.Get("Cache-Status") == "" || a.Header.Get("Accept-Ranges") != "bytes" {
					t.Errorf("%s: %v", method, a.Header)
				}
				// A cache on the way must not give 412 or 416 to others.
				if want := map[bool]string{true: "no-store", false: defaultCacheControl}[status == 412 || status == 416]; a.Header.Get("Cache-Control") != want {
					t.Errorf("%s: Cache-Control %q, want %q", method, a.Header.Get("Cache-Control"), want)
				}
			}
		})
	}
}

// checkBody compares the body with what the head promises.
func checkBody(t *testing.T, method string, a *answer, data []byte) {
	t.Helper()
	want := data
	switch a.StatusCode {
	case 206:
		var from, to, size int
		if _, err := fmt.Sscanf(a.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err != nil || size != len(data) {
			t.Fatalf("Content-Range %q", a.Header.Get("Content-Range"))
		}
		want = data[from : to+1]
	case 304, 412, 416:
		want = nil
	}
	if a.StatusCode == 304 && a.Header.Get("Content-Length") != "" {
		t.Errorf("304 with Content-Length %s", a.Header.Get("Content-Length"))
	}
	if method == "GET" && a.StatusCode != 304 && a.Header.Get("Content-Length") != fmt.Sprint(len(want)) {
		t.Errorf("%s %d: Content-Length %s, want %d", method, a.StatusCode, a.Header.Get("Content-Length"), len(want))
	}
	if method == "HEAD" {
		want = nil
	}
	if !bytes.Equal(a.body, want) {
		t.Errorf("%s %d: %d wrong bytes", method, a.StatusCode, len(a.body))
	}
}

func TestRangesOfSmallFiles(t *testing.T) { overBoth(t, testRangesOfSmallFiles) }

func testRangesOfSmallFiles(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	w.o.Publish("www", "/empty", 1, nil)
	w.o.Publish("www", "/one", 1, []byte("x"))
	for _, c := range []struct {
		target, rng string
		status      int
		body        string
	}{
		{"/empty", "", 200, ""}, {"/empty", "bytes=0-", 416, ""}, {"/empty", "bytes=0-0", 416, ""}, {"/empty", "bytes=-1", 416, ""},
		{"/one", "", 200, "x"}, {"/one", "bytes=0-", 206, "x"}, {"/one", "bytes=-1", 206, "x"}, {"/one", "bytes=1-", 416, ""},
	} {
		a := w.ask("GET", c.target, "Range: "+c.rng)
		if a.StatusCode != c.status || string(a.body) != c.body {
			t.Errorf("%s %s: %d %q", c.target, c.rng, a.StatusCode, a.body)
		}
		if a := w.ask("HEAD", c.target); a.StatusCode != 200 {
			t.Errorf("HEAD %s: %d", c.target, a.StatusCode)
		}
	}
}

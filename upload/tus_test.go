package upload

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"perigee/clock"
	"perigee/object"
)

// tus sends a request of the protocol; headers are pairs.
func (b *bench) tus(method, path string, body []byte, headers ...string) answer {
	b.t.Helper()
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	return b.call(method, path, r, append([]string{"Tus-Resumable", "1.0.0"}, headers...)...)
}

func metadata(pairs ...string) string {
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, pairs[i]+" "+base64.StdEncoding.EncodeToString([]byte(pairs[i+1])))
	}
	return strings.Join(out, ",")
}

// create makes an upload and returns its URL.
func (b *bench) create(path string, length int, headers ...string) string {
	b.t.Helper()
	a := b.tus("POST", "/api/v1/uploads/", nil, append([]string{
		"Upload-Length", strconv.Itoa(length), "Upload-Metadata", metadata("site", "www", "path", path),
	}, headers...)...)
	b.want(a, 201)
	return a.header.Get("Location")
}

// patch sends bytes at an offset.
func (b *bench) patch(url string, offset int, body []byte, headers ...string) answer {
	b.t.Helper()
	return b.tus("PATCH", url, body, append([]string{"Content-Type", chunkType, "Upload-Offset", strconv.Itoa(offset)}, headers...)...)
}

// offset asks how far an upload is.
func (b *bench) offset(url string) int {
	b.t.Helper()
	n, err := strconv.Atoi(b.want(b.tus("HEAD", url, nil), 200).header.Get("Upload-Offset"))
	b.must(err)
	return n
}

func (b *bench) published(path object.Path, want []byte) {
	b.t.Helper()
	if got, ok := b.content("www", path); !ok || got != string(want) {
		b.t.Errorf("%s: %d bytes published (%v), want %d", path, len(got), ok, len(want))
	}
}

func TestTusSizes(t *testing.T) {
	b := newBench(t, Config{})
	for i, size := range []int{0, 1, 1000, smallBody - 1, smallBody, smallBody + 1, 2 * smallBody} {
		for _, chunk := range []int{1 << 62, 3<<20 + 1} {
			body := noiseBytes(byte(i), size)
			path := fmt.Sprintf("/f-%d-%d", size, chunk)
			url := b.create(path, size)
			var last answer
			for at := 0; at < size; {
				n := min(chunk, size-at)
				last = b.want(b.patch(url, at, body[at:at+n]), 204)
				at += n
				if got := last.header.Get("Upload-Offset"); got != strconv.Itoa(at) {
					t.Fatalf("%s: offset %s, want %d", path, got, at)
				}
			}
			if size > 0 && (last.header.Get("Perigee-URL") != "http://www.test:8100"+path || last.header.Get("Perigee-SHA256") != sum(body) || last.header.Get("Perigee-Version") == "") {
				t.Errorf("%s: header %v", path, last.header)
			}
			b.published(object.Path(path), body)
			// A client that lost the last answer asks again.
			h := b.want(b.tus("HEAD", url, nil), 200).header
			if h.Get("Upload-Offset") != strconv.Itoa(size) || h.Get("Upload-Length") != strconv.Itoa(size) || h.Get("Perigee-URL") != "http://www.test:8100"+path {
				t.Errorf("%s: HEAD %v", path, h)
			}
			b.want(b.patch(url, size, []byte{}), 204)
		}
	}
	b.consistent()
}

func TestTusProtocol(t *testing.T) {
	b := newBench(t, Config{MaxSize: 1 << 30, DefaultSite: "www"})
	o := b.want(b.call("OPTIONS", "/api/v1/uploads/", nil), 204).header
	if o.Get("Tus-Version") != "1.0.0" || o.Get("Tus-Resumable") != "1.0.0" || o.Get("Tus-Extension") != tusExtensions || o.Get("Tus-Max-Size") != "1073741824" {
		t.Errorf("OPTIONS %v", o)
	}
	meta := metadata("site", "www", "path", "/a.txt", "tags", "x", "cache_control", "no-store")
	for _, c := range []struct {
		name    string
		status  int
		headers []string
	}{
		{"no length", 400, []string{"Upload-Metadata", meta}},
		{"bad length", 400, []string{"Upload-Length", "-1", "Upload-Metadata", meta}},
		{"too large", 413, []string{"Upload-Length", "1073741825", "Upload-Metadata", meta}},
		{"no path", 400, []string{"Upload-Length", "1"}},
		{"bad path", 400, []string{"Upload-Length", "1", "Upload-Metadata", metadata("path", "/a/../b")}},
		{"missing site", 404, []string{"Upload-Length", "1", "Upload-Metadata", metadata("site", "nope", "path", "/a")}},
		{"if-match", 412, []string{"Upload-Length", "1", "Upload-Metadata", meta, "If-Match", "*"}},
	} {
		b.want(b.tus("POST", "/api/v1/uploads", nil, c.headers...), c.status)
	}
	if a := b.call("POST", "/api/v1/uploads/", nil, "Upload-Length", "1", "Upload-Metadata", meta); a.status != 412 || a.header.Get("Tus-Version") != "1.0.0" {
		t.Errorf("no Tus-Resumable: %d %v", a.status, a.header)
	}
	c := b.want(b.tus("POST", "/api/v1/uploads", []byte("hel"), "Upload-Length", "5", "Upload-Metadata", meta, "Content-Type", chunkType), 201)
	url := c.header.Get("Location")
	if c.header.Get("Upload-Offset") != "3" || c.header.Get("Upload-Expires") == "" {
		t.Errorf("creation with upload: %v", c.header)
	}
	h := b.want(b.tus("HEAD", url, nil), 200).header
	if h.Get("Upload-Metadata") != meta || h.Get("Upload-Length") != "5" || h.Get("Cache-Control") != "no-store" || h.Get("Perigee-URL") != "" {
		t.Errorf("HEAD %v", h)
	}
	b.want(b.patch(url, 2, []byte("x")), 409)
	b.want(b.patch(url, 3, []byte("toolong")), 413)
	b.want(b.tus("PATCH", url, []byte("lo"), "Upload-Offset", "3"), 415)
	b.want(b.tus("PATCH", url, []byte("lo"), "Content-Type", chunkType), 400)
	b.want(b.tus("PATCH", "/api/v1/uploads/"+strings.Repeat("0", 32), []byte("lo"), "Content-Type", chunkType, "Upload-Offset", "3"), 404)
	b.want(b.tus("HEAD", "/api/v1/uploads/nothing", nil), 404)
	b.want(b.tus("POST", url, []byte("lo")), 405)
	b.want(b.tus("POST", url, []byte("lo"), "X-HTTP-Method-Override", "PATCH", "Content-Type", chunkType, "Upload-Offset", "3"), 204)
	b.published("/a.txt", []byte("hello"))
	f, err := b.cat.File(t.Context(), "www", "/a.txt")
	b.must(err)
	if p := f.Pointer; len(p.Tags) != 1 || p.CacheControl != "no-store" || p.ContentType != "text/plain; charset=utf-8" {
		t.Errorf("pointer %+v", p)
	}
	b.want(b.tus("DELETE", url, nil), 204)
	b.published("/a.txt", []byte("hello"))
	gone := b.create("/gone", 20<<20)
	b.want(b.patch(gone, 0, noiseBytes(1, 17<<20)), 204)
	b.want(b.tus("DELETE", gone, nil), 204)
	b.want(b.tus("HEAD", gone, nil), 410)
	b.want(b.tus("POST", "/api/v1/uploads/", []byte("12"), "Upload-Length", "2", "Upload-Metadata", metadata("filename", "n.txt"), "Content-Type", chunkType), 201)
	b.published("/n.txt", []byte("12"))
	// The condition holds until the end: another file came first.
	cond := b.create("/c", 2, "If-None-Match", "*")
	b.want(b.put("/c", "other"), 201)
	b.want(b.patch(cond, 0, []byte("us")), 412)
	b.published("/c", []byte("other"))
	b.want(b.tus("DELETE", cond, nil), 204)
	b.consistent()
}

// begin starts a PATCH by hand and leaves it open after what was sent.
func (b *bench) begin(url string, offset, declared int, body []byte) *net.TCPConn {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.server.Listener.Addr().String())
	b.must(err)
	b.t.Cleanup(func() { conn.Close() }) // or the server would wait for it after a failure
	_, err = fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: %s\r\nUpload-Offset: %d\r\nContent-Length: %d\r\n\r\n", url, chunkType, offset, declared)
	b.must(err)
	if _, err = conn.Write(body); err != nil {
		// What was cut before may have reached the server after it was asked for the offset.
		if a := readAnswer(b.t, conn.(*net.TCPConn), "PATCH"); a.status != http.StatusConflict {
			b.t.Fatalf("%v after %d %s", err, a.status, a.body)
		}
	}
	return conn.(*net.TCPConn)
}

// TestTusCut: a connection that is cut, or that hangs, costs nothing of what had arrived, through restarts as well.
func TestTusCut(t *testing.T) {
	b := newBench(t, Config{})
	for i, how := range []string{"close", "reset", "hang", "restart"} {
		for _, size := range []int{5 << 20, 27<<20 + 3} {
			body := noiseBytes(byte(i), size)
			path := fmt.Sprintf("/%s-%d", how, size)
			url := b.create(path, size)
			at := 0
			for _, upTo := range []int{size / 3, size * 9 / 10} {
				conn := b.begin(url, at, size-at, body[at:upTo])
				switch how {
				case "reset":
					b.must(conn.SetLinger(0))
					conn.Close()
				case "hang":
					defer conn.Close()
				case "restart":
					conn.Close()
					b.restart()
				default:
					conn.Close()
				}
				started := time.Now()
				now := b.offset(url)
				if took := time.Since(started); took > lockPatience {
					t.Errorf("%s: HEAD took %v", path, took)
				}
				if now < at || now > upTo {
					t.Fatalf("%s: offset %d, sent %d to %d", path, now, at, upTo)
				}
				at = now
			}
			a := b.patch(url, at, body[at:])
			for range 2 { // see begin
				if a.status == http.StatusConflict {
					at = b.offset(url)
					a = b.patch(url, at, body[at:])
				}
			}
			b.want(a, 204)
			b.published(object.Path(path), body)
		}
	}
	b.consistent()
}

// TestTusKeepsWhatArrived: when the end of the body is seen, every byte before it is kept.
func TestTusKeepsWhatArrived(t *testing.T) {
	b := newBench(t, Config{Idle: 200 * time.Millisecond})
	body := noiseBytes(3, 30<<20)
	url := b.create("/a", len(body))
	at := 0
	for _, upTo := range []int{1, 9 << 20, 16 << 20, 25<<20 + 1} {
		conn := b.begin(url, at, len(body)-at, body[at:upTo])
		if at != 1 {
			b.must(conn.CloseWrite()) // else it hangs until the server has had enough
		}
		if a := readAnswer(t, conn, "PATCH"); a.status != 400 && a.status != http.StatusRequestTimeout {
			t.Errorf("%d %s", a.status, a.body)
		}
		conn.Close()
		if at = b.offset(url); at != upTo {
			t.Fatalf("offset %d, want %d", at, upTo)
		}
	}
	b.restart()
	b.want(b.patch(url, at, body[at:]), 204)
	b.published("/a", body)
	b.consistent()
}

// TestTusCrashes kills the process between any two steps while a client uploads, resumes and does not give up.
// upload is a client: it creates an upload or goes on with one, and sends the rest in two requests. died says that
// the server did not answer.
// sweepExpired removes uploads that nobody goes on with.
// TestTusBucketFailures: a bucket that fails costs a client at most what was sent since the last state.
// TestTusOldStateNewTail: a crash between writing the tail and the state that counts it.
// TestTusDamagedState: a state that cannot be used is an error, never a wrong file.
// TestStrays: uploads that the catalogue has no note of are removed once they are old, those that it knows are not.
func TestLocks(t *testing.T) {
	l := newLocks()
	id := newUploadID("www", "")
	ended := make(chan struct{})
	release, err := l.take(t.Context(), clock.System, id, func() { close(ended) })
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := l.try(id); ok {
		t.Fatal("two have one lock")
	}
	if r, ok := l.try(newUploadID("www", "")); !ok {
		t.Fatal("another upload is locked too")
	} else {
		r()
	}
	second := make(chan func())
	go func() {
		r, err := l.take(t.Context(), clock.System, id, nil)
		if err != nil {
			t.Errorf("take: %v", err)
		}
		second <- r
	}()
	<-ended // it was asked to end
	select {
	case <-second:
		t.Fatal("two have one lock")
	case <-time.After(20 * time.Millisecond):
	}
	release()
	(<-second)()
	if len(l.held) != 0 {
		t.Errorf("%d locks are left", len(l.held))
	}
}

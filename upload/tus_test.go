package upload

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/origin"
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
		{"defer length", 400, []string{"Upload-Defer-Length", "1", "Upload-Metadata", meta}},
		{"concat", 400, []string{"Upload-Concat", "partial", "Upload-Length", "1", "Upload-Metadata", meta}},
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
	b.want(b.tus("DELETE", url, nil), 409)
	gone := b.create("/gone", 20<<20)
	b.want(b.patch(gone, 0, noiseBytes(1, 17<<20)), 204)
	b.want(b.tus("DELETE", gone, nil), 204)
	b.want(b.tus("HEAD", gone, nil), 404)
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
	_, err = fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: %s\r\nUpload-Offset: %d\r\nContent-Length: %d\r\n\r\n", url, chunkType, offset, declared)
	b.must(err)
	_, err = conn.Write(body)
	b.must(err)
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
			b.want(b.patch(url, at, body[at:]), 204)
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
func TestTusCrashes(t *testing.T) {
	b := newBench(t, Config{})
	for _, c := range []struct {
		size  int
		steps []step // that the upload passes
	}{
		{3 << 20, append([]step{afterNote}, steps[5:]...)},
		{10 << 20, steps[1:]},
	} {
		size, body := c.size, noiseBytes(9, c.size)
		for _, at := range steps {
			for _, sweepFirst := range []bool{true, false} {
				path := fmt.Sprintf("/%d-%s-%v", size, strings.ReplaceAll(string(at), " ", "-"), sweepFirst)
				b.server.Config.ErrorLog = log.New(io.Discard, "", 0)
				b.pub.crash = func(s step) {
					if s == at {
						panic(errCrash)
					}
				}
				url, died := b.upload(path, "", body)
				if died != slices.Contains(c.steps, at) {
					t.Fatalf("%s: died: %v", path, died)
				}
				if died {
					b.restart()
					if sweepFirst {
						b.must(b.pub.Sweep(t.Context()))
					}
					if url, died = b.upload(path, url, body); died {
						t.Fatalf("%s: died again", path)
					}
				}
				b.pub.crash = nil
				b.published(object.Path(path), body)
				if vs, err := b.cat.Versions(t.Context(), "www", object.Path(path), "", 0); err != nil || len(vs) != 1 {
					t.Errorf("%s: published %d times, %v", path, len(vs), err)
				}
				if h := b.want(b.tus("HEAD", url, nil), 200).header; h.Get("Perigee-Version") == "" {
					t.Errorf("%s: HEAD %v", path, h)
				}
			}
		}
	}
	b.sweepExpired()
	b.consistent()
}

// upload is a client: it creates an upload or goes on with one, and sends the rest in two requests. died says that
// the server did not answer.
func (b *bench) upload(path, url string, body []byte) (at string, died bool) {
	b.t.Helper()
	send := func(method, to string, part []byte, headers ...string) *http.Response {
		req, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+to, bytes.NewReader(part))
		b.must(err)
		req.Header.Set("Tus-Resumable", "1.0.0")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil
		}
		res.Body.Close()
		return res
	}
	offset := 0
	if url != "" {
		res := send("HEAD", url, nil)
		if res == nil {
			return url, true
		}
		if res.StatusCode == 200 {
			offset, _ = strconv.Atoi(res.Header.Get("Upload-Offset"))
		} else {
			url = ""
		}
	}
	if url == "" {
		res := send("POST", "/api/v1/uploads/", nil, "Upload-Length", strconv.Itoa(len(body)), "Upload-Metadata", metadata("site", "www", "path", path))
		if res == nil {
			return "", true
		}
		url = res.Header.Get("Location")
	}
	for offset < len(body) {
		n := min(len(body)-offset, len(body)*2/3)
		res := send("PATCH", url, body[offset:offset+n], "Content-Type", chunkType, "Upload-Offset", strconv.Itoa(offset))
		if res == nil {
			return url, true
		}
		if res.StatusCode != 204 {
			b.t.Fatalf("%s: PATCH at %d: %s", path, offset, res.Status)
		}
		offset += n
	}
	return url, false
}

// sweepExpired removes uploads that nobody goes on with.
func (b *bench) sweepExpired() {
	b.t.Helper()
	b.clock.step(25 * time.Hour)
	b.must(b.pub.Sweep(b.t.Context()))
}

func TestTusExpiry(t *testing.T) {
	b := newBench(t, Config{})
	small, large, done := b.create("/small", 1000), b.create("/large", 40<<20), b.create("/done", 3)
	b.want(b.patch(small, 0, []byte("some")), 204)
	b.want(b.patch(large, 0, noiseBytes(1, 25<<20)), 204)
	b.want(b.patch(done, 0, []byte("all")), 204)
	b.clock.step(23 * time.Hour)
	b.must(b.pub.Sweep(t.Context()))
	b.want(b.patch(large, 25<<20, noiseBytes(1, 1<<20)), 204) // a sign of life
	b.want(b.tus("HEAD", small, nil), 200)
	b.clock.step(2 * time.Hour)
	b.must(b.pub.Sweep(t.Context()))
	b.want(b.tus("HEAD", small, nil), 404)
	b.want(b.tus("HEAD", done, nil), 404)
	b.published("/done", []byte("all"))
	if at := b.offset(large); at != 26<<20 {
		t.Errorf("offset %d", at)
	}
	b.sweepExpired()
	b.want(b.tus("HEAD", large, nil), 404)
	b.consistent()
}

// TestTusBucketFailures: a bucket that fails costs a client at most what was sent since the last state.
func TestTusBucketFailures(t *testing.T) {
	f := &faulty{}
	b := newFaultyBench(t, f)
	body := noiseBytes(2, 30<<20)
	for _, c := range []struct{ op, prefix, suffix string }{
		{"part", "u/", ""}, {"put", "w/", "/tail"}, {"put", "w/", "/state"}, {"complete", "u/", ""}, {"put", "t/", ""}, {"put", "v/", ""}, {"put", "p/", ""},
	} {
		path := "/" + c.op + strings.ReplaceAll(c.prefix+c.suffix, "/", "-")
		url := b.create(path, len(body))
		b.want(b.patch(url, 0, body[:10<<20]), 204)
		f.fail = func(op string, k object.Key) error {
			if op == c.op && strings.HasPrefix(string(k), c.prefix) && strings.HasSuffix(string(k), c.suffix) {
				return origin.ErrUnavailable
			}
			return nil
		}
		upTo := len(body)
		if c.suffix == "/tail" {
			upTo-- // the last byte would leave no tail
		}
		b.want(b.patch(url, 10<<20, body[10<<20:upTo]), 503)
		f.fail = nil
		b.restart()
		at := b.offset(url)
		if at < 10<<20 {
			t.Errorf("%s: offset %d, acknowledged were %d", path, at, 10<<20)
		}
		if at < len(body) {
			b.want(b.patch(url, at, body[at:]), 204)
		}
		b.published(object.Path(path), body)
	}
	b.sweepExpired()
	b.consistent()
}

// TestTusOldStateNewTail: a crash between writing the tail and the state that counts it.
func TestTusOldStateNewTail(t *testing.T) {
	f := &faulty{}
	b := newFaultyBench(t, f)
	body := noiseBytes(2, 20<<20)
	url := b.create("/a", len(body))
	b.want(b.patch(url, 0, body[:3<<20]), 204)
	f.fail = func(op string, k object.Key) error {
		if strings.HasSuffix(string(k), "/state") {
			return origin.ErrUnavailable
		}
		return nil
	}
	b.want(b.patch(url, 3<<20, body[3<<20:5<<20]), 503) // the tail has 5 MiB now, the state counts 3
	f.fail = nil
	if at := b.offset(url); at != 3<<20 {
		t.Fatalf("offset %d", at)
	}
	b.want(b.patch(url, 3<<20, body[3<<20:]), 204)
	b.published("/a", body)
	b.consistent()
}

// TestTusDamagedState: a state that cannot be used is an error, never a wrong file.
func TestTusDamagedState(t *testing.T) {
	b := newBench(t, Config{})
	url := b.create("/a", 1000)
	b.want(b.patch(url, 0, make([]byte, 500)), 204)
	id := object.UploadID(url[strings.LastIndexByte(url, '/')+1:])
	good, err := b.read(object.WorkKey(id, "state"))
	b.must(err)
	for _, bad := range []string{"", "{}", `"x"`, string(good[:len(good)/2]), strings.Replace(string(good), `"tail":500`, `"tail":400`, 1),
		strings.Replace(string(good), `"length":1000`, `"length":100`, 1), strings.Replace(string(good), string(id), strings.Repeat("0", 32), 1)} {
		_, err := b.writer.Put(t.Context(), object.WorkKey(id, "state"), []byte(bad), origin.PutOptions{})
		b.must(err)
		if bad == string(good) {
			t.Fatalf("%.40q is not damaged", bad)
		}
		if a := b.tus("HEAD", url, nil); a.status != 500 {
			t.Errorf("state %.40q: %d", bad, a.status)
		}
	}
	b.must(b.writer.Delete(t.Context(), object.WorkKey(id, "state")))
	b.want(b.tus("HEAD", url, nil), 404)
	b.sweepExpired()
	b.consistent()
}

// TestStrays: uploads that the catalogue has no note of are removed once they are old, those that it knows are not.
func TestStrays(t *testing.T) {
	b := newBench(t, Config{})
	ctx := t.Context()
	known := b.create("/known", 20<<20)
	b.want(b.patch(known, 0, noiseBytes(1, 17<<20)), 204)
	lost := newUploadID()
	_, err := b.writer.Put(ctx, object.WorkKey(lost, "state"), []byte("{}"), origin.PutOptions{})
	b.must(err)
	mp, err := b.writer.Create(ctx, object.UploadKey(lost), "")
	b.must(err)
	_, err = b.writer.Part(ctx, object.UploadKey(lost), mp, 1, []byte("x"))
	b.must(err)
	b.must(b.pub.sweepStrays(ctx))
	if _, err := b.read(object.WorkKey(lost, "state")); err != nil {
		t.Errorf("a young stray was removed: %v", err)
	}
	b.clock.step(49 * time.Hour)
	b.must(b.cat.ExtendUpload(ctx, object.UploadID(known[strings.LastIndexByte(known, '/')+1:]), b.clock.Now().Add(time.Hour)))
	b.must(b.pub.sweepStrays(ctx))
	if at := b.offset(known); at != 17<<20 {
		t.Errorf("the known upload is at %d", at)
	}
	b.want(b.tus("DELETE", known, nil), 204)
	b.consistent()
}

func TestLocks(t *testing.T) {
	l := newLocks()
	id := newUploadID()
	ended := make(chan struct{})
	release, err := l.take(t.Context(), clock.System, id, func() { close(ended) })
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := l.try(id); ok {
		t.Fatal("two have one lock")
	}
	if r, ok := l.try(newUploadID()); !ok {
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

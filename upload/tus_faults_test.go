package upload

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"perigee/object"
	"perigee/origin"
)

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

func (b *bench) sweepExpired() {
	b.t.Helper()
	for range 2 { // the bytes, and then the note that there were some
		b.clock.step(25 * time.Hour)
		b.must(b.pub.Sweep(b.t.Context()))
	}
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
	b.want(b.tus("HEAD", small, nil), 410)
	b.want(b.tus("HEAD", done, nil), 404)
	b.published("/done", []byte("all"))
	if at := b.offset(large); at != 26<<20 {
		t.Errorf("offset %d", at)
	}
	b.clock.step(25 * time.Hour)
	b.must(b.pub.Sweep(t.Context()))
	b.want(b.tus("HEAD", large, nil), 410)
	b.sweepExpired()
	b.want(b.tus("HEAD", large, nil), 404) // nobody will ask any more
	b.consistent()
}

func TestTusBucketFailures(t *testing.T) {
	f := &faulty{}
	b := newFaultyBench(t, f)
	body := noiseBytes(2, 30<<20)
	for _, c := range []struct{ op, prefix, suffix string }{
		{"part", "u/", ""}, {"put", "w/", "/tail-"}, {"put", "w/", "/state"}, {"complete", "u/", ""}, {"put", "t/", ""}, {"put", "v/", ""}, {"put", "p/", ""},
	} {
		path := "/" + c.op + strings.ReplaceAll(c.prefix+c.suffix, "/", "-")
		url := b.create(path, len(body))
		b.want(b.patch(url, 0, body[:10<<20]), 204)
		f.fail = func(op string, k object.Key) error {
			if op == c.op && strings.HasPrefix(string(k), c.prefix) && strings.Contains(string(k), c.suffix) {
				return origin.ErrUnavailable
			}
			return nil
		}
		upTo := len(body)
		if c.suffix == "/tail-" {
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

func TestStrays(t *testing.T) {
	b := newBench(t, Config{})
	ctx := t.Context()
	known := b.create("/known", 20<<20)
	b.want(b.patch(known, 0, noiseBytes(1, 17<<20)), 204)
	lost := newUploadID("www", "")
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

package upload

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"perigee/object"
	"perigee/origin/miniotest"
)

// newMinIOBench is a bench whose bucket is MinIO's.
func newMinIOBench(t *testing.T, s *miniotest.Server) *bench {
	t.Helper()
	b := newBenchOn(t, t.TempDir(), Config{DefaultSite: "www"}, s.Config())
	presigner, err := b.writer.Presigner(s.Endpoint())
	b.must(err)
	b.cfg.Presigner = presigner
	b.restart()
	return b
}

// TestDirectOnMinIO is a whole direct upload to a storage of another make, plain and with what makes its ETags odd: where objects are encrypted they are no
// MD5.
func TestDirectOnMinIO(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	for name, env := range map[string][]string{
		"plain":     nil,
		"encrypted": {"MINIO_KMS_SECRET_KEY=test:" + key, "MINIO_KMS_AUTO_ENCRYPTION=on"},
	} {
		t.Run(name, func(t *testing.T) {
			s := miniotest.Start(t, miniotest.Options{Env: env})
			b := newMinIOBench(t, s)
			body := noiseBytes(11, 17<<20+5)
			d := b.direct(201, fmt.Sprintf(`"path":"/f.bin","size":%d,"sha256":%q`, len(body), sum(body)))
			if len(d.URLs) != 3 {
				t.Fatalf("%+v", d)
			}
			md5s := 0
			for _, u := range d.URLs {
				signsNoChecksum(t, u.URL)
				part := body[int64(u.Number-1)*d.PartSize:][:u.Size]
				res := b.putPart(u, part, nil)
				if res.StatusCode != 200 {
					t.Fatalf("part %d: %s", u.Number, res.Status)
				}
				md := md5.Sum(part)
				if res.Header.Get("ETag") == `"`+hex.EncodeToString(md[:])+`"` {
					md5s++
				}
			}
			if odd := name == "encrypted"; odd != (md5s == 0) {
				t.Errorf("%d of 3 ETags are the MD5 of their parts", md5s)
			}
			var now directAnswer
			one := directRoute + "/" + string(d.ID)
			b.must(json.Unmarshal(b.want(b.call("GET", one, nil), 200).body, &now))
			if len(now.Uploaded) != 3 || now.Uploaded[2].Size != d.URLs[2].Size {
				t.Errorf("arrived are %+v", now.Uploaded)
			}
			res := b.want(b.call("POST", one+"/commit", nil), 201).result(t)
			if res.SHA256 != object.HashOf(body) || res.Size != int64(len(body)) || res.ETag != `"`+string(res.Version)+`"` {
				t.Errorf("%+v", res)
			}
			b.published("/f.bin", body)
		})
	}
}

// signsNoChecksum: of a body that is not known when its URL is signed there is no checksum, and the only field that is signed besides the host is its length.
func signsNoChecksum(t *testing.T, raw string) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	for name := range u.Query() {
		if strings.Contains(strings.ToLower(name), "checksum") {
			t.Errorf("the URL has %s=%s", name, u.Query().Get(name))
		}
	}
	if signed := u.Query().Get("X-Amz-SignedHeaders"); signed != "content-length;host" {
		t.Errorf("signed are %s", signed)
	}
}

// putPart puts a part to its URL with more fields.
func (b *bench) putPart(u directURL, body []byte, fields map[string]string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), "PUT", u.URL, strings.NewReader(string(body)))
	b.must(err)
	for name, v := range fields {
		req.Header.Set(name, v)
	}
	res, err := http.DefaultClient.Do(req)
	b.must(err)
	res.Body.Close()
	return res
}

// TestDirectOnMinIORefuses: what is not the part that a URL was made for, what does not have the checksum that its sender gives along, and, at the commit, other
// bytes than were declared, or other parts.
func TestDirectOnMinIORefuses(t *testing.T) {
	b := newMinIOBench(t, miniotest.Start(t, miniotest.Options{}))
	good, bad := noiseBytes(12, 9<<20), noiseBytes(13, 9<<20)
	d := b.direct(201, fmt.Sprintf(`"path":"/f","size":%d,"sha256":%q`, len(good), sum(good)))
	one := directRoute + "/" + string(d.ID)
	first := d.URLs[0]
	wrong := md5.Sum([]byte("something else"))
	for name, res := range map[string]*http.Response{
		"a wrong Content-MD5":  b.putPart(first, bad[:first.Size], map[string]string{"Content-MD5": base64.StdEncoding.EncodeToString(wrong[:])}),
		"a wrong checksum":     b.putPart(first, bad[:first.Size], map[string]string{"x-amz-checksum-sha256": base64.StdEncoding.EncodeToString(make([]byte, 32))}),
		"another signature":    b.putPart(directURL{URL: first.URL + "0"}, bad[:first.Size], nil),
		"more than was signed": b.putPart(first, bad[:first.Size+1], nil),
		"less than was signed": b.putPart(first, bad[:first.Size-1], nil),
		"another part":         b.putPart(directURL{URL: strings.Replace(first.URL, "partNumber=1", "partNumber=2", 1)}, bad[:first.Size], nil),
	} {
		if res.StatusCode < 400 || res.StatusCode >= 500 {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	b.want(b.call("POST", one+"/commit", nil), 409)
	for _, u := range d.URLs {
		if res := b.putPart(u, bad[int64(u.Number-1)*d.PartSize:][:u.Size], nil); res.StatusCode != 200 {
			t.Fatalf("part %d: %s", u.Number, res.Status)
		}
	}
	if a := b.want(b.call("POST", one+"/commit", nil), 400); !strings.Contains(string(a.body), "digest-mismatch") {
		t.Errorf("%s", a.body)
	}
	b.want(b.call("POST", one+"/commit", nil), 410)
	if !b.missing("/f") {
		t.Error("it was published")
	}
	for info, err := range b.reader.List(t.Context(), string(object.UploadKey(d.ID))) {
		t.Errorf("the bucket still has %v, %v", info.Key, err)
	}
	// A part that was sent again with other bytes is the new one.
	again := b.direct(201, fmt.Sprintf(`"path":"/g","size":%d,"sha256":%q`, len(good), sum(good)))
	for _, body := range [][]byte{bad, good} {
		for _, u := range again.URLs {
			b.putPart(u, body[int64(u.Number-1)*again.PartSize:][:u.Size], nil)
		}
	}
	b.want(b.call("POST", directRoute+"/"+string(again.ID)+"/commit", nil), 201)
	b.published("/g", good)
	// One that was given up takes no parts.
	gone := b.direct(201, `"path":"/h","size":5`)
	b.want(b.call("DELETE", directRoute+"/"+string(gone.ID), nil), 204)
	if res := b.putPart(gone.URLs[0], []byte("hello"), nil); res.StatusCode != 404 {
		t.Errorf("a part of an upload that was given up: %s", res.Status)
	}
}

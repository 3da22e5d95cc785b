package upload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"perigee/object"
)

// direct begins a direct upload; fields are JSON members.
func (b *bench) direct(status int, fields string, headers ...string) directAnswer {
	b.t.Helper()
	a := b.want(b.call("POST", directRoute, strings.NewReader("{"+fields+"}"), headers...), status)
	var d directAnswer
	if status == 201 {
		b.must(json.Unmarshal(a.body, &d))
	}
	return d
}

// store puts a part to its URL and returns the status.
func (b *bench) storePart(u directURL, body []byte) int {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), "PUT", u.URL, bytes.NewReader(body))
	b.must(err)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

func newDirectBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, Config{DefaultSite: "www"})
	presigner, err := b.writer.Presigner("http://" + b.s3.Child.Addr())
	b.must(err)
	b.cfg.Presigner = presigner
	b.restart()
	return b
}

func TestDirect(t *testing.T) {
	b := newDirectBench(t)
	body := noiseBytes(1, 19<<20+3)
	d := b.direct(201, fmt.Sprintf(`"path":"/f.bin","size":%d,"sha256":%q,"tags":["x","y"]`, len(body), sum(body)))
	if d.Parts != 3 || d.PartSize != 8<<20 || len(d.URLs) != 3 || d.Next != 0 || d.URLs[2].Size != 3<<20+3 || d.Expires.IsZero() {
		t.Fatalf("%+v", d)
	}
	one := directRoute + "/" + string(d.ID)
	for _, u := range d.URLs[:2] {
		if s := b.storePart(u, body[int64(u.Number-1)*d.PartSize:][:u.Size]); s != 200 {
			t.Fatalf("part %d: %d", u.Number, s)
		}
	}
	if a := b.want(b.call("POST", one+"/commit", nil), 409); !bytes.Contains(a.body, []byte("Part 3 of 3")) {
		t.Errorf("%s", a.body)
	}
	b.restart()
	var now directAnswer
	b.must(json.Unmarshal(b.want(b.call("GET", one+"?from=3&count=1", nil), 200).body, &now))
	if len(now.Uploaded) != 2 || len(now.URLs) != 1 || now.URLs[0].Number != 3 {
		t.Errorf("%+v", now)
	}
	if s := b.storePart(now.URLs[0], body[2*d.PartSize:]); s != 200 {
		t.Fatalf("part 3: %d", s)
	}
	res := b.want(b.call("POST", one+"/commit", nil), 201).result(t)
	if res.SHA256 != object.HashOf(body) || res.Size != int64(len(body)) {
		t.Errorf("%+v", res)
	}
	b.published("/f.bin", body)
	// Who lost the answer asks again.
	again := b.want(b.call("POST", one+"/commit", nil), 200).result(t)
	if again.Version != res.Version || b.want(b.call("GET", one, nil), 200).result(t).Version != res.Version {
		t.Errorf("%s, then %s", res.Version, again.Version)
	}
	b.sweepExpired()
	b.published("/f.bin", body)
	b.consistent()
}

// TestDirectLeastAuthority: a URL stores the part it was made for and does nothing else.
func TestDirectLeastAuthority(t *testing.T) {
	b := newDirectBench(t)
	d := b.direct(201, `"path":"/f","size":9000000`)
	u := d.URLs[1]
	for name, bad := range map[string]directURL{
		"another key":    {URL: strings.Replace(u.URL, string(d.ID), strings.Repeat("0", 32), 1)},
		"another part":   {URL: strings.Replace(u.URL, "partNumber=2", "partNumber=1", 1)},
		"another upload": {URL: strings.Replace(u.URL, "uploadId=", "uploadId=0", 1)},
		"no part":        {URL: strings.Replace(u.URL, "partNumber=2&", "", 1)},
		"as a lister":    {URL: strings.Replace(u.URL, "/u/"+string(d.ID), "", 1)},
	} {
		if bad.URL == u.URL {
			t.Fatalf("%s: nothing was changed in %s", name, u.URL)
		}
		if s := b.storePart(bad, make([]byte, u.Size)); s < 400 {
			t.Errorf("%s: %d", name, s)
		}
	}
	if s := b.storePart(u, make([]byte, u.Size+1)); s == 200 {
		t.Error("more bytes than were declared were taken")
	}
	res, err := http.Get(u.URL)
	b.must(err)
	res.Body.Close()
	if res.StatusCode < 400 {
		t.Errorf("GET: %d", res.StatusCode)
	}
	b.want(b.call("DELETE", directRoute+"/"+string(d.ID), nil), 204)
	b.want(b.call("GET", directRoute+"/"+string(d.ID), nil), 410)
	if s := b.storePart(u, make([]byte, u.Size)); s < 400 {
		t.Errorf("after it was given up: %d", s)
	}
	b.sweepExpired()
	b.consistent()
}

// TestDirectVerifies: other bytes than were declared are not published.
func TestDirectVerifies(t *testing.T) {
	b := newDirectBench(t)
	d := b.direct(201, `"path":"/f","size":5,"sha256":"`+sum([]byte("hello"))+`"`)
	if s := b.storePart(d.URLs[0], []byte("jello")); s != 200 {
		t.Fatal(s)
	}
	b.want(b.call("POST", directRoute+"/"+string(d.ID)+"/commit", nil), 400)
	b.want(b.call("POST", directRoute+"/"+string(d.ID)+"/commit", nil), 410)
	if !b.missing("/f") {
		t.Error("it was published")
	}
	for fields, status := range map[string]int{
		`"path":"/f"`: 400, `"path":"/f","size":0`: 400, `"path":"/../f","size":1`: 400, `"path":"/f","size":1,"x":1`: 400,
		`"path":"/f","size":1,"sha256":"00"`: 400, `"path":"/f","size":9000000000000000`: 413, `"path":"/f","size":1,"site":"none"`: 404,
	} {
		b.direct(status, fields)
	}
	b.direct(412, `"path":"/f","size":1`, "If-Match", "*")
	b.want(b.call("POST", directRoute+"/none/commit", nil), 404)
	// Abandoned ones are swept, whatever they have left.
	left := b.direct(201, `"path":"/g","size":9000000`)
	b.storePart(left.URLs[0], make([]byte, left.URLs[0].Size))
	b.sweepExpired()
	b.consistent()
}

// TestDirectCommitGoesOn: a commit whose process dies at any step is sent again.
func TestDirectCommitGoesOn(t *testing.T) {
	b := newDirectBench(t)
	body := noiseBytes(3, 9<<20)
	for _, at := range []step{afterComplete, afterBlob, afterReserve, afterVersion, afterHead, afterCommit} {
		path := "/" + strings.ReplaceAll(string(at), " ", "-")
		d := b.direct(201, fmt.Sprintf(`"path":%q,"size":%d`, path, len(body)))
		for _, u := range d.URLs {
			b.storePart(u, body[int64(u.Number-1)*d.PartSize:][:u.Size])
		}
		b.pub.crash = func(s step) {
			if s == at {
				panic(http.ErrAbortHandler)
			}
		}
		res, err := http.Post(b.server.URL+directRoute+"/"+string(d.ID)+"/commit", "", nil)
		if err == nil {
			res.Body.Close()
			t.Fatalf("%s: it did not die: %s", at, res.Status)
		}
		b.restart()
		if a := b.call("POST", directRoute+"/"+string(d.ID)+"/commit", nil); a.status != 200 && a.status != 201 {
			t.Errorf("%s: %d %s", at, a.status, a.body)
		}
		b.published(object.Path(path), body)
	}
	b.sweepExpired()
	b.consistent()
}

// TestDirectIsOff: without a public address there are no direct uploads.
func TestDirectIsOff(t *testing.T) {
	b := newBench(t, Config{})
	b.want(b.call("POST", directRoute, strings.NewReader(`{"path":"/f","size":1}`)), 501)
}

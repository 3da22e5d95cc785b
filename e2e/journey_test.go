package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"perigee/object"
)

// uploaded is the API's answer to an upload.
type uploaded struct {
	Site, Path, URL, SHA256, ETag, Version, Position, ID string
	ImmutableURL                                         string `json:"immutable_url"`
	ContentType                                          string `json:"content_type"`
	Size                                                 int64
}

// put uploads body and returns the answer and its status.
func put(t testing.TB, s *System, path string, body []byte, query string, header ...string) (uploaded, int) {
	t.Helper()
	target := s.URL("/api/v1/sites/www/files"+object.Path(path).Escape()) + query
	req, err := http.NewRequestWithContext(within(t, long), http.MethodPut, target, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	a, err := do(http.DefaultClient, req)
	if err != nil {
		t.Fatal(err)
	}
	var u uploaded
	if a.Status/100 == 2 {
		if err := json.Unmarshal(a.Body, &u); err != nil {
			t.Fatalf("%s: %v", a.Body, err)
		}
	}
	return u, a.Status
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func TestJourney(t *testing.T) {
	s := up(t)
	body := []byte("body { color: teal }\n")
	u, status := put(t, s, "/css/site.css", body, "?wait=5s", "Perigee-Tags", "css")
	if status != 201 || u.SHA256 != sum(body) || u.Size != int64(len(body)) || u.Position == "" || u.ContentType != "text/css; charset=utf-8" {
		t.Fatalf("%d %+v", status, u)
	}
	if u.URL != s.siteURL("/css/site.css") || !strings.Contains(u.ImmutableURL, "/_perigee/v/"+u.Version+"/css/site.css") {
		t.Fatalf("%+v", u)
	}
	for _, place := range places {
		for _, transport := range []string{"udp", "tcp"} {
			r := dig(t, s, transport, "www.perigee.test", dns.TypeA, place.network)
			addr := fmt.Sprintf("%s:%d", r.Answer[0].(*dns.A).A, s.EdgePort)
			if addr != s.Edges[place.edge] {
				t.Errorf("%s over %s: %s, want %s at %s", place.network, transport, addr, place.edge, s.Edges[place.edge])
			}
			checkScope(t, r, uint8(place.network.Bits()))
		}
		addr := chosen(t, s, "udp", place.network)
		for i, want := range []bool{false, true} {
			a := fetchOK(t, addr, u.URL)
			if !bytes.Equal(a.Body, body) || isHit(a) != want || !strings.HasPrefix(a.Header.Get("Cache-Status"), place.edge) {
				t.Errorf("fetch %d from %s: %q %v", i, place.edge, a.Body, a.Header)
			}
			if (a.Header.Get("Age") != "") != want {
				t.Errorf("fetch %d: Age %q", i, a.Header.Get("Age"))
			}
		}
		a := fetchOK(t, addr, u.ImmutableURL)
		if !bytes.Equal(a.Body, body) || a.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("immutable URL: %v", a.Header)
		}
	}
	conditionals(t, s, u, body)
	overwriteAndDelete(t, s, u)
}

func checkScope(t *testing.T, r *dns.Msg, source uint8) {
	t.Helper()
	for _, o := range r.IsEdns0().Option {
		if e, ok := o.(*dns.EDNS0_SUBNET); ok {
			if e.SourceNetmask != source || e.SourceScope == 0 || e.SourceScope > 24 {
				t.Errorf("ECS in the answer: %v", e)
			}
			return
		}
	}
	t.Error("no ECS in the answer")
}

func conditionals(t *testing.T, s *System, u uploaded, body []byte) {
	t.Helper()
	addr := s.Edges["fra"]
	first := fetchOK(t, addr, u.URL)
	for _, c := range []struct {
		name   string
		status int
		body   string
		header []string
	}{
		{"If-None-Match", 304, "", []string{"If-None-Match", first.Header.Get("ETag")}},
		{"If-Modified-Since", 304, "", []string{"If-Modified-Since", first.Header.Get("Last-Modified")}},
		{"other ETag", 200, string(body), []string{"If-None-Match", `"x"`}},
		{"Range", 206, string(body[5:9]), []string{"Range", "bytes=5-8"}},
		{"suffix", 206, string(body[len(body)-3:]), []string{"Range", "bytes=-3"}},
		{"beyond", 416, "", []string{"Range", "bytes=999-"}},
	} {
		a, err := Fetch(within(t, long), addr, u.URL, c.header...)
		if err != nil || a.Status != c.status || string(a.Body) != c.body {
			t.Errorf("%s: %d %q %v", c.name, a.Status, a.Body, err)
		}
	}
	if a, err := fetch(within(t, long), http.MethodHead, addr, u.URL); err != nil || a.Status != 200 || len(a.Body) != 0 || a.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
		t.Errorf("HEAD: %+v %v", a, err)
	}
}

func overwriteAndDelete(t *testing.T, s *System, u uploaded) {
	t.Helper()
	next := []byte("body { color: plum }\n")
	v, status := put(t, s, u.Path, next, "?wait=10s")
	if status != 200 || v.Version <= u.Version {
		t.Fatalf("overwrite: %d %+v", status, v)
	}
	for name, addr := range s.Edges {
		if a := fetchOK(t, addr, u.URL); !bytes.Equal(a.Body, next) {
			t.Errorf("%s serves %q after the proof", name, a.Body)
		}
		if a := fetchOK(t, addr, u.ImmutableURL); sum(a.Body) != u.SHA256 {
			t.Errorf("%s: the old version's URL serves %q", name, a.Body)
		}
	}
	if _, status := put(t, s, u.Path, next, "", "If-None-Match", "*"); status != 412 {
		t.Errorf("If-None-Match: * on an existing file: %d", status)
	}
	if _, status := put(t, s, u.Path, next, "", "If-Match", `"`+u.Version+`"`); status != 412 {
		t.Errorf("If-Match with an old version: %d", status)
	}
	req, _ := http.NewRequest(http.MethodDelete, s.URL("/api/v1/sites/www/files"+u.Path+"?wait=10s"), nil)
	if a, err := do(http.DefaultClient, req); err != nil || a.Status/100 != 2 {
		t.Fatalf("delete: %d %s %v", a.Status, a.Body, err)
	}
	for name, addr := range s.Edges {
		if a, err := Fetch(within(t, long), addr, u.URL); err != nil || a.Status != 404 {
			t.Errorf("%s after delete: %d %v", name, a.Status, err)
		}
	}
}

func TestFormWithoutScripts(t *testing.T) {
	s := up(t)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for name, content := range map[string]string{"hello world.txt": "hello", "你好.txt": "nǐ hǎo", "empty": ""} {
		part, err := w.CreateFormFile("file", name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(part, content)
	}
	w.Close()
	resp, err := http.Post(s.URL("/api/v1/sites/www/files"), w.FormDataContentType(), &form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode/100 != 2 {
		t.Fatalf("%d %s", resp.StatusCode, b)
	}
	for path, want := range map[string]string{"/hello world.txt": "hello", "/你好.txt": "nǐ hǎo", "/empty": ""} {
		a := fetchOK(t, s.Edges["fra"], s.siteURL(object.Path(path).Escape()))
		if string(a.Body) != want {
			t.Errorf("%s: %q", path, a.Body)
		}
	}
}

func TestBadInput(t *testing.T) {
	s := up(t)
	for _, c := range []struct {
		path   string
		status int
	}{
		{"/a/../b", 400}, {"/a%00b", 400}, {"/a%2Fb", 400}, {"/" + strings.Repeat("x", 5000), 400}, {"/%2e%2e/x", 400},
		{"/_perigee/x", 400}, {"/a//b", 400}, {"/%E4%BD%A0", 201}, {"/with%20space", 201},
	} {
		// The path goes out as it stands: no client library may clean it up first.
		req, err := http.NewRequest(http.MethodPut, s.URL("/"), strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = "//" + s.API + "/api/v1/sites/www/files" + c.path
		a, err := do(http.DefaultClient, req)
		if err != nil || a.Status != c.status {
			t.Errorf("PUT %.40s: %d %s %v", c.path, a.Status, a.Body, err)
			continue
		}
		if c.status == 400 && (!strings.Contains(a.Header.Get("Content-Type"), "problem+json") || !bytes.Contains(a.Body, []byte("detail"))) {
			t.Errorf("PUT %.40s: %s %s", c.path, a.Header.Get("Content-Type"), a.Body)
		}
	}
	if u, status := put(t, s, "/zero", nil, "?wait=10s"); status != 201 || u.Size != 0 {
		t.Errorf("0 bytes: %d %+v", status, u)
	}
	if a := fetchOK(t, s.Edges["sin"], s.siteURL("/zero")); len(a.Body) != 0 {
		t.Errorf("0 bytes: %q", a.Body)
	}
	cutUpload(t, s)
}

// cutUpload breaks a PUT off in the middle: nothing becomes visible, and the old file stays.
func cutUpload(t *testing.T, s *System) {
	t.Helper()
	old, _ := put(t, s, "/cut.bin", []byte("old"), "?wait=10s")
	body := io.MultiReader(bytes.NewReader(make([]byte, 3<<20)), failing{})
	req, _ := http.NewRequest(http.MethodPut, s.URL("/api/v1/sites/www/files/cut.bin"), body)
	req.ContentLength = 20 << 20
	if a, err := do(http.DefaultClient, req); err == nil && a.Status/100 == 2 {
		t.Fatalf("a cut upload succeeded: %d %s", a.Status, a.Body)
	}
	req, _ = http.NewRequest(http.MethodGet, s.URL("/api/v1/sites/www/files/cut.bin"), nil)
	a, err := do(http.DefaultClient, req)
	var now uploaded
	if err != nil || json.Unmarshal(a.Body, &now) != nil || now.Version != old.Version {
		t.Fatalf("after a cut upload: %s %v", a.Body, err)
	}
	if a := fetchOK(t, s.Edges["fra"], s.siteURL("/cut.bin")); string(a.Body) != "old" {
		t.Fatalf("after a cut upload: %q", a.Body)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

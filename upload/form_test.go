package upload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"perigee/object"
)

// formOf encodes a form as browsers do. A pair is a field; a triple with a leading "@" is a file: name, file name, content.
func formOf(t testing.TB, items ...[]string) (body *bytes.Buffer, contentType string) {
	t.Helper()
	body = new(bytes.Buffer)
	w := multipart.NewWriter(body)
	for _, it := range items {
		var part io.Writer
		var err error
		if len(it) == 2 {
			part, err = w.CreateFormField(it[0])
		} else {
			h := textproto.MIMEHeader{}
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"; filename="%s"`, it[0], it[1]))
			h.Set("Content-Type", "application/octet-stream")
			part, err = w.CreatePart(h)
		}
		if err == nil {
			_, err = io.WriteString(part, it[len(it)-1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return body, w.FormDataContentType()
}

func (b *bench) form(accept string, items ...[]string) answer {
	b.t.Helper()
	body, ct := formOf(b.t, items...)
	return b.call("POST", "/api/v1/sites/www/files", body, "Content-Type", ct, "Accept", accept)
}

func formResults(t *testing.T, a answer) []FormResult {
	t.Helper()
	var out struct{ Files []FormResult }
	if err := json.Unmarshal(a.body, &out); err != nil {
		t.Fatalf("answer %d %s: %v", a.status, a.body, err)
	}
	return out.Files
}

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestForm(t *testing.T) {
	b := newBench(t, Config{})
	large := string(noiseBytes(5, 20<<20))
	a := b.form("application/json",
		[]string{"csrf_token", "x"}, []string{"directory", "/photos/"}, []string{"tags", "a, b"}, []string{"cache_control", "max-age=5"},
		[]string{"file", "été 文.txt", "one"}, []string{"file", "sub/dir/two.css", "two"}, []string{"file", "big.bin", large},
		[]string{"file", "", ""}, []string{"file", "say %22hi%22 100%25.txt", "q"}, []string{"file", "empty.txt", ""})
	rs := formResults(t, b.want(a, 201))
	var paths []string
	for _, r := range rs {
		paths = append(paths, r.Path)
		if r.Problem != nil || r.Result == nil {
			t.Fatalf("%s: %+v", r.Path, r.Problem)
		}
	}
	want := `/photos/été 文.txt|/photos/sub/dir/two.css|/photos/big.bin|/photos/say "hi" 100%25.txt|/photos/empty.txt`
	if got := strings.Join(paths, "|"); got != want {
		t.Errorf("paths %s", got)
	}
	if s, _ := b.content("www", "/photos/big.bin"); s != large {
		t.Error("the large file is not what was sent")
	}
	f, err := b.cat.File(t.Context(), "www", "/photos/sub/dir/two.css")
	b.must(err)
	if p := f.Pointer; len(p.Tags) != 2 || p.CacheControl != "max-age=5" || p.ContentType != "text/css; charset=utf-8" {
		t.Errorf("pointer %+v", p)
	}
	b.want(b.form("*/*", []string{"path", "/exact/name"}, []string{"file", "ignored.txt", "x"}), 201)
	if s, _ := b.content("www", "/exact/name"); s != "x" {
		t.Errorf("content %q", s)
	}
	b.consistent()
}

func TestFormInABrowser(t *testing.T) {
	b := newBench(t, Config{})
	a := b.form(browser, []string{"file", "a.txt", "1"}, []string{"file", "b.txt", "2"})
	if b.want(a, 303); a.header.Get("Location") != "/?site=www&uploaded=2" {
		t.Errorf("redirected to %q", a.header.Get("Location"))
	}
	a = b.form(browser, []string{"file", "good.txt", "1"}, []string{"file", "../bad", "2"})
	if a.status != 207 || !bytes.Contains(a.body, []byte("/good.txt: published as http://www.test:8100/good.txt")) ||
		!bytes.Contains(a.body, []byte(`"..`)) || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("%d %s", a.status, a.body)
	}
	b.cfg.FormResult = func(c *gin.Context, status int, results []FormResult) {
		c.String(status, "<p>%d results", len(results))
	}
	b.restart()
	a = b.form(browser, []string{"file", "", ""})
	if a.status != 400 || string(a.body) != "<p>1 results" {
		t.Errorf("%d %s", a.status, a.body)
	}
	b.consistent()
}

func TestBadForms(t *testing.T) {
	b := newBench(t, Config{MaxSize: 100})
	long := strings.Repeat("x", maxFormField+1)
	for _, c := range []struct {
		name   string
		items  [][]string
		status int
		says   string
		stored int
	}{
		{"no file", [][]string{{"tags", "a"}}, 400, "Choose at least one", 0},
		{"bad tag", [][]string{{"tags", "a b"}, {"file", "a", "1"}}, 400, "tag", 0},
		{"bad cache rule", [][]string{{"cache_control", "a\x01"}, {"file", "a", "1"}}, 400, "cache_control", 0},
		{"long field", [][]string{{"note", long}, {"file", "a", "1"}}, 413, "note", 0},
		{"path of two", [][]string{{"path", "/one"}, {"file", "a", "1"}, {"file", "b", "2"}}, 207, "prefix", 1},
		{"too large", [][]string{{"file", "big", strings.Repeat("x", 101)}, {"file", "small", "1"}}, 207, "limit is 100", 1},
		{"long name", [][]string{{"file", strings.Repeat("n", 5000), "1"}}, 400, "limit is 2048", 0},
		{"huge header", [][]string{{"file", strings.Repeat("n", 17<<10), "1"}}, 413, "header", 0},
		{"reserved", [][]string{{"directory", "_perigee"}, {"file", "a", "1"}}, 400, "reserved", 0},
	} {
		a := b.form("application/json", c.items...)
		rs := formResults(t, a)
		if a.status != c.status || published(rs) != c.stored || !bytes.Contains(a.body, []byte(c.says)) {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
	}
	many := make([][]string, maxFormParts+1)
	for i := range many {
		many[i] = []string{"f", "x"}
	}
	if a := b.form("application/json", many...); a.status != 413 {
		t.Errorf("too many fields: %d %s", a.status, a.body)
	}
	if a := b.call("POST", "/api/v1/sites/nope/files", strings.NewReader("--x--"), "Content-Type", "multipart/form-data; boundary=x"); a.status != 404 {
		t.Errorf("empty form: %d %s", a.status, a.body)
	}
	body, ct := formOf(t, []string{"file", "a.txt", "1"})
	if a := b.call("POST", "/api/v1/sites/nope/files", body, "Content-Type", ct); a.status != 404 {
		t.Errorf("missing site: %d %s", a.status, a.body)
	}
	b.consistent()
}

// TestCutForm: what was complete when a form broke off is published, the file that was cut is not.
func TestCutForm(t *testing.T) {
	b := newBench(t, Config{})
	body, ct := formOf(t, []string{"file", "a.txt", "first"}, []string{"file", "b.txt", "second is cut"})
	cut := body.Bytes()[:bytes.Index(body.Bytes(), []byte("is cut"))]
	a := b.call("POST", "/api/v1/sites/www/files", bytes.NewReader(cut), "Content-Type", ct)
	rs := formResults(t, a)
	if a.status != 207 || len(rs) != 2 || rs[0].Result == nil || rs[1].Problem == nil {
		t.Errorf("%d %s", a.status, a.body)
	}
	if !b.missing("/b.txt") {
		t.Error("a cut file was published")
	}
	b.consistent()
}

func FuzzForm(f *testing.F) {
	f.Add("--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n1\r\n--x--\r\n")
	f.Add("--x\r\nContent-Disposition: form-data; name=f; filename*=utf-8''%e6%96%87\r\n\r\n1\r\n--x--\r\n")
	f.Add("--x\r\nContent-Disposition: attachment\r\n\r\n\r\n--x--")
	f.Fuzz(func(t *testing.T, body string) {
		r := multipart.NewReader(strings.NewReader(body), "x")
		for range 10 {
			part, err := r.NextRawPart()
			if err != nil {
				return
			}
			name, isFile, err := partName(part)
			if err != nil {
				continue
			}
			if isFile {
				if p, err := object.ParsePath("/" + name); err == nil && strings.Contains(string(p), "/../") {
					t.Errorf("%q became %q", name, p)
				}
				continue
			}
			var fields formFields
			_ = fields.read(part)
		}
	})
}

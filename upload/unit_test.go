package upload

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"perigee/object"
	"perigee/origin"
)

func TestContentType(t *testing.T) {
	png := "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	zip := "PK\x03\x04\x14\x00\x00\x00\x00\x00"
	for _, c := range []struct{ path, head, hint, want string }{
		{"/a.css", "body{}", "", "text/css; charset=utf-8"},
		{"/a.js", "<html>", "text/html", "text/javascript; charset=utf-8"},
		{"/a.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>", "", "image/svg+xml; charset=utf-8"},
		{"/A.HTML", "<!doctype html>", "", "text/html; charset=utf-8"},
		{"/a.html", "<p>\xe9t\xe9", "", "text/html"},
		{"/a.json", "{}", "", "application/json"},
		{"/main.go", "package main", "", "text/plain; charset=utf-8"},
		{"/app.ts", "export {}", "", "text/plain; charset=utf-8"},
		{"/seg.ts", "G\x40\x00\x10\x00\x00\xb0\x0d", "", "video/mp2t"},
		{"/a.txt", "\x00\x01\x02\x03", "", "application/octet-stream"},
		{"/a.png", png, "", "image/png"},
		{"/a", png, "text/html", "image/png"},
		{"/a.jpg", png, "", "image/png"},
		{"/a.png", "<html><script>", "", "image/png"},
		{"/a.pdf", "%PDF-1.7\n%\xe2\xe3", "", "application/pdf"},
		{"/a.docx", zip, "", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		{"/a.zip", zip, "", "application/zip"},
		{"/a.woff2", "wOF2\x00\x01\x00\x00", "", "font/woff2"},
		{"/a.mp4", "", "", "video/mp4"},
		{"/empty", "", "", "application/octet-stream"},
		{"/empty.txt", "", "", "text/plain; charset=utf-8"},
		{"/page", "<!doctype html><html>", "", "text/plain; charset=utf-8"},
		{"/page", "<!doctype html><html>", "text/html", "text/html; charset=utf-8"},
		{"/note", "plain words", "text/html", "text/plain; charset=utf-8"},
		{"/note", "a: 1", "application/yaml", "application/yaml"},
		{"/note", "plain words", "garbage", "text/plain; charset=utf-8"},
		{"/README", "你好", "", "text/plain; charset=utf-8"},
		{"/cut", strings.Repeat("你", 1024), "", "text/plain; charset=utf-8"},
		{"/x.bin", "\x00\x01\x02\x03\xff", "", "application/octet-stream"},
		{"/x", "\x00\x01\x02\x03\xff", "application/x-thing", "application/x-thing"},
		{"/x", "\x00\x01\x02\x03\xff", "text/html", "application/octet-stream"},
		{"/x", "\x00\x01\x02\x03\xff", "application/x-www-form-urlencoded", "application/octet-stream"},
		// A name that promises text does not count for bytes that are none.
		{"/a.html", png, "", "image/png"},
		{"/a.svg", png, "image/svg+xml", "image/png"},
		{"/a.js", "\x00\x01\x02\x03\xff", "text/javascript", "application/octet-stream"},
		{"/a.html", "%PDF-1.7\n%\x00\x01<script>", "", "application/pdf"},
		{"/a.html", zip + "<script>alert(1)</script>", "text/html", "application/zip"},
		{"/a.html", "", "", "text/html; charset=utf-8"},
		// Other encodings, and marks of byte order.
		{"/a.html", "\xef\xbb\xbf<html>", "", "text/html; charset=utf-8"},
		{"/a.html", "\xff\xfe<\x00h\x00t\x00m\x00l\x00>\x00", "", "text/html"},
		{"/a.html", "\xfe\xff\x00<\x00h\x00t\x00m\x00l\x00>", "", "text/html"},
		{"/a.txt", "\xff\xfe<\x00s\x00c\x00r\x00i\x00p\x00t\x00>\x00", "", "text/plain"},
		{"/a.txt", "<p>\xe9t\xe9", "", "text/plain"},
		{"/a.html", "<\x00h\x00t\x00m\x00l\x00>\x00", "", "application/octet-stream"},
		{"/page", "\xff\xfe<\x00h\x00t\x00m\x00l\x00>\x00", "text/html", "text/plain"},
		{"/page", "\xef\xbb\xbf<!doctype html><html>", "", "text/plain; charset=utf-8"},
		// Polyglots: what the name says is what a browser, which does not guess, makes of them.
		{"/a.gif", "GIF89a=1;alert(1)//", "text/javascript", "image/gif"},
		{"/a.js", "GIF89a=1;alert(1)//", "image/gif", "text/javascript; charset=utf-8"},
		{"/a", "GIF89a=1;alert(1)//", "text/javascript", "image/gif"},
		{"/a.pdf", "%PDF-1.4\n<script>alert(1)</script>", "text/html", "application/pdf"},
		{"/a", "%PDF-1.4\n<script>alert(1)</script>", "text/html", "application/pdf"},
		{"/a.jpg", "\xff\xd8\xff\xe0\x00\x10JFIF<script>alert(1)</script>", "text/html", "image/jpeg"},
		{"/a.png", "<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "image/svg+xml", "image/png"},
		{"/a.txt", "<!doctype html><script>alert(1)</script>", "text/html", "text/plain; charset=utf-8"},
		// SVG and XML are that by their name, with or without a prolog, and by a name and a hint that agree.
		{"/a.svg", "<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "", "image/svg+xml; charset=utf-8"},
		{"/a", "<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "", "text/plain; charset=utf-8"},
		{"/a", "<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "image/png", "image/png"},
		{"/a.xml", "<?xml-stylesheet href='x.xsl' type='text/xsl'?><a/>", "", "application/xml; charset=utf-8"},
		{"/a", "<?xml version='1.0'?><a/>", "", "text/plain; charset=utf-8"},
		{"/a", "{}", "multipart/x-mixed-replace; boundary=x", "application/json"},
		{"/a", "plain", "message/rfc822", "text/plain; charset=utf-8"},
		{"/dir.html/x", "\x00\x01\x02\x03\xff", "", "application/octet-stream"},
	} {
		if got := contentType(object.Path(c.path), []byte(c.head), c.hint); got != c.want {
			t.Errorf("%s %.12q hint %q: got %q, want %q", c.path, c.head, c.hint, got, c.want)
		}
	}
	// Cut in the middle of a character, as the sniffed beginning of a long text is.
	if got := contentType("/cut", []byte(strings.Repeat("x", sniffLen-1)+"你"), ""); got != "text/plain; charset=utf-8" {
		t.Errorf("cut rune: %q", got)
	}
}

func TestPartSize(t *testing.T) {
	const mib, gib, tib = 1 << 20, 1 << 30, 1 << 40
	for _, c := range []struct {
		size int64
		want int
	}{
		{-1, 16 * mib}, {9 * mib, 8 * mib}, {5 * gib, 8 * mib}, {50 * gib, 8 * mib}, {70 * gib, 8 * mib}, {72 * gib, 9 * mib}, {5 * tib, 583 * mib},
	} {
		got := partSize(c.size)
		if got != c.want {
			t.Errorf("%d bytes: parts of %d, want %d", c.size, got, c.want)
		}
		if got%object.ChunkSize != 0 || got < origin.MinPart {
			t.Errorf("%d bytes: parts of %d", c.size, got)
		}
		if n := (c.size + int64(got) - 1) / int64(got); n > origin.MaxParts {
			t.Errorf("%d bytes: %d parts", c.size, n)
		}
	}
}

func TestCondition(t *testing.T) {
	const v, w = "0f000000000000a0", "0f000000000000b0"
	for _, c := range []struct {
		name, field string
		any         bool
		versions    []object.Version
		bad         bool
	}{
		{"If-Match", `*`, true, nil, false},
		{"If-Match", `"` + v + `"`, false, []object.Version{v}, false},
		{"If-Match", `"` + v + `" , "` + w + `"`, false, []object.Version{v, w}, false},
		{"If-Match", `W/"` + v + `"`, false, []object.Version{}, false},
		{"If-Match", `"something else"`, false, []object.Version{}, false},
		{"If-Match", ``, false, []object.Version{}, false},
		{"If-Match", v, false, nil, true},
		{"If-Match", `"` + v, false, nil, true},
		{"If-None-Match", `*`, true, nil, false},
		{"If-None-Match", `W/"` + v + `"`, false, []object.Version{v}, false},
		{"If-None-Match", `"other"`, false, nil, false},
		{"If-None-Match", `x`, false, nil, true},
	} {
		got, err := condition(http.Header{c.name: {c.field}})
		if (err != nil) != c.bad {
			t.Errorf("%s: %s: error %v", c.name, c.field, err)
			continue
		}
		any, versions := got.MatchAny, got.Match
		if c.name == "If-None-Match" {
			any, versions = got.NoneMatchAny, got.NoneMatch
		}
		if any != c.any || !slices.Equal(versions, c.versions) || !c.bad && (versions == nil) != (c.versions == nil) {
			t.Errorf("%s: %s: %+v", c.name, c.field, got)
		}
	}
}

func TestDigest(t *testing.T) {
	const good = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
	const other = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
	for _, c := range []struct {
		repr, content string
		some, bad     bool
	}{
		{"", "", false, false},
		{good, "", true, false},
		{"", good, true, false},
		{good, good, true, false},
		{"sha-512=:AAAA:, " + good, "", true, false},
		{"md5=:AAAA:", "", false, false},
		{good, other, false, true},
		{"sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=", "", false, true},
		{"sha-256=:AAAA:", "", false, true},
		{"sha-256=:", "", false, true},
		{"sha-256", "", false, false},
	} {
		h := http.Header{}
		if c.repr != "" {
			h.Set("Repr-Digest", c.repr)
		}
		if c.content != "" {
			h.Set("Content-Digest", c.content)
		}
		got, err := digest(h)
		if (err != nil) != c.bad || got.IsZero() == c.some {
			t.Errorf("%q, %q: %v, %v", c.repr, c.content, got, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	p := &Publisher{cfg: Config{DefaultSite: "www"}}
	for _, c := range []struct{ raw, want string }{
		{"path L2EvYi50eHQ=", "www /a/b.txt"},
		{"site YmxvZw==,path L2E=", "blog /a"},
		{"filename YS50eHQ=", "www /a.txt"},
		{"filename YS50eHQ=,prefix L2Rpci8=", "www /dir/a.txt"},
		{"relativePath ZC9h,name YQ==", "www /d/a"},
		{"relativePath bnVsbA==,name YQ==", "www /a"},
		{"filename 5paH5Lu2", "www /文件"},
		{" path L2E= , empty ,", "www /a"},
		{"", "!"},
		{"path", "!"},
		{"path L2E=,path L2E=", "!"},
		{"path ***", "!"},
		{"path Li4vYQ==", "!"},
		{"site V1dX,path L2E=", "!"},
		{"path L2E=,tags YSBi", "!"},
		{"path L2E=,cache_control YQpi", "!"},
		{"path " + strings.Repeat("A", maxMetadata), "!"},
	} {
		meta, err := parseMetadata(c.raw)
		got := "!"
		if err == nil {
			var site object.Site
			var path object.Path
			if site, path, _, err = p.named(meta); err == nil {
				got = string(site) + " " + string(path)
			}
		}
		if got != c.want {
			t.Errorf("%.60q: got %s (%v), want %s", c.raw, got, err, c.want)
		}
	}
	_, _, a, err := p.named(map[string]string{"path": "/a", "filetype": "a/b", "tags": "x, y", "cache_control": "no-store"})
	if err != nil || a.TypeHint != "a/b" || len(a.Tags) != 2 || a.CacheControl != "no-store" {
		t.Errorf("attributes %+v, %v", a, err)
	}
	if _, _, _, err := (&Publisher{}).named(map[string]string{"path": "/a"}); err == nil {
		t.Error("no site, and none is the default")
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add(`"0f000000000000a0", W/"x"`, "sha-256=:AAAA:", "path L2E=,x")
	f.Add(`*`, "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, a", "filename YQ==,prefix Lw==")
	p := &Publisher{cfg: Config{DefaultSite: "www"}}
	f.Fuzz(func(t *testing.T, tags, dig, meta string) {
		c, err := condition(http.Header{"If-Match": {tags}, "If-None-Match": {tags}})
		if err == nil && !c.MatchAny && c.Match == nil {
			t.Errorf("If-Match %q demands nothing", tags)
		}
		if _, err := digest(http.Header{"Repr-Digest": {dig}}); err != nil && len(err.Error()) > 500 {
			t.Errorf("a long message: %v", err)
		}
		if m, err := parseMetadata(meta); err == nil {
			if _, path, _, err := p.named(m); err == nil {
				if c, err := object.ParsePath(string(path)); err != nil || c != path {
					t.Errorf("metadata %q names %q", meta, path)
				}
			}
		}
	})
}

package upload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/problem"
	"perigee/purge"
)

func TestPutGetDelete(t *testing.T) {
	b := newBench(t, Config{})
	a := b.want(b.put("/dir/a.txt", "one", "Perigee-Tags", "x, y", "Perigee-Cache-Control", "max-age=60"), 201)
	r := a.result(t)
	if r.Site != "www" || r.Path != "/dir/a.txt" || r.URL != "http://www.test:8100/dir/a.txt" || r.Size != 3 ||
		r.ImmutableURL != "http://www.test:8100/_perigee/v/"+string(r.Version)+"/dir/a.txt" ||
		r.SHA256 != object.HashOf([]byte("one")) || r.ContentType != "text/plain; charset=utf-8" ||
		r.ETag != `"`+string(r.Version)+`"` || a.header.Get("ETag") != r.ETag || r.Position.IsZero() || r.ID == "" || r.Effective != nil {
		t.Errorf("answer %s, header %v", a.body, a.header)
	}
	if at, err := b.cat.PositionOf(t.Context(), r.ID); err != nil || at.String() != r.Position.String() {
		t.Errorf("position of %s: %v, %v", r.ID, at, err)
	}

	got := b.want(b.call("GET", "/api/v1/sites/www/files/dir/a.txt", nil), 200)
	var rec fileRecord
	b.must(json.Unmarshal(got.body, &rec))
	if rec.Version != r.Version || rec.State != object.Live || len(rec.Tags) != 2 || rec.CacheControl != "max-age=60" || rec.Modified.IsZero() {
		t.Errorf("record %s", got.body)
	}
	head := b.want(b.call("HEAD", "/api/v1/sites/www/files/dir/a.txt", nil), 200)
	if len(head.body) != 0 || head.header.Get("ETag") != r.ETag {
		t.Errorf("HEAD: %v %q", head.header, head.body)
	}
	b.want(b.call("GET", "/api/v1/sites/www/files/dir/a.txt", nil, "If-None-Match", r.ETag), 304)

	second := b.want(b.put("/dir/a.txt", "two"), 200).result(t)
	if second.Version <= r.Version {
		t.Errorf("version %s after %s", second.Version, r.Version)
	}
	if s, _ := b.content("www", "/dir/a.txt"); s != "two" {
		t.Errorf("content %q", s)
	}
	gone := b.want(b.call("DELETE", "/api/v1/sites/www/files/dir/a.txt", nil), 200).result(t)
	if gone.Version <= second.Version {
		t.Errorf("tombstone %s after %s", gone.Version, second.Version)
	}
	b.want(b.call("GET", "/api/v1/sites/www/files/dir/a.txt", nil), 404)
	b.want(b.call("DELETE", "/api/v1/sites/www/files/dir/a.txt", nil), 404)
	b.want(b.put("/dir/a.txt", "three"), 201)
	b.consistent()
	var kinds []EventKind
	for _, e := range b.events {
		kinds = append(kinds, e.Kind)
	}
	if fmt.Sprint(kinds) != "[published published deleted published]" {
		t.Errorf("events %v", kinds)
	}
}

// slowProof says yes after a while, unless it was told to stop.
type slowProof time.Duration

func (d slowProof) Wait(ctx context.Context, at purge.Position) bool {
	t := time.NewTimer(time.Duration(d))
	defer t.Stop()
	select {
	case <-t.C:
		return !at.IsZero()
	case <-ctx.Done():
		return false
	}
}

// TestWait: ?wait= waits for the proof, also longer than a publisher may be silent.
func TestWait(t *testing.T) {
	b := newBench(t, Config{Idle: 100 * time.Millisecond, Proof: slowProof(300 * time.Millisecond)})
	if r := b.want(b.put("/a?wait=20s", "x"), 201).result(t); r.Effective == nil || !*r.Effective {
		t.Errorf("effective: %v", r.Effective)
	}
	if r := b.want(b.put("/a?wait=1ms", "y"), 200).result(t); r.Effective == nil || *r.Effective {
		t.Errorf("effective after 1 ms: %v", r.Effective)
	}
	if r := b.want(b.call("DELETE", "/api/v1/sites/www/files/a?wait=20", nil), 200).result(t); r.Effective == nil || !*r.Effective {
		t.Errorf("delete effective: %v", r.Effective)
	}
}

func TestConditions(t *testing.T) {
	b := newBench(t, Config{})
	b.want(b.put("/a", "x", "If-Match", "*"), 412)
	first := b.want(b.put("/a", "1", "If-None-Match", "*"), 201).result(t)
	b.want(b.put("/a", "2", "If-None-Match", "*"), 412)
	second := b.want(b.put("/a", "2", "If-Match", first.ETag), 200).result(t)
	b.want(b.put("/a", "3", "If-Match", first.ETag), 412)
	b.want(b.put("/a", "3", "If-Match", string(first.Version)), 400)
	b.want(b.call("DELETE", "/api/v1/sites/www/files/a", nil, "If-Match", first.ETag), 412)
	b.want(b.call("DELETE", "/api/v1/sites/www/files/a", nil, "If-Match", second.ETag), 200)
	// A large body is refused before it is read: the server answers without having taken it.
	b.want(b.call("PUT", "/api/v1/sites/www/files/a", noise(1, 64<<20), "If-Match", "*", "Expect", "100-continue"), 412)
	b.consistent()
}

func TestBadRequests(t *testing.T) {
	b := newBench(t, Config{MaxSize: 20 << 20})
	for _, c := range []struct {
		method, path string
		headers      []string
		status       int
		says         string
	}{
		{"PUT", "/www/files/a/../b", nil, 400, `".."`},
		{"PUT", "/www/files/%2e%2e/b", nil, 400, `".."`},
		{"PUT", "/www/files/a%2Fb", nil, 400, "%2F"},
		{"PUT", "/www/files/a%5Cb", nil, 400, "%5C"},
		{"PUT", "/www/files/a%00b", nil, 400, "U+0000"},
		{"PUT", "/www/files/a//b", nil, 400, "empty segment"},
		{"PUT", "/www/files/dir/", nil, 400, "cannot end in '/'"},
		{"PUT", "/www/files/", nil, 400, "names no file"},
		{"PUT", "/www/files/%ff", nil, 400, "UTF-8"},
		{"PUT", "/www/files/_perigee/x", nil, 400, "reserved"},
		{"PUT", "/www/files/" + strings.Repeat("x", 5000), nil, 400, "limit is 2048"},
		{"PUT", "/www/files/" + strings.Repeat("x", 300), nil, 400, "limit is 255"},
		{"PUT", "/www/files/a", []string{"Perigee-Tags", strings.Repeat("x", 200)}, 400, "tag"},
		{"PUT", "/www/files/a", []string{"Perigee-Cache-Control", strings.Repeat("x", 2000)}, 400, "longer than 1024"},
		{"PUT", "/www/files/a", []string{"Content-Range", "bytes 0-1/3"}, 400, "whole file"},
		{"PUT", "/www/files/a", []string{"Content-Encoding", "gzip"}, 415, "gzip"},
		{"PUT", "/www/files/a", []string{"Repr-Digest", "sha-256=:AAAA:"}, 400, "sha-256"},
		{"PUT", "/www/files/a?wait=1h", nil, 400, "wait"},
		{"PUT", "/nope/files/a", nil, 404, "site nope does not exist"},
		{"PUT", "/Bad/files/a", nil, 400, "site name"},
		{"PUT", "/pull/files/a", nil, 409, "not stored by Perigee"},
		{"GET", "/www/files/nothing", nil, 404, "file /nothing of site www does not exist"},
		{"GET", "/www/files?limit=0", nil, 400, "limit"},
		{"GET", "/www/files?limit=1001", nil, 400, "limit"},
		{"GET", "/www/files?cursor=***", nil, 400, "cursor"},
		{"GET", "/www/files?prefix=%ff", nil, 400, "prefix"},
		{"GET", "/nope/files", nil, 404, "site nope"},
		{"DELETE", "/www/files/nothing", nil, 404, "does not exist"},
		{"DELETE", "/www/files/nothing?versions=all", nil, 404, "does not exist"},
		{"DELETE", "/www/files/nothing?versions=x", nil, 400, "versions"},
		{"POST", "/www/files/a", nil, 405, "PUT"},
		{"POST", "/www/files/a/rollback", nil, 400, "version"},
		{"POST", "/www/files/a/rollback?version=x", nil, 400, "version"},
		{"POST", "/www/files/a/rollback?version=0f000000000000a0", nil, 404, "0f000000000000a0"},
		{"POST", "/www/files", nil, 415, "multipart/form-data"},
	} {
		if c.path == "/pull/files/a" {
			_, err := b.pub.CreateSite(t.Context(), object.SiteRecord{Format: 1, Site: "pull", Kind: object.Pull, Hosts: []object.Host{"p.test"}, Origin: &object.PullOrigin{URL: "https://origin.example"}})
			b.must(err)
		}
		a := b.raw(c.method, "/api/v1/sites"+c.path, c.headers...)
		if c.path == "/www/files" { // forms wrap their problems
			if a.status != c.status || !bytes.Contains(a.body, []byte(c.says)) {
				t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
			}
			continue
		}
		b.want(a, c.status)
		var p problem.Document
		b.must(json.Unmarshal(a.body, &p))
		if !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s %.60s: detail %q does not mention %q", c.method, c.path, p.Detail, c.says)
		}
	}
	b.want(b.call("PUT", "/api/v1/sites/www/files/a", noise(1, 21<<20), "Content-Length", "x"), 413) // chunked
	if rows, err := b.cat.Rows(t.Context(), "", 0); err != nil || len(rows) != 2 {
		t.Errorf("%d outbox rows, want those of the two sites: %v", len(rows), err)
	}
	b.consistent()
}

// raw sends a request line as it is: Go's client would clean the path.
func (b *bench) raw(method, target string, headers ...string) answer {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.server.Listener.Addr().String())
	b.must(err)
	defer conn.Close()
	body := ""
	if method == "PUT" {
		body = "x"
	}
	req := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n", method, target, len(body))
	for i := 0; i < len(headers); i += 2 {
		req += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	_, err = io.WriteString(conn, req+"\r\n"+body)
	b.must(err)
	return readAnswer(b.t, conn, method)
}

func TestOddNames(t *testing.T) {
	b := newBench(t, Config{})
	for _, p := range []string{"/空 的/文件.txt", "/a b/c+d&e=f?.txt", "/%41%2541", "/ü/" + strings.Repeat("x", 250), "/...", "/.hidden", "/a'\"<b>", "/versions", "/x/rollback", "/nfd-e\u0301"} {
		path := object.Path(p)
		a := b.want(b.call("PUT", "/api/v1/sites/www/files"+path.Escape(), strings.NewReader(p)), 201)
		if r := a.result(t); r.Path != path || r.URL != "http://www.test:8100"+path.Escape() {
			t.Errorf("%q: %s", p, a.body)
		}
		if s, ok := b.content("www", path); !ok || s != p {
			t.Errorf("%q: content %q", p, s)
		}
		got := b.want(b.call("GET", "/api/v1/sites/www/files"+path.Escape(), nil), 200)
		if got.result(t).Path != path {
			t.Errorf("%q: %s", p, got.body)
		}
	}
	empty := b.want(b.put("/empty", ""), 201).result(t)
	if empty.Size != 0 || empty.SHA256 != object.HashOf(nil) || empty.ContentType != octetStream {
		t.Errorf("0 bytes: %+v", empty)
	}
	b.consistent()
}

func TestListing(t *testing.T) {
	b := newBench(t, Config{})
	for i := range 12 {
		b.want(b.put(fmt.Sprintf("/d%d/f%02d", i%2, i), "x"), 201)
	}
	b.want(b.call("DELETE", "/api/v1/sites/www/files/d0/f00", nil), 200)
	for _, c := range []struct {
		query string
		want  int
	}{{"", 11}, {"prefix=/d1", 6}, {"prefix=d0/", 5}, {"prefix=/d0/f0", 4}, {"prefix=/zzz", 0}} {
		for _, limit := range []int{1, 5, 1000} {
			var got []string
			cursor := ""
			for range 20 {
				a := b.want(b.call("GET", fmt.Sprintf("/api/v1/sites/www/files?%s&limit=%d&cursor=%s", c.query, limit, cursor), nil), 200)
				var page struct {
					Files []fileRecord
					Next  string
				}
				b.must(json.Unmarshal(a.body, &page))
				for _, f := range page.Files {
					got = append(got, string(f.Path))
				}
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			if len(got) != c.want {
				t.Errorf("%q, %d a page: %v", c.query, limit, got)
			}
		}
	}
	slash := b.want(b.call("GET", "/api/v1/sites/www/files/?limit=3", nil), 200)
	if !bytes.Contains(slash.body, []byte(`"next"`)) {
		t.Errorf("with a trailing slash: %s", slash.body)
	}
}

func TestVersionsAndRollback(t *testing.T) {
	b := newBench(t, Config{})
	versions := func(path string) []fileRecord {
		t.Helper()
		a := b.want(b.call("GET", "/api/v1/sites/www/files"+path, nil), 200)
		var list struct{ Versions []fileRecord }
		b.must(json.Unmarshal(a.body, &list))
		return list.Versions
	}
	first := b.want(b.put("/a", "one", "Perigee-Tags", "t1"), 201).result(t)
	b.want(b.put("/a", "two"), 200)
	gone := b.want(b.call("DELETE", "/api/v1/sites/www/files/a", nil), 200).result(t)
	for _, path := range []string{"/a/versions", "/a?versions"} {
		if vs := versions(path); len(vs) != 3 || vs[0].State != object.Gone || vs[2].Version != first.Version || len(vs[2].Tags) != 1 {
			t.Errorf("%s: %+v", path, vs)
		}
	}
	b.want(b.call("GET", "/api/v1/sites/www/files/b/versions", nil), 404)
	b.want(b.call("GET", "/api/v1/sites/www/files/b?versions", nil), 404)

	// A file of that name is what its URL means; its neighbour's versions stay within reach.
	b.want(b.put("/a/versions", "a file"), 201)
	if r := b.want(b.call("GET", "/api/v1/sites/www/files/a/versions", nil), 200).result(t); r.Path != "/a/versions" {
		t.Errorf("got %s", r.Path)
	}
	if vs := versions("/a?versions"); len(vs) != 3 {
		t.Errorf("%d versions", len(vs))
	}

	back := b.want(b.call("POST", "/api/v1/sites/www/files/a/rollback", strings.NewReader(`{"version":"`+string(first.Version)+`"}`)), 201).result(t)
	if back.Version <= gone.Version || back.SHA256 != first.SHA256 {
		t.Errorf("rolled back to %+v", back)
	}
	if s, _ := b.content("www", "/a"); s != "one" {
		t.Errorf("content %q", s)
	}
	b.want(b.call("POST", "/api/v1/sites/www/files/a/rollback?version="+string(gone.Version), nil), 400)
	b.want(b.call("POST", "/api/v1/sites/www/files/a/rollback?version="+string(first.Version), nil, "If-Match", first.ETag), 412)
	b.want(b.call("POST", "/api/v1/sites/www/files/a/rollback?version="+string(first.Version), nil, "If-Match", back.ETag), 200)
	if e := b.events[len(b.events)-1]; e.Kind != EventRolledBack || e.Pointer.Path != "/a" {
		t.Errorf("event %+v", e)
	}
	b.consistent()
}

// TestBrokenBody: a body that is cut, or longer or shorter than declared, leaves nothing behind.
func TestPurgeAndSites(t *testing.T) {
	b := newBench(t, Config{})
	ctx := t.Context()
	id, pos, err := b.pub.Purge(ctx, "www", catalog.PurgeRequest{Paths: []object.Path{"/a"}, Tags: []object.Tag{"t"}})
	if err != nil || id == "" || pos.IsZero() {
		t.Errorf("purge %q at %v, %v", id, pos, err)
	}
	if _, _, err := b.pub.Purge(ctx, "www", catalog.PurgeRequest{}); err == nil {
		t.Error("a purge of nothing was taken")
	}
	rec, err := b.pub.CreateSite(ctx, object.SiteRecord{Format: 1, Site: "blog", Kind: object.Published, Hosts: []object.Host{"blog.test"}})
	b.must(err)
	stored, err := b.read(object.SiteKey("blog"))
	if err != nil || !bytes.Equal(stored, object.MarshalSite(rec)) {
		t.Errorf("stored %s, %v", stored, err)
	}
	rec.Rules.CacheControl = "no-cache"
	rec, err = b.pub.UpdateSite(ctx, rec, rec.Version)
	b.must(err)
	if stored, err = b.read(object.SiteKey("blog")); err != nil || !bytes.Equal(stored, object.MarshalSite(rec)) {
		t.Errorf("stored %s, %v", stored, err)
	}
	// What is declared is put in force, and what is in force is left alone.
	for i, cc := range []string{"no-store", "no-store", "no-cache"} {
		declared := object.SiteRecord{Format: 1, Site: "blog", Kind: object.Published, Hosts: rec.Hosts, Rules: object.SiteRules{CacheControl: cc}}
		b.must(b.pub.DeclareSite(ctx, declared))
		was := rec.Version
		if rec, err = b.pub.cfg.Catalog.Site(ctx, "blog"); err != nil || rec.Rules.CacheControl != cc || (rec.Version == was) != (i == 1) {
			t.Errorf("%d: %+v %v", i, rec, err)
		}
	}
	b.must(b.pub.DeclareSite(ctx, object.SiteRecord{Format: 1, Site: "made", Kind: object.Published}))
	if err := b.pub.DeclareSite(ctx, object.SiteRecord{Format: 1, Site: "made", Kind: object.Published, Hosts: rec.Hosts}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a host of another site: %v", err)
	}
	// A bucket that was replaced gets the records again; one that has them is left alone.
	b.must(b.writer.Delete(ctx, object.SiteKey("blog")))
	for range 2 {
		if _, err := b.pub.EnsureSite(ctx, object.SiteRecord{Format: 1, Site: "blog", Kind: object.Published}); err != nil {
			t.Fatal(err)
		}
	}
	if stored, err = b.read(object.SiteKey("blog")); err != nil || !bytes.Equal(stored, object.MarshalSite(rec)) {
		t.Errorf("stored %s, %v", stored, err)
	}
}

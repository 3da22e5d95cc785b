package upload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"perigee/catalog"
	"perigee/keys"
	"perigee/object"
)

func limitedTo(prefixes ...object.Prefix) keys.Identity {
	return keys.Identity{ID: "k", Name: "limited", Scopes: []keys.Scope{keys.ScopePublish}, Limits: keys.Limits{Sites: []object.Site{"www"}, Prefixes: prefixes}}
}

func TestALimitedKeyStaysInItsDirectory(t *testing.T) {
	b := newBench(t, Config{})
	_, err := b.pub.EnsureSite(t.Context(), object.SiteRecord{Format: 1, Site: "img", Kind: object.Published})
	b.must(err)
	old := map[string]string{}
	for _, p := range []string{"/in/a", "/out/a", "/in"} {
		var res Result
		b.must(json.Unmarshal(b.want(b.put(p, "x"), 201).body, &res))
		old[p] = string(res.Version)
	}
	theirs := b.create("/out/big", 10)
	mine := b.create("/in/big", 10)
	b.use(limitedTo("/in/"))

	const files = "/api/v1/sites/www/files"
	form, ct := formOf(t, []string{"path", "/out/form"}, []string{"file", "f", "x"})
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		headers                  []string
	}{
		{"put below", "PUT", files + "/in/b", "x", 201, nil},
		{"put beside", "PUT", files + "/out/b", "x", 403, nil},
		{"put of the directory's name", "PUT", files + "/in", "x", 403, nil},
		{"put by another spelling", "PUT", files + "/%6Fut/b", "x", 403, nil},
		{"put to another site", "PUT", "/api/v1/sites/img/files/in/b", "x", 403, nil},
		{"delete beside", "DELETE", files + "/out/a", "", 403, nil},
		{"roll back below", "POST", files + "/in/a/rollback?version=" + old["/in/a"], "", 200, nil},
		{"roll back beside", "POST", files + "/out/a/rollback?version=" + old["/out/a"], "", 403, nil},
		{"roll back the directory's name", "POST", files + "/in/rollback?version=" + old["/in"], "", 403, nil},
		{"get below", "GET", files + "/in/a", "", 200, nil},
		{"get beside", "GET", files + "/out/a", "", 403, nil},
		{"versions beside", "GET", files + "/out/a/versions", "", 403, nil},
		{"versions of the directory's name", "GET", files + "/in/versions", "", 403, nil},
		{"versions beside, asked the other way", "GET", files + "/out/a?versions", "", 403, nil},
		{"list beside", "GET", files + "?prefix=/out/", "", 403, nil},
		{"list another site", "GET", "/api/v1/sites/img/files", "", 403, nil},
		{"form beside", "POST", files, form.String(), 403, []string{"Content-Type", ct}},
		{"create beside", "POST", "/api/v1/uploads/", "", 403, []string{"Tus-Resumable", "1.0.0", "Upload-Length", "1", "Upload-Metadata", metadata("site", "www", "path", "/out/c")}},
		{"look at another's upload", "HEAD", theirs, "", 404, []string{"Tus-Resumable", "1.0.0"}},
		{"continue another's upload", "PATCH", theirs, "x", 404, []string{"Tus-Resumable", "1.0.0", "Content-Type", chunkType, "Upload-Offset", "0"}},
		{"continue it by POST", "POST", theirs, "x", 404, []string{"Tus-Resumable", "1.0.0", "X-HTTP-Method-Override", "PATCH", "Content-Type", chunkType, "Upload-Offset", "0"}},
		{"give another's upload up", "DELETE", theirs, "", 404, []string{"Tus-Resumable", "1.0.0"}},
		{"continue its own", "PATCH", mine, "0123456789", 204, []string{"Tus-Resumable", "1.0.0", "Content-Type", chunkType, "Upload-Offset", "0"}},
	} {
		if a := b.call(c.method, c.path, strings.NewReader(c.body), c.headers...); a.status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, a.status, a.body, c.status)
		}
	}
	var list struct{ Files []struct{ Path string } }
	b.must(json.Unmarshal(b.want(b.call("GET", files, nil), 200).body, &list))
	if got := fmt.Sprint(list.Files); got != "[{/in/a} {/in/b} {/in/big}]" {
		t.Errorf("the listing shows %s", got)
	}
	var ups uploadPage
	b.must(json.Unmarshal(b.want(b.call("GET", "/api/v1/uploads", nil), 200).body, &ups))
	if len(ups.Uploads) != 1 || ups.Uploads[0].Path != "/in/big" {
		t.Errorf("the uploads shown are %+v", ups.Uploads)
	}

	id := limitedTo()
	id.Scopes = []keys.Scope{keys.ScopeRead}
	b.use(id)
	if a := b.put("/in/b", "x"); a.status != 403 {
		t.Errorf("a key that may read has published: %d", a.status)
	}
	b.use(keys.Identity{})
	if a := b.put("/in/b", "x"); a.status != 403 {
		t.Errorf("a key that may nothing has published: %d", a.status)
	}
}

// TestWhatIsWrittenIsCheckedAgain: a route that forgets to ask cannot publish.
func TestWhatIsWrittenIsCheckedAgain(t *testing.T) {
	b := newBench(t, Config{})
	ctx := keys.NewContext(t.Context(), limitedTo("/in/"))
	site, err := b.cat.Site(ctx, "www")
	b.must(err)
	_, err = b.pub.record(ctx, site, EventDeleted, catalog.Change{Pointer: object.Pointer{Format: 1, Site: "www", Path: "/out/a", State: object.Gone}})
	if d, ok := denied(err); !ok || d.Status != 403 {
		t.Errorf("record: %v", err)
	}
}

// unread is a body that must not be read beyond some bytes.
type unread struct {
	t    *testing.T
	left int
}

func (u *unread) Read(p []byte) (int, error) {
	n := min(len(p), u.left)
	if n == 0 {
		return 0, errors.New("more was read than can be kept")
	}
	u.left -= n
	return n, nil
}

func TestQuotaIsCheckedBeforeTheBody(t *testing.T) {
	b := newBench(t, Config{})
	b.want(b.put("/a", "12345"), 201)
	_, err := b.cat.SetQuota(t.Context(), "www", catalog.Quota{Bytes: 100, Files: 2})
	b.must(err)
	_, err = b.pub.Publish(t.Context(), File{Site: "www", Path: "/b", Size: 96, Body: &unread{t, 0}})
	if !errors.Is(err, catalog.ErrQuota) || !strings.Contains(err.Error(), "95 bytes of 100 are left") {
		t.Errorf("too large by what it declares: %v", err)
	}
	a := b.want(b.put("/b", strings.Repeat("x", 96)), 507)
	if !strings.Contains(string(a.body), "/problems/quota-exceeded") || !strings.Contains(string(a.body), "95 bytes of 100 are left") {
		t.Errorf("answer %s", a.body)
	}
	a = b.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", "96", "Upload-Metadata", metadata("site", "www", "path", "/b"))
	b.want(a, 507)
	b.want(b.put("/b", strings.Repeat("x", 95)), 201)
	b.want(b.put("/b", ""), 200)
	b.want(b.put("/c", ""), 507) // a third file
	b.want(b.call("DELETE", "/api/v1/sites/www/files/b", nil), 200)
	b.want(b.put("/c", ""), 201)
	b.consistent()
}

// TestQuotaOfABodyWithoutALength: it is read until the quota is full, and leaves nothing behind.
func TestQuotaOfABodyWithoutALength(t *testing.T) {
	b := newBench(t, Config{})
	const quota = 20 << 20
	_, err := b.cat.SetQuota(t.Context(), "www", catalog.Quota{Bytes: quota})
	b.must(err)
	_, err = b.pub.Publish(t.Context(), File{Site: "www", Path: "/big", Size: -1, Body: &unread{t, quota + unknownPart}})
	if !errors.Is(err, catalog.ErrQuota) {
		t.Errorf("got %v", err)
	}
	if u, err := b.cat.Usage(t.Context(), "www"); err != nil || u.Bytes != 0 || u.Files != 0 {
		t.Errorf("it is counted: %+v, %v", u, err)
	}
	b.consistent()
}

func TestConcurrentUploadsStayWithinTheQuota(t *testing.T) {
	b := newBench(t, Config{})
	_, err := b.cat.SetQuota(t.Context(), "www", catalog.Quota{Bytes: 50})
	b.must(err)
	var wg sync.WaitGroup
	var good atomic.Int32
	for i := range 12 {
		wg.Go(func() {
			switch a := b.put(fmt.Sprintf("/%d", i), fmt.Sprintf("ten bytes%x", i)); a.status {
			case 201:
				good.Add(1)
			case 507:
			default:
				t.Errorf("answer %d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if u, err := b.cat.Usage(t.Context(), "www"); err != nil || good.Load() != 5 || u.Bytes != 50 {
		t.Errorf("%d were published, %+v, %v", good.Load(), u, err)
	}
	b.consistent()
}

func TestSizesAndNumbersOfFilesAreLimited(t *testing.T) {
	b := newBench(t, Config{})
	_, err := b.cat.SetQuota(t.Context(), "www", catalog.Quota{File: 10, Form: 3})
	b.must(err)
	file := func(name string) []string { return []string{"file", name, "x"} }
	b.want(b.put("/a", strings.Repeat("x", 11)), 413)
	b.want(b.put("/a", strings.Repeat("x", 10)), 201)
	rs := formResults(t, b.form("", file("1"), file("2"), file("3"), file("4")))
	if len(rs) != 4 || rs[2].Result == nil || rs[3].Problem == nil || rs[3].Problem.Status != 413 {
		t.Errorf("a form of four: %+v", rs)
	}
	id := limitedTo()
	id.MaxFile, id.MaxForm = 5, 1
	b.use(id)
	b.want(b.put("/a", "123456"), 413)
	b.want(b.call("PUT", "/api/v1/sites/www/files/a", io.MultiReader(strings.NewReader("123456"))), 413) // of no declared length
	b.want(b.put("/a", "12345"), 200)
	if rs := formResults(t, b.form("", file("5"), file("6"))); len(rs) != 2 || rs[0].Result == nil || rs[1].Problem == nil {
		t.Errorf("a form of two: %+v", rs)
	}
}

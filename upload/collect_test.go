package upload

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
	"perigee/purge"
)

// lives is what the rule of life of a blob demands of a bench: every version's bytes are in the bucket, at any moment.
func (b *bench) lives(sites []object.Site, paths []object.Path) (needed map[object.Key]bool, versions map[object.Key]bool) {
	b.t.Helper()
	needed, versions = map[object.Key]bool{}, map[object.Key]bool{}
	for _, site := range sites {
		for _, path := range paths {
			vs, err := b.cat.Versions(b.t.Context(), site, path, "", 0)
			b.must(err)
			for i := range vs {
				versions[object.VersionKey(site, path, vs[i].Version)] = true
				if vs[i].State != object.Live {
					continue
				}
				needed[vs[i].Blob] = true
				keys := []object.Key{vs[i].Blob}
				if object.Chunks(vs[i].Size) > 1 {
					keys = append(keys, object.TreeKey(vs[i].Blob))
					needed[object.TreeKey(vs[i].Blob)] = true
				}
				for _, k := range keys {
					if _, err := b.reader.Head(b.t.Context(), k); err != nil {
						b.t.Fatalf("version %s of %s of site %s has lost %s: %v", vs[i].Version, path, site, k, err)
					}
				}
			}
		}
	}
	return needed, versions
}

// settle lets the sweeper come to its end.
func (b *bench) settle() {
	b.t.Helper()
	for range 4 {
		b.clock.step(30 * time.Hour)
		b.must(b.pub.Sweep(b.t.Context()))
	}
}

// only checks that the bucket has, of bytes and version records, what versions refer to and nothing else.
func (b *bench) only(needed, versions map[object.Key]bool) {
	b.t.Helper()
	for info, err := range b.reader.List(b.t.Context(), "") {
		b.must(err)
		switch prefix, _, _ := strings.Cut(string(info.Key), "/"); {
		case prefix == "v" && !versions[info.Key], (prefix == "b" || prefix == "u" || prefix == "t") && !needed[info.Key], prefix == "w":
			b.t.Errorf("the bucket has %s, which nothing refers to", info.Key)
		}
	}
}

// TestCollectorNeverTakesWhatIsNeeded drives publishers, removers, erasers and the collector in random order over the real catalogue and a real bucket, and kills the
// process between random steps. At no moment may a version's bytes be missing; in the end nothing else may be left.
func TestCollectorNeverTakesWhatIsNeeded(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	b := newBench(t, Config{})
	_, err := b.pub.EnsureSite(t.Context(), object.SiteRecord{Format: 1, Site: "blog", Kind: object.Published, Hosts: []object.Host{"blog.test"}})
	b.must(err)
	sites, paths := []object.Site{"www", "blog"}, []object.Path{"/a", "/b", "/c"}
	bodies := [][]byte{[]byte("one"), []byte("two"), noiseBytes(5, object.ChunkSize+10), noiseBytes(6, smallBody+10)}
	deadline := time.Now().Add(25 * time.Second)
	crashes, ops := 0, 0
	for ; ops < 120 && (ops < 25 || time.Now().Before(deadline)); ops++ {
		site, path, body := sites[r.IntN(len(sites))], paths[r.IntN(len(paths))], bodies[r.IntN(len(bodies))]
		ctx := context.Background()
		do := []func() error{
			func() error {
				_, err := b.pub.Publish(ctx, File{Site: site, Path: path, Body: bytes.NewReader(body), Size: int64(len(body))})
				return err
			},
			func() error { _, err := b.pub.Delete(ctx, site, path, catalog.Condition{}); return err },
			func() error {
				vs, err := b.cat.Versions(ctx, site, path, "", 0)
				if err != nil || len(vs) == 0 {
					return err
				}
				_, err = b.pub.Rollback(ctx, site, path, vs[r.IntN(len(vs))].Version, catalog.Condition{})
				return err
			},
			func() error { _, err := b.pub.RemoveFile(ctx, site, path, catalog.Condition{}); return err },
			func() error { _, err := b.pub.EraseFiles(ctx, site, path); return err },
			func() error { _, err := b.pub.EraseContent(ctx, object.HashOf(body), site); return err },
			func() error { return b.pub.Sweep(ctx) },
		}[[]int{0, 0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 6, 6}[r.IntN(13)]]
		left := -1
		if r.IntN(2) == 0 {
			left = r.IntN(12)
		}
		if b.crashAfter(left, func() {
			if err := do(); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, object.ErrInvalid) {
				t.Errorf("seed %d, operation %d: %v", seed, ops, err)
			}
		}) {
			crashes++
			b.restart()
		}
		b.clock.step([]time.Duration{0, time.Second, 20 * time.Minute, 26 * time.Hour}[r.IntN(4)])
		b.lives(sites, paths)
	}
	t.Logf("%d operations, %d crashes", ops, crashes)
	b.settle()
	b.only(b.lives(sites, paths))
}

// crashAfter kills the process after so many steps of what do does, not at all if they are fewer or n is negative.
func (b *bench) crashAfter(n int, do func()) (crashed bool) {
	b.t.Helper()
	b.pub.crash = func(step) {
		if n == 0 {
			panic(errCrash)
		}
		n--
	}
	defer func() {
		b.pub.crash = nil
		if r := recover(); r != nil {
			if r != errCrash {
				panic(r)
			}
			crashed = true
		}
	}()
	do()
	return false
}

// A hash counts only where the site has the content: the body is not read then, and read in every other case.
func TestOfferedContent(t *testing.T) {
	b := newBench(t, Config{})
	_, err := b.pub.EnsureSite(t.Context(), object.SiteRecord{Format: 1, Site: "blog", Kind: object.Published, Hosts: []object.Host{"blog.test"}})
	b.must(err)
	body := noiseBytes(9, 2<<20)
	publish := func(site object.Site, path object.Path, size int64) (Result, int, error) {
		read := &counting{r: bytes.NewReader(body)}
		res, err := b.pub.Publish(t.Context(), File{Site: site, Path: path, Body: read, Size: size, SHA256: object.HashOf(body), Offer: true})
		return res, read.n, err
	}
	for _, c := range []struct {
		site object.Site
		path object.Path
		read bool
	}{
		{"www", "/first", true}, {"www", "/second", false}, {"blog", "/first", true}, {"blog", "/second", false},
	} {
		res, n, err := publish(c.site, c.path, int64(len(body)))
		if err != nil || res.Claimed == c.read || (n > 0) != c.read {
			t.Errorf("%s%s: claimed %v, %d bytes read, %v", c.site, c.path, res.Claimed, n, err)
		}
	}
	if _, _, err := publish("www", "/third", int64(len(body))-1); !errors.Is(err, ErrIncomplete) {
		t.Errorf("another length: %v", err)
	}
	b.consistent()
}

type counting struct {
	r *bytes.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// Over HTTP a client that waits with its body gets the answer without sending it.
func TestBodyIsNotSentTwice(t *testing.T) {
	b := newBench(t, Config{})
	b.want(b.put("/a", "known"), http.StatusCreated)
	h := object.HashOf([]byte("known"))
	body := &counting{r: bytes.NewReader([]byte("known"))}
	req, err := http.NewRequestWithContext(t.Context(), "PUT", b.server.URL+"/api/v1/sites/www/files/b", body)
	b.must(err)
	req.ContentLength = 5
	req.Header.Set("Expect", "100-continue")
	req.Header.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(h[:])+":")
	res, err := (&http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}).Do(req)
	b.must(err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Errorf("status %d", res.StatusCode)
	}
	if got, _ := b.content("www", "/b"); got != "known" {
		t.Errorf("content %q", got)
	}
	if sent := body.n; sent != 0 {
		t.Errorf("%d bytes were sent", sent)
	}
	b.consistent()
}

// Removed versions have no record, and the log tells edges; what the rule keeps stays.
func TestRetentionAndRemoval(t *testing.T) {
	b := newBench(t, Config{})
	rec, err := b.cat.Site(t.Context(), "www")
	b.must(err)
	rec.Rules.Retention = &object.Retention{Versions: 2}
	_, err = b.pub.UpdateSite(t.Context(), rec, "")
	b.must(err)
	for i := range 4 {
		b.put("/a", fmt.Sprint("state ", i))
		b.clock.step(time.Minute)
	}
	b.must(b.pub.Retain(t.Context()))
	vs, err := b.cat.Versions(t.Context(), "www", "/a", "", 0)
	if err != nil || len(vs) != 2 {
		t.Errorf("%d versions are left, %v", len(vs), err)
	}
	if n := b.erasures(); len(n) != 1 || len(n[0].Versions) != 2 || len(n[0].Contents) != 0 {
		t.Errorf("log entries %+v", n)
	}
	b.settle()
	b.only(b.lives([]object.Site{"www"}, []object.Path{"/a"}))
	a := b.want(b.call("DELETE", "/api/v1/sites/www/files/a?versions=all", nil), http.StatusOK)
	if !bytes.Contains(a.body, []byte(`"versions":2`)) {
		t.Errorf("answer %s", a.body)
	}
	b.want(b.call("GET", "/api/v1/sites/www/files/a", nil), http.StatusNotFound)
	b.settle()
	b.only(b.lives([]object.Site{"www"}, []object.Path{"/a"}))
	b.want(b.call("DELETE", "/api/v1/sites/www/files/a?versions=some", nil), http.StatusBadRequest)
}

// erasures returns the log entries of kind erase.
func (b *bench) erasures() (out []purge.Entry) {
	b.t.Helper()
	rows, err := b.cat.Rows(b.t.Context(), "", 0)
	b.must(err)
	for _, r := range rows {
		if r.Entry.Kind == purge.KindErase {
			out = append(out, r.Entry)
		}
	}
	return out
}

// What another site has as well stays in the bucket, and goes with the last of them; the answer names nobody.
func TestEraseOfSharedContent(t *testing.T) {
	b := newBench(t, Config{})
	_, err := b.pub.EnsureSite(t.Context(), object.SiteRecord{Format: 1, Site: "blog", Kind: object.Published, Hosts: []object.Host{"blog.test"}})
	b.must(err)
	for _, site := range []object.Site{"www", "blog"} {
		for _, path := range []object.Path{"/a", "/b"} {
			_, err := b.pub.Publish(t.Context(), File{Site: site, Path: path, Body: strings.NewReader("shared"), Size: 6})
			b.must(err)
		}
	}
	hash := object.HashOf([]byte("shared"))
	e, err := b.pub.EraseFiles(t.Context(), "www", "/a")
	if err != nil || e.Versions != 1 || e.KeptHere != 1 || e.KeptElsewhere != 0 || e.Blobs != 0 || e.ID == "" {
		t.Errorf("one of two paths: %+v, %v", e, err)
	}
	e, err = b.pub.EraseContent(t.Context(), hash, "www")
	if err != nil || e.Versions != 1 || e.KeptElsewhere != 1 || e.Blobs != 0 {
		t.Errorf("the rest of the site: %+v, %v", e, err)
	}
	if _, err := b.read(object.BlobKey(hash)); err != nil {
		t.Errorf("the other site's bytes: %v", err)
	}
	e, err = b.pub.EraseContent(t.Context(), hash, "")
	if err != nil || e.Versions != 2 || e.Blobs != 1 || e.Unfinished != 0 {
		t.Errorf("everywhere: %+v, %v", e, err)
	}
	if _, err := b.read(object.BlobKey(hash)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the bytes: %v", err)
	}
	es := b.erasures()
	if len(es) != 4 || !slices.ContainsFunc(es, func(e purge.Entry) bool { return len(e.Contents) == 1 && e.Contents[0].Hash == hash }) {
		t.Errorf("log entries %+v", es)
	}
	// The same content can be published anew at once, though the bucket may still be at work deleting it.
	_, err = b.pub.Publish(t.Context(), File{Site: "www", Path: "/a", Body: strings.NewReader("shared"), Size: 6})
	b.must(err)
	if got, _ := b.content("www", "/a"); got != "shared" {
		t.Errorf("published again: %q", got)
	}
	if _, err := b.pub.EraseFiles(t.Context(), "www", "/never"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path that never was: %v", err)
	}
	b.settle()
	b.only(b.lives([]object.Site{"www", "blog"}, []object.Path{"/a", "/b"}))
}

// An upload whose claim ended before it could refer to its bytes is refused: they may be gone.
func TestClaimThatEnded(t *testing.T) {
	b := newBench(t, Config{})
	b.pub.crash = func(s step) {
		if s == afterBlob {
			b.pub.crash = nil
			for range 3 {
				b.clock.step(30 * time.Hour)
				b.must(b.pub.Sweep(t.Context()))
			}
		}
	}
	b.want(b.put("/a", "slow"), http.StatusServiceUnavailable)
	if !b.missing("/a") {
		t.Error("it was published")
	}
	b.want(b.put("/a", "slow"), http.StatusCreated)
	b.settle()
	b.only(b.lives([]object.Site{"www"}, []object.Path{"/a"}))
}

// Objects that the catalogue does not know are told, and not touched.
func TestUnknownObjects(t *testing.T) {
	b := newBench(t, Config{})
	b.want(b.put("/a", "known"), http.StatusCreated)
	stray := object.UploadKey(newUploadID("www", "/x"))
	_, err := b.writer.Put(t.Context(), stray, []byte("stranger"), origin.PutOptions{})
	b.must(err)
	b.clock.step(100 * time.Hour)
	s, err := b.pub.FindStrays(t.Context())
	if err != nil || s.Objects != 1 || s.Bytes != 8 || len(s.Examples) != 1 || s.Examples[0] != string(stray) {
		t.Errorf("strays %+v, %v", s, err)
	}
	if _, err := b.read(stray); err != nil {
		t.Errorf("the stray: %v", err)
	}
}

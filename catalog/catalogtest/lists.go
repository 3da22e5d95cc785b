package catalogtest

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/purge"
)

func testSites(t *testing.T, b *bench) {
	_, err := b.Site(b.ctx, "www")
	b.want("missing site", err, fs.ErrNotExist)
	rec := b.site("www", "www.example.com")
	_, err = b.CreateSite(b.ctx, rec)
	b.want("same name", err, fs.ErrExist)
	_, err = b.CreateSite(b.ctx, object.SiteRecord{Format: 1, Site: "Bad", Kind: object.Published})
	b.want("bad name", err, object.ErrInvalid)

	rec.Rules.CacheControl = "no-cache"
	newer, err := b.UpdateSite(b.ctx, rec, rec.Version)
	b.must("update", err)
	if newer.Version <= rec.Version {
		t.Errorf("version %s after %s", newer.Version, rec.Version)
	}
	_, err = b.UpdateSite(b.ctx, rec, rec.Version)
	b.want("update of an old version", err, catalog.ErrPrecondition)
	pull := rec
	pull.Kind = object.Pull
	_, err = b.UpdateSite(b.ctx, pull, "")
	b.want("change of kind", err, object.ErrInvalid)
	rec.Site = "other"
	_, err = b.UpdateSite(b.ctx, rec, "")
	b.want("update of a missing site", err, fs.ErrNotExist)
	got, err := b.Site(b.ctx, "www")
	if err != nil || got.Rules.CacheControl != "no-cache" || got.Version != newer.Version {
		t.Errorf("site %+v, %v", got, err)
	}

	b.site("a")
	b.site("zz")
	all, err := b.Sites(b.ctx, "", 2)
	b.must("list", err)
	rest, err := b.Sites(b.ctx, all[1].Site, 2)
	b.must("list", err)
	var names []string
	for _, r := range append(all, rest...) {
		names = append(names, string(r.Site))
	}
	if !slices.Equal(names, []string{"a", "www", "zz"}) {
		t.Errorf("sites %v", names)
	}
}

func testHosts(t *testing.T, b *bench) {
	one := b.site("one", "one.test", "shared.test")
	_, err := b.CreateSite(b.ctx, object.SiteRecord{Format: 1, Site: "two", Kind: object.Published, Hosts: []object.Host{"two.test", "shared.test"}})
	b.want("host of another site", err, fs.ErrExist)
	if _, err := b.Site(b.ctx, "two"); err == nil {
		t.Error("a site was half made")
	}
	one.Hosts = []object.Host{"one.test"}
	_, err = b.UpdateSite(b.ctx, one, "")
	b.must("give a host up", err)
	two := b.site("two", "two.test", "shared.test")
	two.Hosts = append(two.Hosts, "one.test")
	_, err = b.UpdateSite(b.ctx, two, "")
	b.want("take a host", err, fs.ErrExist)
}

func testSiteStored(t *testing.T, b *bench) {
	old := b.site("www")
	rec, err := b.UpdateSite(b.ctx, old, "")
	b.must("update", err)
	_, err = b.SiteStored(b.ctx, "www", old.Version)
	b.want("confirm an old record", err, catalog.ErrLost)
	if un, err := b.UnstoredSites(b.ctx); err != nil || len(un) != 1 || un[0].Version != rec.Version {
		t.Errorf("unconfirmed: %v, %v", un, err)
	}
	id, err := b.SiteStored(b.ctx, "www", rec.Version)
	b.must("confirm", err)
	again, err := b.SiteStored(b.ctx, "www", rec.Version)
	if err != nil || again != "" {
		t.Errorf("confirming again: entry %q, %v", again, err)
	}
	rows := b.rows()
	if len(rows) != 1 || rows[0].Entry.ID != id || rows[0].Entry.Kind != purge.KindRules || rows[0].Entry.Record.Version != rec.Version {
		t.Errorf("rows %+v", rows)
	}
	if un, err := b.UnstoredSites(b.ctx); err != nil || len(un) != 0 {
		t.Errorf("unconfirmed: %v, %v", un, err)
	}
}

func testList(t *testing.T, b *bench) {
	var want []string
	for i := range 25 {
		p := b.publish(content("www", object.Path(fmt.Sprintf("/f%02d", i)), "x")).Path
		if i%5 == 0 {
			b.publish(tombstone("www", p))
		} else {
			want = append(want, string(p))
		}
	}
	b.publish(content("other", "/f03", "x"))
	for _, limit := range []int{1, 7, 0, 100000} {
		var got []string
		var after object.Path
		for {
			fs, err := b.ListFiles(b.ctx, "www", "", after, limit)
			b.must("list", err)
			if len(fs) == 0 {
				break
			}
			if limit > 0 && len(fs) > limit {
				t.Fatalf("%d files, limit %d", len(fs), limit)
			}
			for _, f := range fs {
				got = append(got, string(f.Pointer.Path))
			}
			after = fs[len(fs)-1].Pointer.Path
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: got %v", limit, got)
		}
	}
}

func testListPrefixes(t *testing.T, b *bench) {
	paths := []string{"/a", "/a/b", "/a/c d", "/aé", "/b/%", "/b/_x", "/文/档.txt", "/文件", "/\U0010FFFFz", "/\uD7FFq", "/\uE000"}
	for _, p := range paths {
		b.publish(content("www", object.Path(p), "x"))
	}
	slices.Sort(paths)
	for _, prefix := range []string{"", "/", "/a", "/a/", "/a/b", "/a/bb", "/b/%", "/b/_", "/文", "/\U0010FFFF", "/\uD7FF", "a", "zzz"} {
		var want, got []string
		for _, p := range paths {
			if strings.HasPrefix(p, prefix) {
				want = append(want, p)
			}
		}
		files, err := b.ListFiles(b.ctx, "www", prefix, "", 0)
		b.must("list", err)
		for _, f := range files {
			got = append(got, string(f.Pointer.Path))
		}
		if !slices.Equal(got, want) {
			t.Errorf("prefix %q: got %q, want %q", prefix, got, want)
		}
	}
}

func testRecent(t *testing.T, b *bench) {
	b.publish(content("www", "/1", "x"))
	b.publish(content("blog", "/2", "x"))
	b.publish(content("www", "/3", "x"))
	b.publish(content("www", "/1", "y"))
	b.publish(tombstone("www", "/3"))
	files, err := b.Recent(b.ctx, 2)
	if err != nil || len(files) != 2 || files[0].Pointer.Path != "/1" || files[1].Pointer.Path != "/2" {
		t.Errorf("recent: %+v, %v", files, err)
	}
}

func testVersions(t *testing.T, b *bench) {
	if vs, err := b.Versions(b.ctx, "www", "/a", "", 0); err != nil || len(vs) != 0 {
		t.Errorf("versions of nothing: %v, %v", vs, err)
	}
	var want []object.Version
	for i := range 5 {
		want = append(want, b.publish(content("www", "/a", fmt.Sprint(i))).Version)
	}
	want = append(want, b.publish(tombstone("www", "/a")).Version)
	slices.Reverse(want)
	var got []object.Version
	var before object.Version
	for {
		vs, err := b.Versions(b.ctx, "www", "/a", before, 4)
		b.must("versions", err)
		if len(vs) == 0 {
			break
		}
		for _, v := range vs {
			got = append(got, v.Version)
		}
		before = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	p, err := b.Version(b.ctx, "www", "/a", want[1])
	if err != nil || p.Hash != object.HashOf([]byte("4")) {
		t.Errorf("version %+v, %v", p, err)
	}
	_, err = b.Version(b.ctx, "www", "/b", want[1])
	b.want("version of another path", err, fs.ErrNotExist)
}

func testRows(t *testing.T, b *bench) {
	first := b.commit(b.reserve(content("www", "/a", "x")))
	second := b.commit(b.reserve(content("www", "/a", "y")))
	rows := b.rows()
	if len(rows) != 2 || rows[0].Entry.ID != first || rows[1].Entry.ID != second || first == second {
		t.Fatalf("rows %+v, committed as %s, %s", rows, first, second)
	}
	for _, r := range rows {
		if err := r.Entry.Validate(); err != nil || r.Entry.At.IsZero() || !r.Position.IsZero() {
			t.Errorf("row %+v: %v", r, err)
		}
	}
	rest, err := b.Rows(b.ctx, first, 0)
	if err != nil || len(rest) != 1 || rest[0].Entry.ID != second {
		t.Errorf("rows after %s: %+v, %v", first, rest, err)
	}
	id, last, _ := strings.Cut(second, "-")
	missing := id + "-" + last + "0"
	_, err = b.Row(b.ctx, missing)
	b.want("missing row", err, fs.ErrNotExist)
	if at, err := b.PositionOf(b.ctx, first); err != nil || !at.IsZero() {
		t.Errorf("position of a row that was not appended: %v, %v", at, err)
	}
	for _, id := range []string{"", "x", b.ID(), b.ID() + "-", missing, first + " ", id + "-01", "x" + first} {
		_, err := b.PositionOf(b.ctx, id)
		b.want("position of "+id, err, fs.ErrNotExist)
	}
}

func testPurges(t *testing.T, b *bench) {
	req := catalog.PurgeRequest{Paths: []object.Path{"/a", "/b"}, Prefixes: []object.Prefix{"/d/"}, Tags: []object.Tag{"t"}, Soft: true}
	_, err := b.EnqueuePurge(b.ctx, "www", req)
	b.want("purge of a missing site", err, fs.ErrNotExist)
	b.site("www")
	p, err := b.EnqueuePurge(b.ctx, "www", req)
	b.must("purge", err)
	var kinds []purge.Kind
	rows := b.rows()
	for _, r := range rows {
		kinds = append(kinds, r.Entry.Kind)
		if !r.Entry.Soft {
			t.Errorf("%s is not soft", r.Entry.Kind)
		}
	}
	if !slices.Equal(kinds, []purge.Kind{purge.KindURL, purge.KindURL, purge.KindPrefix, purge.KindTag}) {
		t.Errorf("entries %v", kinds)
	}
	last := rows[len(rows)-1]
	if p.ID != last.Entry.ID {
		t.Errorf("purge %+v, last row %+v", p, last)
	}
	got, err := b.Purge(b.ctx, p.ID)
	if err != nil || got.Site != "www" || len(got.Request.Paths) != 2 || !got.Created.Equal(p.Created) {
		t.Errorf("purge %+v, %v", got, err)
	}
	_, err = b.Purge(b.ctx, "nothing")
	b.want("missing purge", err, fs.ErrNotExist)
	all, err := b.EnqueuePurge(b.ctx, "www", catalog.PurgeRequest{All: true, Tags: []object.Tag{"t"}})
	b.must("purge all", err)
	if r, err := b.Row(b.ctx, all.ID); err != nil || r.Entry.Kind != purge.KindSite || len(b.rows()) != 5 {
		t.Errorf("purge all: %+v, %v", r, err)
	}
}

func testPurgeLimits(t *testing.T, b *bench) {
	b.site("www")
	_, err := b.EnqueuePurge(b.ctx, "www", catalog.PurgeRequest{})
	b.want("purge of nothing", err, object.ErrInvalid)
	many := make([]object.Path, catalog.MaxPurgeItems)
	for i := range many {
		many[i] = object.Path(fmt.Sprintf("/%d", i))
	}
	_, err = b.EnqueuePurge(b.ctx, "www", catalog.PurgeRequest{Paths: many, Tags: []object.Tag{"t"}})
	b.want("too many", err, object.ErrInvalid)
	_, err = b.EnqueuePurge(b.ctx, "www", catalog.PurgeRequest{Paths: []object.Path{"/ok", "//"}})
	b.want("bad path", err, object.ErrInvalid)
	if n := len(b.rows()); n != 0 {
		t.Errorf("%d rows of refused purges", n)
	}
	_, err = b.EnqueuePurge(b.ctx, "www", catalog.PurgeRequest{Paths: many})
	b.must("as many as allowed", err)
	if n := len(b.rows()); n != catalog.MaxPurgeItems {
		t.Errorf("%d rows", n)
	}
}

func testReopen(t *testing.T, b *bench) {
	b.site("www", "www.test")
	p := b.publish(content("www", "/a", "x"))
	id, rows := b.ID(), b.rows()
	b.reopen()
	if b.ID() != id {
		t.Errorf("catalogue id %s, was %s", b.ID(), id)
	}
	if f := b.file("www", "/a"); f.Pointer.Version != p.Version {
		t.Errorf("file %+v", f)
	}
	if again := b.rows(); len(again) != len(rows) || again[0].Entry.ID != rows[0].Entry.ID {
		t.Errorf("rows %+v, were %+v", again, rows)
	}
}

func testContext(t *testing.T, b *bench) {
	ctx, cancel := context.WithTimeout(b.ctx, -time.Second)
	defer cancel()
	_, err := b.Reserve(ctx, catalog.Change{Pointer: content("www", "/a", "x")})
	b.want("reserve", err, context.DeadlineExceeded)
	b.publish(content("www", "/a", "x"))
}

func testReferenced(t *testing.T, b *bench) {
	p := content("www", "/a", "x")
	if used, err := b.Referenced(b.ctx, p.Blob); err != nil || used {
		t.Errorf("before: %v, %v", used, err)
	}
	b.publish(p)
	b.publish(tombstone("www", "/a"))
	if used, err := b.Referenced(b.ctx, p.Blob); err != nil || !used {
		t.Errorf("an old version's blob: %v, %v", used, err)
	}
	if used, err := b.Referenced(b.ctx, ""); err != nil || used {
		t.Errorf("no blob: %v, %v", used, err)
	}
}

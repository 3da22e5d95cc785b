package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
)

func (b *bench) usage(site object.Site) catalog.Usage {
	b.t.Helper()
	u, err := b.Usage(b.ctx, site)
	b.must("usage", err)
	return u
}

// counted fails the test unless a site uses just that, and a recount finds the same.
func (b *bench) counted(what string, bytes, files int64) {
	b.t.Helper()
	u := b.usage("www")
	if u.Bytes != bytes || u.Files != files {
		b.t.Errorf("%s: %d bytes and %d files are counted, want %d and %d", what, u.Bytes, u.Files, bytes, files)
	}
	before, after, err := b.Recount(b.ctx, "www")
	b.must("recount", err)
	if before != after {
		b.t.Errorf("%s: counted %+v, a recount finds %+v", what, before, after)
	}
}

func testUsage(t *testing.T, b *bench) {
	b.site("www")
	b.counted("nothing", 0, 0)
	first := b.publish(content("www", "/a", "12345"))
	b.publish(content("www", "/b", "12345"))
	b.counted("two paths with the same content", 10, 2)
	b.publish(content("www", "/a", "123"))
	b.counted("a second version", 13, 2)
	first.Version = ""
	b.publish(first)
	b.counted("a rollback shares its bytes", 13, 2)
	r := b.reserve(content("www", "/c", "1234567"))
	b.counted("a reservation", 20, 3)
	b.must("release", b.Release(b.ctx, r))
	b.must("release again", b.Release(b.ctx, r))
	b.counted("released, twice", 13, 2)
	b.commit(r)
	b.counted("and committed all the same", 20, 3)
	b.commit(r)
	b.counted("committed twice", 20, 3)
	gone := b.reserve(tombstone("www", "/c"))
	b.counted("a deletion under way frees nothing", 20, 3)
	b.commit(gone)
	b.counted("deleted", 20, 2)
	b.publish(content("www", "/c", "1234567"))
	b.counted("the same bytes once more", 20, 3)
	head := content("www", "/d", "12")
	head.Version, head.Modified = object.NextVersion(b.clock.Now(), 0, ""), b.clock.Now().UTC().Truncate(time.Second)
	_, err := b.Adopt(b.ctx, "www", "/d", &head, `"e"`)
	b.must("adopt", err)
	b.counted("adopted", 22, 4)
	b.reserve(content("www", "/e", "1"))
	b.reopen()
	b.counted("a reservation of a past run", 23, 5)
	stale, err := b.Stale(b.ctx, 10)
	b.must("stale", err)
	for _, r := range stale {
		b.must("roll back", b.Release(b.ctx, r))
	}
	b.counted("rolled back", 22, 4)
}

func testQuota(t *testing.T, b *bench) {
	b.site("www")
	if _, err := b.SetQuota(b.ctx, "no", catalog.Quota{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("quota of no site: %v", err)
	}
	if _, err := b.SetQuota(b.ctx, "www", catalog.Quota{Bytes: -1}); !errors.Is(err, object.ErrInvalid) {
		t.Errorf("negative quota: %v", err)
	}
	want := catalog.Quota{Bytes: 10, Files: 2, File: 8, Form: 3}
	u, err := b.SetQuota(b.ctx, "www", want)
	b.must("set", err)
	if u.Quota != want || b.usage("www").Quota != want {
		t.Errorf("quota %+v", u)
	}
	b.publish(content("www", "/a", "12345"))
	refused := func(what string, p object.Pointer) {
		t.Helper()
		_, err := b.Reserve(b.ctx, catalog.Change{Pointer: p})
		var q *catalog.QuotaError
		if !errors.Is(err, catalog.ErrQuota) || !errors.As(err, &q) || q.Usage.Site != "www" {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("too many bytes", content("www", "/b", "123456"))
	b.publish(content("www", "/b", "12345"))
	bytes, files := b.usage("www").Left()
	if bytes != 0 || files != 0 {
		t.Errorf("left %d bytes, %d files", bytes, files)
	}
	refused("too many files", content("www", "/c", ""))
	b.publish(content("www", "/b", ""))
	b.publish(tombstone("www", "/b"))
	b.publish(content("www", "/c", ""))
	if _, err = b.SetQuota(b.ctx, "www", catalog.Quota{Bytes: 5, Files: 1}); err != nil {
		t.Fatal(err)
	}
	refused("a lowered quota", content("www", "/a", "1"))
	b.publish(tombstone("www", "/a"))
	b.publish(tombstone("www", "/c"))
	_, err = b.SetQuota(b.ctx, "www", catalog.Quota{})
	b.must("no quota", err)
	b.publish(content("www", "/a", "123456789"))
	b.counted("after all", 19, 1)
	us, err := b.Usages(b.ctx, "a", "z")
	if err != nil || len(us) != 1 || us[0] != b.usage("www") {
		t.Errorf("usages %+v, %v", us, err)
	}
}

// testQuotaRace: whatever runs at the same time, the sum stays within the quota, and all of it can be used.
func testQuotaRace(t *testing.T, b *bench) {
	b.site("www")
	const writers, fits = 24, 10
	_, err := b.SetQuota(b.ctx, "www", catalog.Quota{Bytes: fits * 7})
	b.must("set", err)
	var wg sync.WaitGroup
	var good, full atomic.Int32
	for i := range writers {
		wg.Go(func() {
			r, err := b.Reserve(b.ctx, catalog.Change{Pointer: content("www", object.Path(fmt.Sprintf("/%d", i)), fmt.Sprintf("seven%02d", i))})
			switch {
			case errors.Is(err, catalog.ErrQuota):
				full.Add(1)
				return
			case err != nil:
				t.Error(err)
				return
			}
			if _, err := b.Commit(b.ctx, r, etagOf(r.Pointer)); err != nil {
				t.Error(err)
			}
			good.Add(1)
		})
	}
	wg.Wait()
	if good.Load() != fits || full.Load() != writers-fits {
		t.Errorf("%d were published and %d refused, want %d and %d", good.Load(), full.Load(), fits, writers-fits)
	}
	b.counted("after the race", fits*7, fits)
}

func (b *bench) audit(f catalog.AuditFilter) []catalog.AuditEntry {
	b.t.Helper()
	es, err := b.Audit(b.ctx, f, 0)
	b.must("audit", err)
	return es
}

func testAudit(t *testing.T, b *bench) {
	ann := catalog.Actor{Key: "k1", Name: "Ann", Method: "PUT", Request: "r1", Remote: "loopback"}
	quiet := b.ctx
	b.ctx = catalog.WithActor(quiet, ann)
	b.site("www")
	p := b.publish(content("www", "/a", "1"))
	b.publish(tombstone("www", "/a"))
	r, err := b.Reserve(b.ctx, catalog.Change{Pointer: content("www", "/a", "1"), Action: catalog.FileRolledBack})
	b.must("reserve", err)
	b.ctx = quiet
	b.reopen()
	b.commit(r) // as the sweeper of the next run does
	b.commit(r)
	_, err = b.EnqueuePurge(b.ctx, "www", catalog.PurgeRequest{All: true})
	b.must("purge", err)
	b.must("note", b.Note(catalog.WithActor(b.ctx, ann), catalog.AuditEntry{Action: catalog.NodeDrained, Object: "fra", Outcome: catalog.OutcomeUnknown}))

	es := b.audit(catalog.AuditFilter{})
	var got []string
	for _, e := range es {
		got = append(got, fmt.Sprintf("%s %s %s %s %s", e.Key, e.Action, e.Site, e.Object, e.Outcome))
		if e.At.IsZero() || e.Key == "k1" && (e.Name != "Ann" || e.Request != "r1" || e.Remote != "loopback" || e.Method != "PUT") {
			t.Errorf("entry %+v", e)
		}
	}
	want := []string{
		"k1 node.drain  fra unknown", " purge www " + es[1].Object + " done", "k1 file.rollback www /a recovered",
		"k1 file.delete www /a done", "k1 file.publish www /a done", "k1 site.create www  done",
	}
	if !slices.Equal(got, want) {
		t.Errorf("entries %q\nwant %q", got, want)
	}
	if es[4].Detail != "version "+string(p.Version) {
		t.Errorf("detail %q", es[4].Detail)
	}
	if n := len(b.audit(catalog.AuditFilter{Site: "www"})); n != 5 {
		t.Errorf("%d entries of the site", n)
	}
	if n := len(b.audit(catalog.AuditFilter{Key: "k1"})); n != 5 {
		t.Errorf("%d entries of the key", n)
	}
	var paged []catalog.AuditEntry
	for f := (catalog.AuditFilter{}); ; f.Before = paged[len(paged)-1].ID {
		page, err := b.Audit(b.ctx, f, 2)
		b.must("page", err)
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
	}
	if !slices.Equal(paged, es) {
		t.Errorf("pages have %v, the whole is %v", paged, es)
	}
	b.clock.step(48 * time.Hour)
	b.publish(content("www", "/b", "1"))
	if n, err := b.Expire(b.ctx, 24*time.Hour); n != 6 || err != nil {
		t.Errorf("expired %d, %v", n, err)
	}
	if es := b.audit(catalog.AuditFilter{}); len(es) != 1 || es[0].Object != "/b" {
		t.Errorf("left %+v", es)
	}
}

// testRefusedIsNotAudited: a change that was not made has no entry.
func testRefusedIsNotAudited(t *testing.T, b *bench) {
	b.site("www")
	before := len(b.audit(catalog.AuditFilter{}))
	b.must("release", b.Release(b.ctx, b.reserve(content("www", "/a", "1"))))
	_, err := b.CreateSite(b.ctx, object.SiteRecord{Format: 1, Site: "www", Kind: object.Published})
	b.want("a name twice", err, fs.ErrExist)
	_, err = b.EnqueuePurge(b.ctx, "no", catalog.PurgeRequest{All: true})
	b.want("purge of no site", err, fs.ErrNotExist)
	if n := len(b.audit(catalog.AuditFilter{})); n != before {
		t.Errorf("%d entries for nothing", n-before)
	}
}

func testOnce(t *testing.T, b *bench) {
	b.site("www")
	id := catalog.OnceID("k1", "order-1")
	begin := func(id, print string) catalog.Once {
		t.Helper()
		o, err := b.BeginOnce(b.ctx, id, "k1", print)
		b.must("begin", err)
		return o
	}
	is := func(what string, o catalog.Once, want catalog.OnceState) catalog.Once {
		t.Helper()
		if o.State != want {
			t.Errorf("%s: %s, want %s", what, o.State, want)
		}
		return o
	}
	first := is("first", begin(id, "p"), catalog.OnceNew)
	is("while it runs", begin(id, "p"), catalog.OnceRunning)
	is("another request", begin(id, "q"), catalog.OnceOther)
	is("another client's key", begin(catalog.OnceID("k2", "order-1"), "q"), catalog.OnceNew)
	b.must("drop", b.DropOnce(b.ctx, first))
	first = is("dropped without effect", begin(id, "p"), catalog.OnceNew)
	answer := catalog.Answer{Status: 201, Header: `{"ETag":["x"]}`, Body: `{"ü":1}`, BodyHash: "ab", BodyRead: 7, BodyEnded: true}
	b.must("finish", b.FinishOnce(b.ctx, first, answer))
	b.reopen()
	if o := is("done, after a restart", begin(id, "p"), catalog.OnceDone); o.Answer != answer {
		t.Errorf("answer %+v", o.Answer)
	}
	is("done, another request", begin(id, "q"), catalog.OnceOther)
	b.clock.step(25 * time.Hour)
	is("a day later", begin(id, "q"), catalog.OnceNew)

	// A crash: without an effect the request may come again, with one it may not.
	id = catalog.OnceID("k1", "order-2")
	is("before a crash", begin(id, "p"), catalog.OnceNew)
	b.clock.step(time.Minute)
	first = is("after a crash without an effect", begin(id, "p"), catalog.OnceNew)
	ctx := b.ctx
	b.ctx = catalog.WithActor(ctx, catalog.Actor{Key: "k1", Once: first.Series})
	b.publish(content("www", "/a", "1"))
	b.publish(content("www", "/a", "2"))
	b.ctx = ctx
	is("it still runs", begin(id, "p"), catalog.OnceRunning)
	b.clock.step(time.Minute)
	o := is("after a crash with an effect", begin(id, "p"), catalog.OnceLost)
	e, err := b.AuditEntry(b.ctx, o.Effect)
	if err != nil || e.Object != "/a" || e.Key != "k1" {
		t.Errorf("effect %+v, %v", e, err)
	}
	if _, err := b.AuditEntry(b.ctx, "no"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no entry: %v", err)
	}

	// Dropped with an effect: the answer is lost, the effect is not made twice.
	id = catalog.OnceID("k1", "order-3")
	o = is("new", begin(id, "p"), catalog.OnceNew)
	b.ctx = catalog.WithActor(ctx, catalog.Actor{Key: "k1", Once: o.Series})
	b.publish(content("www", "/a", "3"))
	b.ctx = ctx
	b.must("drop", b.DropOnce(b.ctx, o))
	is("dropped with an effect", begin(id, "p"), catalog.OnceLost)
	b.clock.step(25 * time.Hour)
	_, err = b.Expire(b.ctx, 0)
	b.must("expire", err)
	is("expired", begin(id, "q"), catalog.OnceNew)
}

// testOnceOne: of several that send the same request at once, one carries it out.
func testOnceOne(t *testing.T, b *bench) {
	var wg sync.WaitGroup
	var fresh atomic.Int32
	for range 8 {
		wg.Go(func() {
			o, err := b.BeginOnce(context.WithoutCancel(b.ctx), "id", "k", "p")
			if err != nil {
				t.Error(err)
			} else if o.State == catalog.OnceNew {
				fresh.Add(1)
			} else if o.State != catalog.OnceRunning {
				t.Errorf("state %s", o.State)
			}
		})
	}
	wg.Wait()
	if fresh.Load() != 1 {
		t.Errorf("%d carry it out", fresh.Load())
	}
}

func testListPurges(t *testing.T, b *bench) {
	b.site("www")
	b.site("img")
	var want []string
	for i := range 5 {
		p, err := b.EnqueuePurge(b.ctx, []object.Site{"www", "img"}[i%2], catalog.PurgeRequest{All: true})
		b.must("purge", err)
		want = append([]string{p.ID}, want...)
	}
	var got []string
	for before := (catalog.PurgeMark{}); ; {
		ps, err := b.Purges(b.ctx, "", before, 2)
		b.must("purges", err)
		if len(ps) == 0 {
			break
		}
		for _, p := range ps {
			got, before = append(got, p.ID), catalog.PurgeMark{Created: p.Created, ID: p.ID}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("purges %v, want %v", got, want)
	}
	if ps, err := b.Purges(b.ctx, "img", catalog.PurgeMark{}, 0); err != nil || len(ps) != 2 || ps[0].ID != want[1] {
		t.Errorf("of a site: %v, %v", ps, err)
	}
}

package catalogtest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
)

// testKeyUses: the newest use of a key counts, whoever tells of it when, and ends with a key of the catalogue.
func testKeyUses(t *testing.T, b *bench) {
	at := func(minute int) time.Time { return time.Date(2026, 5, 1, 12, minute, 0, 0, time.UTC) }
	b.must("none", b.NoteKeyUses(b.ctx, nil))
	b.must("add", b.KeyStore().Add(b.ctx, "aa", json.RawMessage(`{"id":"aa"}`), 10))
	b.must("note", b.NoteKeyUses(b.ctx, map[string]time.Time{"aa": at(1), "env-x": at(2)}))
	b.must("note", b.NoteKeyUses(b.ctx, map[string]time.Time{"aa": at(3), "env-x": at(1)}))
	b.reopen()
	used, err := b.KeyUses(b.ctx)
	b.must("uses", err)
	if want := map[string]time.Time{"aa": at(3), "env-x": at(2)}; fmt.Sprint(used) != fmt.Sprint(want) {
		t.Errorf("used %v, want %v", used, want)
	}
	b.must("remove", b.KeyStore().Remove(b.ctx, "aa"))
	if used, err = b.KeyUses(b.ctx); err != nil || len(used) != 1 {
		t.Errorf("after the removal %v, %v", used, err)
	}
}

// testNotedOnce: an entry that comes from elsewhere is there once, with its own time, however often it comes.
func testNotedOnce(t *testing.T, b *bench) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	e := catalog.AuditEntry{ID: catalog.NewAuditID(at), At: at, Actor: catalog.Actor{Key: "offline", Name: "ann@host"}, Action: catalog.KeyRevoked, Object: "aa"}
	for range 3 {
		b.must("note", b.NoteOnce(b.ctx, e))
		b.reopen()
	}
	es := b.audit(catalog.AuditFilter{})
	if len(es) != 1 || es[0].ID != e.ID || !es[0].At.Equal(at) || es[0].Name != "ann@host" || es[0].Outcome != catalog.OutcomeDone {
		t.Errorf("entries %+v", es)
	}
}

// testNothingStored: a site whose content lies elsewhere has neither a quota nor anything to count, and says where to look.
func testNothingStored(t *testing.T, b *bench) {
	for _, rec := range []object.SiteRecord{
		{Format: 1, Site: "media", Kind: object.Bucket, Bucket: &object.BucketSource{Prefix: "media/"}},
		{Format: 1, Site: "shop", Kind: object.Pull, Origin: &object.PullOrigin{URL: "https://shop.example"}},
	} {
		_, err := b.CreateSite(b.ctx, rec)
		b.must("create", err)
		_, err = b.SetQuota(b.ctx, rec.Site, catalog.Quota{Bytes: 1})
		b.want("quota", err, object.ErrKind)
		_, _, err = b.Recount(b.ctx, rec.Site)
		b.want("recount", err, object.ErrKind)
	}
}

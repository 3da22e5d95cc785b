package catalogtest

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/purge"
)

// claim claims the blob of a pointer for somebody who is going to store it.
func (b *bench) claim(p object.Pointer) catalog.Claim {
	b.t.Helper()
	c, err := b.ClaimNew(b.ctx, catalog.BlobOf(&p))
	b.must("claim", err)
	return c
}

// publishClaimed is a whole change under a claim.
func (b *bench) publishClaimed(p object.Pointer) object.Pointer {
	b.t.Helper()
	r, err := b.Reserve(b.ctx, catalog.Change{Pointer: p, Claim: b.claim(p)})
	b.must("reserve", err)
	b.commit(r)
	return r.Pointer
}

// blobState returns the state of a pointer's blob; "" if there is no such row.
func (b *bench) blobState(p object.Pointer) catalog.BlobState {
	b.t.Helper()
	row, err := b.Blob(b.ctx, p.Blob)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	b.must("blob", err)
	return row.State
}

func (b *bench) wantBlob(what string, p object.Pointer, want catalog.BlobState) {
	b.t.Helper()
	if got := b.blobState(p); got != want {
		b.t.Errorf("%s: the blob is %q, want %q", what, got, want)
	}
}

func testClaims(t *testing.T, b *bench) {
	p := content("www", "/a", "x")
	c := b.claim(p)
	b.wantBlob("claimed", p, catalog.BlobLive)
	b.must("give up", b.Unclaim(b.ctx, c))
	b.wantBlob("given up", p, catalog.BlobCondemned)
	b.must("give up again", b.Unclaim(b.ctx, c))
	_, err := b.ClaimHeld(b.ctx, "www", p.Hash)
	b.want("a hash that the site does not refer to", err, fs.ErrNotExist)
	c = b.claim(p)
	b.wantBlob("claimed again", p, catalog.BlobLive)
	b.clock.step(time.Hour)
	b.must("expire", b.ExpireClaims(b.ctx, 0))
	b.wantBlob("expired", p, catalog.BlobCondemned)
	_, err = b.Reserve(b.ctx, catalog.Change{Pointer: p, Claim: c})
	b.want("a claim that has ended", err, catalog.ErrUnclaimed)
	if _, err := b.Reserve(b.ctx, catalog.Change{Pointer: p, Claim: b.claim(p)}); err != nil {
		t.Errorf("the path is held by the one that was refused: %v", err)
	}
}

func testReferences(t *testing.T, b *bench) {
	p := b.publishClaimed(content("www", "/a", "x"))
	held, err := b.ClaimHeld(b.ctx, "www", p.Hash)
	if err != nil || held.Blob.Key != p.Blob || held.Blob.Size != p.Size || held.Blob.Root != p.Root {
		t.Errorf("claim of what the site has: %+v, %v", held, err)
	}
	_, err = b.ClaimHeld(b.ctx, "blog", p.Hash)
	b.want("another site's hash", err, fs.ErrNotExist)
	b.must("give up", b.Unclaim(b.ctx, held))
	b.wantBlob("still referred to", p, catalog.BlobLive)
	if rs, err := b.RefsOf(b.ctx, p.Hash, "", 0); err != nil || len(rs) != 1 || rs[0].Path != "/a" || rs[0].Version != p.Version {
		t.Errorf("references %+v, %v", rs, err)
	}
	if here, elsewhere, err := b.UsersOf(b.ctx, held.Blob, "blog"); err != nil || here || !elsewhere {
		t.Errorf("users: %v, %v, %v", here, elsewhere, err)
	}
	v, err := b.ClaimVersion(b.ctx, &p)
	b.must("claim a version", err)
	b.must("give up", b.Unclaim(b.ctx, v))
	b.must("drop", b.DropRef(b.ctx, &p))
	b.wantBlob("dropped", p, catalog.BlobCondemned)
	_, err = b.ClaimVersion(b.ctx, &p)
	b.want("a version without its reference", err, fs.ErrNotExist)
}

func testDoubt(t *testing.T, b *bench) {
	p := content("www", "/a", "x")
	c := b.claim(p)
	r, err := b.Reserve(b.ctx, catalog.Change{Pointer: p, Claim: c})
	b.must("reserve", err)
	b.must("give up", b.Unclaim(b.ctx, c))
	b.wantBlob("reserved", p, catalog.BlobLive)
	unsure := func() catalog.Ref {
		t.Helper()
		rs, err := b.UnsureRefs(b.ctx, b.clock.Now().Add(time.Minute), 0)
		if err != nil || len(rs) != 1 {
			t.Fatalf("unsure references %+v, %v", rs, err)
		}
		return rs[0]
	}
	if st, err := b.SettleRef(b.ctx, unsure()); err != nil || st != catalog.StandsReserved {
		t.Errorf("a reservation: %q, %v", st, err)
	}
	b.must("release", b.Release(b.ctx, r))
	b.wantBlob("released", p, catalog.BlobCondemned)
	if rs, err := b.UnsureRefs(b.ctx, b.clock.Now().Add(time.Minute), 0); err != nil || len(rs) != 0 {
		t.Errorf("after the release: %+v, %v", rs, err)
	}
	b.publish(p) // without a claim, as a pointer that the bucket had first
	b.wantBlob("published without a claim", p, catalog.BlobLive)
	if rs, err := b.RefsOf(b.ctx, p.Hash, "www", 0); err != nil || len(rs) != 1 {
		t.Errorf("references %+v, %v", rs, err)
	}
}

func testWaning(t *testing.T, b *bench) {
	p := content("www", "/a", "x")
	b.must("give up", b.Unclaim(b.ctx, b.claim(p)))
	waning := func(state catalog.BlobState) catalog.Blob {
		t.Helper()
		bs, err := b.WaningBlobs(b.ctx, state, b.clock.Now().Add(time.Minute), 0)
		if err != nil || len(bs) != 1 {
			t.Fatalf("%s blobs %+v, %v", state, bs, err)
		}
		return bs[0]
	}
	seen := waning(catalog.BlobCondemned)
	b.clock.step(time.Minute)
	b.must("give up", b.Unclaim(b.ctx, b.claim(p)))
	if _, moved, err := b.MoveBlob(b.ctx, seen, catalog.BlobDeleting); err != nil || moved {
		t.Errorf("a blob that was claimed in between: moved %v, %v", moved, err)
	}
	seen = waning(catalog.BlobCondemned)
	now, moved, err := b.MoveBlob(b.ctx, seen, catalog.BlobDeleting)
	if err != nil || !moved || now.State != catalog.BlobDeleting {
		t.Fatalf("delete: %+v, %v, %v", now, moved, err)
	}
	_, err = b.ClaimNew(b.ctx, catalog.BlobOf(&p))
	b.want("a claim on what is being deleted", err, catalog.ErrDeleting)
	if n, err := b.CountWaning(b.ctx); err != nil || n[catalog.BlobDeleting] != (catalog.BlobCounts{Blobs: 1, Bytes: p.Size}) || n[catalog.BlobCondemned].Blobs != 0 {
		t.Errorf("counts %+v, %v", n, err)
	}
	again, moved, err := b.MoveBlob(b.ctx, waning(catalog.BlobDeleting), catalog.BlobDeleting)
	if err != nil || !moved || !again.Since.After(now.Since) {
		t.Errorf("mark again: %+v, %v, %v", again, moved, err)
	}
	if _, moved, err := b.MoveBlob(b.ctx, now, ""); err != nil || moved {
		t.Errorf("forget by an old look: %v, %v", moved, err)
	}
	if _, moved, err := b.MoveBlob(b.ctx, again, ""); err != nil || !moved {
		t.Errorf("forget: %v, %v", moved, err)
	}
	b.wantBlob("forgotten", p, "")
}

func testNamed(t *testing.T, b *bench) {
	p := b.publishClaimed(content("www", "/a", "x"))
	b.must("drop the reference of a version that there is", b.DropRef(b.ctx, &p))
	seen, err := b.Blob(b.ctx, p.Blob)
	b.must("blob", err)
	if _, moved, err := b.MoveBlob(b.ctx, seen, catalog.BlobDeleting); err != nil || moved {
		t.Errorf("a blob that a version names: moved %v, %v", moved, err)
	}
	b.wantBlob("made good", p, catalog.BlobLive)
}

func testRemovals(t *testing.T, b *bench) {
	old := b.publishClaimed(content("www", "/a", "x"))
	cur := b.publishClaimed(content("www", "/a", "y"))
	if ps, err := b.AgedPaths(b.ctx, "www", object.SlotOf("www", "/a"), "", 0); err != nil || len(ps) != 1 || ps[0] != "/a" {
		t.Errorf("paths with old versions %v, %v", ps, err)
	}
	if ps, err := b.AgedPaths(b.ctx, "www", object.SlotOf("www", "/a"), "/a", 0); err != nil || len(ps) != 0 {
		t.Errorf("paths behind it %v, %v", ps, err)
	}
	rs, err := b.RemoveVersions(b.ctx, "www", "/a", []object.Version{old.Version, cur.Version}, true)
	if err != nil || len(rs) != 1 || rs[0].Pointer.Version != old.Version || !rs[0].Erase {
		t.Fatalf("removed %+v, %v", rs, err)
	}
	if vs, err := b.Versions(b.ctx, "www", "/a", "", 0); err != nil || len(vs) != 1 || vs[0].Version != cur.Version {
		t.Errorf("versions %+v, %v", vs, err)
	}
	if left, err := b.Removals(b.ctx, 0); err != nil || len(left) != 1 || left[0].Pointer.Blob != old.Blob {
		t.Errorf("removals %+v, %v", left, err)
	}
	entry, err := b.FinishRemoval(b.ctx, rs, []purge.Content{purge.ContentOf(&old)})
	b.must("finish", err)
	row, err := b.Row(b.ctx, entry)
	if e := row.Entry; err != nil || e.Kind != purge.KindErase || e.Path != "/a" || len(e.Versions) != 1 || e.Versions[0] != old.Version || len(e.Contents) != 1 {
		t.Errorf("entry %+v, %v", row, err)
	}
	if entry, err := b.FinishRemoval(b.ctx, rs, nil); err != nil || entry != "" {
		t.Errorf("finished twice: %q, %v", entry, err)
	}
	if left, err := b.Removals(b.ctx, 0); err != nil || len(left) != 0 {
		t.Errorf("removals %+v, %v", left, err)
	}
}

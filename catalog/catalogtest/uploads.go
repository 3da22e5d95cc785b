package catalogtest

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/object"
)

// uploadID is the id of an upload to the path "/" + c of site www.
func uploadID(c string) object.UploadID {
	return object.NewUploadID("www", object.Path("/"+c), [16]byte{15: c[0]})
}

// large makes a pointer whose blob came from an upload.
func large(path object.Path, id object.UploadID) object.Pointer {
	p := content("www", path, string(id))
	p.Blob = object.UploadKey(id)
	return p
}

// stale returns the ids of the stale uploads.
func (b *bench) stale() map[object.UploadID]catalog.Upload {
	b.t.Helper()
	us, err := b.StaleUploads(b.ctx, 0)
	b.must("stale uploads", err)
	ids := map[object.UploadID]catalog.Upload{}
	for _, u := range us {
		ids[u.ID] = u
	}
	return ids
}

func testStreamed(t *testing.T, b *bench) {
	for _, c := range []string{"1", "2", "3", "4"} {
		_, err := b.OpenUpload(b.ctx, catalog.Upload{ID: uploadID(c), Kind: catalog.Streamed, Site: "www", Path: object.Path("/" + c)})
		b.must("open", err)
	}
	b.clock.step(1000 * time.Hour)
	if got := b.stale(); len(got) != 0 {
		t.Errorf("uploads of this run are stale: %v", got)
	}
	r, err := b.Reserve(b.ctx, catalog.Change{Pointer: large("/1", uploadID("1")), Upload: uploadID("1")})
	b.must("reserve", err)
	b.commit(r)
	_, err = b.Upload(b.ctx, uploadID("1"))
	b.want("a committed upload", err, fs.ErrNotExist)

	b.must("abandon", b.AbandonUpload(b.ctx, uploadID("2")))
	if got := b.stale(); len(got) != 1 || got[uploadID("2")].State != catalog.UploadAbandoned {
		t.Errorf("after abandon: %v", got)
	}
	r, err = b.Reserve(b.ctx, catalog.Change{Pointer: large("/3", uploadID("3")), Upload: uploadID("3")})
	b.must("reserve", err)

	b.reopen()
	if got := b.stale(); len(got) != 2 || got[uploadID("4")].Path != "/4" {
		t.Errorf("after a restart, one still reserved: %v", got)
	}
	b.must("release", b.Release(b.ctx, r))
	if got := b.stale(); len(got) != 3 {
		t.Errorf("after the release: %v", got)
	}
	b.must("forget", b.ForgetUpload(b.ctx, uploadID("4")))
	if got := b.stale(); len(got) != 2 {
		t.Errorf("after forget: %v", got)
	}
}

func testResumable(t *testing.T, b *bench) {
	in := func(d time.Duration) time.Time { return b.clock.Now().Add(d).UTC().Truncate(time.Microsecond) }
	u := catalog.Upload{ID: uploadID("a"), Kind: catalog.Resumable, Site: "www", Path: "/a", Metadata: "path L2E=", Concat: "final;/a /b", Expires: in(time.Hour)}
	_, err := b.OpenUpload(b.ctx, u)
	b.must("open", err)
	if _, err := b.OpenUpload(b.ctx, u); err == nil {
		t.Error("one id was opened twice")
	}
	b.reopen()
	got, err := b.Upload(b.ctx, u.ID)
	u.State = catalog.UploadOpen
	if err != nil || got != u {
		t.Errorf("got %+v, %v, want %+v", got, err, u)
	}
	b.must("extend", b.ExtendUpload(b.ctx, u.ID, in(3*time.Hour)))
	b.clock.step(2 * time.Hour)
	if got := b.stale(); len(got) != 0 {
		t.Errorf("stale too early: %v", got)
	}
	r, err := b.Reserve(b.ctx, catalog.Change{Pointer: large("/a", u.ID), Upload: u.ID})
	b.must("reserve", err)
	b.commit(r)
	b.must("abandon a resumable upload", b.AbandonUpload(b.ctx, u.ID))
	if got, err := b.Upload(b.ctx, u.ID); err != nil || got.State != catalog.UploadDone || got.Version != r.Pointer.Version {
		t.Errorf("after commit: %+v, %v", got, err)
	}
	b.clock.step(2 * time.Hour)
	if got := b.stale(); len(got) != 1 || got[u.ID].State != catalog.UploadDone {
		t.Errorf("after expiry: %v", got)
	}
	if _, err := b.Upload(b.ctx, uploadID("f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing upload: %v", err)
	}
}

func testLeases(t *testing.T, b *bench) {
	id := uploadID("a")
	expires := b.clock.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	first, err := b.OpenUpload(b.ctx, catalog.Upload{ID: id, Kind: catalog.Resumable, Site: "www", Path: "/a", Expires: expires})
	b.must("open", err)
	if _, err := b.LeaseUpload(b.ctx, uploadID("f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lease of a missing upload: %v", err)
	}
	b.must("release", b.ReleaseUpload(b.ctx, first, expires.Add(time.Minute)))
	second, err := b.LeaseUpload(b.ctx, id)
	b.must("lease", err)
	if second.Fence <= first.Fence || second.Torn || second.Upload.Path != "/a" || !second.Upload.Expires.Equal(expires.Add(time.Minute)) {
		t.Errorf("second lease %+v", second)
	}
	if wanted, err := b.RenewUpload(b.ctx, &second); err != nil || wanted {
		t.Errorf("renewal: %v, %v", wanted, err)
	}
	// Another run of the program takes over once the lease is over, and knows that it was not released.
	b.reopen()
	b.clock.step(time.Minute)
	third, err := b.LeaseUpload(b.ctx, id)
	b.must("lease of another run", err)
	if third.Fence <= second.Fence || !third.Torn {
		t.Errorf("third lease %+v", third)
	}
	_, err = b.RenewUpload(b.ctx, &second)
	b.want("renewal of a lost lease", err, catalog.ErrTaken)
	b.must("release of a lost lease", b.ReleaseUpload(b.ctx, second, expires))
	if _, err := b.RenewUpload(b.ctx, &third); err != nil {
		t.Errorf("a lost lease was released with the present one: %v", err)
	}
	// Publishing asks for the present fence.
	_, err = b.Reserve(b.ctx, catalog.Change{Pointer: large("/a", id), Upload: id, Fence: second.Fence})
	b.want("publication under a lost lease", err, catalog.ErrTaken)
	r, err := b.Reserve(b.ctx, catalog.Change{Pointer: large("/a", id), Upload: id, Fence: third.Fence})
	b.must("reserve", err)
	b.commit(r)
	_, err = b.Reserve(b.ctx, catalog.Change{Pointer: large("/a", id), Upload: id, Fence: third.Fence})
	b.want("publication of an upload that is done", err, catalog.ErrDone)

	gone, err := b.OpenUpload(b.ctx, catalog.Upload{ID: uploadID("b"), Kind: catalog.Direct, Site: "www", Path: "/b", Expires: expires})
	b.must("open", err)
	b.must("retire", b.RetireUpload(b.ctx, gone, expires.Add(time.Hour)))
	if u, err := b.Upload(b.ctx, uploadID("b")); err != nil || u.State != catalog.UploadGone || !u.Expires.Equal(expires.Add(time.Hour)) {
		t.Errorf("a retired upload: %+v, %v", u, err)
	}
}

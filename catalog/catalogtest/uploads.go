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
		b.must("open", b.OpenUpload(b.ctx, catalog.Upload{ID: uploadID(c), Kind: catalog.Streamed, Site: "www", Path: object.Path("/" + c)}))
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
	u := catalog.Upload{ID: uploadID("a"), Kind: catalog.Resumable, Site: "www", Path: "/a", Metadata: "path L2E=", Expires: in(time.Hour)}
	b.must("open", b.OpenUpload(b.ctx, u))
	if err := b.OpenUpload(b.ctx, u); err == nil {
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

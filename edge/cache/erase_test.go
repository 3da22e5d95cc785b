package cache

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

// eraseEntry says that versions are gone for good, and their bytes.
func eraseEntry(ps ...*object.Pointer) purge.Entry {
	en := purge.Entry{Kind: purge.KindErase, Path: ps[0].Path}
	for _, p := range ps {
		en.Versions = append(en.Versions, p.Version)
		en.Contents = append(en.Contents, purge.ContentOf(p))
	}
	return en
}

// unpublish takes out of the bucket what an erase takes out of it before its entry is in the log; the path is left with a tombstone.
func (r *rig) unpublish(ps ...*object.Pointer) {
	gone := *ps[len(ps)-1]
	gone = object.Pointer{Format: 1, Site: gone.Site, Path: gone.Path, State: object.Gone, Modified: gone.Modified, Version: object.NextVersion(gone.Version.Time(), 0, gone.Version)}
	r.o.PutPointer(&gone)
	for _, p := range ps {
		r.o.Delete(object.VersionKey(p.Site, p.Path, p.Version))
		r.o.Delete(p.Blob)
		r.o.Delete(object.TreeKey(p.Blob))
	}
	r.apply(pointerEntry(&gone))
}

// An erase that the log tells of leaves nothing of the bytes, neither in files nor in memory, and no version that can be asked for.
func TestEraseByTheLog(t *testing.T) {
	for _, restart := range []bool{false, true} {
		r := newRig(t, nil)
		small := bytes.Repeat([]byte("never heard of it "), 1000)
		large := bytes.Repeat([]byte("nor of this one. "), 200_000)
		a, b := r.o.Publish("www", "/secret", 1, small), r.o.Publish("www", "/secret", 2, large)
		for _, p := range []*object.Pointer{a, b} {
			q, _, err := r.e.Resolve(t.Context(), r.site, "/secret", p.Version)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.readAll(q); err != nil {
				t.Fatal(err)
			}
		}
		r.mustGet("/secret", large)
		r.mustGet("/secret", large)
		r.idle()
		if r.filesWith("never heard of it") == 0 || r.filesWith("nor of this one") == 0 {
			t.Fatal("it was never on disk")
		}
		r.unpublish(a, b)
		r.apply(eraseEntry(a, b))
		if n := r.filesWith("never heard of it") + r.filesWith("nor of this one"); n != 0 {
			t.Errorf("%d files have it still", n)
		}
		if s := r.e.Stats(); s.RAM.Entries != 0 {
			t.Errorf("memory has %+v", s.RAM)
		}
		if restart {
			r.restart()
			r.e.Confirm(r.cfg.Clock.Now())
		}
		for _, p := range []*object.Pointer{a, b} {
			if q, o, err := r.e.Resolve(t.Context(), r.site, "/secret", p.Version); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("version %s: %+v, %s, %v", p.Version, q, words(o), err)
			}
		}
		if q, o, err := r.resolve("/secret"); !errors.Is(err, fs.ErrNotExist) || q == nil || q.State != object.Gone || !o.Hit() {
			t.Errorf("the path: %+v, %s, %v", q, words(o), err)
		}
	}
}

// A fill that began before an erase has the old bytes on their way. Its reader gets them, the disk does not.
func TestFillUnderWayDoesNotBringErasedBytesBack(t *testing.T) {
	r := newRig(t, nil)
	data := bytes.Repeat([]byte("slowly it comes. "), 300_000)
	p := r.o.Publish("www", "/slow", 1, data)
	release := make(chan struct{})
	r.o.Break(p.Blob, cachetest.Fault{Hold: release, At: 2*mib + 10, Times: 1})
	f := r.follow(t.Context(), p)
	f.out.await(t, 2*mib)
	r.unpublish(p)
	r.apply(eraseEntry(p))
	close(release)
	if err := <-f.done; err != nil || !bytes.Equal(f.out.buf.Bytes(), data) {
		t.Errorf("the reader got %d bytes of %d, %v", f.out.buf.Len(), len(data), err)
	}
	r.idle()
	if n := r.held(p); n != 0 {
		t.Errorf("%d chunks came back", n)
	}
	if n := r.filesWith("slowly it comes"); n != 0 {
		t.Errorf("%d files have it", n)
	}
}

// A question for a version that was asked before its erase must not make the version known again.
func TestAnswerFromBeforeTheEraseIsForgotten(t *testing.T) {
	r := newRig(t, nil)
	p := r.o.Publish("www", "/file", 1, cachetest.Bytes(100, 1))
	key := object.VersionKey("www", "/file", p.Version)
	release := make(chan struct{})
	r.o.Break(key, cachetest.Fault{Hold: release, At: 10, Times: 1})
	done := make(chan error, 1)
	go func() {
		_, _, err := r.e.Resolve(t.Context(), r.site, "/file", p.Version)
		done <- err
	}()
	r.o.Await(t, key, 1)
	r.unpublish(p)
	r.apply(eraseEntry(p))
	close(release)
	if err := <-done; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("who had asked: %v", err)
	}
	if _, _, err := r.e.Resolve(t.Context(), r.site, "/file", p.Version); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("who asks: %v", err)
	}
}

// The same bytes under another name are fetched again; they are published after all.
func TestEraseLeavesOtherFilesWithTheSameBytes(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(3*mib, 5)
	p, other := r.o.Publish("www", "/a", 1, data), r.o.Publish("www", "/b", 1, data)
	r.mustGet("/a", data)
	r.idle()
	gone := object.Pointer{Format: 1, Site: "www", Path: "/a", State: object.Gone, Version: object.NextVersion(p.Version.Time(), 0, p.Version)}
	r.o.PutPointer(&gone)
	r.o.Delete(object.VersionKey("www", "/a", p.Version))
	r.apply(pointerEntry(&gone))
	r.apply(eraseEntry(p))
	if n := r.held(p); n != 0 {
		t.Errorf("%d chunks are held", n)
	}
	r.mustGet("/b", data)
	if n := r.held(other); n != 3 {
		t.Errorf("%d chunks are held", n)
	}
}

// A removal without contents, as retention orders it, leaves the bytes to others that use them.
func TestRemovedVersionKeepsItsBytes(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(100, 1)
	old, p := r.o.Publish("www", "/file", 1, data), r.o.Publish("www", "/file", 2, data)
	for _, v := range []object.Version{old.Version, p.Version} {
		if _, _, err := r.e.Resolve(t.Context(), r.site, "/file", v); err != nil {
			t.Fatal(err)
		}
	}
	r.mustGet("/file", data)
	r.idle()
	r.o.Delete(object.VersionKey("www", "/file", old.Version))
	r.apply(purge.Entry{Kind: purge.KindErase, Path: "/file", Versions: []object.Version{old.Version}})
	if _, _, err := r.e.Resolve(t.Context(), r.site, "/file", old.Version); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the removed version: %v", err)
	}
	if _, o, err := r.e.Resolve(t.Context(), r.site, "/file", p.Version); err != nil || !o.Hit() {
		t.Errorf("the other version: %s, %v", words(o), err)
	}
	if n := r.held(p); n != 1 {
		t.Errorf("%d chunks are held", n)
	}
}

// An entry whose bytes the disk does not let go of is not applied: the position stands before it, and the log gives it again.
func TestDiskThatDoesNotErase(t *testing.T) {
	r := newRig(t, nil)
	data := bytes.Repeat([]byte("it clings "), 1000)
	p := r.o.Publish("www", "/file", 1, data)
	r.mustGet("/file", data)
	r.idle()
	r.unpublish(p)
	before := r.e.Position()
	en := eraseEntry(p)
	en.Format, en.ID, en.Site = 1, "e", "www"
	if err := r.e.store.Close(); err != nil { // nothing can be written from here on
		t.Fatal(err)
	}
	if err := r.e.Apply(purge.Record{Entry: en, Position: at(99)}); !errors.Is(err, ErrNotErased) {
		t.Errorf("apply: %v", err)
	}
	if at := r.e.Position(); !at.Covers(before) || !before.Covers(at) {
		t.Errorf("the position moved to %v", at)
	}
	if err := r.e.Close(); err == nil {
		t.Error("the store was closed twice, and nobody said so")
	}
	r.open()
	r.seq = 98
	r.apply(eraseEntry(p))
	if n := r.filesWith("it clings"); n != 0 {
		t.Errorf("%d files have it still", n)
	}
}

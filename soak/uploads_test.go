package main

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"perigee/object"
	"perigee/origin"
)

// TestUploadsFindWhatIsWrong plants what the proof is there to find. A proof that finds nothing proves nothing.
func TestUploadsFindWhatIsWrong(t *testing.T) {
	r, err := newUploadRig(binary(t), "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close(false)
	u := &uploading{name: "sqlite", rig: r, rng: rand.New(rand.NewPCG(1, 1)), book: &ledger{}, seen: map[string]int{}, ctx: t.Context(), stop: func() {}}
	if n, err := u.compareEdge(); err != nil || n != 1 {
		t.Fatalf("%d paths, %v", n, err)
	}
	place := u.book.all()[0]
	if err := u.check(place); err != nil {
		t.Fatal(err)
	}
	right, wrong := place.now, *place.now
	wrong.hash = object.HashOf([]byte("something else"))

	place.now = &wrong
	if err := r.recorded(place.now); err == nil {
		t.Error("the catalogue has another hash, and that was not found")
	}
	if err := r.stored(t.Context(), place.path, wrong.hash); err == nil {
		t.Error("the bucket has other bytes, and that was not found")
	}
	if err := r.served(place); err == nil {
		t.Error("the edge serves other bytes, and that was not found")
	}
	place.now, place.before = nil, nil
	if err := r.served(place); err == nil {
		t.Error("the edge serves what was removed, and that was not found")
	}
	place.now = right

	r.killRole("upload")
	audit := func(what, want string) {
		t.Helper()
		if _, err := u.compare(t.Context()); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	audit("as it should be", "")
	put := func(key object.Key, b []byte) {
		t.Helper()
		if _, err := r.writer.Put(t.Context(), key, b, origin.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(key object.Key) {
		t.Helper()
		if err := r.writer.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	stray := object.BlobKey(object.HashOf([]byte("stray")))
	put(stray, []byte("stray"))
	audit("a blob that nothing refers to", "which nothing refers to")
	remove(stray)
	id, err := r.writer.Create(t.Context(), stray, "text/plain")
	if err != nil {
		t.Fatal(err)
	}
	audit("a multipart upload that nothing refers to", "unfinished multipart upload")
	if err := r.writer.Abort(t.Context(), stray, id); err != nil {
		t.Fatal(err)
	}
	head := object.HeadKey("www", place.path)
	was, err := r.read(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	ptr, err := object.UnmarshalPointer(was)
	if err != nil {
		t.Fatal(err)
	}
	remove(ptr.Blob)
	if audit("a blob that is lost", "the blob"); t.Failed() {
		return
	}
	put(ptr.Blob, right.content())
	remove(head)
	audit("a head pointer that is lost", string(place.path))
	put(head, bytes.Replace(was, []byte(ptr.Version), []byte("x"), 1))
	audit("a head pointer that is another", string(place.path))
	remove(head)
	put(head, was)
	audit("all is mended", "")
}

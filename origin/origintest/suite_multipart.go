package origintest

import (
	"bytes"
	"io/fs"
	"sync"
	"testing"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/origin"
)

// three are the parts of a small upload: all but the last have the least size S3 allows.
func three(seed string) [][]byte {
	return [][]byte{blob(seed+"1", origin.MinPart), blob(seed+"2", origin.MinPart), blob(seed+"3", 12345)}
}

// create begins an upload.
func (b *bucket) create(key object.Key) string {
	b.t.Helper()
	id, err := b.w.Create(b.ctx, key, "application/octet-stream")
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// part stores a part.
func (b *bucket) part(key object.Key, id string, number int, body []byte) origin.Part {
	b.t.Helper()
	p, err := b.w.Part(b.ctx, key, id, number, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if p.Number != number || p.Size != int64(len(body)) || p.ETag == "" {
		b.t.Fatalf("part %d is %+v", number, p)
	}
	return p
}

func multipart(t *testing.T, b *bucket) {
	const key object.Key = "u/0123456789abcdef0123456789abcdef"
	bodies := three("m")
	id := b.create(key)
	parts := make([]origin.Part, 3)
	for _, i := range []int{2, 0, 1} { // in any order
		parts[i] = b.part(key, id, i+1, bodies[i])
	}
	parts[0] = b.part(key, id, 1, bodies[0]) // again
	_, _, err := b.get(key, origin.GetOptions{})
	is(t, err, fs.ErrNotExist) // not before Complete
	etag, err := b.w.Complete(b.ctx, key, id, parts)
	if err != nil {
		t.Fatal(err)
	}
	b.holds(key, bytes.Join(bodies, nil))
	info, err := b.r.Head(b.ctx, key)
	if err != nil || info.ETag != etag {
		t.Fatalf("head says %s, complete said %s (%v)", info.ETag, etag, err)
	}
	got, _, err := b.get(key, origin.GetOptions{Offset: origin.MinPart - 10, Length: 20}) // across a seam
	if err != nil || !bytes.Equal(got, bytes.Join(bodies, nil)[origin.MinPart-10:origin.MinPart+10]) {
		t.Fatalf("range over a seam: %d bytes, %v", len(got), err)
	}
}

func resumed(t *testing.T, b *bucket) {
	const key object.Key = "u/00000000000000000000000000000001"
	bodies := three("r")
	id := b.create(key)
	if parts, err := b.w.ListParts(b.ctx, key, id); err != nil || len(parts) != 0 {
		t.Fatalf("a new upload has parts %v, %v", parts, err)
	}
	for i, body := range bodies {
		b.part(key, id, i+1, body)
	}
	parts, err := b.w.ListParts(b.ctx, key, id)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		if p.Number != i+1 || p.Size != int64(len(bodies[i])) {
			t.Fatalf("listed part %d as %+v", i+1, p)
		}
	}
	if _, err := b.w.Complete(b.ctx, key, id, parts); err != nil {
		t.Fatal(err)
	}
	b.holds(key, bytes.Join(bodies, nil))
	_, err = b.w.ListParts(b.ctx, key, id)
	is(t, err, fs.ErrNotExist)
}

func completedTwice(t *testing.T, b *bucket) {
	const key object.Key = "u/00000000000000000000000000000002"
	bodies := three("t")
	id := b.create(key)
	var parts []origin.Part
	for i, body := range bodies {
		parts = append(parts, b.part(key, id, i+1, body))
	}
	etags, errs := make([]string, 4), make([]error, 4)
	var wg sync.WaitGroup
	for i := range etags {
		wg.Go(func() {
			etags[i], errs[i] = b.w.Complete(b.ctx, key, id, parts)
			if errs[i] == nil { // whoever is told that it is done must find it done
				_, errs[i] = b.r.Head(b.ctx, key)
			}
		})
	}
	wg.Wait()
	for i := range etags {
		if errs[i] != nil || etags[i] != etags[0] {
			t.Fatalf("completion %d: %s, %v", i, etags[i], errs[i])
		}
	}
	b.holds(key, bytes.Join(bodies, nil))
	b.put(key, []byte("something else"))
	_, err := b.w.Complete(b.ctx, key, id, parts)
	is(t, err, fs.ErrNotExist)
	b.holds(key, []byte("something else"))
}

func aborted(t *testing.T, b *bucket) {
	const key object.Key = "u/00000000000000000000000000000003"
	id := b.create(key)
	p := b.part(key, id, 1, []byte("part"))
	for range 2 { // the second time it is not there
		if err := b.w.Abort(b.ctx, key, id); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.w.Part(b.ctx, key, id, 2, []byte("late"))
	is(t, err, fs.ErrNotExist)
	_, err = b.w.ListParts(b.ctx, key, id)
	is(t, err, fs.ErrNotExist)
	_, err = b.w.Complete(b.ctx, key, id, []origin.Part{p})
	is(t, err, fs.ErrNotExist)
	_, err = b.r.Head(b.ctx, key)
	is(t, err, fs.ErrNotExist)
}

// unfinished lists uploads by their whole key, which every store can.
func unfinished(t *testing.T, b *bucket) {
	const key object.Key = "u/10000000000000000000000000000001"
	want := map[string]bool{b.create(key): true, b.create(key): true}
	b.create("u/10000000000000000000000000000002")
	far := clock.System.Now().Add(time.Hour)
	for up, err := range b.w.ListUploads(b.ctx, string(key), far) {
		if err != nil {
			t.Fatal(err)
		}
		if up.Key != key || !want[up.ID] || up.Started.IsZero() {
			t.Fatalf("listed %+v, created %v", up, want)
		}
		delete(want, up.ID)
		if err := b.w.Abort(b.ctx, up.Key, up.ID); err != nil { // as the sweeper does
			t.Fatal(err)
		}
	}
	if len(want) != 0 {
		t.Fatalf("not listed: %v", want)
	}
	for up, err := range b.w.ListUploads(b.ctx, string(key), far) {
		t.Fatalf("listed %+v, %v, which was aborted", up, err)
	}
	b.create(key)
	for up, err := range b.w.ListUploads(b.ctx, string(key), clock.System.Now().Add(-time.Hour)) {
		t.Fatalf("listed %+v, %v, which is younger than an hour", up, err)
	}
}

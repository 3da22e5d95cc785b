package contract

import (
	"bytes"
	"io/fs"
	"slices"
	"sync"
	"time"

	"perigee/origin"
)

const small = "Files over 8 MiB cannot be published. " + useless

var multipartChecks = []Check{
	{"multipart", Vital, small, multipart},
	{"multipart resumed from the list of parts", Vital, "An upload that was interrupted cannot go on. " + useless, resumed},
	{"multipart with wrong parts", Vital, "A file could be published that is not what was sent. " + useless, wrongParts},
	{"multipart completed twice", Vital, "An upload whose last answer was lost could be taken for failed, or overwrite another. " + useless, completedTwice},
	{"multipart aborted", Vital, "What is given up stays and costs room. " + useless, aborted},
	{"unfinished uploads", Limited, "Parts of uploads whose API node died for good stay, unless the store removes them by itself: set a " +
		"lifecycle rule that aborts incomplete multipart uploads after two days.", unfinished},
	{"checksums of parts", Limited, "Uploads that are resumed are completed without a checksum of each part; the hash of the whole is checked all the same.", partChecksums},
}

// three are the parts of a small upload: all but the last have the least size S3 allows.
func three(seed string) [][]byte {
	return [][]byte{blob(seed+"1", origin.MinPart), blob(seed+"2", origin.MinPart), blob(seed+"3", 12345)}
}

func multipart(t *trial) {
	key, bodies := t.key("u"), three("m")
	id := t.create(key)
	parts := make([]origin.Part, 3)
	for _, i := range []int{2, 0, 1} { // in any order
		parts[i] = t.part(key, id, i+1, bodies[i])
	}
	parts[0] = t.part(key, id, 1, bodies[0]) // again
	_, _, err := t.get(t.ctx, key, origin.GetOptions{})
	t.is(err, fs.ErrNotExist) // not before Complete
	etag, err := t.writer.Complete(t.ctx, key, id, parts)
	t.ok(err)
	whole := bytes.Join(bodies, nil)
	t.holds(key, whole)
	info, err := t.reader.Head(t.ctx, key)
	t.ok(err)
	if info.ETag != etag {
		t.failf("HEAD says ETag %s, completing said %s", info.ETag, etag)
	}
	got, _, err := t.get(t.ctx, key, origin.GetOptions{Offset: origin.MinPart - 10, Length: 20, IfMatch: etag}) // across a seam
	t.ok(err)
	if !bytes.Equal(got, whole[origin.MinPart-10:origin.MinPart+10]) {
		t.failf("a range over the seam of two parts has %d other bytes", len(got))
	}
}

func resumed(t *trial) {
	key, bodies := t.key("u"), three("r")
	id := t.create(key)
	parts, err := t.writer.ListParts(t.ctx, key, id)
	t.ok(err)
	if len(parts) != 0 {
		t.failf("a new upload has parts %v", parts)
	}
	for i, body := range bodies {
		t.part(key, id, i+1, body)
	}
	parts, err = t.writer.ListParts(t.ctx, key, id)
	t.ok(err)
	if len(parts) != len(bodies) {
		t.failf("%d parts are listed of %d", len(parts), len(bodies))
	}
	for i, p := range parts {
		if p.Number != i+1 || p.Size != int64(len(bodies[i])) {
			t.failf("part %d is listed as %+v", i+1, p)
		}
	}
	_, err = t.writer.Complete(t.ctx, key, id, parts)
	t.ok(err)
	t.holds(key, bytes.Join(bodies, nil))
	_, err = t.writer.ListParts(t.ctx, key, id)
	t.is(err, fs.ErrNotExist)
}

// wrongParts gives parts that the upload does not have. It must stay as it was, so that it can be completed rightly.
func wrongParts(t *trial) {
	key := t.key("u")
	id := t.create(key)
	right := []origin.Part{t.part(key, id, 1, []byte("the only part"))}
	wrong := slices.Clone(right)
	wrong[0].ETag, wrong[0].Checksum = noETag, ""
	_, err := t.writer.Complete(t.ctx, key, id, wrong)
	t.is(err, origin.ErrParts)
	wrong = append(slices.Clone(right), right[0])
	wrong[1].Number = 2
	_, err = t.writer.Complete(t.ctx, key, id, wrong)
	t.is(err, origin.ErrParts)
	t.absent(key)
	_, err = t.writer.Complete(t.ctx, key, id, right)
	t.ok(err)
	t.holds(key, []byte("the only part"))
}

func completedTwice(t *trial) {
	key, bodies := t.key("u"), three("t")
	id := t.create(key)
	var parts []origin.Part
	for i, body := range bodies {
		parts = append(parts, t.part(key, id, i+1, body))
	}
	etags, errs := make([]string, 4), make([]error, 4)
	var wg sync.WaitGroup
	for i := range etags {
		wg.Go(func() {
			etags[i], errs[i] = t.writer.Complete(t.ctx, key, id, parts)
			if errs[i] == nil { // whoever is told that it is done must find it done
				_, errs[i] = t.reader.Head(t.ctx, key)
			}
		})
	}
	wg.Wait()
	for i := range etags {
		t.ok(errs[i])
		if etags[i] != etags[0] {
			t.failf("one completion says ETag %s, another %s", etags[0], etags[i])
		}
	}
	t.holds(key, bytes.Join(bodies, nil))
	t.put(key, []byte("something else"))
	_, err := t.writer.Complete(t.ctx, key, id, parts)
	t.is(err, fs.ErrNotExist)
	t.holds(key, []byte("something else"))
}

func aborted(t *trial) {
	key := t.key("u")
	id := t.create(key)
	p := t.part(key, id, 1, []byte("part"))
	for range 2 { // the second time it is not there
		t.ok(t.writer.Abort(t.ctx, key, id))
	}
	_, err := t.writer.Part(t.ctx, key, id, 2, []byte("late"))
	t.is(err, fs.ErrNotExist)
	_, err = t.writer.ListParts(t.ctx, key, id)
	t.is(err, fs.ErrNotExist)
	_, err = t.writer.Complete(t.ctx, key, id, []origin.Part{p})
	t.is(err, fs.ErrNotExist)
	t.absent(key)
}

// unfinished lists uploads by their whole key, which every store can.
func unfinished(t *trial) {
	key := t.key("u1")
	want := map[string]bool{t.create(key): true, t.create(key): true}
	t.create(t.key("u2"))
	far := t.clock.Now().Add(time.Hour)
	for up, err := range t.writer.ListUploads(t.ctx, string(key), far) {
		t.ok(err)
		if up.Key != key || !want[up.ID] || up.Started.IsZero() {
			t.failf("%+v is listed, where %v were begun", up, want)
		}
		delete(want, up.ID)
		t.ok(t.writer.Abort(t.ctx, up.Key, up.ID)) // as the sweeper does
	}
	if len(want) != 0 {
		t.failf("%d of 2 unfinished uploads are not listed", len(want))
	}
	for up, err := range t.writer.ListUploads(t.ctx, string(key), far) {
		t.ok(err)
		t.failf("%+v is listed, which was aborted", up)
	}
	t.create(key)
	for up, err := range t.writer.ListUploads(t.ctx, string(key), t.clock.Now().Add(-time.Hour)) {
		t.ok(err)
		t.failf("%+v is listed as older than an hour", up)
	}
}

// partChecksums looks whether the store keeps the checksum that it took with a part.
func partChecksums(t *trial) {
	if t.cfg.Checksums == origin.ChecksumsRequired {
		return // none are sent
	}
	key := t.key("u")
	id := t.create(key)
	sent := t.part(key, id, 1, []byte("part"))
	listed, err := t.writer.ListParts(t.ctx, key, id)
	t.ok(err)
	if len(listed) != 1 || sent.Checksum == "" || listed[0].Checksum != sent.Checksum {
		t.failf("the part was stored with checksum %q and is listed as %+v", sent.Checksum, listed)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"time"

	"perigee/object"
	"perigee/origin"
	"perigee/origin/contract"
)

// What lies under Perigee's own keys is what Perigee wrote, or somebody else has put it there. Every reader checks what it reads, so that the worst is that a file is
// not served; here a part of it is read before anybody asks for it.

// verifyBytes bounds what is read of blobs in one examination.
const verifyBytes = 512 << 20

// errSpent says that a blob was not read because verifyBytes are used up.
var errSpent = errors.New("not read")

// lot draws some of many keys, each as likely as any other.
type lot struct {
	most, seen int
	keys       []object.Key
}

func (l *lot) add(k object.Key) {
	l.seen++
	if len(l.keys) < l.most {
		l.keys = append(l.keys, k)
	} else if i := rand.IntN(l.seen); i < l.most {
		l.keys[i] = k
	}
}

// contents reads some blobs, with their trees, and some records of versions, and checks that they are what their keys, or the records, say.
func (d *s3Doctor) contents(blobs, trees, versions lot) {
	left := int64(verifyBytes)
	d.verify("contents of blobs", blobs, func(k object.Key) error { return d.blob(k, &left) })
	d.verify("hash trees", trees, func(k object.Key) error { return d.tree(k, &left) })
	d.verify("records of versions", versions, func(k object.Key) error { return d.version(k, &left) })
}

func (d *s3Doctor) verify(check string, l lot, f func(object.Key) error) {
	const advice = "somebody else has written there, or the storage has lost bytes: edges refuse them, so those files are not served. Publish them again, and keep others' keys from writing"
	var bad sample
	read := 0
	for _, k := range l.keys {
		err := f(k)
		switch {
		case errors.Is(err, errSpent) || errors.Is(err, fs.ErrNotExist): // too much for this time, or deleted since it was listed
			continue
		case errors.Is(err, object.ErrInvalid) || errors.Is(err, object.ErrMismatch):
			bad.add("%s (%v)", k, err)
		case err != nil:
			d.found(contract.Vital, check, err, "the key must be allowed to read", "")
			return
		}
		read++
	}
	d.found(contract.Vital, check, bad.err("are not what they should be"), advice, "%s of %s read", grouped(read), grouped(l.seen))
}

// hashed reads an object and returns its hashes.
func (d *s3Doctor) hashed(k object.Key, left *int64) (*object.Hasher, error) {
	body, info, err := d.reader.Get(d.a.ctx, k, origin.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if info.Size > *left {
		return nil, errSpent
	}
	*left -= info.Size
	h := object.NewHasher()
	_, err = io.Copy(h, body)
	return h, err
}

// blob checks one whose key is its hash. What the others are is known to the records that name them.
func (d *s3Doctor) blob(k object.Key, left *int64) error {
	h, err := d.hashed(k, left)
	if err != nil {
		return err
	}
	if sum, _ := h.Sum(); object.BlobKey(sum) != k {
		return fmt.Errorf("%w: it is that of %s", object.ErrMismatch, sum)
	}
	return nil
}

// tree checks that a tree is that of its blob.
func (d *s3Doctor) tree(k object.Key, left *int64) error {
	h, err := d.hashed(k[len("t/"):], left)
	if errors.Is(err, fs.ErrNotExist) {
		// One without a blob says nothing. An upload stores the blob first, and the collector deletes it first.
		return fs.ErrNotExist
	}
	if err != nil {
		return err
	}
	_, want := h.Sum()
	_, err = d.storedTree(k, h.Size(), want.Root())
	return err
}

func (d *s3Doctor) storedTree(k object.Key, size int64, root object.Hash) (*object.Tree, error) {
	body, _, err := d.reader.Get(d.a.ctx, k, origin.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, object.TreeSize(size)+1))
	if err != nil {
		return nil, err
	}
	return object.DecodeTree(b, size, root)
}

// version checks the record of a version, and that the bytes it names are there and are those.
func (d *s3Doctor) version(k object.Key, left *int64) error {
	p, err := d.reader.VersionAt(d.a.ctx, k)
	if err != nil || p.State != object.Live {
		return err
	}
	h, err := d.hashed(p.Blob, left)
	if errors.Is(err, fs.ErrNotExist) {
		return d.lost(k, p.Blob)
	}
	if err != nil {
		return err
	}
	sum, tree := h.Sum()
	if h.Size() != p.Size || sum != p.Hash || tree.Root() != p.Root {
		return fmt.Errorf("%w: %s of %s:%s has %d bytes with hash %s", object.ErrMismatch, p.Blob, p.Site, p.Path, h.Size(), sum)
	}
	if object.Chunks(p.Size) == 1 {
		return nil
	}
	if _, err = d.storedTree(object.TreeKey(p.Blob), p.Size, p.Root); errors.Is(err, fs.ErrNotExist) {
		return d.lost(k, object.TreeKey(p.Blob))
	}
	return err
}

// lost is the error of a record whose blob is not there, unless the record has gone as well: a version that is being removed goes first.
func (d *s3Doctor) lost(record, what object.Key) error {
	if _, err := d.reader.Head(d.a.ctx, record); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s is not there", object.ErrMismatch, what)
}

// strays tells what the API has found in the bucket, when it last listed it, that its catalogue does not know.
func (d *s3Doctor) strays() {
	const advice = "nothing deletes them: after the loss of a catalogue they may be all there is. If the catalogue is whole, delete them with a tool of the storage"
	g, err := d.client.Garbage(d.a.ctx, false)
	if err != nil {
		d.found(contract.Limited, "strays", err, "an API key with the scope admin is needed", "not compared")
		return
	}
	if g.Strays == nil {
		d.found(contract.Limited, "strays", nil, "", "the API has not finished its daily listing yet")
		return
	}
	var found sample
	for _, k := range g.Strays.Examples {
		found.add("%s", k)
	}
	found.n, found.bytes = int(g.Strays.Objects), g.Strays.Bytes
	d.found(contract.Limited, "strays", found.err("that the catalogue does not know"), advice, "as of %s", g.Strays.At.Local().Format(time.DateTime))
}

// strays has a line for what lies in the bucket that the catalogue does not know. It is no failure: nothing is lost by it.
func (d *doctor) strays(ctx context.Context) {
	if d.fleet == nil {
		return // the API does not answer, which has been said
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	g, err := d.client.Garbage(ctx, false)
	switch {
	case errors.Is(err, fs.ErrPermission):
		d.found("strays", nil, "", "told to API keys with the scope admin only")
	case err != nil:
		d.found("strays", err, "see the log of the API", "")
	case g.Strays == nil:
		d.found("strays", nil, "", "the daily listing of the storage has not ended yet")
	case g.Strays.Objects == 0:
		d.found("strays", nil, "", "none, as of %s", g.Strays.At.Local().Format(time.DateTime))
	default:
		d.found("strays", nil, "", "%s, %s in the storage that the catalogue does not know, as of %s, such as %s; perigee doctor s3 looks closer",
			plural(int(g.Strays.Objects), "object"), humanBytes(g.Strays.Bytes), g.Strays.At.Local().Format(time.DateTime), first(g.Strays.Examples))
	}
}

func first(s []string) string {
	if len(s) == 0 {
		return "-"
	}
	return s[0]
}

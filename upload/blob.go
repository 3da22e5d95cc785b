package upload

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
)

// blob is content that is in the bucket, with its tree.
type blob struct {
	hash, root  object.Hash
	size        int64
	key         object.Key
	upload      object.UploadID // the note in the catalogue that the commit ends; empty if there is none
	claim       catalog.Claim   // zero for what was streamed: its note stands for it
	contentType string
}

func (b *blob) pointer(site object.Site, path object.Path, a Attributes) object.Pointer {
	return object.Pointer{
		Format: 1, Site: site, Path: path, State: object.Live,
		Hash: b.hash, Root: b.root, Size: b.size, Blob: b.key,
		ContentType: b.contentType, CacheControl: a.CacheControl, Tags: a.Tags,
	}
}

// row returns b as the catalogue knows it.
func (b *blob) row() catalog.Blob {
	return catalog.Blob{Key: b.key, Hash: b.hash, Root: b.root, Size: b.size}
}

// BodyError is an error of reading what the publisher sends: the publisher's, or the line's.
type BodyError struct{ Err error }

// Error implements error.
func (e *BodyError) Error() string { return "read the body: " + e.Err.Error() }

// Unwrap returns what reading said.
func (e *BodyError) Unwrap() error { return e.Err }

// newUploadID returns an id for an upload to a path.
func newUploadID(site object.Site, path object.Path) object.UploadID {
	var b [16]byte
	rand.Read(b[:]) // never fails, by its documentation
	return object.NewUploadID(site, path, b)
}

// partSize is the size of all parts but the last of a file of size bytes: a multiple of the chunk size, so that the hash
// can be resumed between two parts, and such that there are at most 9,000 of them, well below what S3 allows.
func partSize(size int64) int {
	if size < 0 {
		return unknownPart
	}
	n := max(smallBody, (size+8999)/9000)
	return int((n + object.ChunkSize - 1) / object.ChunkSize * object.ChunkSize)
}

// store streams f's body into the bucket and says where it is.
func (p *Publisher) store(ctx context.Context, f File) (blob, error) { return p.storeAs(ctx, "", f) }

// storeAs is store for an upload that is noted already; without an id a large body is noted here.
func (p *Publisher) storeAs(ctx context.Context, id object.UploadID, f File) (blob, error) {
	f.room = p.bound(f.room)
	if f.Size > f.room.most {
		return blob{}, f.room.exceeded(f.Size)
	}
	part := partSize(f.Size)
	if f.Size < 0 && f.AtMost > 0 {
		part = partSize(f.AtMost)
	}
	whole := int64(part) // the most that is read before the first byte is stored
	if f.Size >= 0 && f.Size <= smallBody {
		whole = f.Size
	} else if f.Size < 0 && f.AtMost > 0 {
		whole = min(whole, f.AtMost)
	}
	hold, err := p.hold(ctx, whole)
	if err != nil {
		return blob{}, err
	}
	defer hold.release()
	if f.Size > smallBody {
		return p.storeLarge(ctx, id, f, hold, part, nil)
	}
	var buf []byte
	if f.Size < 0 && f.AtMost >= int64(part) { // likely to be large
		buf = p.buffers.take(part)
		defer func() { p.buffers.give(buf) }()
	}
	head, err := readAtMost(f.Body, buf, whole, f.Size >= 0)
	if err != nil {
		return blob{}, err
	}
	if f.Size < 0 && int64(len(head)) == int64(part) {
		buf = nil // it is the first part's now
		return p.storeLarge(ctx, id, f, hold, part, head)
	}
	if err := ended(f.Body); err != nil {
		return blob{}, err
	}
	if f.Size >= 0 && int64(len(head)) != f.Size {
		return blob{}, fmt.Errorf("%w: %d bytes came, %d were declared", ErrIncomplete, len(head), f.Size)
	}
	if int64(len(head)) > f.room.most {
		return blob{}, f.room.exceeded(int64(len(head)))
	}
	return p.storeSmall(ctx, head, f)
}

// readAtMost reads up to n bytes, into buf if there is one. exact says that n are expected, so that memory is taken once.
func readAtMost(r io.Reader, buf []byte, n int64, exact bool) ([]byte, error) {
	size := min(n, 64<<10)
	if exact {
		size = n
	}
	if buf == nil {
		buf = make([]byte, 0, size)
	}
	for int64(len(buf)) < n {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(n, 2*int64(cap(buf))))
			copy(grown, buf)
			buf = grown
		}
		k, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+k]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, &BodyError{err}
		}
	}
	return buf, nil
}

// ended returns nil if r has no more bytes.
func ended(r io.Reader) error {
	var one [1]byte
	switch n, err := io.ReadFull(r, one[:]); {
	case n > 0:
		return fmt.Errorf("%w: more bytes came than were declared", ErrIncomplete)
	case err != io.EOF:
		return &BodyError{err}
	}
	return nil
}

// storeSmall stores a body that is in memory under its hash.
func (p *Publisher) storeSmall(ctx context.Context, body []byte, f File) (blob, error) {
	h := object.NewHasher()
	h.Write(body)
	if err := claimed(h, f.SHA256); err != nil {
		return blob{}, err
	}
	return p.putBlob(ctx, f.Site, f.Path, f.TypeHint, h, body)
}

func newBlob(h *object.Hasher, path object.Path, head []byte, hint string) blob {
	hash, tree := h.Sum()
	return blob{hash: hash, root: tree.Root(), size: h.Size(), contentType: contentType(path, head, hint)}
}

// claimed checks what a publisher said of the hash.
func claimed(h *object.Hasher, want object.Hash) error {
	if want.IsZero() {
		return nil
	}
	if got, _ := h.Sum(); got != want {
		return fmt.Errorf("%w: %s came, %s was given", ErrDigest, got, want)
	}
	return nil
}

// putBlob stores body and its tree, unless the site has it already. What it returns is claimed.
func (p *Publisher) putBlob(ctx context.Context, site object.Site, path object.Path, hint string, h *object.Hasher, body []byte) (blob, error) {
	b := newBlob(h, path, body, hint)
	return b, p.keepSmall(ctx, site, &b, h, body)
}

// putTree stores the hash tree of the blob of that key, if it has more than one chunk. It follows from the content, so writing it again does no harm.
func (p *Publisher) putTree(ctx context.Context, key object.Key, h *object.Hasher) error {
	if object.Chunks(h.Size()) == 1 {
		return nil
	}
	_, tree := h.Sum()
	return p.patiently(ctx, func() error {
		_, err := p.cfg.Writer.Put(ctx, object.TreeKey(key), tree.Encode(), origin.PutOptions{})
		return err
	})
}

// storeLarge streams a body part by part. first is what was read of it already, at most one part.
func (p *Publisher) storeLarge(ctx context.Context, id object.UploadID, f File, hold *hold, part int, first []byte) (blob, error) {
	if id != "" {
		return p.stream(ctx, id, f, hold, part, first)
	}
	id = newUploadID(f.Site, f.Path)
	if _, err := p.cfg.Catalog.OpenUpload(ctx, catalog.Upload{ID: id, Kind: catalog.Streamed, Site: f.Site, Path: f.Path}); err != nil {
		return blob{}, err
	}
	p.at(afterNote)
	b, err := p.stream(ctx, id, f, hold, part, first)
	var held bool
	if err == nil {
		held, err = p.reuse(ctx, f.Site, &b)
	}
	if err != nil || held {
		p.discard(ctx, id, err)
		b.upload = ""
	}
	return b, err
}

func (p *Publisher) stream(ctx context.Context, id object.UploadID, f File, hold *hold, part int, first []byte) (blob, error) {
	q := p.newParts(ctx, id, part, hold)
	defer q.close()
	h := object.NewHasher()
	var head []byte
	if first != nil {
		h.Write(first)
		q.adopt(first)
		head = append(head, first[:min(len(first), sniffLen)]...)
	}
	limit := f.Size
	if limit < 0 {
		limit = min(f.room.most, int64(part)*origin.MaxParts)
	}
	for {
		n, err := q.readFrom(f.Body, limit-h.Size()+1, h)
		if len(head) < sniffLen {
			head = append(head, q.last(n)[:min(n, sniffLen-len(head))]...)
		}
		if h.Size() > limit {
			return blob{}, tooLong(f, limit)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return blob{}, err
		}
	}
	if f.Size >= 0 && h.Size() != f.Size {
		return blob{}, fmt.Errorf("%w: %d bytes came, %d were declared", ErrIncomplete, h.Size(), f.Size)
	}
	if err := claimed(h, f.SHA256); err != nil {
		return blob{}, err
	}
	if err := q.finish(); err != nil {
		return blob{}, err
	}
	b := newBlob(h, f.Path, head, f.TypeHint)
	b.key, b.upload = object.UploadKey(id), id
	return b, p.complete(ctx, id, q.multipart, q.stored, h)
}

func tooLong(f File, limit int64) error {
	if f.Size >= 0 {
		return fmt.Errorf("%w: more than %d bytes came", ErrIncomplete, f.Size)
	}
	if limit < f.room.most {
		return fmt.Errorf("%w: the limit is %d bytes for a body of undeclared length", ErrTooLarge, limit)
	}
	return f.room.exceeded(-1)
}

// complete makes the parts of an upload its object, and stores the tree. It may be repeated.
func (p *Publisher) complete(ctx context.Context, id object.UploadID, multipart string, parts []origin.Part, h *object.Hasher) error {
	if err := p.completeParts(ctx, id, multipart, parts); err != nil {
		return err
	}
	p.at(afterComplete)
	return p.putTree(ctx, object.UploadKey(id), h)
}

// completeParts makes the parts of an upload its object. A part that is not the one that was hashed makes it fail, unless the bucket
// says that its bytes are the same: some stores give the same bytes another ETag when they are sent again.
func (p *Publisher) completeParts(ctx context.Context, id object.UploadID, multipart string, parts []origin.Part) error {
	key := object.UploadKey(id)
	complete := func() error {
		_, err := p.cfg.Writer.Complete(ctx, key, multipart, parts)
		return err
	}
	err := p.patiently(ctx, complete)
	if errors.Is(err, origin.ErrParts) {
		have, lerr := p.cfg.Writer.ListParts(ctx, key, multipart)
		if lerr != nil {
			return vanished(lerr)
		}
		if parts, err = sameParts(parts, have); err == nil {
			err = p.patiently(ctx, complete)
		}
	}
	return vanished(err)
}

// sameParts returns parts with the ETags of what the bucket has, if their checksums say that the bytes are the same.
func sameParts(parts, have []origin.Part) ([]origin.Part, error) {
	stored := make(map[int]origin.Part, len(have))
	for _, h := range have {
		stored[h.Number] = h
	}
	now := slices.Clone(parts)
	for i, want := range parts {
		h := stored[want.Number]
		if h.ETag != want.ETag && (want.Checksum == "" || h.Checksum != want.Checksum) || h.Size != want.Size {
			return nil, refuse(http.StatusGone, "parts-changed", "The storage has other bytes of this upload than those that were received. Begin a new one.")
		}
		now[i].ETag = h.ETag
	}
	return now, nil
}

// vanished keeps "there is no such multipart upload" from being taken for "there is no such file".
func vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it has lost the parts of this upload: %v", origin.ErrUnavailable, err)
	}
	return err
}

// discard removes the bytes of a streamed upload that came to nothing, or leaves them to the sweeper.
func (p *Publisher) discard(ctx context.Context, id object.UploadID, why error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	// A bucket that did not answer may still be at work on it: what is removed too early could come back.
	if !errors.Is(why, origin.ErrUnavailable) && !errors.Is(why, origin.ErrUnknown) {
		err := p.removeBytes(ctx, id)
		if err == nil {
			err = p.cfg.Catalog.ForgetUpload(ctx, id)
		}
		if err == nil {
			return
		}
		p.cfg.Log.Warn("the bytes of a failed upload are left to the sweeper", "upload", id, "err", err)
	}
	if err := p.cfg.Catalog.AbandonUpload(ctx, id); err != nil {
		p.cfg.Log.Warn("a failed upload could not be marked; it is removed after a restart", "upload", id, "err", err)
	}
}

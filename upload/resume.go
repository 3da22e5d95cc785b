package upload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
)

// resumeState is the object.WorkKey(id, "state") of an unfinished resumable upload. Together with the tail it names and
// the parts in the bucket it is all that is needed to go on.
//
// It is written after the parts it names were stored and never before, and the tail before the state that counts it. A
// crash between two writes leaves an older state that is true: parts beyond it are sent again under the same numbers, and it names
// a tail of its own.
//
// Of two processes that both believe to work on an upload, only one goes on. A state replaces the very one that its writer has read,
// by its ETag, and who takes over a lease that was not released writes the state anew first: whatever the other has read is then
// out of date. Parts that the other still sends replace ours only under the same numbers; completing the upload names
// the ETag of every part, so a part that is not the one we hashed makes it fail.
type resumeState struct {
	Format int             `json:"format"` // 1
	ID     object.UploadID `json:"id"`
	Fence  int64           `json:"fence"` // of the lease under which it was written
	Site   object.Site     `json:"site,omitempty"`
	Path   object.Path     `json:"path,omitempty"`
	Attributes
	Condition catalog.Condition `json:"condition"`
	// Partial uploads are not published; they wait to be concatenated.
	Partial bool `json:"partial,omitempty"`
	// Direct is set in an upload whose parts clients send to the bucket themselves. Its other numbers are about how far it was verified.
	Direct *directState `json:"direct,omitempty"`

	Length    int64         `json:"length"`    // of the file; -1 while the client does not know
	PartSize  int64         `json:"part_size"` // of all parts but the last
	Multipart string        `json:"multipart,omitempty"`
	Parts     []origin.Part `json:"parts,omitempty"`
	// Stored is how many bytes Parts have together, Tail how many of the tail follow them.
	Stored int64 `json:"stored"`
	Tail   int64 `json:"tail"`
	// TailFence names the tail: each lease writes one of its own.
	TailFence int64 `json:"tail_fence,omitempty"`
	// Hasher is the state of the hash after all of them.
	Hasher []byte `json:"hasher"`
}

// lengthUnknown is the Length of an upload whose client does not know it yet.
const lengthUnknown = -1

// setLength fixes the length, once.
func (st *resumeState) setLength(n int64) {
	if st.Length = n; st.PartSize == 0 {
		st.PartSize = int64(partSize(n))
		if 0 <= n && n <= smallBody {
			st.PartSize = n
		}
	}
}

// most is how many bytes the file may have.
func (st *resumeState) most(limit int64) int64 {
	if st.Length >= 0 {
		return st.Length
	}
	return min(limit, st.PartSize*origin.MaxParts)
}

// small reports whether the file is kept in one piece until it is published.
func (st *resumeState) small() bool {
	return st.Length >= 0 && st.Length <= smallBody && st.Multipart == ""
}

func (st *resumeState) check(id object.UploadID) error {
	var parts int64
	for i, p := range st.Parts {
		if p.Number != i+1 {
			return errors.New("its parts are not in order")
		}
		parts += p.Size
	}
	switch {
	case st.Format != 1 || st.ID != id || st.Length < lengthUnknown || st.PartSize < 0 || st.PartSize > 5<<30:
	case st.Direct == nil && (parts != st.Stored || st.Tail < 0 || st.Tail > st.PartSize || len(st.Parts) > 0 && st.Multipart == ""):
	case st.Length >= 0 && st.Stored+st.Tail > st.Length:
	default:
		return nil
	}
	return errors.New("it contradicts itself")
}

// resumable is a resumable upload while one request works on it, under its claim.
type resumable struct {
	p     *Publisher
	claim *claim
	row   catalog.Upload
	state *resumeState
	etag  string // of the state in the bucket; "" before the first

	hasher *object.Hasher // after all bytes that have arrived
	landed mark           // how far parts without a gap are in the bucket
	result *Result        // once published
}

// mark is a place between two parts.
type mark struct {
	parts  int
	hasher *object.Hasher // after those parts
}

// newResumable is a new upload, of which the bucket has nothing yet.
func (p *Publisher) newResumable(c *claim, st *resumeState) *resumable {
	return &resumable{p: p, claim: c, row: c.lease.Upload, state: st, hasher: object.NewHasher()}
}

// loadResumable returns an upload as it was left; fs.ErrNotExist if there is nothing of it.
func (p *Publisher) loadResumable(ctx context.Context, c *claim) (*resumable, error) {
	u := &resumable{p: p, claim: c, row: c.lease.Upload}
	id := u.row.ID
	if u.row.State == catalog.UploadDone {
		return u, u.loadResult(ctx)
	}
	if err := p.expired(u.row); err != nil {
		return nil, err
	}
	if err := u.loadState(ctx); err != nil {
		return nil, err
	}
	u.hasher = object.NewHasher()
	err := u.hasher.UnmarshalBinary(u.state.Hasher)
	if err == nil && u.hasher.Size() != u.offset() {
		err = errors.New("its hash is of another length")
	}
	if err != nil {
		return nil, fmt.Errorf("state of upload %s cannot be used: %v", id, err)
	}
	if c.lease.Torn {
		return u, u.write(c.ctx, *u.state) // see resumeState
	}
	return u, nil
}

func (u *resumable) loadState(ctx context.Context) error {
	b, etag, err := u.p.work(ctx, u.row.ID, "state", 1<<30)
	if err != nil {
		return err
	}
	u.state, u.etag = new(resumeState), etag
	if err = json.Unmarshal(b, u.state); err == nil {
		err = u.state.check(u.row.ID)
	}
	if err != nil {
		return fmt.Errorf("state of upload %s cannot be used: %v", u.row.ID, err)
	}
	return nil
}

// expired returns the answer to a request for an upload that has ended without a file; nil if it has not.
func (p *Publisher) expired(row catalog.Upload) error {
	switch {
	case row.State == catalog.UploadGone:
		return refuse(http.StatusGone, "gone", "The upload was given up or has expired. Begin a new one.")
	case row.State == catalog.UploadOpen && !row.Expires.After(p.cfg.Clock.Now()):
		return refuse(http.StatusGone, "gone", "The upload has expired. Begin a new one.")
	}
	return nil
}

// loadResult finds what a finished upload was published as.
func (u *resumable) loadResult(ctx context.Context) error {
	ptr, err := u.p.cfg.Catalog.Version(ctx, u.row.Site, u.row.Path, u.row.Version)
	if err != nil {
		return err
	}
	rec, err := u.p.cfg.Catalog.Site(ctx, u.row.Site)
	if err != nil {
		return err
	}
	res := u.p.result(rec, ptr)
	u.result, u.state = &res, &resumeState{ID: u.row.ID, Length: ptr.Size, Stored: ptr.Size}
	return nil
}

// work reads a scratch object of an upload, of at most limit bytes.
func (p *Publisher) work(ctx context.Context, id object.UploadID, part string, limit int64) (b []byte, etag string, err error) {
	body, info, err := p.cfg.Reader.Get(ctx, object.WorkKey(id, part), origin.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	if info.Size > limit {
		return nil, "", fmt.Errorf("%s of upload %s has %d bytes", part, id, info.Size)
	}
	b = make([]byte, info.Size)
	_, err = io.ReadFull(body, b)
	return b, info.ETag, err
}

// tailName is the scratch object with the bytes after the last whole part.
func tailName(fence int64) string { return fmt.Sprintf("tail-%d", fence) }

// removeState removes the scratch objects, the state first: without it nothing refers to the tails.
func (p *Publisher) removeState(ctx context.Context, id object.UploadID) error {
	state := object.WorkKey(id, "state")
	errs := []error{p.cfg.Writer.Delete(ctx, state)}
	for info, err := range p.cfg.Reader.List(ctx, strings.TrimSuffix(string(state), "state")) {
		if err == nil && info.Key != state {
			err = p.cfg.Writer.Delete(ctx, info.Key)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (u *resumable) offset() int64  { return u.state.Stored + u.state.Tail }
func (u *resumable) complete() bool { return u.offset() == u.state.Length && u.result == nil }

// save makes st the state, with the hash as it is now, and writes it.
func (u *resumable) save(ctx context.Context, st resumeState) (err error) {
	if st.Hasher, err = u.hasher.MarshalBinary(); err != nil {
		return err
	}
	return u.write(ctx, st)
}

// write makes st the state and writes it in place of the one that was read or written last. It is patient with the bucket. When
// another process has replaced that one, the error is catalog.ErrTaken.
func (u *resumable) write(ctx context.Context, st resumeState) error {
	st.Fence = u.claim.lease.Fence
	b, err := json.Marshal(&st)
	if err != nil {
		return fmt.Errorf("encode state of upload %s: %w", st.ID, err)
	}
	err = u.p.patiently(ctx, func() error { return u.replace(ctx, b) })
	if err != nil {
		return err
	}
	u.state = &st
	return nil
}

// replace writes the state once. It finds out what became of a write whose answer was lost.
func (u *resumable) replace(ctx context.Context, b []byte) error {
	etag, err := u.p.cfg.Writer.Put(ctx, object.WorkKey(u.row.ID, "state"), b,
		origin.PutOptions{ContentType: "application/json", IfMatch: u.etag, IfNoneMatch: u.etag == ""})
	switch {
	case err == nil:
		u.etag = etag
		return nil
	case !errors.Is(err, origin.ErrPrecondition) && !errors.Is(err, origin.ErrUnknown):
		return err
	}
	// It is ours if an earlier try was carried out and its answer lost.
	now, etag, gerr := u.p.work(ctx, u.row.ID, "state", 1<<30)
	switch {
	case gerr == nil && bytes.Equal(now, b):
		u.etag = etag
		return nil
	case gerr == nil && etag != u.etag:
		return fmt.Errorf("state of upload %s: %w", u.row.ID, catalog.ErrTaken)
	case errors.Is(err, origin.ErrUnknown):
		return fmt.Errorf("state of upload %s: %w: %v", u.row.ID, origin.ErrUnavailable, err)
	}
	return fmt.Errorf("state of upload %s: %w: %v", u.row.ID, catalog.ErrTaken, err)
}

// terminate removes the upload: the bytes, then what the note says.
func (u *resumable) terminate(ctx context.Context) error {
	if err := u.p.removeBytes(ctx, u.row.ID); err != nil {
		return err
	}
	return u.claim.retire(ctx)
}

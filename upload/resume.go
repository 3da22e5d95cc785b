package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
)

// resumeState is the object.WorkKey(id, "state") of an unfinished resumable upload. Together with the object "tail" and
// the parts in the bucket it is all that is needed to go on.
//
// It is written after the parts it names were stored and never before, and the tail before the state that counts it. A
// crash between two writes leaves an older state that is true: parts beyond it are sent again under the same
// numbers, and a tail that has grown since still begins with the bytes the older state counts.
type resumeState struct {
	Format int             `json:"format"` // 1
	ID     object.UploadID `json:"id"`
	Site   object.Site     `json:"site"`
	Path   object.Path     `json:"path"`
	Attributes
	Condition catalog.Condition `json:"condition"`

	Length    int64         `json:"length"` // of the file
	Multipart string        `json:"multipart,omitempty"`
	Parts     []origin.Part `json:"parts,omitempty"`
	// Stored is how many bytes Parts have together, Tail how many of the object "tail" follow them.
	Stored int64 `json:"stored"`
	Tail   int64 `json:"tail"`
	// Hasher is the state of the hash after all of them.
	Hasher []byte `json:"hasher"`
}

// partSize is the size of the parts; of a small file, which is kept in one piece, its length.
func (st *resumeState) partSize() int {
	if st.Length <= smallBody {
		return int(st.Length)
	}
	return partSize(st.Length)
}

func (st *resumeState) check(id object.UploadID) error {
	var parts int64
	for i, p := range st.Parts {
		if p.Number != i+1 {
			return errors.New("its parts are not in order")
		}
		parts += p.Size
	}
	if st.Format != 1 || st.ID != id || parts != st.Stored || st.Tail < 0 || st.Tail > int64(st.partSize()) ||
		st.Length < 0 || st.Stored+st.Tail > st.Length || len(st.Parts) > 0 && st.Multipart == "" ||
		st.Length > smallBody && st.Tail > 0 && st.Stored+st.Tail == st.Length {
		return errors.New("it contradicts itself")
	}
	return nil
}

// resumable is a resumable upload while one request works on it, under its lock.
type resumable struct {
	p      *Publisher
	row    catalog.Upload
	state  *resumeState
	hasher *object.Hasher // after all bytes that have arrived
	result *Result        // once published
}

// beginResumable notes a new upload and writes its first state.
func (p *Publisher) beginResumable(ctx context.Context, st *resumeState, metadata string) (*resumable, error) {
	u := &resumable{p: p, state: st, hasher: object.NewHasher(), row: catalog.Upload{
		ID: st.ID, Kind: catalog.Resumable, Site: st.Site, Path: st.Path, Metadata: metadata, Expires: p.rest(),
	}}
	if err := p.cfg.Catalog.OpenUpload(ctx, u.row); err != nil {
		return nil, err
	}
	p.at(afterNote)
	return u, u.save(ctx, *st)
}

// loadResumable returns an upload as it was left; fs.ErrNotExist if there is none.
func (p *Publisher) loadResumable(ctx context.Context, id object.UploadID) (*resumable, error) {
	row, err := p.cfg.Catalog.Upload(ctx, id)
	if err != nil {
		return nil, err
	}
	u := &resumable{p: p, row: row}
	switch {
	case row.Kind != catalog.Resumable:
		return nil, fmt.Errorf("upload %s: %w", id, fs.ErrNotExist)
	case row.State == catalog.UploadDone:
		return u, u.loadResult(ctx)
	}
	b, err := p.work(ctx, id, "state", 1<<30)
	if err != nil {
		return nil, err
	}
	u.state, u.hasher = new(resumeState), object.NewHasher()
	err = json.Unmarshal(b, u.state)
	if err == nil {
		err = u.state.check(id)
	}
	if err == nil {
		err = u.hasher.UnmarshalBinary(u.state.Hasher)
	}
	if err == nil && u.hasher.Size() != u.offset() {
		err = errors.New("its hash is of another length")
	}
	if err != nil {
		return nil, fmt.Errorf("state of upload %s cannot be used: %v", id, err)
	}
	return u, nil
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
func (p *Publisher) work(ctx context.Context, id object.UploadID, part string, limit int64) ([]byte, error) {
	body, info, err := p.cfg.Reader.Get(ctx, object.WorkKey(id, part), origin.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if info.Size > limit {
		return nil, fmt.Errorf("%s of upload %s has %d bytes", part, id, info.Size)
	}
	b := make([]byte, info.Size)
	_, err = io.ReadFull(body, b)
	return b, err
}

// removeState removes the scratch objects, the state first: without it nothing refers to the tail.
func (p *Publisher) removeState(ctx context.Context, id object.UploadID) error {
	return errors.Join(p.cfg.Writer.Delete(ctx, object.WorkKey(id, "state")), p.cfg.Writer.Delete(ctx, object.WorkKey(id, "tail")))
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

// write makes st the state and writes it.
func (u *resumable) write(ctx context.Context, st resumeState) error {
	b, err := json.Marshal(&st)
	if err != nil {
		return fmt.Errorf("encode state of upload %s: %w", st.ID, err)
	}
	if _, err = u.p.cfg.Writer.Put(ctx, object.WorkKey(st.ID, "state"), b, origin.PutOptions{ContentType: "application/json"}); err != nil {
		return err
	}
	u.state = &st
	return nil
}

// extend moves the end of the upload's life, if that makes a difference.
func (u *resumable) extend(ctx context.Context) {
	to := u.p.rest()
	if to.Sub(u.row.Expires) < u.p.cfg.UploadTTL/24 {
		return
	}
	if err := u.p.cfg.Catalog.ExtendUpload(ctx, u.row.ID, to); err != nil {
		u.p.cfg.Log.Warn("the life of an upload could not be extended", "upload", u.row.ID, "err", err)
		return
	}
	u.row.Expires = to
}

// terminate removes the upload: the bytes, then the note.
func (u *resumable) terminate(ctx context.Context) error {
	if err := u.p.removeBytes(ctx, u.row.ID); err != nil {
		return err
	}
	return u.p.cfg.Catalog.ForgetUpload(ctx, u.row.ID)
}

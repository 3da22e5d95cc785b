package upload

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
)

// The extension concatenation. The bytes of a final upload are read from the bucket and stored again, like those of any upload, and
// hashed on the way. S3 could join objects by itself (UploadPartCopy), but the SHA-256 of the whole does not follow from those of
// the parts, so every byte has to be read in any case; and not every store copies parts, nor takes parts of unlike sizes. What
// the bucket gives back must have the hash that the partial upload had when it came.
//
// A final upload answers when it is published. Its id follows from what was asked for: a client that lost the answer sends the same
// request again and learns what became of the first, also while that is still at work.

// maxConcat is how many partial uploads one final upload may have.
const maxConcat = 1000

// partialRest is how long partial uploads are kept after they were concatenated, for a client that lost the answer.
const partialRest = 15 * time.Minute

// concat is what Upload-Concat says. The zero value is an upload of its own.
type concat struct {
	header string            // as it was sent
	parts  []object.UploadID // of a final upload
}

func (c concat) partial() bool { return c.header == "partial" }
func (c concat) final() bool   { return len(c.parts) > 0 }

func parseConcat(s string) (concat, error) {
	if s == "" || s == "partial" {
		return concat{header: s}, nil
	}
	list, ok := strings.CutPrefix(s, "final;")
	if !ok {
		return concat{}, refuse(http.StatusBadRequest, "invalid", "Upload-Concat %q: it is partial, or final; and the URLs of partial uploads.", clip(s))
	}
	c := concat{header: s}
	for url := range strings.FieldsSeq(list) {
		id, err := uploadOf(url)
		if err != nil {
			return concat{}, refuse(http.StatusBadRequest, "invalid", "Upload-Concat: %q is not the URL of an upload.", clip(url))
		}
		c.parts = append(c.parts, id)
	}
	if len(c.parts) == 0 || len(c.parts) > maxConcat {
		return concat{}, refuse(http.StatusBadRequest, "invalid", "Upload-Concat: a final upload has 1 to %d partial uploads, this one has %d.", maxConcat, len(c.parts))
	}
	return c, nil
}

// id is the same for the same request. Nobody guesses it who does not know the ids it is made from.
func (r *creation) id() (object.UploadID, error) {
	b, err := json.Marshal([]any{"final", r.concat.parts, r.metadata, r.state.Condition})
	if err != nil {
		return "", fmt.Errorf("name a final upload: %w", err)
	}
	sum := sha256.Sum256(b)
	return object.NewUploadID(r.state.Site, r.state.Path, [16]byte(sum[:])), nil
}

// partial is a partial upload that is complete.
type partial struct {
	id   object.UploadID
	key  object.Key
	size int64
	hash object.Hash
}

// tusFinal answers the creation of a final upload.
func (p *Publisher) tusFinal(c *gin.Context, r creation) {
	u, cl, err := p.openFinal(c.Request.Context(), r)
	if err != nil {
		p.fail(c, "create a final upload", err)
		return
	}
	defer cl.release()
	if u.result == nil {
		if err = u.concatenate(r.concat.parts); err != nil && cl.ctx.Err() == nil {
			err = errors.Join(err, u.discardFinal(err))
		}
	}
	if err == nil {
		c.Header("Location", uploadsRoute+"/"+string(u.row.ID))
		c.Header("Upload-Concat", r.concat.header)
		c.Header("Upload-Length", strconv.FormatInt(u.state.Length, 10))
	}
	p.tusAnswer(c, u, err, http.StatusCreated)
}

// openFinal claims a final upload, which may be there from an earlier try.
func (p *Publisher) openFinal(ctx context.Context, r creation) (*resumable, *claim, error) {
	var err error
	if r.state.ID, err = r.id(); err != nil {
		return nil, nil, err
	}
	cl, err := p.claim(ctx, r.state.ID, nil)
	if errors.Is(err, fs.ErrNotExist) {
		cl, err = p.claimNew(ctx, catalog.Upload{
			ID: r.state.ID, Kind: catalog.Resumable, Site: r.state.Site, Path: r.state.Path, Metadata: r.metadata, Concat: r.concat.header, Expires: p.rest(),
		}, nil)
	}
	if err != nil {
		return nil, nil, err
	}
	u := p.newResumable(cl, r.state)
	switch row := cl.lease.Upload; {
	case row.State == catalog.UploadDone:
		err = u.loadResult(ctx)
	case p.expired(row) != nil:
		err = p.expired(row)
	case cl.lease.Torn:
		// An earlier try was broken off. What it has left would only cost room.
		err = p.abortMultiparts(ctx, object.UploadKey(row.ID))
	}
	if err != nil {
		cl.release()
		return nil, nil, err
	}
	return u, cl, nil
}

// concatenate reads the partial uploads, one after the other, stores them as one and publishes it.
func (u *resumable) concatenate(ids []object.UploadID) error {
	ctx := u.claim.ctx
	var all []partial
	total := int64(0)
	for _, id := range ids {
		one, err := u.p.partial(ctx, id)
		if err != nil {
			return err
		}
		all = append(all, one)
		total += one.size
	}
	if err := u.p.welcome(ctx, u.state.Site, u.state.Path, total); err != nil {
		return err
	}
	u.state.setLength(total)
	body := &partials{ctx: ctx, p: u.p, left: all}
	defer body.close()
	watched := u.watch(body)
	defer watched.stop()
	b, err := u.p.storeAs(ctx, u.row.ID, File{Site: u.state.Site, Path: u.state.Path, Body: watched, Size: total, Attributes: u.state.Attributes})
	if err != nil {
		var broken *BodyError
		if errors.As(err, &broken) {
			err = broken.Err // it is the bucket's, not the client's
		}
		return vanished(err)
	}
	if err := u.publish(b); err != nil {
		return err
	}
	for _, one := range all {
		if err := u.p.cfg.Catalog.ExtendUpload(ctx, one.id, u.p.cfg.Clock.Now().Add(partialRest)); err != nil {
			u.p.cfg.Log.Debug("a partial upload stays until it expires", "upload", one.id, "err", err)
		}
	}
	return nil
}

// discardFinal forgets a final upload that came to nothing, so that it may be tried again.
func (u *resumable) discardFinal(why error) error {
	if errors.Is(why, ErrUnsettled) || errors.Is(why, origin.ErrUnavailable) {
		return nil // the same request takes it up again; else it expires
	}
	if err := u.p.removeBytes(u.claim.ctx, u.row.ID); err != nil {
		return err
	}
	u.claim.ended = true
	return u.p.cfg.Catalog.ForgetUpload(u.claim.ctx, u.row.ID)
}

// partial returns a partial upload that is complete, as an object.
func (p *Publisher) partial(ctx context.Context, id object.UploadID) (partial, error) {
	row, err := p.cfg.Catalog.Upload(ctx, id)
	if err == nil {
		err = p.owned(ctx, id) // else a key could read what another has sent
	}
	if err == nil {
		err = p.expired(row)
	}
	if err == nil && !concatOf(row).partial() {
		err = fs.ErrNotExist
	}
	u := &resumable{p: p, row: row}
	if err == nil {
		err = u.loadState(ctx)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return partial{}, refuse(http.StatusBadRequest, "invalid", "Upload-Concat: there is no partial upload %s.", id)
	case err != nil:
		return partial{}, err
	case !u.complete():
		return partial{}, refuse(http.StatusBadRequest, "unfinished", "Upload-Concat: the partial upload %s has %d bytes and is not complete. Complete it first.", id, u.offset())
	}
	h := object.NewHasher()
	if err := h.UnmarshalBinary(u.state.Hasher); err != nil {
		return partial{}, fmt.Errorf("state of upload %s cannot be used: %v", id, err)
	}
	one := partial{id: id, key: object.UploadKey(id), size: u.state.Length}
	one.hash, _ = h.Sum()
	if u.state.small() {
		one.key = object.WorkKey(id, tailName(u.state.TailFence))
		return one, nil
	}
	return one, p.join(ctx, u.state)
}

// join makes the parts of a partial upload its object, unless it is one.
func (p *Publisher) join(ctx context.Context, st *resumeState) error {
	info, err := p.cfg.Reader.Head(ctx, object.UploadKey(st.ID))
	if err == nil && info.Size == st.Length {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return p.completeParts(ctx, st.ID, st.Multipart, st.Parts)
}

// partials reads partial uploads one after the other and makes sure of the hash of each. Its errors are the bucket's.
type partials struct {
	ctx  context.Context
	p    *Publisher
	left []partial
	now  io.ReadCloser // of left[0]; nil between two
	hash *object.Hasher
}

func (r *partials) Read(b []byte) (int, error) {
	for r.now == nil {
		if len(r.left) == 0 {
			return 0, io.EOF
		}
		if r.left[0].size == 0 {
			r.left = r.left[1:]
			continue
		}
		body, _, err := r.p.cfg.Reader.Get(r.ctx, r.left[0].key, origin.GetOptions{Length: r.left[0].size})
		if err != nil {
			return 0, vanished(err)
		}
		r.now, r.hash = body, object.NewHasher()
	}
	n, err := r.now.Read(b)
	r.hash.Write(b[:n])
	if err != io.EOF {
		return n, err
	}
	one := r.left[0]
	r.close()
	r.left = r.left[1:]
	if got, _ := r.hash.Sum(); got != one.hash {
		return n, fmt.Errorf("partial upload %s: %w", one.id, object.ErrMismatch)
	}
	return n, nil
}

func (r *partials) close() {
	if r.now != nil {
		r.now.Close()
		r.now = nil
	}
}

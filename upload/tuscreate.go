package upload

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
)

// tusCreate answers POST: creation, creation-with-upload, and the concatenation of partial uploads.
func (p *Publisher) tusCreate(c *gin.Context) {
	r, err := p.tusRequest(c)
	if err != nil {
		p.fail(c, "read a new upload", err)
		return
	}
	if r.concat.final() {
		p.tusFinal(c, r)
		return
	}
	sum, err := newChecksum(c.Request)
	withBody := c.ContentType() == chunkType
	if err == nil && withBody && r.state.Length >= 0 && c.Request.ContentLength > r.state.Length {
		err = refuse(http.StatusRequestEntityTooLarge, "too-large", "The upload has %d bytes and %d were sent.", r.state.Length, c.Request.ContentLength)
	}
	if err != nil {
		p.fail(c, "read a new upload", err)
		return
	}
	body := p.body(c.Writer, c.Request)
	row := catalog.Upload{
		ID: r.state.ID, Kind: catalog.Resumable, Site: r.state.Site, Path: r.state.Path, Metadata: r.metadata, Concat: r.concat.header, Expires: p.rest(),
	}
	cl, err := p.claimNew(c.Request.Context(), row, body.end)
	if err != nil {
		p.fail(c, "create an upload", err)
		return
	}
	defer cl.release()
	u := p.newResumable(cl, r.state)
	if !withBody || sum != nil || r.state.Partial || r.state.Length < 0 || r.state.Length > smallBody {
		// Else the client is told of the upload only when it has ended or was saved as it broke off.
		if err := u.save(cl.ctx, *r.state); err != nil {
			p.fail(c, "create an upload", err)
			return
		}
	}
	c.Header("Location", uploadsRoute+"/"+string(r.state.ID))
	if withBody || r.state.Length == 0 {
		err = u.receiveWatched(body, sum)
	}
	p.tusAnswer(c, u, err, http.StatusCreated)
}

// creation is the header of a POST.
type creation struct {
	state    *resumeState
	metadata string // as it was sent
	concat   concat
}

// tusRequest reads the header of a creation, and checks that the file may be published. A partial upload is not going to be.
func (p *Publisher) tusRequest(c *gin.Context) (creation, error) {
	r := creation{metadata: c.GetHeader("Upload-Metadata"), state: &resumeState{Format: 1, ID: newUploadID("", "")}}
	meta, err := parseMetadata(r.metadata)
	if err != nil {
		return r, err
	}
	if r.concat, err = parseConcat(c.GetHeader("Upload-Concat")); err != nil {
		return r, err
	}
	r.state.Partial = r.concat.partial()
	if err := p.lengthOf(c, &r); err != nil {
		return r, err
	}
	if r.state.Partial {
		return r, p.partRoom(c.Request.Context(), r.state.Length)
	}
	if r.state.Condition, err = condition(c.Request.Header); err != nil {
		return r, err
	}
	if r.state.Site, r.state.Path, r.state.Attributes, err = p.named(meta); err != nil {
		return r, err
	}
	r.state.ID = newUploadID(r.state.Site, r.state.Path)
	if _, err = p.publishable(c.Request.Context(), r.state.Site, r.state.Attributes); err != nil {
		return r, err
	}
	if err = p.welcome(c.Request.Context(), r.state.Site, r.state.Path, r.state.Length); err != nil {
		return r, err
	}
	return r, p.cfg.Catalog.Check(c.Request.Context(), r.state.Site, r.state.Path, r.state.Condition)
}

// lengthOf reads what a creation says of the length.
func (p *Publisher) lengthOf(c *gin.Context, r *creation) error {
	length, deferred := c.GetHeader("Upload-Length"), c.GetHeader("Upload-Defer-Length")
	switch {
	case r.concat.final() && (length != "" || deferred != ""):
		return refuse(http.StatusBadRequest, "invalid", "A final upload is as long as its parts. Leave Upload-Length out.")
	case r.concat.final():
		return nil
	case deferred != "" && length != "":
		return refuse(http.StatusBadRequest, "invalid", "Give Upload-Length or Upload-Defer-Length, not both.")
	case deferred == "1":
		r.state.setLength(lengthUnknown)
		return nil
	case deferred != "":
		return refuse(http.StatusBadRequest, "invalid", "Upload-Defer-Length %q: it is 1 or not there.", clip(deferred))
	}
	n, err := p.parseLength(length)
	if err == nil {
		r.state.setLength(n)
	}
	return err
}

// parseLength reads Upload-Length.
func (p *Publisher) parseLength(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, refuse(http.StatusBadRequest, "invalid", "Upload-Length %q is not a number of bytes.", clip(s))
	}
	if int64(n) > p.cfg.MaxSize {
		return 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, n, p.cfg.MaxSize)
	}
	return int64(n), nil
}

package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/object"
)

// The resumable upload protocol tus 1.0.0 (https://tus.io/protocols/resumable-upload), with all of its extensions but
// concatenation-unfinished: partial uploads are concatenated once they are complete. An upload that is complete answers with what it
// was published as, in the fields Perigee-URL, Perigee-Immutable-URL, Perigee-Version, Perigee-Path, Perigee-SHA256 and
// Perigee-Position.
//
// Where the protocol leaves a choice: an upload that has expired or was given up is 410 for Config.UploadTTL, then 404. Terminating
// an upload that is finished forgets the upload; the file stays, as deleting it is another request. X-HTTP-Method-Override is
// followed in requests that may change something, and not in a GET, HEAD or OPTIONS, which the guard lets pass without asking where it comes from.
const (
	tusProtocol   = "1.0.0"
	tusExtensions = "creation,creation-with-upload,creation-defer-length,checksum,checksum-trailer,concatenation,expiration,termination"

	chunkType      = "application/offset+octet-stream"
	methodOverride = "X-HTTP-Method-Override"
)

// tusVersion sets what every answer carries and refuses other versions of the protocol.
func tusVersion(c *gin.Context) {
	c.Header("Tus-Resumable", tusProtocol)
	c.Header("Cache-Control", "no-store")
	if c.Request.Method == http.MethodOptions || c.GetHeader("Tus-Resumable") == tusProtocol {
		return
	}
	c.Header("Tus-Version", tusProtocol)
	c.AbortWithStatus(http.StatusPreconditionFailed)
}

func (p *Publisher) tusOptions(c *gin.Context) {
	c.Header("Tus-Version", tusProtocol)
	c.Header("Tus-Extension", tusExtensions)
	c.Header("Tus-Max-Size", strconv.FormatInt(p.cfg.MaxSize, 10))
	c.Header("Tus-Checksum-Algorithm", algorithmNames())
	c.Status(http.StatusNoContent)
}

// tusMethod calls what a request to an upload, or to where uploads are made, means.
func (p *Publisher) tusMethod(c *gin.Context) {
	method := c.Request.Method
	if m := c.GetHeader(methodOverride); m != "" {
		if method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions {
			p.fail(c, "read a request to an upload", refuse(http.StatusMethodNotAllowed, "method", "%s is followed in POST, PATCH, PUT and DELETE only.", methodOverride))
			return
		}
		method = m
	}
	one := c.Param("id") != ""
	switch {
	case method == http.MethodOptions:
		p.tusOptions(c)
	case method == http.MethodPost && !one:
		p.tusCreate(c)
	case method == http.MethodHead && one:
		p.tusHead(c)
	case method == http.MethodPatch && one:
		p.tusPatch(c)
	case method == http.MethodDelete && one:
		p.tusDelete(c)
	case one:
		c.Header("Allow", "OPTIONS, HEAD, PATCH, DELETE")
		p.fail(c, "read a request to an upload", refuse(http.StatusMethodNotAllowed, "method", "An upload is continued with PATCH, looked at with HEAD and given up with DELETE."))
	default:
		c.Header("Allow", "OPTIONS, POST")
		p.fail(c, "read a request for uploads", refuse(http.StatusMethodNotAllowed, "method", "An upload is made with POST."))
	}
}

// tusHead answers HEAD: how far the upload is. One that has all its bytes and was not published, because the
// server died at that moment, is published now.
func (p *Publisher) tusHead(c *gin.Context) {
	row, err := p.tusRow(c)
	if err == nil && concatOf(row).final() && row.State == catalog.UploadOpen {
		c.Header("Upload-Concat", row.Concat) // being concatenated: it has no offset
		p.tusMetadata(c, row)
		c.Status(http.StatusOK)
		return
	}
	if err != nil {
		p.fail(c, "look at an upload", err)
		return
	}
	u, cl, err := p.openResumable(c, row.ID, nil)
	if err != nil {
		p.fail(c, "look at an upload", err)
		return
	}
	defer cl.release()
	if u.complete() {
		err = u.finish()
	}
	if err == nil {
		p.tusMetadata(c, u.row)
		if u.row.Concat != "" {
			c.Header("Upload-Concat", u.row.Concat)
		}
		if u.state.Length >= 0 {
			c.Header("Upload-Length", strconv.FormatInt(u.state.Length, 10))
		} else {
			c.Header("Upload-Defer-Length", "1")
		}
	}
	p.tusAnswer(c, u, err, http.StatusOK)
}

func (p *Publisher) tusMetadata(c *gin.Context, row catalog.Upload) {
	if row.Metadata != "" {
		c.Header("Upload-Metadata", row.Metadata)
	}
}

// tusPatch answers PATCH: bytes at an offset.
func (p *Publisher) tusPatch(c *gin.Context) {
	offset, sum, err := tusChunk(c)
	var row catalog.Upload
	if err == nil {
		row, err = p.tusRow(c)
	}
	if err == nil && concatOf(row).final() {
		err = refuse(http.StatusForbidden, "final", "A final upload is made of its partial uploads. Nothing can be added to it.")
	}
	if err != nil {
		p.fail(c, "read a PATCH", err)
		return
	}
	body := p.body(c.Writer, c.Request)
	u, cl, err := p.openResumable(c, row.ID, body.end)
	if err != nil {
		p.fail(c, "continue an upload", err)
		return
	}
	defer cl.release()
	if offset != u.offset() {
		err = refuse(http.StatusConflict, "offset", "The upload has %d bytes, not %d. Ask with HEAD and go on from there.", u.offset(), offset)
	} else {
		err = p.tusLength(c, u)
	}
	if left := u.state.Length - offset; err == nil && u.state.Length >= 0 && c.Request.ContentLength > left {
		err = refuse(http.StatusRequestEntityTooLarge, "too-large", "%d bytes are missing and %d were sent.", left, c.Request.ContentLength)
	}
	if err == nil {
		err = u.receiveWatched(body, sum)
	}
	p.tusAnswer(c, u, err, http.StatusNoContent)
}

// tusChunk reads the header of a PATCH.
func tusChunk(c *gin.Context) (offset int64, sum *checksum, err error) {
	if c.ContentType() != chunkType {
		return 0, nil, refuse(http.StatusUnsupportedMediaType, "invalid", "The Content-Type of a PATCH is %s.", chunkType)
	}
	n, err := strconv.ParseUint(c.GetHeader("Upload-Offset"), 10, 63)
	if err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "invalid", "Upload-Offset %q is not a number of bytes.", clip(c.GetHeader("Upload-Offset")))
	}
	sum, err = newChecksum(c.Request)
	return int64(n), sum, err
}

// tusLength takes the length that a PATCH tells of an upload whose length was deferred.
func (p *Publisher) tusLength(c *gin.Context, u *resumable) error {
	given := c.GetHeader("Upload-Length")
	if given == "" {
		return nil
	}
	n, err := p.parseLength(given)
	switch {
	case err != nil:
		return err
	case u.state.Length == n:
		return nil
	case u.state.Length >= 0:
		return refuse(http.StatusBadRequest, "invalid", "The length of the upload is %d and cannot be changed.", u.state.Length)
	case n < u.offset():
		return refuse(http.StatusBadRequest, "invalid", "The upload has %d bytes already, it cannot have %d in all.", u.offset(), n)
	case n > u.state.most(p.cfg.MaxSize):
		return fmt.Errorf("%w: the limit is %d bytes where the length comes later", ErrTooLarge, u.state.most(p.cfg.MaxSize))
	}
	next := *u.state
	next.setLength(n)
	return u.write(u.claim.ctx, next)
}

// tusDelete answers DELETE: the upload is given up. A published file stays.
func (p *Publisher) tusDelete(c *gin.Context) {
	row, err := p.tusRow(c)
	if err == nil {
		err = p.giveUp(c.Request.Context(), row.ID)
	}
	if err == nil {
		err = p.noteGivenUp(c.Request.Context(), row)
	}
	if err != nil {
		p.fail(c, "give up an upload", err)
		return
	}
	c.Status(http.StatusNoContent)
}

// giveUp ends an upload, and removes its bytes unless they were published.
func (p *Publisher) giveUp(ctx context.Context, id object.UploadID) error {
	cl, err := p.claim(ctx, id, nil)
	if err != nil {
		return err
	}
	defer cl.release()
	if err := p.expired(cl.lease.Upload); err != nil {
		return err
	}
	return (&resumable{p: p, claim: cl, row: cl.lease.Upload}).terminate(cl.ctx)
}

// tusRow returns the note of the upload that a request names.
func (p *Publisher) tusRow(c *gin.Context) (catalog.Upload, error) {
	id, err := object.ParseUploadID(c.Param("id"))
	if err != nil {
		return catalog.Upload{}, fmt.Errorf("upload %q: %w", clip(c.Param("id")), fs.ErrNotExist)
	}
	row, err := p.cfg.Catalog.Upload(c.Request.Context(), id)
	if err == nil && row.Kind != catalog.Resumable {
		err = fmt.Errorf("upload %s: %w", id, fs.ErrNotExist)
	}
	if err == nil {
		err = p.expired(row)
	}
	return row, err
}

// openResumable claims an upload and loads it. end is how a newer request ends this one.
func (p *Publisher) openResumable(c *gin.Context, id object.UploadID, end func()) (*resumable, *claim, error) {
	ctx := c.Request.Context()
	cl, err := p.claim(ctx, id, end)
	if err != nil {
		return nil, nil, err
	}
	u, err := p.loadResumable(ctx, cl)
	if err != nil {
		cl.release()
		return nil, nil, err
	}
	return u, cl, nil
}

// tusAnswer answers with how far the upload is, or with err. A request that a newer one ended, or whose client has gone,
// gets no answer that anybody reads.
func (p *Publisher) tusAnswer(c *gin.Context, u *resumable, err error, status int) {
	if errors.Is(err, errEnded) || errors.Is(err, context.Canceled) {
		err = errLocked
	}
	if err != nil {
		p.fail(c, "receive an upload", err)
		return
	}
	c.Header("Upload-Offset", strconv.FormatInt(u.offset(), 10))
	if u.result == nil {
		c.Header("Upload-Expires", u.claim.expires.UTC().Format(http.TimeFormat))
	}
	tusResult(c, u.result)
	c.Status(status)
}

func tusResult(c *gin.Context, res *Result) {
	if res == nil {
		return
	}
	c.Header("Perigee-URL", res.URL)
	c.Header("Perigee-Immutable-URL", res.ImmutableURL)
	c.Header("Perigee-Version", string(res.Version))
	c.Header("Perigee-Path", res.Path.Escape())
	c.Header("Perigee-SHA256", res.SHA256.String())
	c.Header("Perigee-Position", res.Position.String())
}

// rest is how long an upload may still rest, as a time.
func (p *Publisher) rest() time.Time {
	return p.cfg.Clock.Now().Add(p.cfg.UploadTTL).UTC().Truncate(time.Second)
}

// concatOf is how a noted upload is concatenated; what was noted was understood.
func concatOf(row catalog.Upload) concat {
	ct, err := parseConcat(row.Concat)
	if err != nil {
		return concat{}
	}
	return ct
}

// uploadOf returns the upload that a URL names, absolute or relative.
func uploadOf(url string) (object.UploadID, error) {
	at := strings.LastIndex(url, uploadsRoute+"/")
	if at < 0 {
		return "", fmt.Errorf("upload %q: %w", clip(url), fs.ErrNotExist)
	}
	return object.ParseUploadID(url[at+len(uploadsRoute)+1:])
}

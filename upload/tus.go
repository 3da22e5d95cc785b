package upload

import (
	"context"
	"encoding/base64"
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

// The resumable upload protocol tus 1.0.0 (https://tus.io/protocols/resumable-upload). The extensions named here are the
// ones that are implemented in full. An upload that is complete answers with what it was published as, in the fields
// Perigee-URL, Perigee-Immutable-URL, Perigee-Version, Perigee-Path, Perigee-SHA256 and Perigee-Position.
const (
	tusProtocol   = "1.0.0"
	tusExtensions = "creation,creation-with-upload,expiration,termination"

	chunkType   = "application/offset+octet-stream"
	maxMetadata = 16 << 10 // bytes of Upload-Metadata
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
	c.Status(http.StatusNoContent)
}

// tusOverride is for clients that cannot send every method.
func (p *Publisher) tusOverride(c *gin.Context) {
	switch m := c.GetHeader("X-HTTP-Method-Override"); m {
	case http.MethodPatch:
		p.tusPatch(c)
	case http.MethodDelete:
		p.tusDelete(c)
	case http.MethodHead:
		p.tusHead(c)
	default:
		p.fail(c, "read a POST to an upload", refuse(http.StatusMethodNotAllowed, "method", "An upload is continued with PATCH, not POST."))
	}
}

// tusCreate answers POST: creation, and creation-with-upload.
func (p *Publisher) tusCreate(c *gin.Context) {
	st, raw, err := p.tusRequest(c)
	if err == nil {
		_, err = p.publishable(c.Request.Context(), st.Site, st.Attributes)
	}
	if err == nil {
		err = mayWrite(c.Request.Context(), st.Site, st.Path)
	}
	if err == nil {
		_, err = p.room(c.Request.Context(), st.Site, st.Path, st.Length)
	}
	if err == nil {
		err = p.cfg.Catalog.Check(c.Request.Context(), st.Site, st.Path, st.Condition)
	}
	if err != nil {
		p.fail(c, "read a new upload", err)
		return
	}
	withBody := c.ContentType() == chunkType
	body := p.body(c.Writer, c.Request)
	release, err := p.locks.take(c.Request.Context(), p.cfg.Clock, st.ID, body.end)
	if err != nil {
		p.fail(c, "create an upload", err)
		return
	}
	defer release()
	u, err := p.beginResumable(c.Request.Context(), st, raw)
	if err != nil {
		p.fail(c, "create an upload", err)
		return
	}
	c.Header("Location", uploadsRoute+"/"+string(st.ID))
	if withBody || st.Length == 0 {
		err = u.receive(c.Request.Context(), body)
	}
	p.tusAnswer(c, u, err, http.StatusCreated)
}

// tusRequest reads the header of a creation. raw is its Upload-Metadata.
func (p *Publisher) tusRequest(c *gin.Context) (st *resumeState, raw string, err error) {
	if c.GetHeader("Upload-Defer-Length") != "" {
		return nil, "", refuse(http.StatusBadRequest, "invalid", "Upload-Defer-Length is not supported. Give Upload-Length.")
	}
	if c.GetHeader("Upload-Concat") != "" {
		return nil, "", refuse(http.StatusBadRequest, "invalid", "Upload-Concat is not supported. Send the file as one upload.")
	}
	length, err := strconv.ParseInt(c.GetHeader("Upload-Length"), 10, 64)
	if err != nil || length < 0 {
		return nil, "", refuse(http.StatusBadRequest, "invalid", "Upload-Length %q is not a number of bytes.", clip(c.GetHeader("Upload-Length")))
	}
	if length > p.cfg.MaxSize {
		return nil, "", fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, length, p.cfg.MaxSize)
	}
	raw = c.GetHeader("Upload-Metadata")
	meta, err := parseMetadata(raw)
	if err != nil {
		return nil, "", err
	}
	cond, err := condition(c.Request.Header)
	if err != nil {
		return nil, "", err
	}
	st = &resumeState{Format: 1, ID: newUploadID(), Length: length, Condition: cond}
	st.Site, st.Path, st.Attributes, err = p.named(meta)
	return st, raw, err
}

// named turns metadata into where a file goes and what is said of it. Keys: site; path, or filename below prefix;
// filetype, tags, cache_control. The names that other clients use by habit are known too.
func (p *Publisher) named(meta map[string]string) (site object.Site, path object.Path, a Attributes, err error) {
	pick := func(keys ...string) string {
		for _, k := range keys {
			if v := meta[k]; v != "" && v != "null" { // "null" is how some send that they do not know
				return v
			}
		}
		return ""
	}
	where := pick("site")
	if where == "" {
		where = string(p.cfg.DefaultSite)
	}
	if where == "" {
		return "", "", a, refuse(http.StatusBadRequest, "invalid", `Upload-Metadata has no "site": to which site shall the file go?`)
	}
	if site, err = object.ParseSite(where); err != nil {
		return "", "", a, err
	}
	to := pick("path")
	if to == "" {
		name := pick("relativePath", "filename", "name")
		if name == "" {
			return "", "", a, refuse(http.StatusBadRequest, "invalid", `Upload-Metadata has neither "path" nor "filename": under which path shall the file go?`)
		}
		to = strings.TrimSuffix(pick("prefix"), "/") + "/" + strings.TrimPrefix(name, "/")
	}
	if path, err = object.ParsePath(to); err != nil {
		return "", "", a, err
	}
	if a.Tags, err = object.ParseTags(pick("tags")); err != nil {
		return "", "", a, err
	}
	a.CacheControl = pick("cache_control")
	if a.TypeHint = pick("filetype", "type"); len(a.TypeHint) > 255 {
		a.TypeHint = ""
	}
	return site, path, a, object.ValidateFieldValue("cache_control", a.CacheControl)
}

// parseMetadata reads Upload-Metadata: "key base64,key base64,key".
func parseMetadata(s string) (map[string]string, error) {
	if len(s) > maxMetadata {
		return nil, refuse(http.StatusRequestHeaderFieldsTooLarge, "too-large", "Upload-Metadata is longer than %d bytes.", maxMetadata)
	}
	meta := map[string]string{}
	for pair := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), " ")
		if key == "" {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if _, twice := meta[key]; err != nil || twice {
			return nil, refuse(http.StatusBadRequest, "invalid", "Upload-Metadata: the value of %q is not base64, or it is given twice.", clip(key))
		}
		meta[key] = string(b)
	}
	return meta, nil
}

// tusHead answers HEAD: how far the upload is. One that has all its bytes and was not published, because the
// server died at that moment, is published now.
func (p *Publisher) tusHead(c *gin.Context) {
	u, release, err := p.openResumable(c, nil)
	if err != nil {
		p.fail(c, "look at an upload", err)
		return
	}
	defer release()
	if u.complete() {
		err = u.finish(c.Request.Context())
	}
	if err == nil {
		c.Header("Upload-Length", strconv.FormatInt(u.state.Length, 10))
		if u.row.Metadata != "" {
			c.Header("Upload-Metadata", u.row.Metadata)
		}
	}
	p.tusAnswer(c, u, err, http.StatusOK)
}

// tusPatch answers PATCH: bytes at an offset.
func (p *Publisher) tusPatch(c *gin.Context) {
	if c.ContentType() != chunkType {
		p.fail(c, "read a PATCH", refuse(http.StatusUnsupportedMediaType, "invalid", "The Content-Type of a PATCH is %s.", chunkType))
		return
	}
	offset, err := strconv.ParseInt(c.GetHeader("Upload-Offset"), 10, 64)
	if err != nil || offset < 0 {
		p.fail(c, "read a PATCH", refuse(http.StatusBadRequest, "invalid", "Upload-Offset %q is not a number of bytes.", clip(c.GetHeader("Upload-Offset"))))
		return
	}
	body := p.body(c.Writer, c.Request)
	u, release, err := p.openResumable(c, body.end)
	if err != nil {
		p.fail(c, "continue an upload", err)
		return
	}
	defer release()
	switch {
	case offset != u.offset():
		err = refuse(http.StatusConflict, "offset", "The upload has %d bytes, not %d. Ask with HEAD and go on from there.", u.offset(), offset)
	case c.Request.ContentLength > u.state.Length-offset:
		err = refuse(http.StatusRequestEntityTooLarge, "too-large", "%d bytes are missing and %d were sent.", u.state.Length-offset, c.Request.ContentLength)
	default:
		err = u.receive(c.Request.Context(), body)
	}
	p.tusAnswer(c, u, err, http.StatusNoContent)
}

// tusDelete answers DELETE: the upload is given up. A published file stays: deleting it is another request.
func (p *Publisher) tusDelete(c *gin.Context) {
	u, release, err := p.openResumable(c, nil)
	if err == nil {
		defer release()
		if u.row.State == catalog.UploadDone {
			err = refuse(http.StatusConflict, "finished", "The upload is finished. Delete the file with DELETE /api/v1/sites/%s/files%s.", u.row.Site, u.row.Path.Escape())
		} else {
			err = u.terminate(c.Request.Context())
		}
	}
	if err != nil {
		p.fail(c, "give up an upload", err)
		return
	}
	c.Status(http.StatusNoContent)
}

// openResumable takes the upload that a request names and loads it; release ends that.
func (p *Publisher) openResumable(c *gin.Context, end func()) (u *resumable, release func(), err error) {
	id, err := object.ParseUploadID(c.Param("id"))
	if err != nil {
		return nil, nil, fmt.Errorf("upload %q: %w", clip(c.Param("id")), fs.ErrNotExist)
	}
	ctx := c.Request.Context()
	if release, err = p.locks.take(ctx, p.cfg.Clock, id, end); err != nil {
		return nil, nil, err
	}
	if u, err = p.loadResumable(ctx, id); err != nil {
		release()
		return nil, nil, err
	}
	return u, release, nil
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
	if !u.row.Expires.IsZero() {
		c.Header("Upload-Expires", u.row.Expires.UTC().Format(http.TimeFormat))
	}
	if res := u.result; res != nil {
		c.Header("Perigee-URL", res.URL)
		c.Header("Perigee-Immutable-URL", res.ImmutableURL)
		c.Header("Perigee-Version", string(res.Version))
		c.Header("Perigee-Path", res.Path.Escape())
		c.Header("Perigee-SHA256", res.SHA256.String())
		c.Header("Perigee-Position", res.Position.String())
	}
	c.Status(status)
}

// rest is how long a resumable upload may still rest, as a time.
func (p *Publisher) rest() time.Time {
	return p.cfg.Clock.Now().Add(p.cfg.UploadTTL).UTC().Truncate(time.Second)
}

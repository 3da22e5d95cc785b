package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
)

// Direct uploads: the client sends the bytes to the bucket itself, by URLs that are signed for one part of one upload each.
//
//	POST   /api/v1/direct-uploads            begins one, and answers the URLs of its first parts
//	GET    /api/v1/direct-uploads/{id}       what has arrived, and more URLs: ?from=<number>&count=<n>
//	POST   /api/v1/direct-uploads/{id}/commit
//	DELETE /api/v1/direct-uploads/{id}       gives it up
//
// Commit joins the parts, reads the object once, and publishes it if it has the declared size and, where one was given, SHA-256. What
// the bucket says of checksums is not asked: readers are promised the hash of the bytes and the tree of their chunks, and only who
// reads them knows those. A commit that breaks off goes on where it was when it is sent again.
const directRoute = "/api/v1/direct-uploads"

const (
	// presignedFor is how long a signed URL is good.
	presignedFor = time.Hour
	// maxPresigned is how many URLs are answered at a time, and how many unless the client says.
	maxPresigned, somePresigned = 1000, 100
	maxDirectRequest            = 64 << 10 // bytes
)

// Presigner signs URLs for parts of multipart uploads; *origin.Presigner is one.
type Presigner interface {
	// Create begins a multipart upload of key whose parts come through signed URLs.
	Create(ctx context.Context, key object.Key) (id string, err error)
	// Part returns a URL with which whoever has it may store one part, of exactly size bytes, for a while.
	Part(ctx context.Context, key object.Key, id string, number int, size int64, lasts time.Duration) (url string, err error)
}

// directState is what a direct upload has besides the state of any.
type directState struct {
	SHA256 object.Hash `json:"sha256,omitzero"` // that the client has declared
	Joined bool        `json:"joined,omitempty"`
}

// directRequest is the body of a creation.
type directRequest struct {
	Site         object.Site `json:"site"`
	Path         string      `json:"path"`
	Size         int64       `json:"size"`
	SHA256       object.Hash `json:"sha256"`
	ContentType  string      `json:"content_type"`
	Tags         []string    `json:"tags"`
	CacheControl string      `json:"cache_control"`
}

// directAnswer tells how to go on with a direct upload.
type directAnswer struct {
	ID   object.UploadID `json:"id"`
	Site object.Site     `json:"site"`
	Path object.Path     `json:"path"`
	Size int64           `json:"size"`
	// Every part but the last, number Parts, has PartSize bytes.
	PartSize int64     `json:"part_size"`
	Parts    int       `json:"parts"`
	Expires  time.Time `json:"expires"`
	// URLs are for PUT, with exactly Size bytes and no header but Content-Length.
	URLs     []directURL  `json:"urls"`
	Uploaded []directPart `json:"uploaded"`
	// Next is ?from= for more URLs; 0 when there are no more.
	Next     int   `json:"next,omitempty"`
	Verified int64 `json:"verified,omitempty"` // bytes, while a commit is under way or was broken off
}

type directURL struct {
	Number  int       `json:"number"`
	Size    int64     `json:"size"`
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

type directPart struct {
	Number int   `json:"number"`
	Size   int64 `json:"size"`
}

// directOn refuses direct uploads where the storage has no address for clients.
func (p *Publisher) directOn(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	if p.cfg.Presigner == nil {
		p.fail(c, "read a direct upload", refuse(http.StatusNotImplemented, "direct-off",
			"Uploads straight to the storage are off here: its address for clients is not configured (storage.public_endpoint). Use PUT or tus."))
	}
}

// directCreate answers POST.
func (p *Publisher) directCreate(c *gin.Context) {
	st, err := p.directRequest(c)
	if err != nil {
		p.fail(c, "read a direct upload", err)
		return
	}
	row := catalog.Upload{ID: st.ID, Kind: catalog.Direct, Site: st.Site, Path: st.Path, Expires: p.rest()}
	cl, err := p.claimNew(c.Request.Context(), row, nil)
	if err != nil {
		p.fail(c, "create a direct upload", err)
		return
	}
	defer cl.release()
	u := p.newResumable(cl, st)
	err = p.patiently(cl.ctx, func() (err error) {
		st.Multipart, err = p.cfg.Presigner.Create(cl.ctx, object.UploadKey(st.ID))
		return err
	})
	if err == nil {
		err = u.save(cl.ctx, *st)
	}
	var a directAnswer
	if err == nil {
		a, err = p.directAnswer(c, u, nil)
	}
	if err != nil {
		p.fail(c, "create a direct upload", err)
		return
	}
	c.Header("Location", directRoute+"/"+string(st.ID))
	c.JSON(http.StatusCreated, a)
}

func (p *Publisher) directRequest(c *gin.Context) (*resumeState, error) {
	var r directRequest
	dec := json.NewDecoder(http.MaxBytesReader(c.Writer, c.Request.Body, maxDirectRequest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return nil, refuse(http.StatusBadRequest, "invalid", "The body is JSON with site, path, size and, if they are known, sha256, content_type, tags and cache_control.")
	}
	if r.Site == "" {
		r.Site = p.cfg.DefaultSite
	}
	st := &resumeState{Format: 1, Site: r.Site, Direct: &directState{SHA256: r.SHA256}}
	var errs [4]error
	_, errs[0] = object.ParseSite(string(r.Site))
	st.Path, errs[1] = object.ParsePath(r.Path)
	st.ID = newUploadID(st.Site, st.Path)
	for _, t := range r.Tags {
		one, err := object.ParseTags(t)
		st.Tags, errs[2] = append(st.Tags, one...), errors.Join(errs[2], err)
	}
	st.Condition, errs[3] = condition(c.Request.Header)
	st.CacheControl = r.CacheControl
	if len(r.ContentType) <= 255 {
		st.TypeHint = r.ContentType
	}
	switch err := errors.Join(errs[:]...); {
	case err != nil:
		return nil, first(err)
	case r.Size < 1:
		return nil, refuse(http.StatusBadRequest, "invalid", "size is the number of bytes, at least 1. Send an empty file with PUT.")
	case r.Size > p.cfg.MaxSize:
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, r.Size, p.cfg.MaxSize)
	}
	st.Length, st.PartSize = r.Size, int64(partSize(r.Size))
	if _, err := p.publishable(c.Request.Context(), st.Site, st.Attributes); err != nil {
		return nil, err
	}
	if err := p.welcome(c.Request.Context(), st.Site, st.Path, st.Length); err != nil {
		return nil, err
	}
	return st, p.cfg.Catalog.Check(c.Request.Context(), st.Site, st.Path, st.Condition)
}

// partOf returns how many parts a direct upload has and how large one of them is.
func (st *resumeState) partOf(number int) (all int, size int64) {
	all = int((st.Length + st.PartSize - 1) / st.PartSize)
	return all, min(st.PartSize, st.Length-int64(number-1)*st.PartSize)
}

// directAnswer tells of u, with the URLs that the query asks for.
func (p *Publisher) directAnswer(c *gin.Context, u *resumable, have []origin.Part) (directAnswer, error) {
	st := u.state
	all, _ := st.partOf(1)
	a := directAnswer{ID: st.ID, Site: st.Site, Path: st.Path, Size: st.Length, PartSize: st.PartSize, Parts: all, Expires: u.claim.expires,
		Verified: st.Stored, URLs: []directURL{}, Uploaded: []directPart{}}
	for _, one := range have {
		a.Uploaded = append(a.Uploaded, directPart{one.Number, one.Size})
	}
	from, err := number(c, "from", 1, 1, origin.MaxParts)
	count, cerr := number(c, "count", somePresigned, 0, maxPresigned)
	if err := errors.Join(err, cerr); err != nil {
		return a, first(err)
	}
	if st.Direct.Joined {
		return a, nil
	}
	until := p.cfg.Clock.Now().Add(presignedFor).UTC().Truncate(time.Second)
	for n := from; n <= all && n < from+count; n++ {
		_, size := st.partOf(n)
		url, err := p.cfg.Presigner.Part(c.Request.Context(), object.UploadKey(st.ID), st.Multipart, n, size, presignedFor)
		if err != nil {
			return a, err
		}
		a.URLs = append(a.URLs, directURL{n, size, url, until})
	}
	if from+count <= all {
		a.Next = from + count
	}
	return a, nil
}

// number reads a number of the query.
func number(c *gin.Context, name string, unless, least, most int) (int, error) {
	s, ok := c.GetQuery(name)
	if !ok {
		return unless, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, refuse(http.StatusBadRequest, "invalid", "%s=%q is not a number from %d to %d.", name, clip(s), least, most)
	}
	return n, nil
}

// openDirect claims the direct upload that a request names.
func (p *Publisher) openDirect(c *gin.Context, end func()) (*resumable, *claim, error) {
	id, err := object.ParseUploadID(c.Param("id"))
	if err != nil {
		return nil, nil, fmt.Errorf("direct upload %q: %w", clip(c.Param("id")), fs.ErrNotExist)
	}
	row, err := p.cfg.Catalog.Upload(c.Request.Context(), id)
	if err == nil && row.Kind != catalog.Direct {
		err = fmt.Errorf("direct upload %s: %w", id, fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, err
	}
	return p.openResumable(c, id, end)
}

// directGet answers GET.
func (p *Publisher) directGet(c *gin.Context) {
	u, cl, err := p.openDirect(c, nil)
	if err != nil {
		p.fail(c, "look at a direct upload", err)
		return
	}
	defer cl.release()
	if u.result != nil {
		c.JSON(http.StatusOK, u.result)
		return
	}
	var have []origin.Part
	if !u.state.Direct.Joined {
		have, err = p.cfg.Writer.ListParts(cl.ctx, object.UploadKey(u.state.ID), u.state.Multipart)
	}
	var a directAnswer
	if err == nil {
		cl.live()
		a, err = p.directAnswer(c, u, have)
	}
	if err != nil {
		p.fail(c, "look at a direct upload", vanished(err))
		return
	}
	c.JSON(http.StatusOK, a)
}

// directCommit answers POST …/commit.
func (p *Publisher) directCommit(c *gin.Context) {
	wait, err := waitTime(c)
	if err != nil {
		p.fail(c, "read a commit", err)
		return
	}
	stop, end := context.WithCancel(context.Background())
	defer end()
	u, cl, err := p.openDirect(c, end)
	if err != nil {
		p.fail(c, "commit a direct upload", err)
		return
	}
	defer cl.release()
	if u.result == nil {
		err = u.commit(stop)
	}
	if err != nil {
		p.fail(c, "commit a direct upload", err)
		return
	}
	p.answer(c, *u.result, wait)
}

// directDelete answers DELETE.
func (p *Publisher) directDelete(c *gin.Context) {
	u, cl, err := p.openDirect(c, nil)
	if err == nil {
		defer cl.release()
		err = u.terminate(cl.ctx)
	}
	if err == nil {
		err = p.noteGivenUp(c.Request.Context(), u.row)
	}
	if err != nil {
		p.fail(c, "give up a direct upload", err)
		return
	}
	c.Status(http.StatusNoContent)
}

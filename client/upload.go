package client

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"perigee/clock"
	"perigee/object"
	"perigee/problem"
	"perigee/purge"
)

// UploadOptions says what is known of a file that is uploaded resumably.
type UploadOptions struct {
	// SHA256, if it is known, is compared with what the server has published at the end.
	SHA256       object.Hash
	ContentType  string
	CacheControl string
	Tags         []object.Tag
	// IfMatch makes the upload fail with ErrPrecondition unless this is the current version, IfNew unless there is none. They hold at
	// the start and again at the end.
	IfMatch object.Version
	IfNew   bool
	// Resume is the address of an upload that was begun before, as Begun was told it. One that is no longer there is begun anew.
	Resume string
	// Begun, if set, is told the address of the upload, so that it can be resumed by another process.
	Begun func(address string)
}

// Upload publishes a file by a resumable upload (tus 1.0): whatever breaks, it goes on with what the server has. size is the length in bytes. body is
// read with Seek to where the server wants to go on; when Upload returns it is no longer read. It gives up when Retry.Tries tries in a row got no
// further. If SHA256 is known and the site has the content, no bytes are sent.
//
// An upload that was given up rests on the server for a day. UploadOptions.Resume goes on with it, EndUpload removes it.
func (c *Client) Upload(ctx context.Context, site object.Site, path object.Path, body io.ReadSeeker, size int64, o UploadOptions) (File, error) {
	u := &uploading{c: c, site: site, path: path, body: body, size: size, o: o}
	f, claimed, err := u.claim(ctx)
	if err == nil && !claimed {
		f, err = u.run(ctx)
	}
	if err != nil {
		return File{}, fmt.Errorf("upload %s:%s: %w", site, path, err)
	}
	if !o.SHA256.IsZero() && f.SHA256 != o.SHA256 {
		return f, fmt.Errorf("upload %s:%s: it was published with SHA-256 %s, which is not that of the file", site, path, f.SHA256)
	}
	return f, nil
}

// uploading is one upload on its way.
type uploading struct {
	c      *Client
	site   object.Site
	path   object.Path
	body   io.ReadSeeker
	size   int64
	o      UploadOptions
	at     string // address; "" before it is begun
	offset int64
	known  bool // offset is what the server has
}

func (u *uploading) claim(ctx context.Context) (File, bool, error) {
	if u.o.Resume != "" {
		return File{}, false, nil
	}
	return u.c.Claim(ctx, u.site, u.path, PutOptions{
		Size: u.size, SHA256: u.o.SHA256, ContentType: u.o.ContentType, CacheControl: u.o.CacheControl, Tags: u.o.Tags, IfMatch: u.o.IfMatch, IfNew: u.o.IfNew,
	})
}

func (u *uploading) run(ctx context.Context) (File, error) {
	u.at = u.o.Resume
	for try := 1; ; try++ {
		before := u.offset
		f, done, err := u.step(ctx)
		if err == nil && done {
			return f, nil
		}
		if u.offset > before || err == nil {
			try = 1
		}
		if err != nil {
			u.known = false
			if !resumable(err) || try >= u.c.retry.Tries || clock.Sleep(ctx, u.c.clock, u.c.retry.After(try, err)) != nil {
				return File{}, err
			}
		}
	}
}

// resumable reports whether an upload that met err may go on.
func resumable(err error) bool {
	for _, k := range []problem.Kind{"offset", "locked", "incomplete", "idle", "busy"} {
		if errors.Is(err, k) {
			return true
		}
	}
	return Temporary(err)
}

// step does what is next: begin, ask how far it is, or send. done says that the file is published.
func (u *uploading) step(ctx context.Context) (f File, done bool, err error) {
	switch {
	case u.at == "":
		return File{}, false, u.begin(ctx)
	case !u.known:
		return u.ask(ctx)
	}
	return u.send(ctx)
}

func (u *uploading) begin(ctx context.Context) error {
	req, err := u.c.request(ctx, http.MethodPost, "/uploads/", nil, nil)
	if err != nil {
		return err
	}
	h := req.Header
	h.Set("Upload-Length", strconv.FormatInt(u.size, 10))
	h.Set("Upload-Metadata", u.metadata())
	if u.o.IfMatch != "" {
		h.Set("If-Match", `"`+string(u.o.IfMatch)+`"`)
	}
	if u.o.IfNew {
		h.Set("If-None-Match", "*")
	}
	res, err := u.c.tus(req)
	if err != nil {
		return err
	}
	at, err := req.URL.Parse(res.Header.Get("Location"))
	if err != nil || !strings.HasPrefix(at.String(), u.c.base+"/") {
		return fmt.Errorf("the server names %q as the place of the upload, which is not its own", res.Header.Get("Location"))
	}
	u.at, u.offset, u.known = at.String(), 0, u.size > 0 // an empty file is complete: its answer is asked for
	if u.o.Begun != nil {
		u.o.Begun(u.at)
	}
	return nil
}

func (u *uploading) metadata() string {
	var pairs []string
	add := func(key, value string) {
		if value != "" {
			pairs = append(pairs, key+" "+base64.StdEncoding.EncodeToString([]byte(value)))
		}
	}
	add("site", string(u.site))
	add("path", string(u.path))
	add("filetype", u.o.ContentType)
	add("cache_control", u.o.CacheControl)
	tags := make([]string, len(u.o.Tags))
	for i, t := range u.o.Tags {
		tags[i] = string(t)
	}
	add("tags", strings.Join(tags, ","))
	return strings.Join(pairs, ",")
}

// ask finds out how far the upload is.
func (u *uploading) ask(ctx context.Context) (File, bool, error) {
	s, err := u.c.UploadStatus(ctx, u.at)
	if errors.Is(err, fs.ErrNotExist) && u.at == u.o.Resume {
		u.at, u.o.Resume = "", ""
		return File{}, false, nil
	}
	if err != nil {
		return File{}, false, err
	}
	if s.Length != u.size {
		return File{}, false, fmt.Errorf("the upload is of a file of %d bytes, this one has %d", s.Length, u.size)
	}
	u.offset, u.known = s.Offset, true
	if s.File == nil {
		return File{}, false, nil
	}
	return u.whole(*s.File), true, nil
}

// send sends the rest of the file.
func (u *uploading) send(ctx context.Context) (File, bool, error) {
	if _, err := u.body.Seek(u.offset, io.SeekStart); err != nil {
		return File{}, false, err
	}
	l := &lent{r: u.body}
	defer l.giveBack()
	req, err := u.c.requestTo(ctx, http.MethodPatch, u.at, l)
	if err != nil {
		return File{}, false, err
	}
	req.ContentLength = u.size - u.offset
	req.Header.Set("Content-Type", "application/offset+octet-stream")
	req.Header.Set("Upload-Offset", strconv.FormatInt(u.offset, 10))
	res, err := u.c.tus(req)
	if err != nil {
		return File{}, false, err
	}
	s, err := statusOf(res.Header)
	if err != nil {
		return File{}, false, err
	}
	u.offset = s.Offset
	if s.File == nil {
		u.known = false
		return File{}, false, nil
	}
	return u.whole(*s.File), true, nil
}

func (u *uploading) whole(f File) File {
	f.Site, f.Size = u.site, u.size
	return f
}

// UploadStatus is how far a resumable upload is.
type UploadStatus struct {
	Offset, Length int64 // bytes that have arrived, and of the file; Length only of UploadStatus
	// File is what it was published as; nil until it is complete. Only what the answer tells is set.
	File *File
}

// UploadStatus asks how far an upload is. address is what UploadOptions.Begun was told. One that is gone is fs.ErrNotExist.
func (c *Client) UploadStatus(ctx context.Context, address string) (UploadStatus, error) {
	var s UploadStatus
	err := c.repeat(ctx, func() error {
		req, err := c.requestTo(ctx, http.MethodHead, address, nil)
		if err != nil {
			return err
		}
		res, err := c.tus(req)
		if err != nil {
			return err
		}
		s, err = statusOf(res.Header)
		return err
	})
	if err != nil {
		return UploadStatus{}, fmt.Errorf("status of the upload: %w", err)
	}
	return s, nil
}

// EndUpload gives an unfinished upload up: what has arrived is removed.
func (c *Client) EndUpload(ctx context.Context, address string) error {
	req, err := c.requestTo(ctx, http.MethodDelete, address, nil)
	if err == nil {
		_, err = c.tus(req)
	}
	if err != nil {
		return fmt.Errorf("give an upload up: %w", err)
	}
	return nil
}

// UploadOffer is what the server does of the resumable protocol.
type UploadOffer struct {
	Versions, Extensions []string
	MaxSize              int64 // of a file, in bytes
}

// UploadOffer asks what the server does of the resumable protocol.
func (c *Client) UploadOffer(ctx context.Context) (UploadOffer, error) {
	var o UploadOffer
	err := c.repeat(ctx, func() error {
		req, err := c.request(ctx, http.MethodOptions, "/uploads/", nil, nil)
		if err != nil {
			return err
		}
		res, err := c.tus(req)
		if err != nil {
			return err
		}
		o.Versions, o.Extensions = strings.Split(res.Header.Get("Tus-Version"), ","), strings.Split(res.Header.Get("Tus-Extension"), ",")
		o.MaxSize, err = strconv.ParseInt(res.Header.Get("Tus-Max-Size"), 10, 64)
		return err
	})
	if err != nil {
		return UploadOffer{}, fmt.Errorf("what is offered for uploads: %w", err)
	}
	return o, nil
}

// statusOf reads the header of an answer about an upload.
func statusOf(h http.Header) (s UploadStatus, err error) {
	if s.Offset, err = strconv.ParseInt(h.Get("Upload-Offset"), 10, 64); err != nil {
		return s, fmt.Errorf("the answer has no Upload-Offset (is it Perigee?): %w", err)
	}
	if l := h.Get("Upload-Length"); l != "" {
		if s.Length, err = strconv.ParseInt(l, 10, 64); err != nil {
			return s, fmt.Errorf("the answer has no good Upload-Length: %w", err)
		}
	}
	if h.Get("Perigee-URL") == "" {
		return s, nil
	}
	f := File{URL: h.Get("Perigee-URL"), ImmutableURL: h.Get("Perigee-Immutable-URL"), Version: object.Version(h.Get("Perigee-Version"))}
	f.ETag = `"` + string(f.Version) + `"`
	if f.Path, err = object.ParseEscapedPath(h.Get("Perigee-Path")); err != nil {
		return s, err
	}
	if f.SHA256, err = object.ParseHash(h.Get("Perigee-SHA256")); err != nil {
		return s, err
	}
	if f.Position, err = purge.ParsePosition(h.Get("Perigee-Position")); err != nil {
		return s, err
	}
	s.File = &f
	return s, nil
}

// requestTo makes a request to an address that the server has given.
func (c *Client) requestTo(ctx context.Context, method, address string, body io.Reader) (*http.Request, error) {
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, c.base+"/") {
		return nil, fmt.Errorf("the address %q is none of the server at %s", address, c.base)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	return req, nil
}

// tus sends a request of the resumable protocol; an answer that is an error becomes a *Problem.
func (c *Client) tus(req *http.Request) (*http.Response, error) {
	req.Header.Set("Tus-Resumable", "1.0.0")
	res, err := c.do(req, "application/json, application/problem+json")
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // so that the connection can be used again
	return res, errors.Join(err, res.Body.Close())
}

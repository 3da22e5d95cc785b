package client

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"perigee/object"
	"perigee/purge"
)

// File is a published file, or one version of it.
type File struct {
	Site         object.Site    `json:"site"`
	Path         object.Path    `json:"path"`
	URL          string         `json:"url"`
	ImmutableURL string         `json:"immutable_url"`
	SHA256       object.Hash    `json:"sha256"`
	Size         int64          `json:"size"` // bytes
	ContentType  string         `json:"content_type"`
	ETag         string         `json:"etag"` // the version in quotes
	Version      object.Version `json:"version"`
	Position     purge.Position `json:"position,omitzero"`
	// ID names the change in the log; only after a change.
	ID string `json:"id,omitempty"`
	// Effective says whether every edge had applied the change; only when it was waited for.
	Effective *bool `json:"effective,omitempty"`

	Modified     time.Time           `json:"modified,omitzero"`
	CacheControl string              `json:"cache_control,omitempty"`
	Tags         []object.Tag        `json:"tags,omitempty"`
	State        object.PointerState `json:"state,omitempty"`
}

// PutOptions says what is known of a file before it is sent.
type PutOptions struct {
	// Size is the length of the body in bytes; -1 if it is not known.
	Size int64
	// SHA256, if it is known, is checked by the server: it stores these bytes or none.
	SHA256 object.Hash
	// ContentType is a hint for files whose name and content do not tell.
	ContentType  string
	CacheControl string
	Tags         []object.Tag
	// IfMatch makes the call fail with ErrPrecondition unless this is the current version, IfNew unless there is none.
	IfMatch object.Version
	IfNew   bool
	// Wait is how long to wait until every edge has applied the change; 0 does not.
	Wait time.Duration
}

// expectAbove is the size in bytes from which on the server is asked before the body is sent.
const expectAbove = 1 << 20

// Put publishes body at a path. created reports that the path had no file before. When Put returns the body is no longer read. One that is an io.Seeker
// is sent again from where it stood, as Retry says, when the server or the way to it fails; any other is read once.
func (c *Client) Put(ctx context.Context, site object.Site, path object.Path, body io.Reader, o PutOptions) (f File, created bool, err error) {
	from, seeks, err := startOf(body)
	if err != nil {
		return File{}, false, fmt.Errorf("put %s:%s: %w", site, path, err)
	}
	var status int
	once := func(key string) error {
		if seeks != nil {
			if _, err := seeks.Seek(from, io.SeekStart); err != nil {
				return err
			}
		}
		l := &lent{r: body}
		defer l.giveBack()
		req, err := c.putRequest(ctx, site, path, l, o)
		if err != nil {
			return err
		}
		req.Header.Set(idempotencyKey, key)
		status, err = c.call(req, &f)
		return err
	}
	if seeks != nil {
		err = c.change(ctx, once)
	} else {
		err = once(newIdempotencyKey())
	}
	if err != nil {
		return File{}, false, fmt.Errorf("put %s:%s: %w", site, path, err)
	}
	return f, status == http.StatusCreated, nil
}

// startOf returns where a body that can be read again stands; a nil Seeker says that it cannot be.
func startOf(body io.Reader) (int64, io.Seeker, error) {
	s, ok := body.(io.Seeker)
	if !ok {
		return 0, nil, nil
	}
	from, err := s.Seek(0, io.SeekCurrent)
	return from, s, err
}

func (c *Client) putRequest(ctx context.Context, site object.Site, path object.Path, body io.Reader, o PutOptions) (*http.Request, error) {
	req, err := c.request(ctx, http.MethodPut, filePath(site, path), waitQuery(o.Wait), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = o.Size
	if o.Size == 0 {
		req.Body = http.NoBody
	}
	setPutHeader(req.Header, o)
	return req, nil
}

func setPutHeader(h http.Header, o PutOptions) {
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	set("Content-Type", o.ContentType)
	set("Perigee-Cache-Control", o.CacheControl)
	if len(o.Tags) > 0 {
		tags := make([]string, len(o.Tags))
		for i, t := range o.Tags {
			tags[i] = string(t)
		}
		set("Perigee-Tags", strings.Join(tags, ","))
	}
	if !o.SHA256.IsZero() {
		set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(o.SHA256[:])+":") // RFC 9530 §3
	}
	if o.IfMatch != "" {
		set("If-Match", `"`+string(o.IfMatch)+`"`)
	}
	if o.IfNew {
		set("If-None-Match", "*")
	}
	if o.Size < 0 || o.Size > expectAbove {
		set("Expect", "100-continue")
	}
}

// lent is a body that is the caller's again when the call returns. The transport may go on reading after an early
// answer; the caller may want to rewind it for another try, or close it.
type lent struct {
	mu sync.Mutex
	r  io.Reader // nil when it was given back
}

// Read implements io.Reader.
func (l *lent) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.r == nil {
		return 0, io.ErrClosedPipe
	}
	return l.r.Read(p)
}

// giveBack ends reading; it waits for a Read that is under way.
func (l *lent) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.r = nil
}

func filePath(site object.Site, path object.Path) string {
	return "/sites/" + string(site) + "/files" + path.Escape()
}

func waitQuery(d time.Duration) url.Values {
	if d <= 0 {
		return nil
	}
	return url.Values{"wait": {d.String()}}
}

// pageSize is how many files one request lists.
const pageSize = "1000"

// List yields the live files of a site whose path starts with prefix, in the order of their bytes. An error ends it.
func (c *Client) List(ctx context.Context, site object.Site, prefix string) iter.Seq2[File, error] {
	q := url.Values{}
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	return c.pages(ctx, fmt.Sprintf("list %s:%s", site, prefix), "/sites/"+string(site)+"/files", q)
}

// Versions yields the versions of a path that are kept, the newest first. A path that was never published is
// fs.ErrNotExist. An error ends it.
func (c *Client) Versions(ctx context.Context, site object.Site, path object.Path) iter.Seq2[File, error] {
	return c.pages(ctx, fmt.Sprintf("versions of %s:%s", site, path), filePath(site, path), url.Values{"versions": {""}})
}

// pages yields the items of a paged answer.
func (c *Client) pages(ctx context.Context, what, path string, q url.Values) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		q := maps.Clone(q) // each use begins at the first page
		q.Set("limit", pageSize)
		for {
			var page struct {
				Files    []File `json:"files"`
				Versions []File `json:"versions"`
				Next     string `json:"next"`
			}
			if err := c.get(ctx, path, q, &page); err != nil {
				yield(File{}, fmt.Errorf("%s: %w", what, err))
				return
			}
			for _, f := range append(page.Files, page.Versions...) {
				if !yield(f, nil) {
					return
				}
			}
			switch page.Next {
			case "":
				return
			case q.Get("cursor"):
				yield(File{}, fmt.Errorf("%s: the server gave the same page twice", what))
				return
			}
			q.Set("cursor", page.Next)
		}
	}
}

// Get returns what the catalogue says of a path. A path without a file is fs.ErrNotExist.
func (c *Client) Get(ctx context.Context, site object.Site, path object.Path) (File, error) {
	var f File
	if err := c.get(ctx, filePath(site, path), nil, &f); err != nil {
		return File{}, fmt.Errorf("get %s:%s: %w", site, path, err)
	}
	return f, nil
}

// Exists reports whether a path has a file.
func (c *Client) Exists(ctx context.Context, site object.Site, path object.Path) (bool, error) {
	_, err := c.send(ctx, http.MethodHead, filePath(site, path), nil, nil, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s:%s: %w", site, path, err)
	}
	return true, nil
}

// Delete makes a path gone; its versions stay. ifMatch, unless "", must be the current version. A path without a
// file is fs.ErrNotExist.
func (c *Client) Delete(ctx context.Context, site object.Site, path object.Path, ifMatch object.Version) (File, error) {
	var f File
	if _, err := c.sendIf(ctx, http.MethodDelete, filePath(site, path), ifMatch, nil, &f); err != nil {
		return File{}, fmt.Errorf("delete %s:%s: %w", site, path, err)
	}
	return f, nil
}

// Rollback publishes what an older version was as a new version.
func (c *Client) Rollback(ctx context.Context, site object.Site, path object.Path, to object.Version) (File, error) {
	var f File
	in := map[string]object.Version{"version": to}
	if _, err := c.send(ctx, http.MethodPost, filePath(site, path)+"/rollback", nil, in, &f); err != nil {
		return File{}, fmt.Errorf("roll back %s:%s: %w", site, path, err)
	}
	return f, nil
}

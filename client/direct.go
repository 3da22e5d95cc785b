package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"perigee/object"
	"perigee/problem"
)

// DirectOptions says what is known of a file that is sent straight to the storage.
type DirectOptions struct {
	// SHA256, if it is known, is compared by the server, which publishes these bytes or none.
	SHA256       object.Hash
	ContentType  string
	CacheControl string
	Tags         []object.Tag
	// IfMatch makes the upload fail with ErrPrecondition unless this is the current version, IfNew unless there is none. They hold at
	// the start and again at the end.
	IfMatch object.Version
	IfNew   bool
	// Wait is how long to wait until every edge has applied the change; 0 does not.
	Wait time.Duration

	// Parallel is how many parts are sent at a time, 4 when zero. A part is sent as it is read: memory does not grow with its size.
	Parallel int
	// Resume is the id of an upload that was begun before, as Begun was told it. One that is no longer there is begun anew.
	Resume object.UploadID
	// Begun, if set, is told the id of the upload, so that it can be resumed by another process.
	Begun func(object.UploadID)
	// Sent, if set, is told of bytes on their way; a negative number takes back what will be sent again. It is called by several goroutines.
	Sent func(bytes int64)
}

// DirectUpload is how far a direct upload is, and how to go on with it.
type DirectUpload struct {
	ID   object.UploadID `json:"id"`
	Site object.Site     `json:"site"`
	Path object.Path     `json:"path"`
	Size int64           `json:"size"` // bytes
	// Every part but the last, number Parts, has PartSize bytes.
	PartSize int64     `json:"part_size"`
	Parts    int       `json:"parts"`
	Expires  time.Time `json:"expires"` // later with every call about it
	// URLs are those that were asked for. Whoever has one can store that part: they are secrets.
	URLs     []DirectURL  `json:"urls"`
	Uploaded []DirectPart `json:"uploaded"`
	Next     int          `json:"next"`     // the first part behind URLs; 0 if there is none
	Verified int64        `json:"verified"` // bytes that a commit has read
	// File is what it was published as; nil until it was committed, and then all there is.
	File *File `json:"-"`
}

// DirectURL is for PUT of one part, with exactly Size bytes and no header but Content-Length, until it expires.
type DirectURL struct {
	Number  int       `json:"number"` // from 1
	Size    int64     `json:"size"`   // bytes
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// DirectPart is a part that has arrived.
type DirectPart struct {
	Number int   `json:"number"`
	Size   int64 `json:"size"` // bytes
}

const directPath = "/direct-uploads"

// BeginDirect begins a direct upload of a file of size bytes, at least 1, and returns it with the URLs of its first parts; UploadDirect does all there is to
// do. A server that has no address of its storage for clients answers with the problem "direct-off".
func (c *Client) BeginDirect(ctx context.Context, site object.Site, path object.Path, size int64, o DirectOptions) (DirectUpload, error) {
	in := struct {
		Site         object.Site  `json:"site"`
		Path         object.Path  `json:"path"`
		Size         int64        `json:"size"`
		SHA256       object.Hash  `json:"sha256,omitzero"`
		ContentType  string       `json:"content_type,omitempty"`
		Tags         []object.Tag `json:"tags,omitempty"`
		CacheControl string       `json:"cache_control,omitempty"`
	}{site, path, size, o.SHA256, o.ContentType, o.Tags, o.CacheControl}
	h := http.Header{}
	if o.IfMatch != "" {
		h.Set("If-Match", `"`+string(o.IfMatch)+`"`)
	}
	if o.IfNew {
		h.Set("If-None-Match", "*")
	}
	var u DirectUpload
	if _, err := c.sendWith(ctx, http.MethodPost, directPath, nil, h, in, &u); err != nil {
		return DirectUpload{}, fmt.Errorf("begin a direct upload: %w", err)
	}
	return u, nil
}

// DirectStatus asks how far a direct upload is, and for up to count URLs from part number from on. One that is gone is fs.ErrNotExist. Whoever asks ends a commit
// that is under way, which goes on when it is sent again.
func (c *Client) DirectStatus(ctx context.Context, id object.UploadID, from, count int) (DirectUpload, error) {
	var raw json.RawMessage
	q := url.Values{"from": {strconv.Itoa(from)}, "count": {strconv.Itoa(count)}}
	err := c.get(ctx, directPath+"/"+url.PathEscape(string(id)), q, &raw)
	u := DirectUpload{ID: id}
	var kind struct {
		Version object.Version `json:"version"` // only of a file
	}
	if err == nil {
		err = json.Unmarshal(raw, &kind)
	}
	switch {
	case err != nil:
	case kind.Version != "":
		u.File = &File{}
		err = json.Unmarshal(raw, u.File)
	default:
		err = json.Unmarshal(raw, &u)
	}
	if err != nil {
		return DirectUpload{}, fmt.Errorf("status of the direct upload %s: %w", id, err)
	}
	return u, nil
}

// CommitDirect has the server join the parts of a direct upload, read what they have become, and publish it: once, however often it is asked. With wait it
// returns when every edge has applied the change, or as it is after that time. Parts that are missing are the problem "incomplete", other bytes than were
// declared "digest-mismatch", which ends the upload.
func (c *Client) CommitDirect(ctx context.Context, id object.UploadID, wait time.Duration) (f File, err error) {
	for try := 1; ; try++ {
		f, err = c.commitDirect(ctx, id, wait)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, problem.Kind("incomplete")) || !c.again(ctx, try, err) {
			return File{}, fmt.Errorf("commit the direct upload %s: %w", id, err)
		}
	}
}

// commitDirect is one try. It needs no idempotency key: of an upload that was committed the server tells what it was published as.
func (c *Client) commitDirect(ctx context.Context, id object.UploadID, wait time.Duration) (f File, err error) {
	req, err := c.request(ctx, http.MethodPost, directPath+"/"+url.PathEscape(string(id))+"/commit", waitQuery(wait), nil)
	if err == nil {
		_, err = c.call(req, &f)
	}
	return f, err
}

// EndDirect gives an unfinished direct upload up: what has arrived is removed. One that is gone is fs.ErrNotExist.
func (c *Client) EndDirect(ctx context.Context, id object.UploadID) error {
	if _, err := c.send(ctx, http.MethodDelete, directPath+"/"+url.PathEscape(string(id)), nil, nil, nil); err != nil {
		return fmt.Errorf("give the direct upload %s up: %w", id, err)
	}
	return nil
}

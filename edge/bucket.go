package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"perigee/edge/cache"
	"perigee/object"
	"perigee/origin"
)

// Bucket is the bucket as a cache.Origin; Sites is the Reader's.
type Bucket struct{ *origin.Reader }

// Get implements cache.Origin.
func (b Bucket) Get(ctx context.Context, key object.Key, offset, length int64) (io.ReadCloser, error) {
	body, _, err := b.Reader.Get(ctx, key, origin.GetOptions{Offset: offset, Length: length})
	// The engine tells the failures of an origin apart by the standard errors.
	if errors.Is(err, origin.ErrRange) { // the blob is shorter than its pointer says
		err = errors.Join(err, io.ErrUnexpectedEOF)
	}
	return body, timeouts(err)
}

// Stores are the buckets of bucket sites, by the names that the configuration gives them; "" is Perigee's own. It is a cache.Objects.
type Stores map[string]*origin.Reader

var errNoStore = errors.New("no such store is configured here: add it below stores, with its bucket and credentials")

// Stat implements cache.Objects.
func (s Stores) Stat(ctx context.Context, store string, key object.Key) (object.Info, error) {
	r := s[store]
	if r == nil {
		return object.Info{}, fmt.Errorf("store %q: %w", store, errNoStore)
	}
	info, err := r.Describe(ctx, key)
	return info, timeouts(err)
}

// Open implements cache.Objects. A store that does not know If-Match is found out by the ETag of its answer.
func (s Stores) Open(ctx context.Context, store string, key object.Key, etag string, offset, length int64) (io.ReadCloser, error) {
	r := s[store]
	if r == nil {
		return nil, fmt.Errorf("store %q: %w", store, errNoStore)
	}
	body, info, err := r.Get(ctx, key, origin.GetOptions{Offset: offset, Length: length, IfMatch: etag})
	switch {
	case errors.Is(err, origin.ErrPrecondition), errors.Is(err, origin.ErrRange), errors.Is(err, fs.ErrNotExist):
		return nil, errors.Join(cache.ErrChanged, err)
	case err != nil:
		return nil, timeouts(err)
	case strings.Trim(info.ETag, `"`) != etag:
		body.Close()
		return nil, fmt.Errorf("get %s: %w: its ETag is %q by now", key, cache.ErrChanged, info.ETag)
	}
	return body, nil
}

// timeouts makes the timeouts of the bucket those of the engine.
func timeouts(err error) error {
	if errors.Is(err, origin.ErrTimeout) {
		return errors.Join(err, context.DeadlineExceeded)
	}
	return err
}

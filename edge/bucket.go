package edge

import (
	"context"
	"errors"
	"io"

	"perigee/object"
	"perigee/origin"
)

// Bucket is the bucket as a cache.Origin; Sites is the Reader's.
type Bucket struct{ *origin.Reader }

// Get implements cache.Origin.
func (b Bucket) Get(ctx context.Context, key object.Key, offset, length int64) (io.ReadCloser, error) {
	body, _, err := b.Reader.Get(ctx, key, origin.GetOptions{Offset: offset, Length: length})
	if errors.Is(err, origin.ErrTimeout) {
		// The engine tells a silent origin from a dead one by the standard error.
		err = errors.Join(err, context.DeadlineExceeded)
	}
	return body, err
}

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
	// The engine tells the failures of an origin apart by the standard errors.
	switch {
	case errors.Is(err, origin.ErrTimeout):
		err = errors.Join(err, context.DeadlineExceeded)
	case errors.Is(err, origin.ErrRange): // the blob is shorter than its pointer says
		err = errors.Join(err, io.ErrUnexpectedEOF)
	}
	return body, err
}

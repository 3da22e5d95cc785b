package origin

import (
	"context"
	"errors"
	"io/fs"

	"github.com/minio/minio-go/v7"

	"perigee/object"
)

// Head describes an object without its body. A missing one is fs.ErrNotExist.
func (r *Reader) Head(ctx context.Context, key object.Key) (Info, error) {
	what := "head " + string(key)
	st, err := r.core.StatObject(ctx, r.cfg.Bucket, string(key), minio.StatObjectOptions{})
	if err != nil {
		if err = explain(ctx, what, err); errors.Is(err, fs.ErrNotExist) {
			return Info{}, r.missing(ctx, what)
		}
		return Info{}, err
	}
	r.alive()
	return Info{Key: key, Size: st.Size, ETag: st.ETag, Modified: st.LastModified}, nil
}

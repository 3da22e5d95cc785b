package origin

import (
	"context"
	"iter"

	"github.com/minio/minio-go/v7"

	"perigee/object"
)

// List yields every object whose key begins with prefix, in the order of their keys, page by page. An error ends it and
// is the last thing yielded; a list that ends without one is complete. Objects that come or go meanwhile may or
// may not be seen.
func (r *Reader) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		what := "list " + prefix
		noOwner := false
		opts := minio.ListObjectsOptions{Prefix: prefix, Recursive: true, FetchOwner: &noOwner}
		for o := range r.core.ListObjectsIter(ctx, r.cfg.Bucket, opts) {
			if o.Err != nil {
				yield(Info{}, explain(ctx, what, o.Err))
				return
			}
			if !yield(Info{Key: object.Key(o.Key), Size: o.Size, ETag: unquoted(o.ETag), Modified: o.LastModified}, nil) {
				return
			}
		}
		// The SDK ends a cancelled list like a complete one.
		if ctx.Err() != nil {
			yield(Info{}, explain(ctx, what, ctx.Err()))
		}
	}
}

package origin

import (
	"context"
	"iter"

	"github.com/minio/minio-go/v7"

	"perigee/object"
)

// Roots yields what the keys of the bucket begin with: each first element once, with its '/', and each key that has no '/' at all, in
// order. An error ends it and is the last thing yielded.
func (r *Reader) Roots(ctx context.Context) iter.Seq2[object.Key, error] {
	return func(yield func(object.Key, error) bool) {
		const what = "list the bucket's first elements"
		noOwner := false
		for o := range r.core.ListObjectsIter(ctx, r.cfg.Bucket, minio.ListObjectsOptions{FetchOwner: &noOwner}) {
			if o.Err != nil {
				yield("", explain(ctx, what, o.Err))
				return
			}
			if !yield(object.Key(o.Key), nil) {
				return
			}
		}
		if ctx.Err() != nil {
			yield("", explain(ctx, what, ctx.Err()))
		}
	}
}

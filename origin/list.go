package origin

import (
	"context"
	"iter"
)

// List yields every object whose key begins with prefix, in the order of their keys, page by page. An error ends it and
// is the last thing yielded; a list that ends without one is complete. Objects that come or go meanwhile may or
// may not be seen.
func (r *Reader) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return r.ListFrom(ctx, prefix, "")
}

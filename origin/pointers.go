package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"perigee/object"
)

// Pointers yields the head pointer of every path in the bucket, or of those that it comes to before the caller ends it. What lies below p/
// and is no pointer, or one of another path, yields an error that wraps object.ErrInvalid, and the next one follows; any other
// error ends it.
func (r *Reader) Pointers(ctx context.Context) iter.Seq2[*object.Pointer, error] {
	return func(yield func(*object.Pointer, error) bool) {
		for info, err := range r.List(ctx, "p/") {
			if err != nil {
				yield(nil, err)
				return
			}
			p, err := r.pointer(ctx, info.Key)
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed since it was listed
			}
			if !yield(p, err) || err != nil && !errors.Is(err, object.ErrInvalid) {
				return
			}
		}
	}
}

// Pointer returns the head pointer of a path; a missing one is fs.ErrNotExist, one that is damaged or of another path wraps
// object.ErrInvalid.
func (r *Reader) Pointer(ctx context.Context, site object.Site, path object.Path) (*object.Pointer, error) {
	return r.pointer(ctx, object.HeadKey(site, path))
}

// VersionAt returns the record of a version by its key; a missing one is fs.ErrNotExist, one that is damaged or belongs under another key wraps
// object.ErrInvalid.
func (r *Reader) VersionAt(ctx context.Context, key object.Key) (*object.Pointer, error) {
	b, err := r.small(ctx, key)
	if err != nil {
		return nil, err
	}
	p, err := object.UnmarshalPointer(b)
	if err == nil && object.VersionKey(p.Site, p.Path, p.Version) != key {
		err = fmt.Errorf("version: %w: it is %s of %s:%s", object.ErrInvalid, p.Version, p.Site, p.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return p, nil
}

func (r *Reader) pointer(ctx context.Context, key object.Key) (*object.Pointer, error) {
	b, err := r.small(ctx, key)
	if err != nil {
		return nil, err
	}
	p, err := object.UnmarshalPointer(b)
	if err == nil && object.HeadKey(p.Site, p.Path) != key {
		err = fmt.Errorf("pointer: %w: it is of %s:%s", object.ErrInvalid, p.Site, p.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return p, nil
}

package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"perigee/object"
)

// maxRecord is the largest site record or pointer that is read, in bytes.
const maxRecord = 64 << 10

// Sites yields every site record in the bucket. A record that is damaged, or lies under another site's key, yields an
// error that wraps object.ErrInvalid, and the next one follows; any other error ends it.
func (r *Reader) Sites(ctx context.Context) iter.Seq2[object.SiteRecord, error] {
	return func(yield func(object.SiteRecord, error) bool) {
		for info, err := range r.List(ctx, object.SitePrefix) {
			if err != nil {
				yield(object.SiteRecord{}, err)
				return
			}
			b, err := r.small(ctx, info.Key)
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed since it was listed
			}
			if err != nil {
				yield(object.SiteRecord{}, err)
				return
			}
			rec, err := object.UnmarshalSite(b)
			if err == nil && object.SiteKey(rec.Site) != info.Key {
				err = fmt.Errorf("site record: %w: it is of site %s", object.ErrInvalid, rec.Site)
			}
			if err != nil {
				err = fmt.Errorf("read %s: %w", info.Key, err)
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

func (r *Reader) small(ctx context.Context, key object.Key) ([]byte, error) {
	body, info, err := r.Get(ctx, key, GetOptions{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if info.Size > maxRecord {
		return nil, fmt.Errorf("read %s: %w: it has %d bytes, a record has at most %d", key, object.ErrInvalid, info.Size, maxRecord)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return b, nil
}

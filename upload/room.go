package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"perigee/catalog"
	"perigee/keys"
	"perigee/object"
)

// room is how large a file may be now, found before its body is read. Reserve has the last word on the quota: others
// publish meanwhile.
type room struct {
	most int64 // bytes
	// full, unless nil, is the quota that sets most; else a limit on single files does.
	full *catalog.QuotaError
}

// room returns what there is for a file of a site. size is that of the file, -1 if it is not known; one that does not fit is
// ErrTooLarge or catalog.ErrQuota.
func (p *Publisher) room(ctx context.Context, site object.Site, path object.Path, size int64) (room, error) {
	q, err := p.cfg.Catalog.Quota(ctx, site)
	u := catalog.Usage{Site: site, Quota: q}
	if err == nil && (q.Bytes > 0 || q.Files > 0) {
		u, err = p.cfg.Catalog.Usage(ctx, site)
	}
	if errors.Is(err, catalog.ErrUnavailable) {
		u, err = catalog.Usage{}, nil // Reserve will know, on the server of the path
	}
	if err != nil {
		return room{}, err
	}
	r := room{most: p.cfg.MaxSize}
	id, _ := keys.FromContext(ctx) // what the program does by itself has no limits of a key
	for _, limit := range []int64{u.Quota.File, id.MaxFile} {
		if limit > 0 {
			r.most = min(r.most, limit)
		}
	}
	bytes, files := u.Left()
	if bytes >= 0 && bytes < r.most {
		r.most, r.full = bytes, &catalog.QuotaError{Usage: u, Bytes: max(size, 0)}
	}
	if size > r.most {
		return room{}, r.exceeded(size)
	}
	if files == 0 {
		return r, p.replaces(ctx, site, path, &catalog.QuotaError{Usage: u})
	}
	return r, nil
}

// bound returns r, or the limit of any file if r was not asked for.
func (p *Publisher) bound(r room) room {
	if r == (room{}) {
		return room{most: p.cfg.MaxSize}
	}
	return r
}

// replaces returns full unless the path has a file already.
func (p *Publisher) replaces(ctx context.Context, site object.Site, path object.Path, full error) error {
	f, err := p.cfg.Catalog.File(ctx, site, path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && f.Pointer.State != object.Live {
		return full
	}
	return err
}

// exceeded is the error of a file that is larger than r.most; size is -1 if it is only known that it is.
func (r room) exceeded(size int64) error {
	switch {
	case r.full != nil:
		return &catalog.QuotaError{Usage: r.full.Usage, Bytes: max(size, r.most+1)}
	case size < 0:
		return fmt.Errorf("%w: the limit is %d bytes", ErrTooLarge, r.most)
	}
	return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, r.most)
}

// maxForm is how many files a form may bring.
func (p *Publisher) maxForm(ctx context.Context, site object.Site) (int, error) {
	q, err := p.cfg.Catalog.Quota(ctx, site)
	if errors.Is(err, catalog.ErrUnavailable) {
		err = nil
	}
	most := maxFormParts
	id, _ := keys.FromContext(ctx)
	for _, limit := range []int{q.Form, id.MaxForm} {
		if limit > 0 {
			most = min(most, limit)
		}
	}
	return most, err
}

// actions are what the audit log calls the changes.
var actions = map[EventKind]catalog.Action{
	EventPublished: catalog.FilePublished, EventDeleted: catalog.FileDeleted, EventRolledBack: catalog.FileRolledBack,
}

package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
	"perigee/purge"
)

// CreateSite makes a site: in the catalogue, in the bucket and in the log. It returns the record with its version. A name
// or host that is taken is fs.ErrExist; a record that breaks a rule wraps object.ErrInvalid. After any other error
// the site may exist, and the sweeper completes it.
func (p *Publisher) CreateSite(ctx context.Context, rec object.SiteRecord) (object.SiteRecord, error) {
	rec, err := p.cfg.Catalog.CreateSite(ctx, rec)
	if err != nil {
		return object.SiteRecord{}, err
	}
	return rec, p.storeSite(ctx, rec.Site)
}

// UpdateSite replaces a site's record. match, unless empty, must be its current version, else the error wraps
// catalog.ErrPrecondition. A missing site is fs.ErrNotExist; else as CreateSite.
func (p *Publisher) UpdateSite(ctx context.Context, rec object.SiteRecord, match object.Version) (object.SiteRecord, error) {
	rec, err := p.cfg.Catalog.UpdateSite(ctx, rec, match)
	if err != nil {
		return object.SiteRecord{}, err
	}
	return rec, p.storeSite(ctx, rec.Site)
}

// EnsureSite makes rec's site unless there is one of its name, which it then leaves as it is, and makes sure that the
// bucket has its record: the bucket may be newer than the catalogue. It returns the record in force.
func (p *Publisher) EnsureSite(ctx context.Context, rec object.SiteRecord) (object.SiteRecord, error) {
	have, err := p.cfg.Catalog.Site(ctx, rec.Site)
	if errors.Is(err, fs.ErrNotExist) {
		return p.CreateSite(ctx, rec)
	}
	if err != nil {
		return object.SiteRecord{}, err
	}
	stored, err := p.storedSite(ctx, rec.Site)
	if err != nil {
		return object.SiteRecord{}, err
	}
	if bytes.Equal(stored, object.MarshalSite(have)) {
		return have, nil
	}
	return have, p.storeSite(ctx, rec.Site)
}

// DeclareSite brings a site to what rec says, makes it if there is none, and leaves it alone if it is so already. Errors are CreateSite's and UpdateSite's.
func (p *Publisher) DeclareSite(ctx context.Context, rec object.SiteRecord) error {
	have, err := p.cfg.Catalog.Site(ctx, rec.Site)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, err = p.CreateSite(ctx, rec)
		return err
	case err != nil:
		return err
	}
	if rec.Version = have.Version; bytes.Equal(object.MarshalSite(rec), object.MarshalSite(have)) {
		_, err = p.EnsureSite(ctx, rec)
		return err
	}
	_, err = p.UpdateSite(ctx, rec, have.Version)
	return err
}

// storedSite returns what the bucket has of a site's record; nil if nothing.
func (p *Publisher) storedSite(ctx context.Context, site object.Site) ([]byte, error) {
	body, _, err := p.cfg.Reader.Get(ctx, object.SiteKey(site), origin.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, 1<<20))
}

// storeSite writes the catalogue's record of a site to the bucket and confirms it. If the record changes meanwhile, the
// newer one is written again on top, so that the bucket ends with the newest.
func (p *Publisher) storeSite(ctx context.Context, site object.Site) error {
	select {
	case p.sites <- struct{}{}:
		defer func() { <-p.sites }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		rec, err := p.cfg.Catalog.Site(ctx, site)
		if err != nil {
			return err
		}
		if _, err := p.cfg.Writer.Put(ctx, object.SiteKey(site), object.MarshalSite(rec), origin.PutOptions{ContentType: "application/json"}); err != nil {
			return fmt.Errorf("store site %s: %w", site, err)
		}
		_, err = p.cfg.Catalog.SiteStored(ctx, site, rec.Version)
		if !errors.Is(err, catalog.ErrLost) {
			return err
		}
	}
}

// Purge orders a purge of what the request names. It returns the purge's id in the log and its position, zero if the log
// did not take it within two seconds; it will. A missing site is fs.ErrNotExist; a request that names nothing, or more than
// catalog.MaxPurgeItems things, wraps object.ErrInvalid.
func (p *Publisher) Purge(ctx context.Context, site object.Site, req catalog.PurgeRequest) (id string, pos purge.Position, err error) {
	order, err := p.cfg.Catalog.EnqueuePurge(ctx, site, req)
	if err != nil {
		return "", purge.Position{}, err
	}
	var res Result
	p.placed(ctx, &res, order.ID)
	return order.ID, res.Position, nil
}

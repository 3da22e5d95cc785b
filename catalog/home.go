package catalog

import (
	"context"
	"errors"

	"perigee/object"
)

// A site record is first changed here, then written to the bucket, then confirmed with SiteStored, which also
// enqueues its log entry. UnstoredSites finds the ones whose writer died in between.

// CreateSite adds a site and returns rec with its Version set. It is not announced before SiteStored. A name or host
// that is taken is fs.ErrExist.
func (c *Catalog) CreateSite(ctx context.Context, rec object.SiteRecord) (object.SiteRecord, error) {
	s, err := c.home(ctx)
	if err != nil {
		return object.SiteRecord{}, err
	}
	v, err := s.createSite(ctx, rec)
	return v, c.members[0].fault(err)
}

// UpdateSite replaces a site's record and returns rec with its Version set. match, unless empty, must be the current
// version, else the error wraps ErrPrecondition. A missing site is fs.ErrNotExist, a host of another site fs.ErrExist.
func (c *Catalog) UpdateSite(ctx context.Context, rec object.SiteRecord, match object.Version) (object.SiteRecord, error) {
	s, err := c.home(ctx)
	if err != nil {
		return object.SiteRecord{}, err
	}
	v, err := s.updateSite(ctx, rec, match)
	return v, c.members[0].fault(err)
}

// SiteStored says that the bucket has this version of the site's record, and enqueues its log entry, both once, and
// returns the entry's id: for a version that was confirmed before, "". If the record has changed since, the error wraps
// ErrLost.
func (c *Catalog) SiteStored(ctx context.Context, site object.Site, version object.Version) (entry string, err error) {
	s, err := c.home(ctx)
	if err != nil {
		return "", err
	}
	v, err := s.siteStored(ctx, site, version)
	return v, c.members[0].fault(err)
}

// Site returns a site's record; fs.ErrNotExist if there is none. While the home server does not answer it is the record that was
// read last, so that paths on other servers can be published.
func (c *Catalog) Site(ctx context.Context, site object.Site) (object.SiteRecord, error) {
	return remembered(ctx, c.lookups, pathKey{site: site}, func() (object.SiteRecord, error) { return c.siteRecord(ctx, site) })
}

func (c *Catalog) siteRecord(ctx context.Context, site object.Site) (object.SiteRecord, error) {
	var rec object.SiteRecord
	s, err := c.home(ctx)
	if err == nil {
		rec, err = s.site(ctx, site)
		err = c.members[0].fault(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, known := c.known[site]
	switch {
	case err == nil && (known || len(c.known) < maxKnown):
		c.known[site] = rec
	case known && errors.Is(err, ErrUnavailable):
		return old, nil
	}
	return rec, err
}

// maxKnown is how many records of sites are remembered.
const maxKnown = 10_000

// Sites returns up to limit sites in the order of their names, those after the given one.
func (c *Catalog) Sites(ctx context.Context, after object.Site, limit int) ([]object.SiteRecord, error) {
	s, err := c.home(ctx)
	if err != nil {
		return nil, err
	}
	v, err := s.sites(ctx, after, limit)
	return v, c.members[0].fault(err)
}

// UnstoredSites returns the sites whose record was changed and not confirmed with SiteStored since.
func (c *Catalog) UnstoredSites(ctx context.Context) ([]object.SiteRecord, error) {
	s, err := c.home(ctx)
	if err != nil {
		return nil, err
	}
	v, err := s.unstoredSites(ctx)
	return v, c.members[0].fault(err)
}

// EnqueuePurge records a purge and its outbox rows. A missing site is fs.ErrNotExist; a request that names nothing or
// too much wraps object.ErrInvalid.
func (c *Catalog) EnqueuePurge(ctx context.Context, site object.Site, r PurgeRequest) (Purge, error) {
	s, err := c.home(ctx)
	if err != nil {
		return Purge{}, err
	}
	v, err := s.enqueuePurge(ctx, site, r)
	return v, c.members[0].fault(err)
}

// Purge returns a purge by its id; fs.ErrNotExist if there is none.
func (c *Catalog) Purge(ctx context.Context, id string) (Purge, error) {
	s, err := c.home(ctx)
	if err != nil {
		return Purge{}, err
	}
	v, err := s.purge(ctx, id)
	return v, c.members[0].fault(err)
}

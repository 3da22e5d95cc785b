package catalog

import (
	"context"

	"perigee/object"
)

// A site record is first changed here, then written to the bucket, then confirmed with SiteStored, which also
// enqueues its log entry. UnstoredSites finds the ones whose writer died in between.

// CreateSite adds a site and returns rec with its Version set. It is not announced before SiteStored. A name or host
// that is taken is fs.ErrExist.
func (c *Catalog) CreateSite(ctx context.Context, rec object.SiteRecord) (object.SiteRecord, error) {
	return c.home().createSite(ctx, rec)
}

// UpdateSite replaces a site's record and returns rec with its Version set. match, unless empty, must be the current
// version, else the error wraps ErrPrecondition. A missing site is fs.ErrNotExist, a host of another site fs.ErrExist.
func (c *Catalog) UpdateSite(ctx context.Context, rec object.SiteRecord, match object.Version) (object.SiteRecord, error) {
	return c.home().updateSite(ctx, rec, match)
}

// SiteStored says that the bucket has this version of the site's record, and enqueues its log entry, both once, and
// returns the entry's id: for a version that was confirmed before, "". If the record has changed since, the error wraps
// ErrLost.
func (c *Catalog) SiteStored(ctx context.Context, site object.Site, version object.Version) (entry string, err error) {
	return c.home().siteStored(ctx, site, version)
}

// Site returns a site's record; fs.ErrNotExist if there is none.
func (c *Catalog) Site(ctx context.Context, site object.Site) (object.SiteRecord, error) {
	return c.home().site(ctx, site)
}

// Sites returns up to limit sites in the order of their names, those after the given one.
func (c *Catalog) Sites(ctx context.Context, after object.Site, limit int) ([]object.SiteRecord, error) {
	return c.home().sites(ctx, after, limit)
}

// UnstoredSites returns the sites whose record was changed and not confirmed with SiteStored since.
func (c *Catalog) UnstoredSites(ctx context.Context) ([]object.SiteRecord, error) {
	return c.home().unstoredSites(ctx)
}

// EnqueuePurge records a purge and its outbox rows. A missing site is fs.ErrNotExist; a request that names nothing or
// too much wraps object.ErrInvalid.
func (c *Catalog) EnqueuePurge(ctx context.Context, site object.Site, r PurgeRequest) (Purge, error) {
	return c.home().enqueuePurge(ctx, site, r)
}

// Purge returns a purge by its id; fs.ErrNotExist if there is none.
func (c *Catalog) Purge(ctx context.Context, id string) (Purge, error) {
	return c.home().purge(ctx, id)
}

package cache

import (
	"context"
	"errors"
	"fmt"

	"perigee/object"
)

// ErrSitesUnknown says that no site could be learned yet: neither journal, log nor bucket has told of one.
var ErrSitesUnknown = errors.New("no site is known yet")

// Site returns the record of the site that answers to host. Unknown hosts are ErrUnknownSite; ErrSitesUnknown as long as
// the bucket's list could not be read and nothing is known of this host.
func (e *Engine) Site(host object.Host) (*object.SiteRecord, error) {
	if r := e.sites.Host(host); r != nil {
		return r, nil
	}
	if e.sitesListed.Load() == 0 {
		return nil, ErrSitesUnknown
	}
	return nil, ErrUnknownSite
}

// ErrUnknownSite says that no site answers to a host.
var ErrUnknownSite = errors.New("no site answers to this host name")

// loadSites reads all site records from the bucket.
func (e *Engine) loadSites(ctx context.Context) error {
	want := e.sitesWanted.Load() // a break in the log from here on asks for another reading
	for r, err := range e.origin.Sites(ctx) {
		if errors.Is(err, object.ErrInvalid) {
			e.log.Error("a site record in the bucket is damaged and ignored", "err", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("list sites: %w", err)
		}
		if e.sites.Learn(&r) {
			e.mu.Lock()
			e.writeJournal(&record{Site: &r})
			e.mu.Unlock()
		}
	}
	e.sitesListed.Store(want)
	return nil
}

// KnowsSites reports whether the engine can tell its sites: from the bucket, or from before.
func (e *Engine) KnowsSites() bool {
	return e.sitesListed.Load() > 0 || len(e.sites.Records()) > 0
}

package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"perigee/object"
)

// siteTable maps hosts to sites. Readers take an immutable map behind an atomic pointer.
type siteTable struct {
	byHost atomic.Pointer[map[object.Host]*object.SiteRecord]
	// listed is set once the bucket's site records were read since the start or the last reset.
	listed atomic.Bool

	mu    sync.Mutex
	sites map[object.Site]*object.SiteRecord
}

func newSiteTable() *siteTable {
	t := &siteTable{sites: map[object.Site]*object.SiteRecord{}}
	t.byHost.Store(&map[object.Host]*object.SiteRecord{})
	return t
}

// learn takes in a record unless a newer one is known; it reports whether anything changed.
func (t *siteTable) learn(r *object.SiteRecord) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.sites[r.Site]; old != nil && old.Version >= r.Version {
		return false
	}
	t.sites[r.Site] = r
	hosts := map[object.Host]*object.SiteRecord{}
	for _, name := range slices.Sorted(maps.Keys(t.sites)) {
		for _, h := range t.sites[name].Hosts {
			if hosts[h] == nil { // a host claimed twice stays with the first site by name: deterministic on every edge
				hosts[h] = t.sites[name]
			}
		}
	}
	t.byHost.Store(&hosts)
	return true
}

func (t *siteTable) records() []*object.SiteRecord {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.sites))
}

func (t *siteTable) forgetListing() { t.listed.Store(false) }

// ErrSitesUnknown says that no site could be learned yet: neither journal, log nor bucket has told of one.
var ErrSitesUnknown = errors.New("no site is known yet")

// Site returns the record of the site that answers to host. Unknown hosts are ErrUnknownSite; ErrSitesUnknown as long as
// the bucket's list could not be read and nothing is known of this host.
func (e *Engine) Site(host object.Host) (*object.SiteRecord, error) {
	if r := (*e.sites.byHost.Load())[host]; r != nil {
		return r, nil
	}
	if !e.sites.listed.Load() {
		return nil, ErrSitesUnknown
	}
	return nil, ErrUnknownSite
}

// ErrUnknownSite says that no site answers to a host.
var ErrUnknownSite = errors.New("no site answers to this host name")

// SiteNamed returns the record of a site by its name.
func (e *Engine) SiteNamed(s object.Site) (*object.SiteRecord, error) {
	e.sites.mu.Lock()
	defer e.sites.mu.Unlock()
	if r := e.sites.sites[s]; r != nil {
		return r, nil
	}
	return nil, ErrUnknownSite
}

// loadSites reads all site records from the bucket.
func (e *Engine) loadSites(ctx context.Context) error {
	for key, err := range e.origin.List(ctx, object.SitePrefix) {
		if err != nil {
			return fmt.Errorf("list sites: %w", err)
		}
		b, err := e.readSmall(ctx, key)
		if err != nil {
			return fmt.Errorf("read site: %w", err)
		}
		r, err := object.UnmarshalSite(b)
		if err != nil || object.SiteKey(r.Site) != key {
			e.log.Error("a site record in the bucket is damaged and ignored", "key", key, "err", err)
			continue
		}
		if e.sites.learn(&r) {
			e.mu.Lock()
			e.writeJournal(&record{Site: &r})
			e.mu.Unlock()
		}
	}
	e.sites.listed.Store(true)
	return nil
}

// KnowsSites reports whether the engine can tell its sites: from the bucket, or from before.
func (e *Engine) KnowsSites() bool {
	return e.sites.listed.Load() || len(*e.sites.byHost.Load()) > 0
}

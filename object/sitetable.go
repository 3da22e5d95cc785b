package object

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// SiteTable is the newest record of each site, found by name or host. Readers of hosts take no lock. It is safe for
// concurrent use; the records in it must not be changed.
type SiteTable struct {
	byHost atomic.Pointer[map[Host]*SiteRecord]

	mu    sync.Mutex
	sites map[Site]*SiteRecord
}

// NewSiteTable returns an empty table.
func NewSiteTable() *SiteTable {
	t := &SiteTable{sites: map[Site]*SiteRecord{}}
	t.byHost.Store(&map[Host]*SiteRecord{})
	return t
}

// Learn takes in a record unless one as new is known; it reports whether it did.
func (t *SiteTable) Learn(r *SiteRecord) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.sites[r.Site]; old != nil && old.Version >= r.Version {
		return false
	}
	t.sites[r.Site] = r
	hosts := map[Host]*SiteRecord{}
	for _, name := range slices.Sorted(maps.Keys(t.sites)) {
		for _, h := range t.sites[name].Hosts {
			if hosts[h] == nil { // a host claimed twice stays with the first site by name: the same on every node
				hosts[h] = t.sites[name]
			}
		}
	}
	t.byHost.Store(&hosts)
	return true
}

// Host returns the record of the site that answers to h, or nil.
func (t *SiteTable) Host(h Host) *SiteRecord { return (*t.byHost.Load())[h] }

// Hosts returns every host of every site.
func (t *SiteTable) Hosts() []Host { return slices.Collect(maps.Keys(*t.byHost.Load())) }

// Site returns the record of a site, or nil.
func (t *SiteTable) Site(s Site) *SiteRecord {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sites[s]
}

// Records returns every record, sorted by name.
func (t *SiteTable) Records() []*SiteRecord {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*SiteRecord, 0, len(t.sites))
	for _, name := range slices.Sorted(maps.Keys(t.sites)) {
		out = append(out, t.sites[name])
	}
	return out
}

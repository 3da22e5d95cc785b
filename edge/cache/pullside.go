package cache

import (
	"perigee/edge/cache/store"
	"perigee/object"
	"perigee/purge"
)

// Records returns the store, for those who keep other things than published blobs in it. Their keys must be hashes that are no names and no blobs of
// the engine's; it is the engine's to run and to close.
func (e *Engine) Records() *store.Store { return e.store }

// Applied returns how many changes of the log have been applied, over restarts: what Purged counts from.
func (e *Engine) Applied() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return uint64(e.table.now)
}

// Purged reports whether a purge that was applied after since covers something of a site that is no name of the engine's: by its path, or by a tag. It takes no lock if
// nothing was applied.
func (e *Engine) Purged(site object.Site, path string, tags []string, since uint64) (hard, soft bool) {
	if e.tick.Load() == since {
		return false, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.table
	m := t.all
	if len(t.epochs) > 0 {
		m = m.max(t.epochs[epochKey{purge.KindSite, site, ""}]).max(t.epochs[epochKey{purge.KindURL, site, path}])
		for p := range object.Path(path).Prefixes {
			m = m.max(t.epochs[epochKey{purge.KindPrefix, site, string(p)}])
		}
		for _, tag := range tags {
			m = m.max(t.epochs[epochKey{purge.KindTag, site, tag}])
		}
	}
	return m.Hard > tick(since), m.Soft > tick(since)
}

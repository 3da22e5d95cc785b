package cache

import (
	"strings"
	"time"

	"perigee/object"
	"perigee/purge"
)

// Apply makes a log entry effective: it implements purge.Sink. The entry is in the journal, together with the position,
// when Apply returns; a journal that cannot be written does not stop it, for then nothing can be
// replayed wrongly either: the engine stops writing the journal and says so (see Stats.JournalFailed).
//
// The one error, ErrNotErased, is of an entry of purge.KindErase whose bytes the disk does not let go of. It is not in the journal then, and
// the position stands before it, so that nobody takes it for applied.
func (e *Engine) Apply(r purge.Record) error {
	e.mu.Lock()
	// From here on no prepared answer counts without a look at its name, and that look waits for e.mu.
	e.tick.Store(uint64(e.table.now) + 1)
	e.applyToTables(&r.Entry)
	if r.Kind == purge.KindErase {
		e.mu.Unlock() // readers of other files need not wait for the disk
		if err := e.destroy(&r.Entry); err != nil {
			return err
		}
		e.mu.Lock()
	}
	e.position = r.Position
	e.writeJournal(&record{Applied: &appliedRecord{r.Entry, r.Position}})
	e.mu.Unlock()
	e.moved()
	return nil
}

// applyToTables is Apply without journal and position; e.mu is held, or nobody else is there yet. A pointer that the log
// tells of starts no lease: while we catch up with the log a newer one may follow. Only Confirm knows that none does.
func (e *Engine) applyToTables(en *purge.Entry) {
	t := e.table
	t.now++
	e.overtake(en)
	switch en.Kind {
	case purge.KindPointer:
		p := en.Pointer
		k := nameKey{site: p.Site, path: p.Path}
		n := t.stored(k, e.recallLocked(k))
		n.take(p, t.now, e.never)
		e.remember(k, n)
		t.absent.remove(nameKey{p.Site, p.Path, p.Version})
	case purge.KindURL:
		if r := e.sites.Site(en.Site); r != nil && r.Kind == object.Pull { // its names are not ours: each has many
			t.raise(epochKey{en.Kind, en.Site, string(en.Path)}, en.Soft)
			return
		}
		e.purgeURL(nameKey{site: en.Site, path: en.Path}, en.Soft)
	case purge.KindPrefix:
		t.raise(epochKey{en.Kind, en.Site, string(en.Prefix)}, en.Soft)
	case purge.KindTag:
		t.raise(epochKey{en.Kind, en.Site, string(en.Tag)}, en.Soft)
	case purge.KindSite:
		t.raise(epochKey{en.Kind, en.Site, ""}, en.Soft)
	case purge.KindRules:
		e.sites.Learn(en.Record)
	case purge.KindErase:
		e.forgetVersions(en)
	}
}

// overtake tells the fetches under way whose names en covers that they asked too early: requests that come from now on
// start another one. The mark that en leaves on a name must exist even if the name is not known yet, or was forgotten
// when the fetch ends. Which tags a name has is not known before the fetch ends, so a purge by tag covers all of the site.
func (e *Engine) overtake(en *purge.Entry) {
	for k, c := range e.calls {
		if k.site != en.Site {
			continue
		}
		switch en.Kind {
		case purge.KindPointer:
			if k.path == en.Pointer.Path && (k.version == "" || k.version == en.Pointer.Version) {
				c.overtaken = true
				c.purged.raise(e.table.now, false)
			}
		case purge.KindURL:
			if k.path == en.Path && k.version == "" {
				c.overtaken = true
				c.purged.raise(e.table.now, en.Soft)
			}
		case purge.KindPrefix:
			c.overtaken = c.overtaken || strings.HasPrefix(string(k.path), string(en.Prefix))
		case purge.KindTag, purge.KindSite:
			c.overtaken = true
		}
	}
}

// purgeURL marks one name.
func (e *Engine) purgeURL(k nameKey, soft bool) {
	if n := e.recallLocked(k); n != nil {
		n.purged.raise(e.table.now, soft)
		e.remember(k, n)
	}
	if n, ok := e.table.absent.peek(k); ok {
		n.purged.raise(e.table.now, soft)
	}
}

// Reset implements purge.Sink: the log does not continue, so every name must be confirmed before its next use.
func (e *Engine) Reset(to purge.Position, why error) error {
	e.log.Warn("the purge log does not continue from our position; everything will be revalidated", "err", why)
	e.mu.Lock()
	e.tick.Store(uint64(e.table.now) + 1)
	e.resetTables(to)
	e.writeJournal(&record{Reset: &to})
	e.mu.Unlock()
	e.counters.resets.Add(1)
	e.sitesWanted.Add(1)
	e.moved()
	return nil
}

// resetTables keeps the epochs: a hard purge that came before the break still forbids to serve what it named.
func (e *Engine) resetTables(to purge.Position) {
	t := e.table
	t.now++
	t.all.raise(t.now, true)
	for _, c := range e.calls {
		c.overtaken = true
	}
	e.position = to
}

// Confirm implements purge.Sink: a new lease starts at asked.
func (e *Engine) Confirm(asked time.Time) {
	e.mu.Lock()
	first := e.confirmed.IsZero()
	if asked.After(e.confirmed) {
		e.confirmed = asked
		e.leaseFrom.Store(max(int64(asked.Sub(e.started)), 0) + 1)
	}
	e.mu.Unlock()
	if first {
		e.moved()
	}
}

// Position returns how far the engine has applied the log.
func (e *Engine) Position() purge.Position {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.position
}

// LeaseLeft returns how long the engine's knowledge of the log is still good; 0 when expired or never had.
func (e *Engine) LeaseLeft() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leaseLeft(e.clock.Now())
}

func (e *Engine) leaseLeft(now time.Time) time.Duration {
	if e.confirmed.IsZero() {
		return 0
	}
	return max(0, e.lease-now.Sub(e.confirmed))
}

package embedded

import (
	"path/filepath"
	"sync"
)

// rememberedDirs is how many directories durableDirs remembers before it starts over.
const rememberedDirs = 1 << 16

// durableDirs makes new names durable: it syncs the directory of a name and the directories above it, up to a base that is
// durable already. It remembers which directories have been made durable, since most names are created in old ones.
//
// Removing objects removes directories that became empty, and a later write may create them anew, so that memory of them
// would be wrong. Interleaving to avoid: a removal deletes directory d; a write creates d again, finds d remembered, and does not sync
// d's parent; only then does the removal forget d. Hence: while a removal is under way nothing remembered is trusted and
// nothing is added, and a removal forgets before it ends. A write that starts syncing when no removal is under way has its
// own name in d, so d stays.
type durableDirs struct {
	fsync func(path string) error

	mu       sync.Mutex
	removing int
	removals uint64
	known    map[string]struct{}
}

func newDurableDirs(fsync func(string) error) *durableDirs {
	return &durableDirs{fsync: fsync, known: make(map[string]struct{})}
}

// publish makes the name path, below base, durable.
func (d *durableDirs) publish(base, path string) error {
	d.mu.Lock()
	trust, seen := d.removing == 0, d.removals
	d.mu.Unlock()
	var synced []string
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if err := d.fsync(dir); err != nil {
			return err
		}
		if dir == base || len(dir) <= len(base) || trust && d.remembers(dir) {
			break
		}
		synced = append(synced, dir)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.removing > 0 || d.removals != seen {
		return nil
	}
	if len(d.known)+len(synced) > rememberedDirs {
		clear(d.known)
	}
	for _, dir := range synced {
		d.known[dir] = struct{}{}
	}
	return nil
}

// remembers reports whether dir's own name is durable.
func (d *durableDirs) remembers(dir string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.known[dir]
	return ok
}

// remove runs f, which removes path below base and perhaps directories above it.
func (d *durableDirs) remove(base, path string, f func() error) error {
	d.mu.Lock()
	d.removing++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for dir := filepath.Dir(path); len(dir) > len(base); dir = filepath.Dir(dir) {
			delete(d.known, dir)
		}
		d.removing--
		d.removals++
	}()
	return f()
}

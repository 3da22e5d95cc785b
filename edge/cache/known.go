package cache

import (
	"errors"
	"io/fs"
	"time"

	"perigee/edge/cache/store"
)

// storeKey returns where the store has a name. The hash is keyed, so that nobody who chooses paths can choose index positions.
func (e *Engine) storeKey(k nameKey) store.Key {
	var room [maxPreparedKey]byte
	return e.hashName(appendID(room[:0], k))
}

// recall returns what is known of k, from memory or from the store, or nil. e.mu is held; it is given up while the disk is read.
//
// The race it must win: (1) recall reads the record of k, an old pointer; (2) the log brings a new one, which goes to the store and to
// memory; (3) memory forgets it again, to make room; (4) recall is about to take in the old one. Therefore the index is asked once more under e.mu: what
// it points to must still be what was read.
func (e *Engine) recall(k nameKey) *name {
	if n := e.table.lookup(k); n != nil {
		return n
	}
	key := e.storeKey(k)
	for range 3 {
		ref, ok := e.store.Find(key)
		if !ok {
			return nil
		}
		e.mu.Unlock()
		got, err := e.readName(key, ref, k)
		e.mu.Lock()
		if n := e.table.lookup(k); n != nil {
			return n
		}
		if now, ok := e.store.Find(key); !ok || now != ref {
			continue
		}
		if err != nil {
			e.store.Drop(key, ref)
			return nil
		}
		e.store.Touch(key)
		return e.table.insert(k, got)
	}
	return nil
}

// recallLocked is recall for those who must not let go of e.mu: the log, which changes names one after the other.
func (e *Engine) recallLocked(k nameKey) *name {
	if n, ok := e.table.names.get(k); ok {
		return n
	}
	key := e.storeKey(k)
	ref, ok := e.store.Find(key)
	if !ok {
		return nil
	}
	got, err := e.readName(key, ref, k)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			e.store.Drop(key, ref)
		}
		return nil
	}
	return e.table.insert(k, got)
}

// readName reads a name from the store. An error means that there is none to be had.
func (e *Engine) readName(key store.Key, ref store.Ref, k nameKey) (*storedName, error) {
	var room [1024]byte
	rec, err := e.store.Read(key, ref, room[:])
	if err != nil {
		e.countDisk(err)
		return nil, err
	}
	n, err := decodeName(rec.Meta)
	if err != nil {
		return nil, err
	}
	if n.key != k {
		return nil, errForeign
	}
	return n, nil
}

// remember brings what memory knows of k to the store. If the disk refuses, the record it has is forgotten: an older pointer must not come back
// when memory has to let the name go. e.mu is held.
func (e *Engine) remember(k nameKey, n *name) {
	if e.closed || n.pointer == nil {
		return
	}
	e.buf = appendName(e.buf[:0], &storedName{k, n.pointer, n.checked, n.purged})
	key := e.storeKey(k)
	err := error(nil)
	if !e.volatile {
		_, err = e.store.Put(store.Names, key, e.buf, nil)
	}
	if err != nil {
		e.diskFailed(err)
	}
	if err != nil || e.volatile {
		if ref, ok := e.store.Find(key); ok {
			e.store.Drop(key, ref)
		}
	}
}

// disremember takes k out of memory and store. e.mu is held.
func (e *Engine) disremember(k nameKey) {
	e.table.names.remove(k)
	key := e.storeKey(k)
	if ref, ok := e.store.Find(key); ok {
		e.store.Drop(key, ref)
	}
}

// insert takes in a name that the store had. Nobody has vouched for it since the start.
func (t *table) insert(k nameKey, s *storedName) *name {
	n := &name{pointer: s.pointer, checked: s.checked, purged: s.purged, confirmed: time.Time{}}
	t.names.put(k, n)
	return n
}

// countDisk counts an error of reading the disk.
func (e *Engine) countDisk(err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, store.ErrDamaged):
		e.counters.healed.Add(1)
	default:
		e.counters.diskFailures.Add(1)
	}
}

// diskFailed counts a record that could not be written, and says so once per failure.
func (e *Engine) diskFailed(err error) {
	e.counters.diskFailures.Add(1)
	if e.diskFailing.CompareAndSwap(false, true) {
		e.log.Error("the cache disk cannot be written; serving without storing", "err", err)
	}
}

// diskWorks notes that the disk takes records (again).
func (e *Engine) diskWorks() {
	if e.diskFailing.Load() && e.diskFailing.CompareAndSwap(true, false) {
		e.log.Info("the cache disk can be written again")
	}
}

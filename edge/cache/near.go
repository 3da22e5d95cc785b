package cache

import (
	"sync"

	"perigee/object"
)

// maxNear is the size of the largest blob that is given without waiting, in bytes: what one may read and check on a loop that has others to serve.
const maxNear = 128 << 10

// Near is a whole small blob that was at hand: in the system's memory, below the cache's own. It is valid until Release.
type Near struct {
	Pointer *object.Pointer
	Body    []byte
	scratch *[]byte
}

// Release ends the use of n.
func (n Near) Release() { nearScratches.Put(n.scratch) }

var nearScratches = sync.Pool{New: func() any { b := make([]byte, maxNear+4096); return &b }}

// Near returns the file of a path, verified, if its name is good at this moment and nothing has to be waited for: no disk, no lock that somebody holds, no origin. False
// means that the long way has to be gone: Resolve and Locate.
func (e *Engine) Near(site *object.SiteRecord, path object.Path) (Near, bool) {
	k := nameKey{site: site.Site, path: path}
	s := nearScratches.Get().(*[]byte)
	p, ok := e.nearName(k, *s)
	if ok && p.Size > 0 && p.Size <= maxNear {
		if body, ok := e.nearChunk(p, *s); ok {
			return Near{p, body, s}, true
		}
	}
	nearScratches.Put(s)
	return Near{}, false
}

// nearName returns the pointer of a name that is good.
func (e *Engine) nearName(k nameKey, buf []byte) (*object.Pointer, bool) {
	if !e.mu.TryLock() {
		return nil, false
	}
	n, ok := e.table.names.get(k)
	if ok {
		defer e.mu.Unlock()
		return e.nearPointer(k, n)
	}
	e.mu.Unlock()
	key := e.storeKey(k)
	ref, ok := e.store.Find(key)
	if !ok {
		return nil, false
	}
	rec, err := e.store.ReadNow(key, ref, buf)
	if err != nil {
		return nil, false
	}
	got, err := decodeName(rec.Meta)
	if err != nil || got.key != k || !e.mu.TryLock() {
		return nil, false
	}
	defer e.mu.Unlock()
	if now, ok := e.store.Find(key); !ok || now != ref || e.table.lookup(k) != nil { // changed meanwhile
		return nil, false
	}
	e.store.Touch(key)
	return e.nearPointer(k, e.table.insert(k, got))
}

// nearPointer returns the pointer of a name if that is good and there is a file. e.mu is held.
func (e *Engine) nearPointer(k nameKey, n *name) (*object.Pointer, bool) {
	p := n.pointer
	return p, p != nil && p.State == object.Live && e.judge(k, n) == good
}

// nearChunk returns the one chunk of a small blob.
func (e *Engine) nearChunk(p *object.Pointer, buf []byte) ([]byte, bool) {
	id := idOf(p)
	key := id.key(0)
	ref, ok := e.store.Find(key)
	if !ok {
		return nil, false
	}
	rec, err := e.store.ReadNow(key, ref, buf)
	if err != nil {
		return nil, false
	}
	var room [maxLabel]byte
	if string(rec.Meta) != string(id.label(room[:0], 0)) || int64(len(rec.Body)) != p.Size {
		return nil, false
	}
	e.store.Touch(key)
	return rec.Body, true
}

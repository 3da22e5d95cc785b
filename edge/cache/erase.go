package cache

import (
	"errors"
	"fmt"

	"perigee/edge/cache/store"
	"perigee/object"
	"perigee/purge"
)

// ErrNotErased says that bytes of what was to be erased may remain on the disk. The position has not moved: the log gives the entry again.
var ErrNotErased = errors.New("what is to be erased may still be on the disk")

// Erase destroys what this edge has of a file: every record of its blob and of the name of its version is overwritten on disk, and the disk synced, before it
// returns; memory is emptied. Other files with the same content lose their copy, too, and fetch it again. A file that is still published comes back with its next
// request; a body that is being read at this moment fails over to the origin. An error, which wraps ErrNotErased, means that bytes may remain.
func (e *Engine) Erase(p *object.Pointer) error {
	en := purge.Entry{Site: p.Site, Path: p.Path, Versions: []object.Version{p.Version}, Contents: []purge.Content{purge.ContentOf(p)}}
	e.mu.Lock()
	e.disremember(nameKey{site: p.Site, path: p.Path})
	e.forgetVersions(&en)
	e.mu.Unlock()
	return e.destroy(&en, nameKey{site: p.Site, path: p.Path})
}

// forgetVersions takes the versions that en names out of memory and index, and out of the fetches under way: from here on nobody finds them here. e.mu is held.
func (e *Engine) forgetVersions(en *purge.Entry) {
	for _, v := range en.Versions {
		k := nameKey{en.Site, en.Path, v}
		e.disremember(k)
		e.table.absent.remove(k)
		if c := e.calls[k]; c != nil {
			c.erased = true
			delete(e.calls, k)
		}
	}
}

// destroy overwrites the records of the names and contents of en, which nobody finds any more, and those of more.
//
// The race it must win: (1) a fill has read a chunk of what is to be erased, (2) destroy overwrites all that the store has of it, (3) the fill gives its chunk to
// the store. Therefore a fill looks at its mark and puts the chunk under e.fence, and the marks are set under it: what is put before is overwritten, and
// nothing is put after. A fill that begins later asks a bucket that has the bytes no more, or has them for another file.
func (e *Engine) destroy(en *purge.Entry, more ...nameKey) error {
	var keys []store.Key
	for _, k := range more {
		keys = append(keys, e.storeKey(k))
	}
	for _, v := range en.Versions {
		keys = append(keys, e.storeKey(nameKey{en.Site, en.Path, v}))
	}
	var ids []blobID
	for _, c := range en.Contents {
		id := blobID{c.Hash, c.Root, c.Size}
		ids = append(ids, id)
		for i := range id.chunks() {
			keys = append(keys, id.key(uint64(i)))
		}
		if id.chunks() > 1 {
			keys = append(keys, id.nodeKeys()...)
		}
	}
	e.breakOff(ids)
	if len(ids) > 0 {
		e.erasures.Add(1)
		e.ram.DropIf(func([]byte) bool { return true }) // which of them have these bytes is not worth knowing
	}
	if err := e.store.Erase(keys...); err != nil {
		return fmt.Errorf("%w: %s%s: %w", ErrNotErased, en.Site, en.Path, err)
	}
	return nil
}

// breakOff marks the fills of some blobs: their readers are served, nothing more of them is kept, and who comes now starts another fill.
func (e *Engine) breakOff(ids []blobID) {
	e.fence.Lock()
	defer e.fence.Unlock()
	e.flightsMu.Lock()
	defer e.flightsMu.Unlock()
	for _, id := range ids {
		if f := e.flights[id]; f != nil {
			f.erased.Store(true)
			delete(e.flights, id)
		}
	}
}

// nodeKeys returns the keys of all nodes of the blob's hash tree.
func (b blobID) nodeKeys() []store.Key {
	var keys []store.Key
	for n, level := (object.TreeNode{}), b.chunks(); ; {
		nodes := (level + object.TreeFanout - 1) / object.TreeFanout
		for i := range nodes {
			n.Index = i
			keys = append(keys, b.key(nodeNumber(n)))
		}
		if nodes == 1 {
			return keys
		}
		n.Level, level = n.Level+1, nodes
	}
}

package cache

import (
	"fmt"

	"perigee/edge/cache/store"
	"perigee/object"
)

// Erase destroys what this edge has of a file: every record of its blob and of its names is overwritten on disk, and the disk synced, before it
// returns; memory is emptied. Other files with the same content lose their copy, too, and fetch it again. A file that is still published comes back with its next
// request; a body that is being read at this moment fails over to the origin. An error means that bytes may remain.
func (e *Engine) Erase(p *object.Pointer) error {
	id := idOf(p)
	keys := make([]store.Key, 0, id.chunks()+4)
	for i := range id.chunks() {
		keys = append(keys, id.key(uint64(i)))
	}
	if id.chunks() > 1 {
		keys = append(keys, id.nodeKeys()...)
	}
	head := nameKey{site: p.Site, path: p.Path}
	keys = append(keys, e.storeKey(head), e.storeKey(nameKey{p.Site, p.Path, p.Version}))
	e.mu.Lock()
	e.table.names.remove(head)
	e.table.names.remove(nameKey{p.Site, p.Path, p.Version})
	e.mu.Unlock()
	e.ram.DropIf(func([]byte) bool { return true }) // which of them have these bytes is not worth knowing
	if err := e.store.Erase(keys...); err != nil {
		return fmt.Errorf("erase %s%s: %w", p.Site, p.Path, err)
	}
	return nil
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

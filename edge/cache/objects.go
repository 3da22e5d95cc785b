package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"perigee/object"
)

// Sites of kind bucket have no pointers in the bucket: their names mean objects that anybody may have written, and an object is all there is to
// ask. What the rest of this package does with a name and a blob it does with them, too; this is what differs:
//
//	pointer   made from a look at the object (Objects.Stat), with the version that its Last-Modified gives it (object.SeenVersion); or from
//	          the log, whose version is always the greater one (object.RecordedVersion). So the floor keeps out what is older than the log has
//	          told, and what was written in the same second without the log having told of it.
//	blob      named by its place and its ETag (object.Pointer.ID). There is no hash tree: every read is pinned to that ETag, and one that the store
//	          cannot answer any more is ErrChanged. So no body has bytes of two states of an object.
//	absence   leaves no tombstone in the store. It is believed, but never in place of what the log has told: see objectGone.

// Objects is where the objects of bucket sites come from. store is object.BucketSource's. Safe for concurrent use.
type Objects interface {
	// Stat describes an object as it is now. A missing one is fs.ErrNotExist; any other error says nothing of the object.
	Stat(ctx context.Context, store string, key object.Key) (object.Info, error)
	// Open opens length bytes of an object from offset, if it still has that ETag; ErrChanged if it has another one or is gone. The body ends with io.EOF
	// exactly after length bytes. The caller closes it.
	Open(ctx context.Context, store string, key object.Key, etag string, offset, length int64) (io.ReadCloser, error)
}

// ErrChanged says that an object is no longer what its pointer says. Resolve asks for it anew.
var ErrChanged = errors.New("the object has been changed since it was looked at")

// errNoObjects says that an engine has no way to a bucket site's objects.
var errNoObjects = errors.New("this edge has no access to the objects of bucket sites")

// readObject makes the pointer of k from the object that it means.
func (e *Engine) readObject(ctx context.Context, k nameKey, src *object.BucketSource) (*object.Pointer, error) {
	key, ok := src.Key(k.path)
	if !ok {
		return nil, fmt.Errorf("the key of %s%s is longer than %d bytes: %w", k.site, k.path, object.MaxKey, fs.ErrNotExist)
	}
	if e.objects == nil {
		return nil, errNoObjects
	}
	info, err := e.objects.Stat(ctx, src.Store, key)
	if err != nil {
		return nil, err
	}
	p, err := info.Pointer(k.site, k.path, src.Store, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errCorrupt, err)
	}
	return p, nil
}

// bucketSource returns where the objects of a site are; nil if it is no bucket site.
func (e *Engine) bucketSource(site object.Site) *object.BucketSource {
	if r := e.sites.Site(site); r != nil && r.Kind == object.Bucket {
		return r.Bucket
	}
	return nil
}

// storeOf names the store that a site's names are confirmed with: one that fails says nothing of another.
func (e *Engine) storeOf(site object.Site) string {
	if src := e.bucketSource(site); src != nil {
		return src.Store
	}
	return ""
}

// settle gives p the version of what is known if the log has told of this very state already.
func (n *name) settle(p *object.Pointer) {
	k := n.pointer
	if p.Object() && k != nil && k.State == object.Live && k.Recorded() && k.ETag == p.ETag && k.Size == p.Size && k.Modified.Equal(p.Modified) {
		p.Version = k.Version
	}
}

// objectGone takes in that the store has no object of that name, and returns the pointer that counts. e.mu is held.
//
// What the log has told of cannot be forgotten: a store that lags behind its writes may not have the object yet, and nothing would come to
// bring it back. So the answer is given, but the name stays, and is asked for again by the next request, until the log has the tombstone. What came from a look
// at the object alone gives way to the newer look.
func (e *Engine) objectGone(k nameKey, n *name, c *call) *object.Pointer {
	if n.pointer.State == object.Gone {
		n.checked, n.confirmed = max(n.checked, c.from), c.asked
		return n.pointer
	}
	if n.pointer.Recorded() {
		e.doubt(k, n)
		return nil
	}
	e.disremember(k)
	e.table.absent.put(k, &name{checked: c.from, confirmed: c.asked, purged: c.purged})
	return nil
}

// doubt makes a name one that must be confirmed before its next use. It is told as a purge at this tick of a name that was checked before it, because a tick
// that the journal does not have must not be counted. e.mu is held.
func (e *Engine) doubt(k nameKey, n *name) {
	n.purged.raise(e.table.now, false)
	n.checked = min(n.checked, e.table.now-1)
	e.remember(k, n)
}

// outdated notes that the store no longer has the object that p means.
func (e *Engine) outdated(p *object.Pointer) {
	k := nameKey{site: p.Site, path: p.Path}
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := e.recallLocked(k); n != nil && n.pointer.Object() && n.pointer.ID() == p.ID() {
		e.doubt(k, n)
	}
}

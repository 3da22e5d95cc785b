package cache

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/dchest/siphash"

	"perigee/edge/cache/ram"
	"perigee/edge/cache/store"
	"perigee/object"
)

// maxPrepared is the size of the largest blob that is kept in memory, in bytes.
const maxPrepared = 256 << 10

// maxPreparedKey is the longest site and raw path, together, that has a prepared answer: such a key is put together on the stack.
const maxPreparedKey = 512

// touchOneIn is how many hits in memory stand for one that the store is told of. Heat on disk needs no more, and hits stay in memory.
const touchOneIn = 16

// Prepared is an answer kept in memory: the head that the face made for it, and the whole blob. It is valid until Release, whatever happens to
// the cache.
type Prepared struct{ view ram.View }

// The parts of an entry in memory. The head comes first and the body follows it at once, so that both leave in one write.
const (
	partHead = iota
	partBody
	partID      // the name: what storeKey hashes
	partVersion // of the pointer that the head was made for
)

// Head returns what was given to Prepare.
func (p Prepared) Head() []byte { return p.view.Value(partHead) }

// Body returns the blob.
func (p Prepared) Body() []byte { return p.view.Value(partBody) }

// Release ends the use of p.
func (p Prepared) Release() { p.view.Release() }

// Prepared returns the answer kept for the raw path of a site, if the name is good at this moment. False means that the
// long way has to be gone: Resolve and Locate. It does not allocate and takes no lock that is held while a disk is waited for; a hit costs a look-up, a
// comparison of ticks and one of times.
//
// The race it must win: (1) a client is told that its purge is applied, (2) it asks for the file. Apply raises e.tick before it changes anything,
// so the stamp of every entry is out of date by (1), and recheck waits for e.mu.
func (e *Engine) Prepared(site *object.SiteRecord, path []byte) (Prepared, bool) {
	if len(site.Site)+1+len(path) > maxPreparedKey {
		return Prepared{}, false
	}
	var room [maxPreparedKey]byte
	key := preparedKey(room[:0], site.Site, path)
	v, ok := e.ram.Get(ram.Hash(key), key)
	if !ok {
		return Prepared{}, false
	}
	if _, left := e.Lease(); left <= 0 || v.Stamp().Load() != e.tick.Load() && !e.recheck(v) {
		v.Release()
		return Prepared{}, false
	}
	if rand.Uint32()%touchOneIn == 0 {
		e.touchBelow(v)
	}
	return Prepared{v}, true
}

func preparedKey(b []byte, site object.Site, path []byte) []byte {
	b = append(b, site...)
	b = append(b, 0)
	return append(b, path...)
}

// touchBelow counts a hit in memory on disk, where the heat decides what outlives a reclaim.
func (e *Engine) touchBelow(v ram.View) {
	var k store.Key
	binary.LittleEndian.PutUint64(k[:8], v.Mark(0))
	binary.LittleEndian.PutUint64(k[8:], v.Mark(1))
	e.store.Touch(k)
	e.store.Touch(e.hashName(v.Value(partID)))
}

// hashName is storeKey of a name that is written out already.
func (e *Engine) hashName(id []byte) (k store.Key) {
	lo, hi := siphash.Hash128(e.seed[0], e.seed[1], id)
	binary.LittleEndian.PutUint64(k[:8], lo)
	binary.LittleEndian.PutUint64(k[8:], hi)
	return k
}

// appendID writes a name out: what its place in the store is hashed from.
func appendID(b []byte, k nameKey) []byte {
	b = append(b, k.site...)
	b = append(b, 0)
	b = append(b, k.path...)
	b = append(b, 0)
	return append(b, k.version...)
}

func parseID(id []byte) (nameKey, bool) {
	site, rest, ok := bytes.Cut(id, []byte{0})
	path, version, also := bytes.Cut(rest, []byte{0})
	return nameKey{object.Site(site), object.Path(path), object.Version(version)}, ok && also
}

// recheck reports whether an entry that was checked at another tick is still good, and if it is, notes that.
func (e *Engine) recheck(v ram.View) bool {
	k, ok := parseID(v.Value(partID))
	if !ok {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n, ok := e.table.names.get(k) // those that memory has forgotten go the long way, once
	if !ok || e.judge(k, n) != good || !e.isOf(v, n.pointer) {
		return false
	}
	v.Stamp().Store(uint64(e.table.now))
	return true
}

// isOf reports whether an entry was made for p. The version counts, not the blob alone: a file may change its type and keep its bytes.
func (e *Engine) isOf(v ram.View, p *object.Pointer) bool {
	if p == nil || p.State != object.Live || string(v.Value(partVersion)) != string(p.Version) || int64(len(v.Value(partBody))) != p.Size {
		return false
	}
	m := marksOf(p)
	return v.Mark(0) == m[0] && v.Mark(1) == m[1]
}

// marksOf returns the key of the blob's one chunk as the words of an entry in memory.
func marksOf(p *object.Pointer) [2]uint64 {
	k := idOf(p).key(0)
	return [2]uint64{binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:])}
}

// Prepare offers an answer to be kept in memory: the raw path it was asked for by, its pointer as Resolve gave it, a head of the face's own making,
// and the whole blob, verified. version is that of an immutable name, or "". Whether it is kept is decided by how often it is asked for.
func (e *Engine) Prepare(site object.Site, path []byte, version object.Version, p *object.Pointer, head, body []byte) {
	if len(site)+1+len(path) > maxPreparedKey || int64(len(body)) != p.Size || p.Size > maxPrepared {
		return
	}
	k := nameKey{site, p.Path, version}
	erasures := e.erasures.Load()
	e.mu.Lock()
	n, ok := e.table.names.peek(k)
	ok = ok && e.judge(k, n) == good && n.pointer != nil && n.pointer.Version == p.Version && n.pointer.Hash == p.Hash && n.pointer.ETag == p.ETag
	now := uint64(e.table.now)
	e.mu.Unlock()
	if !ok {
		return
	}
	var room [maxPreparedKey]byte
	key := preparedKey(room[:0], site, path)
	h := ram.Hash(key)
	if v, ok := e.ram.Peek(h, key); ok {
		same := e.isOf(v, p) && bytes.Equal(v.Value(partHead), head)
		if same {
			v.Stamp().Store(now)
		}
		v.Release()
		if same {
			return
		}
	}
	var idRoom [maxPreparedKey]byte
	e.ram.Put(h, key, now, marksOf(p), head, body, appendID(idRoom[:0], k), []byte(p.Version))
	if e.erasures.Load() != erasures { // these may be bytes that were to be destroyed, put behind the back of who emptied memory
		e.ram.Drop(h, key)
	}
}

// recallPrepared returns the entry that has the blob of p under the path as it is usually written.
func (e *Engine) recallPrepared(p *object.Pointer) (Prepared, bool) {
	v, ok := e.ram.Peek(e.preparedAt(p))
	if ok && !e.isOf(v, p) {
		v.Release()
		ok = false
	}
	return Prepared{v}, ok
}

func (e *Engine) preparedAt(p *object.Pointer) (uint64, []byte) {
	key := preparedKey(nil, p.Site, []byte(p.Path.Escape()))
	return ram.Hash(key), key
}

// prepared reports whether memory has the blob of p.
func (e *Engine) prepared(p *object.Pointer) bool {
	v, ok := e.recallPrepared(p)
	if ok {
		v.Release()
	}
	return ok
}

// Lease returns how long ago the log was known to be fully applied, and how long that is good for. Without a lease left is 0, and ago means
// nothing. It takes no lock.
func (e *Engine) Lease() (ago, left time.Duration) {
	from := e.leaseFrom.Load()
	if from == 0 {
		return 0, 0
	}
	ago = e.clock.Now().Sub(e.started) - time.Duration(from-1)
	return max(ago, 0), max(0, e.lease-ago)
}

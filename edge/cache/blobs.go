package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"perigee/object"
)

// maxRAMBlob is the size of the largest blob kept in memory, in bytes.
const maxRAMBlob = 256 << 10

// ramOverhead is what a blob in memory costs beside its bytes: map entry, list node, slice header.
const ramOverhead = 200

// blobs is the set of blobs an engine holds, on disk and in memory, and the fills that run. It owns the directories
// blobs and tmp.
type blobs struct {
	dir string

	mu    sync.Mutex
	disk  *lru[object.Hash, *blob]
	ram   *lru[object.Hash, []byte]
	fills map[object.Hash]*fill
	// reserved is the space of fills in progress; disk.used + reserved stays within disk.limit.
	reserved int64
}

// blob is a blob on disk. The file has the bytes and then, if there is more than one chunk, the encoded tree.
type blob struct {
	path string
	hash object.Hash
	size int64

	mu sync.Mutex
	// verified has a bit for each chunk whose bytes were checked since the start of the process, and since the file had
	// another stamp.
	verified []uint64
	tree     *object.Tree
	root     object.Hash // of tree
	stamp    stamp
}

// stamp changes when somebody writes to a file. The engine itself never does once it is a blob's.
type stamp struct {
	modified time.Time
	size     int64
}

func stampOf(f *os.File) (stamp, error) {
	info, err := f.Stat()
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

func (b *blob) space() int64 { return spaceFor(b.size) }

// spaceFor returns the bytes a blob of size bytes takes on disk: data and tree in whole 4 KiB blocks.
func spaceFor(size int64) int64 {
	const block = 4096
	return max(block, (size+object.TreeSize(size)+block-1)/block*block)
}

func openBlobs(dir string, diskLimit, ramLimit int64) (*blobs, error) {
	b := &blobs{dir: dir, fills: map[object.Hash]*fill{}}
	b.disk = newLRU(diskLimit, (*blob).space, func(_ object.Hash, x *blob) { os.Remove(x.path) })
	b.ram = newLRU[object.Hash](ramLimit, func(d []byte) int64 { return int64(len(d)) + ramOverhead }, nil)
	tmp := filepath.Join(dir, "tmp")
	if err := os.RemoveAll(tmp); err != nil {
		return nil, fmt.Errorf("empty %s: %w", tmp, err)
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return nil, err
	}
	return b, b.scan()
}

// scan takes in the blobs that are on disk, the latest written ones last, so that the oldest are evicted first.
func (b *blobs) scan() error {
	type found struct {
		blob *blob
		when time.Time
	}
	var all []found
	root := filepath.Join(b.dir, "blobs")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		x, ok := parseBlobName(d.Name())
		if !ok || info.Size() != x.size+object.TreeSize(x.size) {
			return os.Remove(path) // foreign or torn
		}
		x.path = path
		all = append(all, found{x, info.ModTime()})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", root, err)
	}
	slices.SortFunc(all, func(x, y found) int { return x.when.Compare(y.when) })
	for _, f := range all {
		b.admit(f.blob)
	}
	return nil
}

// admit takes x into the index; b.mu is held. A file under the same hash with another size is of a pointer that is
// mistaken about one of the two, and goes.
func (b *blobs) admit(x *blob) {
	if old, ok := b.disk.peek(x.hash); ok && old.path != x.path {
		b.forget(old)
	}
	b.disk.put(x.hash, x)
}

// forget takes x out of the index and off the disk; b.mu is held.
func (b *blobs) forget(x *blob) {
	b.disk.remove(x.hash)
	os.Remove(x.path)
}

func blobName(h object.Hash, size int64) string {
	return h.String() + "-" + strconv.FormatInt(size, 10)
}

func parseBlobName(s string) (*blob, bool) {
	hash, size, ok := strings.Cut(s, "-")
	h, err := object.ParseHash(hash)
	n, err2 := strconv.ParseInt(size, 10, 64)
	if !ok || err != nil || err2 != nil || n < 0 || blobName(h, n) != s {
		return nil, false
	}
	return &blob{hash: h, size: n}, true
}

// errNoRoom says that a blob is too large to be held beside what is being filled.
var errNoRoom = errors.New("the cache has no room")

// reserve makes room for a fill of size bytes; b.mu is held.
func (b *blobs) reserve(size int64) error {
	need := spaceFor(size)
	if b.reserved+need > b.disk.limit {
		return errNoRoom
	}
	b.reserved += need
	b.disk.shrink(b.disk.limit - b.reserved)
	return nil
}

// drop removes a damaged blob, unless another one has taken its place.
func (b *blobs) drop(x *blob) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cur, ok := b.disk.peek(x.hash); ok && cur == x {
		b.forget(x)
	}
}

// keep puts the bytes of a small blob into memory. data must not be changed afterwards.
func (b *blobs) keep(h object.Hash, data []byte) {
	if len(data) > maxRAMBlob {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if int64(len(data))+ramOverhead <= b.ram.limit {
		b.ram.put(h, data)
	}
}

func (b *blobs) stats(s *Stats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Blobs, s.DiskBytes, s.DiskLimit = int64(b.disk.len()), b.disk.used+b.reserved, b.disk.limit
	s.RAMBytes, s.RAMLimit = b.ram.used, b.ram.limit
}

// errDamaged says that bytes on disk are not the blob's.
var errDamaged = errors.New("the cached file is damaged")

// readWhole reads and verifies a small blob. f is the open file: the name may be gone, by an eviction.
func (x *blob) readWhole(f *os.File) ([]byte, error) {
	data := make([]byte, x.size)
	if _, err := f.ReadAt(data, 0); err != nil {
		return nil, err
	}
	if object.HashOf(data) != x.hash {
		return nil, errDamaged
	}
	return data, nil
}

// verify checks chunk i, unless that was done since the start and the file was not written to since. root is from the
// pointer; f is the open file.
func (x *blob) verify(f *os.File, i int64, root object.Hash) error {
	now, err := stampOf(f)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.verified == nil || x.stamp != now {
		x.verified, x.tree, x.stamp = make([]uint64, (object.Chunks(x.size)+63)/64), nil, now
	}
	if err := x.loadTree(f, root); err != nil {
		return err
	}
	if x.verified[i/64]&(1<<(i%64)) != 0 {
		return nil
	}
	buf := chunkBuffers.Get().(*[object.ChunkSize]byte)
	defer chunkBuffers.Put(buf)
	off, n := object.ChunkSpan(i, x.size)
	if _, err := f.ReadAt(buf[:n], off); err != nil {
		return err
	}
	if object.HashOf(buf[:n]) != x.tree.Chunk(i) {
		return errDamaged
	}
	x.verified[i/64] |= 1 << (i % 64)
	return nil
}

// loadTree makes sure that x.tree is the tree with that root; x.mu is held.
func (x *blob) loadTree(f *os.File, root object.Hash) error {
	if x.tree != nil {
		if x.root != root {
			return fmt.Errorf("%w: it was filled for a pointer with another root", errDamaged)
		}
		return nil
	}
	enc := make([]byte, object.TreeSize(x.size))
	if _, err := f.ReadAt(enc, x.size); err != nil {
		return err
	}
	tree, err := object.DecodeTree(enc, x.size, root)
	if err != nil {
		return fmt.Errorf("%w: %v", errDamaged, err)
	}
	x.tree, x.root = tree, root
	return nil
}

// chunkBuffers holds buffers of one chunk.
var chunkBuffers = sync.Pool{New: func() any { return new([object.ChunkSize]byte) }}

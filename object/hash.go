package object

import (
	"crypto/sha256"
	"encoding"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
)

// Hash is a SHA-256 (FIPS 180-4). The zero Hash is no hash.
type Hash [sha256.Size]byte

// HashOf returns the hash of b.
func HashOf(b []byte) Hash { return sha256.Sum256(b) }

// ParseHash reads 64 hexadecimal digits of either case. Errors wrap ErrInvalid.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 2*len(h) {
		return Hash{}, fmt.Errorf("hash %q: %w: a SHA-256 has 64 hexadecimal digits", clip(s), ErrInvalid)
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, fmt.Errorf("hash %q: %w: %v", clip(s), ErrInvalid, err)
	}
	return h, nil
}

// String returns 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ETag returns the strong entity tag an edge sends: the hash in base64url without padding, quoted.
func (h Hash) ETag() string { return `"` + base64.RawURLEncoding.EncodeToString(h[:]) + `"` }

// IsZero reports whether h is no hash.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText implements encoding.TextMarshaler; the zero Hash is the empty text.
func (h Hash) MarshalText() ([]byte, error) {
	if h.IsZero() {
		return nil, nil
	}
	return []byte(h.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. Errors wrap ErrInvalid.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*h = Hash{}
		return nil
	}
	v, err := ParseHash(string(b))
	*h = v
	return err
}

// ChunkSize is the size in bytes of every chunk of a blob but the last.
const ChunkSize = 1 << 20

// TreeFanout is how many hashes one node of a Tree covers.
const TreeFanout = 1024

// Chunks returns how many chunks a blob of size bytes has; an empty blob has one, empty.
func Chunks(size int64) int64 { return max(1, (size+ChunkSize-1)/ChunkSize) }

// ChunkSpan returns where chunk i of a blob of size bytes begins and how long it is.
func ChunkSpan(i, size int64) (offset, length int64) {
	offset = i * ChunkSize
	return offset, min(ChunkSize, size-offset)
}

// Tree is the hash tree of a blob: SHA-256 of each chunk, then SHA-256 of each run of up to TreeFanout hashes of
// the level below, until one hash is left, the root. A blob of one chunk has no nodes: its root is its hash.
// One path from leaf to root (one node of at most 32 KiB a level) proves a chunk, so that a seek in a 100 GB file
// reads two nodes, not the whole list.
type Tree struct {
	size   int64
	levels [][]Hash // levels[0] is the chunks; the last level has at most TreeFanout hashes
}

// NewTree builds the tree over the hashes of a blob's chunks, in order. It panics if their number does not fit
// the size: that is a bug of the caller.
func NewTree(size int64, chunks []Hash) *Tree {
	if int64(len(chunks)) != Chunks(size) {
		panic(fmt.Sprintf("object: %d chunk hashes for %d bytes", len(chunks), size))
	}
	t := &Tree{size: size, levels: [][]Hash{chunks}}
	for level := chunks; len(level) > TreeFanout; {
		next := make([]Hash, 0, (len(level)+TreeFanout-1)/TreeFanout)
		for len(level) > 0 {
			n := min(TreeFanout, len(level))
			next = append(next, hashOfNode(level[:n]))
			level = level[n:]
		}
		t.levels = append(t.levels, next)
		level = next
	}
	return t
}

func hashOfNode(hs []Hash) Hash {
	d := sha256.New()
	for i := range hs {
		d.Write(hs[i][:])
	}
	return Hash(d.Sum(nil))
}

// Root returns the root of the tree.
func (t *Tree) Root() Hash {
	top := t.levels[len(t.levels)-1]
	if len(t.levels) == 1 && len(top) == 1 {
		return top[0]
	}
	return hashOfNode(top)
}

// Chunk returns the hash of chunk i.
func (t *Tree) Chunk(i int64) Hash { return t.levels[0][i] }

// Encode returns the object stored under TreeKey: the levels from the top one to the chunks, concatenated. It is
// empty for a blob of one chunk, which stores no tree.
func (t *Tree) Encode() []byte {
	if len(t.levels[0]) == 1 {
		return nil
	}
	var out []byte
	for i := len(t.levels) - 1; i >= 0; i-- {
		for j := range t.levels[i] {
			out = append(out, t.levels[i][j][:]...)
		}
	}
	return out
}

// TreeSize returns the length in bytes of the encoded tree of a blob of size bytes; 0 for one chunk.
func TreeSize(size int64) int64 {
	n := Chunks(size)
	if n == 1 {
		return 0
	}
	total := n
	for n > TreeFanout {
		n = (n + TreeFanout - 1) / TreeFanout
		total += n
	}
	return total * sha256.Size
}

// DecodeTree checks an encoded tree against the blob's size and root and returns it. Nothing of b is trusted: a
// tree that decodes is the one the root was made from. For a blob of one chunk b is not looked at. Errors wrap ErrInvalid.
func DecodeTree(b []byte, size int64, root Hash) (*Tree, error) {
	if Chunks(size) == 1 {
		return NewTree(size, []Hash{root}), nil
	}
	if int64(len(b)) != TreeSize(size) {
		return nil, fmt.Errorf("hash tree: %w: %d bytes, a blob of %d bytes has a tree of %d", ErrInvalid, len(b), size, TreeSize(size))
	}
	n := Chunks(size)
	leaves := make([]Hash, n)
	for i, at := int64(0), int64(len(b))-n*sha256.Size; i < n; i, at = i+1, at+sha256.Size {
		leaves[i] = Hash(b[at : at+sha256.Size])
	}
	t := NewTree(size, leaves)
	if t.Root() != root {
		return nil, fmt.Errorf("hash tree: %w: its root is %s, the pointer says %s", ErrInvalid, t.Root(), root)
	}
	return t, nil
}

// Hasher computes a blob's Hash and Tree while the bytes stream through Write. Its state can be saved and
// restored, so that an upload can go on after a crash. It is not safe for concurrent use.
type Hasher struct {
	whole, chunk hash.Hash
	size         int64
	leaves       []Hash
}

// NewHasher returns a Hasher that has seen nothing.
func NewHasher() *Hasher { return &Hasher{whole: sha256.New(), chunk: sha256.New()} }

// inParallel is from how many bytes on the two hashes are computed at the same time. Some 60 µs of work each are worth a goroutine.
const inParallel = 64 << 10

// Write adds p; it never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	if len(p) < inParallel {
		h.whole.Write(p)
		h.addChunks(p)
		return len(p), nil
	}
	done := make(chan struct{})
	go func() {
		h.whole.Write(p)
		close(done)
	}()
	h.addChunks(p)
	<-done
	return len(p), nil
}

// addChunks adds p to the hashes of the chunks.
func (h *Hasher) addChunks(p []byte) {
	for len(p) > 0 {
		k := min(int64(len(p)), ChunkSize-h.size%ChunkSize)
		h.chunk.Write(p[:k])
		h.size += k
		p = p[k:]
		if h.size%ChunkSize == 0 {
			h.leaves = append(h.leaves, Hash(h.chunk.Sum(nil)))
			h.chunk.Reset()
		}
	}
}

// Size returns how many bytes were written.
func (h *Hasher) Size() int64 { return h.size }

// Sum returns the hash and tree of what was written so far; writing may go on.
func (h *Hasher) Sum() (Hash, *Tree) {
	leaves := h.leaves[:len(h.leaves):len(h.leaves)]
	if h.size%ChunkSize != 0 || h.size == 0 {
		leaves = append(leaves, Hash(h.chunk.Sum(nil)))
	}
	return Hash(h.whole.Sum(nil)), NewTree(h.size, leaves)
}

// Clone returns a Hasher that has seen the same bytes. The two go on independently; what they share is never written again, so that
// a clone costs a few hundred bytes however much was hashed.
func (h *Hasher) Clone() *Hasher {
	return &Hasher{whole: cloned(h.whole), chunk: cloned(h.chunk), size: h.size, leaves: h.leaves[:len(h.leaves):len(h.leaves)]}
}

func cloned(h hash.Hash) hash.Hash {
	c, err := h.(hash.Cloner).Clone()
	if err != nil {
		panic("object: a SHA-256 always clones: " + err.Error())
	}
	return c
}

const hasherMagic = "pgh1"

// MarshalBinary saves the state: 32 bytes for each full chunk plus about 250.
func (h *Hasher) MarshalBinary() ([]byte, error) {
	whole, err := h.whole.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("save hash: %w", err)
	}
	chunk, err := h.chunk.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("save hash: %w", err)
	}
	b := append(make([]byte, 0, len(hasherMagic)+12+len(whole)+len(chunk)+len(h.leaves)*len(Hash{})), hasherMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.size))
	b = binary.BigEndian.AppendUint16(b, uint16(len(whole)))
	b = append(b, whole...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(chunk)))
	b = append(b, chunk...)
	for i := range h.leaves {
		b = append(b, h.leaves[i][:]...)
	}
	return b, nil
}

// UnmarshalBinary restores what MarshalBinary saved. Errors wrap ErrInvalid and leave h as it was.
func (h *Hasher) UnmarshalBinary(b []byte) error {
	bad := fmt.Errorf("saved hash state: %w", ErrInvalid)
	if len(b) < 14 || string(b[:4]) != hasherMagic {
		return bad
	}
	size := int64(binary.BigEndian.Uint64(b[4:]))
	b = b[12:]
	next := func() hash.Hash {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			return nil
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		d := sha256.New()
		if d.(encoding.BinaryUnmarshaler).UnmarshalBinary(b[2:n]) != nil {
			return nil
		}
		b = b[n:]
		return d
	}
	whole, chunk := next(), next()
	if whole == nil || chunk == nil || size < 0 || int64(len(b)) != size/ChunkSize*sha256.Size {
		return bad
	}
	leaves := make([]Hash, 0, size/ChunkSize+1)
	for ; len(b) > 0; b = b[sha256.Size:] {
		leaves = append(leaves, Hash(b[:sha256.Size]))
	}
	*h = Hasher{whole: whole, chunk: chunk, size: size, leaves: leaves}
	return nil
}

// ErrMismatch says that bytes are not the ones a hash promised. They must not be stored or served.
var ErrMismatch = errors.New("content does not match its hash")

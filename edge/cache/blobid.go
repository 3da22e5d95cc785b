package cache

import (
	"encoding/binary"
	"errors"

	"perigee/edge/cache/store"
	"perigee/object"
)

// blobID tells blobs apart. Two pointers that disagree about root or size of one hash mean two blobs: one of them is mistaken, and
// each is served what its own root proves.
type blobID struct {
	hash, root object.Hash
	size       int64
}

// An object of a bucket site has no root.
func idOf(p *object.Pointer) blobID { return blobID{p.ID(), p.Root, p.Size} }

// chunks returns how many chunks the blob has.
func (b blobID) chunks() int64 { return object.Chunks(b.size) }

// The records of a blob are numbered: its chunks from 0, the nodes of its tree from nodeBase.
const nodeBase = 1 << 62

func nodeNumber(n object.TreeNode) uint64 { return nodeBase | uint64(n.Level)<<48 | uint64(n.Index) }

// key returns where the store has record n of the blob. Hashes are uniformly distributed already, so they are folded, not hashed again.
// Different numbers of one blob have different index tags, because scramble is a bijection.
func (b blobID) key(n uint64) store.Key {
	var k store.Key
	for i := range k {
		k[i] = b.hash[i] ^ b.root[i+len(k)]
	}
	first, second := binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:])
	binary.LittleEndian.PutUint64(k[:8], first^scramble(n))
	binary.LittleEndian.PutUint64(k[8:], second^scramble(uint64(b.size)))
	return k
}

// scramble is the finaliser of SplitMix64, but for 0, which stays 0.
func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// label is the meta part of the blob's records: what a record says it is. It is compared whole.
func (b blobID) label(buf []byte, n uint64) []byte {
	buf = append(buf[:0], 'b')
	buf = append(buf, b.hash[:]...)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(b.size))
	buf = binary.LittleEndian.AppendUint64(buf, n)
	if b.root != b.hash {
		buf = append(buf, b.root[:]...)
	}
	return buf
}

// maxLabel is the length of the longest label.
const maxLabel = 1 + 32 + 8 + 8 + 32

// errForeign says that a record is another blob's, under the same key.
var errForeign = errors.New("the record is of another blob")

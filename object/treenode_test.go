package object

import (
	"encoding/binary"
	"testing"
)

// Every chunk is proved by the nodes on its way to the root, each found by its Span in the encoded tree.
func TestTreeNodesProveEveryChunk(t *testing.T) {
	for _, chunks := range []int64{2, 3, TreeFanout, TreeFanout + 1, 2*TreeFanout + 5, TreeFanout*TreeFanout + 3} {
		size := chunks*ChunkSize - 7
		leaves := make([]Hash, chunks)
		for i := range leaves {
			leaves[i] = HashOf(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		}
		tree := NewTree(size, leaves)
		enc := tree.Encode()
		for i := int64(0); i < chunks; i += 1 + chunks/97 {
			n, want := LeafNode(i), leaves[i]
			at := i % TreeFanout
			for {
				off, length := n.Span(size)
				if off < 0 || off+length > int64(len(enc)) {
					t.Fatalf("%d chunks: node %+v at %d+%d of %d", chunks, n, off, length, len(enc))
				}
				node := enc[off : off+length]
				if got := Hash(node[at*32 : at*32+32]); got != want {
					t.Fatalf("%d chunks, chunk %d: node %+v says another hash", chunks, i, n)
				}
				want = HashOf(node)
				if n.IsTop(size) {
					break
				}
				at, n = n.Index%TreeFanout, n.Parent()
			}
			if want != tree.Root() {
				t.Fatalf("%d chunks, chunk %d: the top node does not hash to the root", chunks, i)
			}
		}
	}
}

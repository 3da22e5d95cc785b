package object

// TreeNode names a node of a Tree: Level 0 is the hashes of chunks, Index counts the nodes of a level from 0. A node is a run of
// up to TreeFanout hashes, stored as their concatenation; SHA-256 of that is what the level above, or the root, says of it.
type TreeNode struct {
	Level int
	Index int64
}

// LeafNode returns the node that has the hash of chunk i.
func LeafNode(i int64) TreeNode { return TreeNode{0, i / TreeFanout} }

// Parent returns the node that has the hash of n.
func (n TreeNode) Parent() TreeNode { return TreeNode{n.Level + 1, n.Index / TreeFanout} }

// IsTop reports whether n is the topmost node of the tree of a blob of size bytes: its hash is the root.
func (n TreeNode) IsTop(size int64) bool { return levelSize(n.Level, size) <= TreeFanout }

// Span returns where n lies in the encoded tree (see Tree.Encode) of a blob of size bytes, in bytes. n must be of that tree; a blob of one
// chunk has none.
func (n TreeNode) Span(size int64) (offset, length int64) {
	for l := n.Level + 1; levelSize(l-1, size) > TreeFanout; l++ {
		offset += levelSize(l, size) * int64(len(Hash{}))
	}
	first := n.Index * TreeFanout
	return offset + first*int64(len(Hash{})), min(TreeFanout, levelSize(n.Level, size)-first) * int64(len(Hash{}))
}

// levelSize returns how many hashes a level has.
func levelSize(level int, size int64) int64 {
	n := Chunks(size)
	for range level {
		n = (n + TreeFanout - 1) / TreeFanout
	}
	return n
}

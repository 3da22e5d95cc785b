package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"perigee/object"
)

// proof gives the hashes of a blob's chunks, each proved by the root. It reads the nodes of the hash tree that it needs, and no
// others: from the store, or from the origin and then into the store. A seek in a file of 100 GB takes two nodes of
// 32 KiB at most. It is safe for concurrent use.
type proof struct {
	flight *flight // whose blob it is
	e      *Engine
	p      *object.Pointer
	id     blobID

	mu    sync.Mutex
	nodes map[object.TreeNode][]byte // verified; at most proofNodes
}

// proofNodes bounds the nodes that a proof holds, 32 KiB each. One leaf covers 1 GiB: readers far apart make it read a node
// again from the disk, no more.
const proofNodes = 16

func newProof(f *flight) *proof {
	return &proof{flight: f, e: f.e, p: f.p, id: f.id, nodes: map[object.TreeNode][]byte{}}
}

// chunk returns the hash of chunk i.
func (f *proof) chunk(ctx context.Context, i int64) (object.Hash, error) {
	if f.id.chunks() == 1 {
		return f.id.root, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.node(ctx, object.LeafNode(i))
	if err != nil {
		return object.Hash{}, err
	}
	return hashAt(b, i), nil
}

func hashAt(node []byte, i int64) object.Hash {
	at := i % object.TreeFanout * int64(len(object.Hash{}))
	return object.Hash(node[at : at+int64(len(object.Hash{}))])
}

// node returns a node, verified; f.mu is held, so that readers of one blob ask for a node once.
func (f *proof) node(ctx context.Context, n object.TreeNode) ([]byte, error) {
	if b := f.nodes[n]; b != nil {
		return b, nil
	}
	want := f.id.root
	if !n.IsTop(f.id.size) {
		parent, err := f.node(ctx, n.Parent())
		if err != nil {
			return nil, err
		}
		want = hashAt(parent, n.Index)
	}
	b := f.stored(n)
	if b == nil || object.HashOf(b) != want {
		var err error
		if b, err = f.fetch(ctx, n); err != nil {
			return nil, err
		}
		if object.HashOf(b) != want {
			return nil, fmt.Errorf("hash tree of %s%s, node %d.%d: %w", f.p.Site, f.p.Path, n.Level, n.Index, errCorrupt)
		}
		f.keep(n, b)
	}
	if len(f.nodes) >= proofNodes {
		clear(f.nodes)
	}
	f.nodes[n] = b
	return b, nil
}

// stored returns a node from the disk, or nil.
func (f *proof) stored(n object.TreeNode) []byte {
	var room [maxLabel]byte
	number := nodeNumber(n)
	key := f.id.key(number)
	ref, ok := f.e.store.Find(key)
	if !ok {
		return nil
	}
	rec, err := f.e.store.Read(key, ref, nil)
	if err != nil {
		f.e.countDisk(err)
		return nil
	}
	if !bytes.Equal(rec.Meta, f.id.label(room[:0], number)) {
		return nil
	}
	f.e.store.Touch(key)
	return rec.Body
}

func (f *proof) keep(n object.TreeNode, b []byte) {
	// A node that is not kept is read again from the origin: nothing is lost, and chunks that fail to be stored are counted.
	_ = f.flight.put(nodeNumber(n), b)
}

// fetch reads a node from the origin.
func (f *proof) fetch(ctx context.Context, n object.TreeNode) ([]byte, error) {
	off, length := n.Span(f.id.size)
	s, err := f.e.origin.Get(ctx, object.TreeKey(f.p.Blob), off, length)
	if err != nil {
		return nil, fmt.Errorf("read hash tree of %s%s: %w", f.p.Site, f.p.Path, err)
	}
	defer s.Close()
	b := make([]byte, length)
	got, err := readFull(s, b)
	f.e.counters.originBytes.Add(int64(got))
	if err == io.EOF {
		return nil, fmt.Errorf("hash tree of %s%s: %w: it ends at %d of %d bytes", f.p.Site, f.p.Path, errCorrupt, off+int64(got), object.TreeSize(f.id.size))
	}
	if err != nil {
		return nil, fmt.Errorf("read hash tree of %s%s: %w", f.p.Site, f.p.Path, err)
	}
	return b, nil
}

package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sync"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// huge is an origin with one file whose bytes are made as they are asked for: every chunk is the same.
type huge struct {
	p     *object.Pointer
	chunk []byte
	tree  []byte
}

var hugeTree = sync.OnceValues(func() ([]byte, object.Hash) {
	hashes := slices.Repeat([]object.Hash{object.HashOf(hugeChunk())}, int(object.Chunks(100<<30)))
	t := object.NewTree(100<<30, hashes)
	return t.Encode(), t.Root()
})

func hugeChunk() []byte {
	b := make([]byte, object.ChunkSize)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], uint64(i))
	}
	return b
}

func newHuge(size int64) *huge {
	h := &huge{p: cachetest.Pointer("www", "/huge", 1, []byte("huge")), chunk: hugeChunk()}
	h.tree, h.p.Root = hugeTree()
	h.p.Size = size
	return h
}

func (h *huge) bytes(off, n int64) []byte {
	b, _ := io.ReadAll(h.read(off, n))
	return b
}

func (h *huge) read(off, n int64) io.Reader {
	return io.LimitReader(&repeat{h.chunk, off % object.ChunkSize}, n)
}

// repeat reads a piece of memory over and over.
type repeat struct {
	b  []byte
	at int64
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.b[r.at:])
	r.at = (r.at + int64(n)) % int64(len(r.b))
	return n, nil
}

// Get implements Origin.
func (h *huge) Get(_ context.Context, key object.Key, offset, length int64) (io.ReadCloser, error) {
	switch key {
	case h.p.Blob:
		return io.NopCloser(h.read(offset, length)), nil
	case object.TreeKey(h.p.Blob):
		return io.NopCloser(bytes.NewReader(h.tree[offset : offset+length])), nil
	}
	return nil, fs.ErrNotExist
}

// Sites implements Origin.
func (h *huge) Sites(context.Context) iter.Seq2[object.SiteRecord, error] {
	return func(func(object.SiteRecord, error) bool) {}
}

package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"perigee/object"
)

// errCorrupt says that what the origin sent is not what it should be. The bytes go nowhere.
var errCorrupt = errors.New("the origin's bytes are not the ones the file was published with")

// originReason tells the failures of an origin apart.
func originReason(err error) Reason {
	var timeout net.Error
	switch {
	case errors.Is(err, errCorrupt), errors.Is(err, fs.ErrNotExist):
		return ReasonOriginBad
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ReasonOriginTimeout
	}
	return ReasonOriginDown
}

// chunkReader reads chunks of one blob from the origin, verifying each. Reading them in order costs one request
// to the origin; a failed read is tried again from the chunk it failed in.
type chunkReader struct {
	e    *Engine
	p    *object.Pointer
	end  int64 // where the caller will stop, in bytes; at a chunk's end or the blob's
	tree *object.Tree

	stream io.ReadCloser
	next   int64 // chunk that stream stands at
	have   int64 // chunk in buf; -1 for none
	buf    *[object.ChunkSize]byte
}

// newChunkReader returns a reader for the chunks that cover r. Close it.
func (e *Engine) newChunkReader(p *object.Pointer, r object.Range) *chunkReader {
	last := (r.Start + r.Length - 1) / object.ChunkSize
	off, n := object.ChunkSpan(max(0, last), p.Size)
	return &chunkReader{e: e, p: p, end: off + n, have: -1}
}

const (
	chunkTries   = 3
	chunkBackoff = 100 * time.Millisecond
)

// chunk returns the verified bytes of chunk i; they are valid until the next call.
func (c *chunkReader) chunk(ctx context.Context, i int64) ([]byte, error) {
	_, n := object.ChunkSpan(i, c.p.Size)
	if c.have == i {
		return c.buf[:n], nil
	}
	var err error
	for try := range chunkTries {
		if try > 0 {
			if e := c.e.sleep(ctx, chunkBackoff<<(2*try)); e != nil {
				return nil, e
			}
		}
		if err = c.read(ctx, i); err == nil {
			c.have = i
			return c.buf[:n], nil
		}
		c.closeStream()
		if ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, err
}

func (c *chunkReader) read(ctx context.Context, i int64) error {
	if err := c.loadTree(ctx); err != nil {
		return err
	}
	off, n := object.ChunkSpan(i, c.p.Size)
	if c.stream == nil || c.next != i {
		c.closeStream()
		c.e.counters.originReads.Add(1)
		s, err := c.e.origin.Get(ctx, c.p.Blob, off, c.end-off)
		if err != nil {
			return fmt.Errorf("read blob of %s%s: %w", c.p.Site, c.p.Path, err)
		}
		c.stream, c.next = s, i
	}
	if c.buf == nil {
		c.buf = chunkBuffers.Get().(*[object.ChunkSize]byte)
	}
	c.have = -1
	got, err := readFull(c.stream, c.buf[:n])
	c.e.counters.originBytes.Add(int64(got))
	if err == io.EOF {
		return fmt.Errorf("blob of %s%s: %w: it ends at %d of %d bytes", c.p.Site, c.p.Path, errCorrupt, off+int64(got), c.p.Size)
	}
	if err != nil {
		return fmt.Errorf("read blob of %s%s at %d: %w", c.p.Site, c.p.Path, off+int64(got), err)
	}
	c.next = i + 1
	if object.HashOf(c.buf[:n]) != c.tree.Chunk(i) {
		return fmt.Errorf("blob of %s%s, chunk %d: %w", c.p.Site, c.p.Path, i, errCorrupt)
	}
	return nil
}

// readFull is io.ReadFull, but tells a body that ends early (io.EOF: the object is too short) from one that was cut.
func readFull(r io.Reader, buf []byte) (int, error) {
	for got := 0; ; {
		n, err := r.Read(buf[got:])
		got += n
		switch {
		case got == len(buf):
			return got, nil
		case err != nil:
			return got, err
		}
	}
}

func (c *chunkReader) loadTree(ctx context.Context) error {
	if c.tree != nil {
		return nil
	}
	var enc []byte
	if size := object.TreeSize(c.p.Size); size > 0 {
		s, err := c.e.origin.Get(ctx, object.TreeKey(c.p.Hash), 0, -1)
		if err != nil {
			return fmt.Errorf("read hash tree of %s%s: %w", c.p.Site, c.p.Path, err)
		}
		defer s.Close()
		if enc, err = io.ReadAll(io.LimitReader(s, size+1)); err != nil {
			return fmt.Errorf("read hash tree of %s%s: %w", c.p.Site, c.p.Path, err)
		}
		c.e.counters.originBytes.Add(int64(len(enc)))
	}
	tree, err := object.DecodeTree(enc, c.p.Size, c.p.Root)
	if err != nil {
		return fmt.Errorf("%w: %v", errCorrupt, err)
	}
	c.tree = tree
	return nil
}

func (c *chunkReader) closeStream() {
	if c.stream != nil {
		c.stream.Close()
		c.stream = nil
	}
}

func (c *chunkReader) close() {
	c.closeStream()
	if c.buf != nil {
		chunkBuffers.Put(c.buf)
		c.buf, c.have = nil, -1
	}
}

// sleep waits for d or until ctx ends.
func (e *Engine) sleep(ctx context.Context, d time.Duration) error {
	t := e.clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

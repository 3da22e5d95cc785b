package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"perigee/object"
)

// errDisk says that the cache's disk failed a fill; the origin is not to blame and readers go to it directly.
var errDisk = errors.New("the cache disk failed")

// fill is a blob on its way from the origin to disk. Its goroutine writes; readers wait for verified bytes and read them
// from the same file. It ends stored or failed, whoever still reads.
type fill struct {
	e    *Engine
	p    *object.Pointer
	tmp  string
	file *os.File
	// refs counts the goroutine and the bodies that read file; the last one closes it.
	refs atomic.Int32

	mu   sync.Mutex
	done int64         // verified bytes in file
	err  error         // why it failed
	wake chan struct{} // closed and replaced when done or err changes
}

// startFill starts a fill of p, for which space was reserved; blobs.mu is held, e.mu is not. The caller has one reference to
// the result.
func (e *Engine) startFill(p *object.Pointer) (*fill, error) {
	file, err := os.CreateTemp(filepath.Join(e.blobs.dir, "tmp"), p.Hash.String()[:16]+"-*")
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errDisk, err)
	}
	f := &fill{e: e, p: p, tmp: file.Name(), file: file, wake: make(chan struct{})}
	f.refs.Store(2)
	if !e.start(f.run) {
		file.Close()
		os.Remove(f.tmp)
		return nil, context.Canceled
	}
	e.blobs.fills[p.Hash] = f
	return f, nil
}

// join takes a reference, unless the fill has failed.
func (f *fill) join() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return false
	}
	f.refs.Add(1)
	return true
}

func (f *fill) release() {
	if f.refs.Add(-1) == 0 {
		f.file.Close()
	}
}

func (f *fill) run() {
	defer f.release()
	c := f.e.newChunkReader(f.p, object.Range{Start: 0, Length: f.p.Size})
	defer c.close()
	err := f.copyChunks(c)
	if err == nil {
		err = f.commit(c.tree)
	}
	if err != nil {
		f.abort(err)
	}
}

func (f *fill) copyChunks(c *chunkReader) error {
	for i := range object.Chunks(f.p.Size) {
		data, err := c.chunk(f.e.ctx, i)
		if err != nil {
			return err
		}
		off, _ := object.ChunkSpan(i, f.p.Size)
		if _, err := f.file.WriteAt(data, off); err != nil {
			return fmt.Errorf("%w: %v", errDisk, err)
		}
		if object.Chunks(f.p.Size) == 1 && len(data) <= maxRAMBlob {
			f.e.blobs.keep(f.p.Hash, append([]byte(nil), data...))
		}
		f.advance(off+int64(len(data)), nil)
	}
	return nil
}

func (f *fill) advance(done int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done, f.err = max(f.done, done), err
	close(f.wake)
	f.wake = make(chan struct{})
}

// commit gives the file its name and takes it into the index. From here on Locate finds the blob, not the fill.
func (f *fill) commit(tree *object.Tree) error {
	if _, err := f.file.WriteAt(tree.Encode(), f.p.Size); err != nil {
		return fmt.Errorf("%w: %v", errDisk, err)
	}
	hash := f.p.Hash.String()
	dir := filepath.Join(f.e.blobs.dir, "blobs", hash[:2])
	x := &blob{path: filepath.Join(dir, blobName(f.p.Hash, f.p.Size)), hash: f.p.Hash, size: f.p.Size, tree: tree, root: f.p.Root}
	x.verified = make([]uint64, (object.Chunks(x.size)+63)/64)
	for i := range x.verified {
		x.verified[i] = ^uint64(0)
	}
	var err error
	if x.stamp, err = stampOf(f.file); err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.Rename(f.tmp, x.path)
	}
	if err != nil {
		return fmt.Errorf("%w: %v", errDisk, err)
	}
	b := f.e.blobs
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.fills, f.p.Hash)
	b.reserved -= spaceFor(f.p.Size)
	b.admit(x)
	return nil
}

func (f *fill) abort(err error) {
	b := f.e.blobs
	b.mu.Lock()
	delete(b.fills, f.p.Hash)
	b.reserved -= spaceFor(f.p.Size)
	b.mu.Unlock()
	os.Remove(f.tmp)
	if errors.Is(err, errDisk) {
		f.e.counters.diskFailures.Add(1)
		f.e.log.Error("a cache fill failed on disk; serving without storing", "path", f.p.Path, "err", err)
	} else if f.e.ctx.Err() == nil {
		f.e.log.Warn("a cache fill failed", "site", f.p.Site, "path", f.p.Path, "err", err)
	}
	f.advance(0, err)
}

// wait returns when the first upTo bytes are verified, or with the fill's error, or when ctx ends.
func (f *fill) wait(ctx context.Context, upTo int64) error {
	for {
		f.mu.Lock()
		done, err, wake := f.done, f.err, f.wake
		f.mu.Unlock()
		switch {
		case done >= upTo:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// progress returns how many bytes are verified.
func (f *fill) progress() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done
}

package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"perigee/object"
)

// farRange is how far beyond a fill's verified bytes a range may begin and still wait for the fill. What begins further
// out is read from the origin directly, and not kept.
const farRange = 8 << 20

// maxBlob is the size of the largest blob that is believed in. Beyond it sums of sizes could overflow.
const maxBlob = 1 << 50

// Body gives the verified bytes of one blob to one reader. It is not safe for concurrent use. Close it.
//
// It reads from exactly one of: memory, the blob's file, a fill's file, the origin. When a disk fails or has
// damaged bytes it goes over to the origin at the chunk it stands at; the reader does not notice.
type Body struct {
	e      *Engine
	p      *object.Pointer
	r      object.Range
	ram    []byte
	blob   *blob
	file   *os.File // of blob
	fill   *fill
	origin *chunkReader
	// left says why the disk was left, if it was.
	left Reason
}

// Locate finds the bytes r of p's blob, or begins to fetch them. When it returns without an error the first chunk of r is
// verified and at hand, so that a failure of the origin is known before an answer has begun. r is
// within the blob; for an empty blob it is not looked at.
func (e *Engine) Locate(ctx context.Context, p *object.Pointer, r object.Range) (*Body, Outcome, error) {
	b := &Body{e: e, p: p, r: r}
	if p.Size > maxBlob {
		return nil, Outcome{Fwd: FwdMiss, Reason: ReasonOriginBad}, errCorrupt
	}
	if p.Size == 0 {
		if p.Hash != object.HashOf(nil) {
			return nil, Outcome{Fwd: FwdMiss, Reason: ReasonOriginBad}, errCorrupt
		}
		b.ram = []byte{}
		return b, Outcome{Reason: ReasonRAM}, nil
	}
	o := b.choose()
	err := b.prime(ctx, r.Start/object.ChunkSize)
	if b.left != "" {
		o = Outcome{Fwd: FwdMiss, Reason: b.left}
	}
	if err != nil {
		b.Close()
		o.Stored = false
		o.Reason = originReason(err)
		if o.Fwd == NotForwarded {
			o.Fwd = FwdMiss
		}
		return nil, o, err
	}
	return b, o, nil
}

// Held reports what Locate would find without starting anything: memory, disk, a fill, or nothing.
func (e *Engine) Held(p *object.Pointer) Outcome {
	b := e.blobs
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.ram.peek(p.Hash); ok || p.Size == 0 {
		return Outcome{Reason: ReasonRAM}
	}
	if x, ok := b.disk.peek(p.Hash); ok && x.size == p.Size {
		return Outcome{Reason: ReasonDisk}
	}
	if b.fills[p.Hash] != nil {
		return Outcome{Fwd: FwdMiss, Reason: ReasonFilling, Collapsed: true}
	}
	return Outcome{Fwd: FwdMiss, Reason: ReasonNotHeld}
}

// choose picks the source.
func (b *Body) choose() Outcome {
	bs := b.e.blobs
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if data, ok := bs.ram.get(b.p.Hash); ok && int64(len(data)) == b.p.Size {
		bs.disk.get(b.p.Hash) // what is hot in memory is hot on disk too
		b.ram = data
		return Outcome{Reason: ReasonRAM}
	}
	if x, ok := bs.disk.get(b.p.Hash); ok && x.size == b.p.Size {
		f, err := os.Open(x.path)
		switch {
		case err == nil:
			b.blob, b.file = x, f
			return Outcome{Reason: ReasonDisk}
		case !errors.Is(err, fs.ErrNotExist): // such as too many open files: nothing is wrong with the blob
			b.e.counters.diskFailures.Add(1)
			return b.direct(FwdMiss, ReasonDiskFailed)
		}
		bs.disk.remove(b.p.Hash) // somebody took the file away
	}
	f := bs.fills[b.p.Hash]
	switch {
	case f == nil:
		return b.chooseMissing()
	case f.p.Size != b.p.Size || f.p.Root != b.p.Root: // one of the two pointers is mistaken; each reads its own
		return b.direct(FwdMiss, ReasonNotHeld)
	case b.r.Start <= f.progress()+farRange && f.join():
		b.fill = f
		return Outcome{Fwd: FwdMiss, Reason: ReasonFilling, Collapsed: true}
	}
	return b.direct(FwdPartial, ReasonFarRange)
}

// chooseMissing starts a fill if one makes sense; blobs.mu is held.
func (b *Body) chooseMissing() Outcome {
	if b.r.Start > farRange {
		return b.direct(FwdPartial, ReasonFarRange)
	}
	if err := b.e.blobs.reserve(b.p.Size); err != nil {
		return b.direct(FwdBypass, ReasonTooLarge)
	}
	f, err := b.e.startFill(b.p)
	if err != nil {
		b.e.blobs.reserved -= spaceFor(b.p.Size)
		b.e.counters.diskFailures.Add(1)
		return b.direct(FwdMiss, ReasonDiskFailed)
	}
	b.fill = f
	return Outcome{Fwd: FwdMiss, Reason: ReasonNotHeld, Stored: true}
}

func (b *Body) direct(f Forward, r Reason) Outcome {
	b.origin = b.e.newChunkReader(b.p, b.r)
	return Outcome{Fwd: f, Reason: r}
}

// prime returns when chunk i is verified and can be read, changing the source if need be.
func (b *Body) prime(ctx context.Context, i int64) error {
	off, n := object.ChunkSpan(i, b.p.Size)
	for {
		var err error
		switch {
		case b.ram != nil:
			return nil
		case b.blob != nil:
			err = b.primeDisk(i)
		case b.fill != nil:
			err = b.fill.wait(ctx, off+n)
			if err != nil && !errors.Is(err, errDisk) {
				return err
			}
		default:
			_, err = b.origin.chunk(ctx, i)
			return err
		}
		if err == nil {
			return nil
		}
		b.leaveDisk(err)
	}
}

func (b *Body) primeDisk(i int64) error {
	if b.p.Size > maxRAMBlob {
		return b.blob.verify(b.file, i, b.p.Root)
	}
	data, err := b.blob.readWhole(b.file)
	if err != nil {
		return err
	}
	b.e.blobs.keep(b.p.Hash, data)
	b.ram = data
	return nil
}

// leaveDisk goes over to the origin, because the disk failed with err.
func (b *Body) leaveDisk(err error) {
	b.left = ReasonDiskFailed
	if b.blob != nil {
		b.left = ReasonHealed
		b.e.log.Warn("a cached file is unusable and is fetched again", "path", b.p.Path, "err", err)
		b.e.blobs.drop(b.blob)
		b.e.counters.healed.Add(1)
	}
	b.releaseDisk()
	b.direct(FwdMiss, b.left)
}

func (b *Body) releaseDisk() {
	if b.file != nil {
		b.file.Close()
	}
	if b.fill != nil {
		b.fill.release()
	}
	b.blob, b.file, b.fill = nil, nil, nil
}

// Copy writes the bytes of the range given to Locate to w and returns how many it wrote. Only verified bytes are written. An
// error of w is returned as it is; any other error means that the rest cannot be had.
func (b *Body) Copy(ctx context.Context, w io.Writer) (int64, error) {
	at, end := b.r.Start, b.r.Start+b.r.Length
	if b.p.Size == 0 {
		end = at
	}
	for at < end {
		i := at / object.ChunkSize
		if err := b.prime(ctx, i); err != nil {
			return at - b.r.Start, fmt.Errorf("serve %s%s: %w", b.p.Site, b.p.Path, err)
		}
		n, err := b.copyChunk(ctx, w, i, at, min(end, (i+1)*object.ChunkSize))
		at += n
		if err != nil {
			return at - b.r.Start, err
		}
	}
	return at - b.r.Start, nil
}

// copyChunk writes bytes from to to of chunk i, which is primed.
func (b *Body) copyChunk(ctx context.Context, w io.Writer, i, from, to int64) (int64, error) {
	switch {
	case b.ram != nil:
		n, err := w.Write(b.ram[from:to])
		return int64(n), err
	case b.origin != nil:
		data, err := b.origin.chunk(ctx, i)
		if err != nil {
			return 0, err
		}
		off := i * object.ChunkSize
		n, err := w.Write(data[from-off : to-off])
		return int64(n), err
	}
	file := b.file
	if file == nil {
		file = b.fill.file
	}
	return b.copyFile(w, file, from, to)
}

var copyBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// copyFile writes a piece of a file. A read error is not the reader's: the body goes over to the origin and the caller
// comes back for the rest.
func (b *Body) copyFile(w io.Writer, file *os.File, from, to int64) (int64, error) {
	buf := copyBuffers.Get().(*[64 << 10]byte)
	defer copyBuffers.Put(buf)
	at := from
	for at < to {
		n, err := file.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
		if n == 0 && err != nil {
			b.leaveDisk(err)
			return at - from, nil
		}
		m, err := w.Write(buf[:n])
		at += int64(m)
		if err != nil {
			return at - from, err
		}
	}
	return at - from, nil
}

// Close lets go of files and connections.
func (b *Body) Close() {
	b.releaseDisk()
	if b.origin != nil {
		b.origin.close()
	}
}

package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/object"
)

// errCorrupt says that what the origin sent is not what it should be. The bytes go nowhere.
var errCorrupt = errors.New("the origin's bytes are not the ones the file was published with")

// originReason tells the failures of an origin apart.
func originReason(err error) Reason {
	var timeout net.Error
	switch {
	case errors.Is(err, ErrChanged):
		return ReasonChanged
	case errors.Is(err, errCorrupt), errors.Is(err, fs.ErrNotExist):
		return ReasonOriginBad
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ReasonOriginTimeout
	}
	return ReasonOriginDown
}

// buffer holds one chunk. The one who took it and everybody it was handed to release it once.
type buffer struct {
	data []byte
	refs atomic.Int32
	pool *[object.ChunkSize]byte // nil if data is too small to be worth pooling
}

// smallBuffer is the size up to which a buffer is made as it is needed: many small fills at once must not take a chunk of memory each.
const smallBuffer = 64 << 10

var chunkBuffers = sync.Pool{New: func() any { return new([object.ChunkSize]byte) }}

func newBuffer(n int64) *buffer {
	b := &buffer{}
	if n <= smallBuffer {
		b.data = make([]byte, n)
	} else {
		b.pool = chunkBuffers.Get().(*[object.ChunkSize]byte)
		b.data = b.pool[:n]
	}
	b.refs.Store(1)
	return b
}

func (b *buffer) hold() { b.refs.Add(1) }

func (b *buffer) release() {
	if b.refs.Add(-1) == 0 && b.pool != nil {
		chunkBuffers.Put(b.pool)
		b.pool, b.data = nil, nil
	}
}

// stream reads consecutive chunks of one blob from the origin, verifying each, or of one state of an object, pinned to its ETag. It costs one request to the origin; a
// failed read is tried again from the chunk it failed in.
type stream struct {
	f    *flight
	end  int64 // chunk before which it will stop
	body io.ReadCloser
	next int64 // chunk that body stands at
}

const (
	chunkTries   = 3
	chunkBackoff = 100 * time.Millisecond
)

// chunk reads chunk i into buf, verified.
func (s *stream) chunk(ctx context.Context, i int64, buf []byte) error {
	e := s.f.e
	var err error
	for try := range chunkTries {
		if try > 0 {
			if e := clock.Sleep(ctx, e.clock, chunkBackoff<<(2*try)); e != nil {
				return e
			}
		}
		if err = s.read(ctx, i, buf); err == nil {
			return nil
		}
		s.close()
		if ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrChanged) {
			break
		}
	}
	return err
}

func (s *stream) read(ctx context.Context, i int64, buf []byte) error {
	e, p := s.f.e, s.f.p
	var want object.Hash
	if !p.Object() {
		var err error
		if want, err = s.f.proof.chunk(ctx, i); err != nil {
			return err
		}
	}
	off, n := object.ChunkSpan(i, p.Size)
	if s.body == nil || s.next != i {
		s.close()
		last, length := object.ChunkSpan(s.end-1, p.Size)
		e.counters.originReads.Add(1)
		body, err := s.open(ctx, off, last+length-off)
		if err != nil {
			return fmt.Errorf("read blob of %s%s: %w", p.Site, p.Path, err)
		}
		s.body, s.next = body, i
	}
	got, err := readFull(s.body, buf[:n])
	e.counters.originBytes.Add(int64(got))
	if err == io.EOF {
		return fmt.Errorf("blob of %s%s: %w: it ends at %d of %d bytes", p.Site, p.Path, errCorrupt, off+int64(got), p.Size)
	}
	if err != nil {
		return fmt.Errorf("read blob of %s%s at %d: %w", p.Site, p.Path, off+int64(got), err)
	}
	s.next = i + 1
	if !p.Object() && object.HashOf(buf[:n]) != want {
		return fmt.Errorf("blob of %s%s, chunk %d: %w", p.Site, p.Path, i, errCorrupt)
	}
	return nil
}

// open opens the bytes at off.
func (s *stream) open(ctx context.Context, off, length int64) (io.ReadCloser, error) {
	e, p := s.f.e, s.f.p
	if !p.Object() {
		return e.origin.Get(ctx, p.Blob, off, length)
	}
	if e.objects == nil {
		return nil, errNoObjects
	}
	return e.objects.Open(ctx, p.Store, p.Blob, p.ETag, off, length)
}

func (s *stream) close() {
	if s.body != nil {
		s.body.Close()
		s.body = nil
	}
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

package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

const (
	// window is how many bytes of chunks that the store did not take a fill keeps in memory.
	window = 2 * chunkSize
	// finishBelow is how much may be missing for a fill to go on without readers, in bytes.
	finishBelow = 8 * chunkSize
	firstBuffer = 16 << 10
)

var (
	errLagging  = errors.New("the reader is too slow for the others")
	errShort    = errors.New("the origin's body is not as long as it declared")
	errNoReader = errors.New("nobody reads any more")
)

// fill reads one body of the origin into chunks.
type fill struct {
	c      *Cache
	head   *head       // as it will be kept; size is that of the whole content, -1 if unknown until the end
	first  http.Header // the fields as they came, for who asked
	status int         // as it came
	body   io.ReadCloser
	cancel context.CancelFunc
	from   int64 // the body's first byte within the content
	expect int64 // the body's length, -1 if unknown
	limit  int64 // of the size to be kept; 0 for none

	mu      sync.Mutex
	why     Reason        // why it is not kept; "" if it is
	moved   chan struct{} // closed and replaced when something below changes
	chunks  []chunkBuffer // bytes in memory, in order, the last one still growing
	got     int64         // the end of what has come, within the content
	readers map[*reader]struct{}
	spare   []byte // the memory of the last chunk, for the next one
	held    int64  // bytes of Cache.room, for the chunk that grows
	idle    bool   // there were readers, and there are none
	done    bool
	err     error // of a body that did not come to its end
}

// chunkBuffer is bytes of a chunk; those that are there do not change.
type chunkBuffer struct {
	from   int64 // within the content
	b      []byte
	stored bool
}

// reader is one who reads from a fill.
type reader struct {
	f  *fill
	at int64
}

// attach adds a reader who begins at at; false if the fill cannot give him that byte.
func (f *fill) attach(at int64) (*reader, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || f.idle && f.why != "" || at < f.from || f.why != "" && at < f.oldest() {
		return nil, false
	}
	r := &reader{f: f, at: at}
	f.readers[r] = struct{}{}
	f.idle = false
	return r, true
}

// oldest is the first byte in memory; f.mu is held.
func (f *fill) oldest() int64 {
	if len(f.chunks) > 0 {
		return f.chunks[0].from
	}
	return f.got
}

// leave ends a reader.
func (r *reader) leave() {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
	f.unread()
}

// refused says why the body is not kept, "" if it is.
func (f *fill) refused() Reason {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

// orphaned says that nobody waits to read any more.
func (f *fill) orphaned() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unread()
}

// unread ends a fill that has no readers, unless little is missing; f.mu is held.
func (f *fill) unread() {
	if len(f.readers) > 0 || f.done {
		return
	}
	f.idle = true
	missing := f.expect - (f.got - f.from)
	if f.why != "" || f.expect < 0 || missing > finishBelow {
		f.cancel()
	}
	f.wake()
}

// wake tells all who wait that something changed; f.mu is held.
func (f *fill) wake() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// run reads the body to its end.
func (f *fill) run(ctx context.Context) {
	err := f.read(ctx)
	f.body.Close()
	f.finish(err)
}

func (f *fill) read(ctx context.Context) error {
	for {
		buf, err := f.room(ctx)
		if err != nil {
			return err
		}
		n, err := f.body.Read(buf)
		if n > 0 {
			f.take(n)
		}
		switch {
		case err == io.EOF:
			return f.ended()
		case err != nil:
			return fmt.Errorf("read the origin's body: %w", err)
		}
	}
}

// ended checks the length of a body that has come to its end, and gives the last chunk to the store.
func (f *fill) ended() error {
	if f.expect >= 0 && f.got-f.from != f.expect {
		return errShort
	}
	f.flush()
	return nil
}

// room returns memory for the next bytes, at most up to the end of the chunk. It waits if the store takes nothing and no reader keeps up.
func (f *fill) room(ctx context.Context) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.why != "" && !f.trim() {
		if f.idle {
			return nil, errNoReader
		}
		moved := f.moved
		f.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		f.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	last := f.last()
	if len(last.b) == cap(last.b) {
		if err := f.acquire(ctx, last); err != nil {
			return nil, err
		}
		last = f.last()
		f.grow(last)
	}
	return last.b[len(last.b):cap(last.b)], nil
}

// grow gives a chunk more memory; f.mu is held.
func (f *fill) grow(b *chunkBuffer) {
	n := f.capacity(b)
	if b.b == nil && int64(cap(f.spare)) >= n {
		b.b, f.spare = f.spare[:0:n], nil
		return
	}
	b.b = append(make([]byte, 0, n), b.b...)
}

// acquire takes room for all that a chunk may become, if it goes to the store; else the window bounds what is in memory. A fill never waits for room while it has some: two
// that did would wait for each other. f.mu is held, but not while there is no room.
func (f *fill) acquire(ctx context.Context, b *chunkBuffer) error {
	if f.why != "" || f.held > 0 {
		return nil
	}
	n := chunkSize - b.from%chunkSize
	if f.expect >= 0 {
		n = max(min(n, f.from+f.expect-b.from), 1)
	}
	f.held = n
	if f.c.room.TryAcquire(n) {
		return nil
	}
	f.mu.Unlock()
	err := f.c.room.Acquire(ctx, n)
	f.mu.Lock()
	if err != nil {
		f.held = 0
	}
	return err
}

// release gives the room of the chunk back; f.mu is held.
func (f *fill) release() {
	f.c.room.Release(f.held)
	f.held = 0
}

// last returns the chunk that grows, a new one at the end of one; f.mu is held.
func (f *fill) last() *chunkBuffer {
	if n := len(f.chunks); n > 0 && (len(f.chunks[n-1].b) == 0 || f.chunks[n-1].end()%chunkSize != 0) {
		return &f.chunks[n-1]
	}
	f.chunks = append(f.chunks, chunkBuffer{from: f.got})
	return &f.chunks[len(f.chunks)-1]
}

func (b *chunkBuffer) end() int64 { return b.from + int64(len(b.b)) }

// capacity is how much room a chunk gets when what it has is full: what is known to come, or twice as much.
func (f *fill) capacity(b *chunkBuffer) int64 {
	most := chunkSize - b.from%chunkSize
	if f.expect >= 0 {
		return max(min(most, f.from+f.expect-b.from), 1)
	}
	return min(most, max(2*int64(cap(b.b)), firstBuffer))
}

// trim forgets chunks that are not needed any more, and reports whether there is room for more; f.mu is held.
func (f *fill) trim() bool {
	fastest := f.from
	for r := range f.readers {
		fastest = max(fastest, r.at)
	}
	for len(f.chunks) > 1 && f.got-f.chunks[1].from >= window-chunkSize && f.chunks[0].end() <= fastest {
		f.chunks = f.chunks[1:]
	}
	return f.got-f.oldest() < window
}

// take notes that n bytes more have come.
func (f *fill) take(n int) {
	f.c.count(func(s *Stats) { s.OriginBytes += int64(n) })
	f.mu.Lock()
	last := f.last()
	last.b = last.b[:len(last.b)+n]
	f.got += int64(n)
	full := f.got%chunkSize == 0
	if f.limit > 0 && f.got-f.from > f.limit && f.why == "" {
		f.why = ReasonTooLarge
		f.release()
	}
	f.wake()
	f.mu.Unlock()
	if full {
		f.flush()
	}
}

// flush gives the last chunk to the store. What the store has is let go of. It is called by the fill's goroutine alone.
func (f *fill) flush() {
	f.mu.Lock()
	n := len(f.chunks)
	if f.why != "" || n == 0 || f.chunks[n-1].stored {
		f.mu.Unlock()
		return
	}
	last := f.chunks[n-1]
	f.mu.Unlock()
	err := f.c.keepChunk(f.head.id, last.from/chunkSize, last.from%chunkSize, last.b)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release()
	if err != nil {
		f.why = ReasonNotAdmitted
		f.wake()
		return
	}
	f.spare = last.b[:0:cap(last.b)] // nobody reads it any more: readers have copies
	f.chunks = f.chunks[:0]
}

// finish ends the fill; a body that is complete is kept from here on.
func (f *fill) finish(err error) {
	f.mu.Lock()
	why, got := f.why, f.got
	f.mu.Unlock()
	if err == nil && why == "" {
		f.c.admit(f.head.ended(f.from, got))
	}
	f.c.removeFill(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release()
	f.done, f.err = true, err
	f.cancel()
	f.wake()
}

// next copies bytes from at, which is not beyond where the reader is, into buf and returns how many, at least one. io.EOF is the end of the body as it was declared. They are copied so that the chunk they
// come from can be used again: it is a megabyte, and there may be many.
func (r *reader) next(ctx context.Context, at int64, buf []byte) (int, error) {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if n := f.inMemory(at, buf); n > 0 {
			return n, nil
		}
		if at < f.got {
			return 0, errLagging // the caller looks in the store
		}
		if f.done {
			if f.err != nil {
				return 0, f.err
			}
			return 0, io.EOF
		}
		moved := f.moved
		f.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		f.mu.Lock()
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
}

// inMemory copies bytes from at that are in memory; f.mu is held.
func (f *fill) inMemory(at int64, buf []byte) int {
	for i := range f.chunks {
		if b := &f.chunks[i]; b.from <= at && at < b.end() {
			return copy(buf, b.b[at-b.from:])
		}
	}
	return 0
}

// advance moves the reader on.
func (r *reader) advance(n int64) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.at += n
	if r.f.why != "" {
		r.f.wake()
	}
}

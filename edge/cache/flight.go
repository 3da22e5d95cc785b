package cache

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perigee/edge/cache/store"
	"perigee/object"
)

const (
	// fillMemory is how many bytes of chunks may be on their way from the origin to the disk at once.
	fillMemory = 48 << 20
	// window is how many chunks one run asks the origin for at the most.
	window = 64
	// near is how many chunks ahead of a run a reader still waits for it; farther ahead it gets a run of its own.
	near = 8
	// ahead is how many chunks a run may be ahead of the reader that is furthest. A reader of a large file who
	// leaves must not have cost the whole of it.
	ahead = 32
	// finish is how many chunks a run that nobody waits for any more still fetches, if that completes it.
	finish = 8
	// pause is how long a run that is far enough ahead keeps its connection to the origin.
	pause = 5 * time.Second
)

// flight is what is on its way of one blob: runs that fetch chunks, and readers that wait for some. Its life: the first body that
// misses a chunk makes it, it is gone when no body and no run has it any more.
//
// A chunk is in one of four states. held: the store has it. claimed: a run will fetch it. fetched: it is verified, given to the store and
// to those who wait. absent: none of these. Claims are disjoint, so no chunk is fetched twice as long as the store takes it.
type flight struct {
	e     *Engine
	p     *object.Pointer
	id    blobID
	proof *proof
	refs  int // bodies and runs; Engine.flightsMu
	// erased is set when the blob is erased: nothing of this flight may come to the store any more.
	erased atomic.Bool

	mu       sync.Mutex
	runs     []*run
	waiters  map[int64][]*waiter
	readers  int
	furthest int64         // chunk that a reader has wanted
	stored   bool          // whether the store took the last chunk
	moved    chan struct{} // closed and replaced when readers or furthest change
}

// run is a claim on the chunks from next to end-1, and the goroutine that fetches them.
type run struct{ next, end int64 }

// waiter waits for one chunk.
type waiter struct {
	// bytes asks for the chunk itself, even if the store has taken it.
	bytes bool
	ready chan delivery // has room for one
}

// delivery is what a waiter gets: the chunk, if buf is set; else it is in the store. The receiver releases buf.
type delivery struct {
	buf *buffer
	why Reason // why the store did not take it; "" if it did
	err error
}

// flightOf returns the flight of p's blob with a reference for the caller, who is a reader. Locks: f.mu comes before Engine.flightsMu.
func (e *Engine) flightOf(p *object.Pointer) *flight {
	id := idOf(p)
	e.flightsMu.Lock()
	f := e.flights[id]
	if f == nil {
		f = &flight{
			e: e, p: p, id: id, waiters: map[int64][]*waiter{}, stored: true, moved: make(chan struct{}),
		}
		f.proof = newProof(f)
		e.flights[id] = f
	}
	f.refs++
	e.flightsMu.Unlock()
	f.mu.Lock()
	f.readers++
	f.mu.Unlock()
	return f
}

// filling reports whether something of a blob is on its way.
func (e *Engine) filling(id blobID) bool {
	e.flightsMu.Lock()
	defer e.flightsMu.Unlock()
	return e.flights[id] != nil
}

// leave is the end of a reader.
func (f *flight) leave() {
	f.mu.Lock()
	f.readers--
	f.wake()
	f.mu.Unlock()
	f.release()
}

func (f *flight) release() {
	f.e.flightsMu.Lock()
	defer f.e.flightsMu.Unlock()
	if f.refs--; f.refs == 0 && f.e.flights[f.id] == f {
		delete(f.e.flights, f.id)
	}
}

// wake tells runs that wait for readers; f.mu is held.
func (f *flight) wake() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// reach says that a reader has come to chunk i.
func (f *flight) reach(i int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i > f.furthest {
		f.furthest = i
		f.wake()
	}
}

// want waits for chunk i, for a reader that goes on to end-1. led reports that it was this call that had it fetched.
func (f *flight) want(ctx context.Context, i, end int64, bytes bool) (d delivery, led bool) {
	f.mu.Lock()
	claimed, err := f.claim(i, end, bytes)
	if err != nil || claimed == held {
		f.mu.Unlock()
		return delivery{err: err}, false
	}
	w := &waiter{bytes: bytes, ready: make(chan delivery, 1)}
	f.waiters[i] = append(f.waiters[i], w)
	f.furthest = max(f.furthest, i)
	f.wake()
	f.mu.Unlock()
	select {
	case d = <-w.ready:
		return d, claimed == started
	case <-ctx.Done():
		f.forget(i, w)
		return delivery{err: ctx.Err()}, claimed == started
	}
}

// forget takes back a wish. What was delivered meanwhile is let go.
func (f *flight) forget(i int64, w *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at := slices.Index(f.waiters[i], w); at >= 0 {
		f.waiters[i] = slices.Delete(f.waiters[i], at, at+1)
		if len(f.waiters[i]) == 0 {
			delete(f.waiters, i)
		}
		return
	}
	if d := <-w.ready; d.buf != nil {
		d.buf.release()
	}
}

// standing of a chunk that is wanted.
type claim int

const (
	held    claim = iota // the store has it by now
	joined               // a run will fetch it
	started              // a run was started for it
)

// claim makes sure that somebody fetches chunk i; f.mu is held.
//
// A reader found chunk i absent before it came here. Meanwhile a run may have stored it and moved on, so that no claim covers it any
// more. A run stores first and moves on under f.mu, so looking into the store again, here, is enough not to fetch it twice.
func (f *flight) claim(i, end int64, bytes bool) (claim, error) {
	stop := min(end, i+window, f.id.chunks())
	for _, r := range f.runs {
		switch {
		case r.next <= i && i < r.end && i-r.next <= near:
			return joined, nil
		case r.next <= i && i < r.end:
			// The new run takes over all that is behind i, wanted or not: others may be waiting for some of it.
			ahead := &run{i, r.end}
			if err := f.start(ahead); err != nil {
				return joined, err
			}
			r.end = i
			return started, nil
		case r.next > i:
			stop = min(stop, r.next)
		}
	}
	if !bytes {
		if _, ok := f.e.store.Find(f.id.key(uint64(i))); ok {
			return held, nil
		}
	}
	for j := i + 1; j < stop; j++ {
		if _, ok := f.e.store.Find(f.id.key(uint64(j))); ok {
			stop = j
		}
	}
	return started, f.start(&run{i, stop})
}

// start starts a run; f.mu is held.
func (f *flight) start(r *run) error {
	f.e.flightsMu.Lock()
	f.refs++
	f.e.flightsMu.Unlock()
	f.runs = append(f.runs, r)
	if !f.e.start(func() { f.fly(r) }) {
		f.runs = f.runs[:len(f.runs)-1]
		f.e.flightsMu.Lock()
		f.refs--
		f.e.flightsMu.Unlock()
		return context.Canceled
	}
	return nil
}

// fly is the goroutine of a run.
func (f *flight) fly(r *run) {
	defer f.release()
	f.mu.Lock()
	s := &stream{f: f, end: r.end}
	f.mu.Unlock()
	defer s.close()
	for {
		i, ok := f.proceed(r, s)
		if !ok {
			return
		}
		if err := f.fetch(r, s, i); err != nil {
			f.fail(r, err)
			return
		}
	}
}

// proceed waits until the next chunk of r may be fetched. When r is at its end, or nobody wants the rest, r is over: its claim is given up.
func (f *flight) proceed(r *run, s *stream) (next int64, ok bool) {
	idle := f.e.clock.NewTimer(pause)
	defer idle.Stop()
	f.mu.Lock()
	for r.next < r.end && !f.mayFetch(r) {
		if f.readers == 0 {
			r.end = r.next
			break
		}
		moved := f.moved
		f.mu.Unlock()
		select {
		case <-moved:
		case <-idle.C():
			s.close()
		case <-f.e.ctx.Done():
		}
		f.mu.Lock()
		if f.e.ctx.Err() != nil {
			r.end = r.next
		}
	}
	defer f.mu.Unlock()
	if r.next < r.end {
		return r.next, true
	}
	f.over(r)
	f.failLocked(r.next, r.end, context.Canceled) // there are none, unless the engine is closing
	return 0, false
}

// mayFetch reports whether r may fetch its next chunk now; f.mu is held.
func (f *flight) mayFetch(r *run) bool {
	switch {
	case len(f.waiters[r.next]) > 0:
		return true
	case f.readers == 0:
		return f.stored && r.end-r.next <= finish
	case !f.stored: // what nobody waits for would be lost
		return false
	}
	return f.id.chunks() <= window || r.next <= f.furthest+ahead
}

// fetch reads chunk i, stores it and gives it to those who wait.
func (f *flight) fetch(r *run, s *stream, i int64) error {
	_, n := object.ChunkSpan(i, f.id.size)
	if err := f.e.fillRoom.Acquire(f.e.ctx, n); err != nil {
		return err
	}
	defer f.e.fillRoom.Release(n)
	buf := newBuffer(n)
	defer buf.release()
	if err := s.chunk(f.e.ctx, i, buf.data); err != nil {
		return err
	}
	why := f.keepChunk(i, buf.data)
	f.mu.Lock()
	defer f.mu.Unlock()
	r.next = i + 1
	f.stored = why == ""
	for _, w := range f.waiters[i] {
		d := delivery{why: why}
		if why != "" || w.bytes {
			buf.hold()
			d.buf = buf
		}
		w.ready <- d
	}
	delete(f.waiters, i)
	return nil
}

// keepChunk gives a verified chunk to the store, and says why that did not work.
func (f *flight) keepChunk(i int64, data []byte) Reason {
	e := f.e
	err := f.put(uint64(i), data)
	switch {
	case errors.Is(err, errErased):
		return ReasonErased
	case err == nil:
		e.diskWorks()
		return ""
	case errors.Is(err, store.ErrNotAdmitted):
		return ReasonNotAdmitted
	}
	e.diskFailed(err)
	return ReasonDiskFailed
}

// errErased says that a record was not kept because its blob is erased.
var errErased = errors.New("the blob is being erased")

// put gives record n of the blob to the store; see Engine.destroy.
func (f *flight) put(n uint64, data []byte) error {
	f.e.fence.RLock()
	defer f.e.fence.RUnlock()
	if f.erased.Load() {
		return errErased
	}
	var room [maxLabel]byte
	_, err := f.e.store.Put(store.Bodies, f.id.key(n), f.id.label(room[:0], n), data)
	return err
}

// fail ends a run that met an error: everybody who waits for a chunk it had claimed gets it.
func (f *flight) fail(r *run, err error) {
	changed := errors.Is(err, ErrChanged)
	if changed {
		f.e.outdated(f.p)
	}
	if f.e.ctx.Err() == nil && !changed {
		f.e.log.Warn("a cache fill failed", "site", f.p.Site, "path", f.p.Path, "err", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over(r)
	f.failLocked(r.next, r.end, err)
}

func (f *flight) failLocked(from, end int64, err error) {
	for i, ws := range f.waiters {
		if i < from || i >= end {
			continue
		}
		for _, w := range ws {
			w.ready <- delivery{err: err}
		}
		delete(f.waiters, i)
	}
}

// over takes a run off the list; f.mu is held.
func (f *flight) over(r *run) {
	if at := slices.Index(f.runs, r); at >= 0 {
		f.runs = slices.Delete(f.runs, at, at+1)
	}
}

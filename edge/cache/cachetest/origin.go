// Package cachetest has what the tests of an edge need of the outside world: an origin in memory that fails on demand,
// and files to publish in it.
//
// It is not for programs: nothing here is written anywhere. An Origin starts no goroutine and ends with its last reference.
package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/object"
)

// patience is how long an event that must happen is waited for. It never decides a test that passes.
const patience = 30 * time.Second

// Fault is what goes wrong when an object is read. At most one of Err, Hold, Cut, Short and Flip is set, or Err and Hold: Get
// fails when Hold is closed.
type Fault struct {
	Err error // Get fails with it

	At    int64           // the byte of the object from which on the body is hurt
	Hold  <-chan struct{} // the body stops before At until Hold is closed
	Cut   bool            // the connection breaks before At
	Short bool            // the body ends before At, as if the object were no longer
	Flip  bool            // byte At is another one

	Times int // how many reads it hurts; 0 means all
}

// Origin is a bucket in memory. It implements cache.Origin; its methods are safe for concurrent use.
type Origin struct {
	mu      sync.Mutex
	objects map[object.Key][]byte
	faults  map[object.Key]*Fault
	down    error
	reads   map[object.Key]int
	open    int
	changed chan struct{}
}

// NewOrigin returns an empty bucket.
func NewOrigin() *Origin {
	return &Origin{objects: map[object.Key][]byte{}, faults: map[object.Key]*Fault{}, reads: map[object.Key]int{}, changed: make(chan struct{})}
}

// Put stores an object.
func (o *Origin) Put(key object.Key, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.objects[key] = bytes.Clone(data)
}

// Delete removes an object.
func (o *Origin) Delete(key object.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.objects, key)
}

// Break makes reads of an object fail; Heal ends that.
func (o *Origin) Break(key object.Key, f Fault) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.faults[key] = &f
}

// Heal ends what Break began.
func (o *Origin) Heal(key object.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.faults, key)
}

// SetDown makes every call fail with err; nil ends that.
func (o *Origin) SetDown(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = err
}

// Reads returns how many times Get was called for a key.
func (o *Origin) Reads(key object.Key) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads[key]
}

// Open returns how many bodies are not closed.
func (o *Origin) Open() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open
}

// Await returns when Get was called n times for a key.
func (o *Origin) Await(t *testing.T, key object.Key, n int) {
	t.Helper()
	o.await(t, func() bool { return o.reads[key] >= n }, fmt.Sprintf("%d reads of %s", n, key))
}

// AwaitClosed returns when every body is closed.
func (o *Origin) AwaitClosed(t *testing.T) {
	t.Helper()
	o.await(t, func() bool { return o.open == 0 }, "the end of every read")
}

func (o *Origin) await(t *testing.T, ok func() bool, what string) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		o.mu.Lock()
		done, changed := ok(), o.changed
		o.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (o *Origin) wake() { close(o.changed); o.changed = make(chan struct{}) }

// Get implements cache.Origin. The bytes are those of now, however late they are read.
func (o *Origin) Get(ctx context.Context, key object.Key, offset, length int64) (io.ReadCloser, error) {
	b, f, err := o.begin(ctx, key, offset, length)
	switch {
	case err != nil:
		return nil, err
	case f.Err == nil:
		return b, nil
	case f.Hold != nil:
		if _, err := (&body{ctx: ctx, f: f}).hurt(); err != nil {
			return nil, err
		}
	}
	return nil, f.Err
}

// begin counts a read and finds its bytes and its fault; the body is nil if the fault is an error.
func (o *Origin) begin(ctx context.Context, key object.Key, offset, length int64) (*body, Fault, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads[key]++
	o.wake()
	if ctx.Err() != nil {
		return nil, Fault{}, context.Cause(ctx)
	}
	if o.down != nil {
		return nil, Fault{}, o.down
	}
	f := o.faults[key]
	if f != nil && f.Times > 0 {
		if f.Times--; f.Times == 0 {
			delete(o.faults, key)
		}
	}
	if f == nil {
		f = &Fault{}
	}
	if f.Err != nil {
		return nil, *f, nil
	}
	data, ok := o.objects[key]
	if !ok {
		return nil, Fault{}, fmt.Errorf("get %s: %w", key, fs.ErrNotExist)
	}
	if offset < 0 || offset > int64(len(data)) {
		return nil, Fault{}, fmt.Errorf("get %s: offset %d is beyond its %d bytes", key, offset, len(data))
	}
	end := int64(len(data))
	if length >= 0 {
		end = min(end, offset+length)
	}
	o.open++
	return &body{o: o, ctx: ctx, data: data, at: offset, end: end, f: *f}, *f, nil
}

// Sites implements cache.Origin.
func (o *Origin) Sites(ctx context.Context) iter.Seq2[object.SiteRecord, error] {
	return func(yield func(object.SiteRecord, error) bool) {
		o.mu.Lock()
		keys, err := slices.Sorted(maps.Keys(o.objects)), o.down
		o.mu.Unlock()
		if err != nil {
			yield(object.SiteRecord{}, err)
			return
		}
		for _, k := range keys {
			if !strings.HasPrefix(string(k), object.SitePrefix) {
				continue
			}
			r, err := o.site(ctx, k)
			if !yield(r, err) || err != nil && !errors.Is(err, object.ErrInvalid) {
				return
			}
		}
	}
}

// site reads one site record.
func (o *Origin) site(ctx context.Context, key object.Key) (object.SiteRecord, error) {
	body, err := o.Get(ctx, key, 0, -1)
	if err != nil {
		return object.SiteRecord{}, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return object.SiteRecord{}, err
	}
	r, err := object.UnmarshalSite(data)
	if err == nil && object.SiteKey(r.Site) != key {
		err = fmt.Errorf("site record: %w: it is of site %s", object.ErrInvalid, r.Site)
	}
	return r, err
}

// body is one read of an object. It gives few bytes at a time, as networks do.
type body struct {
	o       *Origin
	ctx     context.Context
	data    []byte
	at, end int64
	f       Fault
	closed  bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	stop := b.end
	if hurt := b.f.Hold != nil || b.f.Cut || b.f.Short; hurt && b.f.At < b.end {
		stop = max(b.f.At, b.at)
		if b.at == stop {
			if end, err := b.hurt(); end {
				return 0, err
			}
			stop = b.end
		}
	}
	if b.at == b.end {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 100_000)], b.data[b.at:stop])
	if i := b.f.At - b.at; b.f.Flip && i >= 0 && i < int64(n) {
		p[i] ^= 0x10
	}
	b.at += int64(n)
	return n, nil
}

// hurt does what the fault says, at its byte; end is false if reading goes on.
func (b *body) hurt() (end bool, err error) {
	switch {
	case b.f.Cut:
		return true, fmt.Errorf("connection broken: %w", io.ErrUnexpectedEOF)
	case b.f.Short:
		return true, io.EOF
	}
	select {
	case <-b.f.Hold:
		b.f.Hold = nil
		return false, nil
	case <-b.ctx.Done():
		return true, context.Cause(b.ctx)
	}
}

func (b *body) Close() error {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	if !b.closed {
		b.closed = true
		b.o.open--
		b.o.wake()
	}
	return nil
}

// Package spool takes records of what was served to a file or a socket, without anybody who serves waiting for that.
//
// It knows nothing about what is in a record: edge/accesslog, dnsgeo/querylog and dnsgeo/tap do, and keep their formats to themselves. It is not a
// queue that delivers: a record may be lost, and is counted then. A record is written into a buffer in memory; there is one for each core that
// serves, so that cores do not meet there. A buffer that is full, or some time old, goes to the one goroutine that writes. When that
// one does not keep up, because the disk is slow or full or the reader stands still, whole buffers are dropped.
//
// Life cycle of a Queue: New, Run and Begin/End side by side, then the end of Run's context, when nobody adds any more: Run writes out what is
// left and closes the sink. A Queue that is never run is closed with Close. Run starts no goroutine. A nil *Queue is switched off:
// Run and Close do nothing; Begin must not be called.
//
// File is the sink that most need: a file that is moved aside when it would grow too large, or a stream.
package spool

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
)

// Sink is where records end. The goroutine of Run alone calls it.
type Sink interface {
	// Write takes whole records, all of them or, when it returns false, none. It may block for as long as it bounds itself, and less once
	// ctx has ended.
	Write(ctx context.Context, b []byte) bool
	// Tick is called once in each interval, before what has gathered is written: the time to look after files and connections.
	Tick(ctx context.Context)
	// Close is called once, after the last Write.
	Close() error
}

// Config says how a Queue gathers.
type Config struct {
	Sink    Sink
	Buffers int           // how many callers do not meet; 0 means one for each processor that Go uses, and one more
	Every   time.Duration // how long a record stays in memory at most; a second when 0
	Clock   clock.Clock
}

const (
	// handAt is the size at which a buffer is handed to the writer, in bytes.
	handAt = 64 << 10
	// waiting is how many full buffers may wait for the writer. With those being filled it bounds the memory of a Queue.
	waiting = 64
)

// Queue gathers records. Its methods are safe for concurrent use.
type Queue struct {
	sink    Sink
	clock   clock.Clock
	every   time.Duration
	buffers []Buffer
	full    chan chunk
	spare   chan []byte
	dropped atomic.Int64
	added   atomic.Int64
}

// Buffer collects records. Its lock is contended once in an interval.
type Buffer struct {
	mu    sync.Mutex
	B     []byte // whoever has begun appends whole records, between Begin and End
	Stamp Stamp  // for whoever has begun, to write times with
	count int64
	_     [64]byte
}

// chunk is a buffer on its way to the sink.
type chunk struct {
	b     []byte
	count int64
}

// New makes a Queue, which owns the sink from then on.
func New(cfg Config) *Queue {
	if cfg.Buffers <= 0 {
		cfg.Buffers = runtime.GOMAXPROCS(0) + 1
	}
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	return &Queue{
		sink: cfg.Sink, clock: cfg.Clock, every: cfg.Every, buffers: make([]Buffer, cfg.Buffers),
		full: make(chan chunk, waiting), spare: make(chan []byte, waiting),
	}
}

// Begin returns buffer i, locked: the caller appends records to its B and hands it back with End, soon and always. Who adds a lot has a buffer
// for himself; i counts from 0 and goes round.
func (q *Queue) Begin(i int) *Buffer {
	s := &q.buffers[uint(i)%uint(len(q.buffers))]
	s.mu.Lock()
	if s.B == nil {
		s.B = q.take()
	}
	return s
}

// End takes a buffer back, to which records have been appended.
func (q *Queue) End(s *Buffer, records int) {
	s.count += int64(records)
	if len(s.B) >= handAt {
		q.hand(s)
	}
	s.mu.Unlock()
}

func (q *Queue) take() []byte {
	select {
	case b := <-q.spare:
		return b
	default:
		return make([]byte, 0, handAt+4096)
	}
}

// hand gives a buffer to the writer, or drops what is in it. s.mu is held.
func (q *Queue) hand(s *Buffer) {
	if s.count == 0 {
		return
	}
	select {
	case q.full <- chunk{s.B, s.count}:
		s.B = nil
	default:
		q.dropped.Add(s.count)
		s.B = s.B[:0]
	}
	s.count = 0
}

// Dropped returns how many records were lost since New.
func (q *Queue) Dropped() int64 {
	if q == nil {
		return 0
	}
	return q.dropped.Load()
}

// Written returns how many records the sink has taken since New.
func (q *Queue) Written() int64 {
	if q == nil {
		return 0
	}
	return q.added.Load()
}

// Run writes until ctx ends, then writes what is left and closes the sink. The error is that of closing it; records that cannot be written are
// counted as dropped.
func (q *Queue) Run(ctx context.Context) error {
	if q == nil {
		return nil
	}
	t := q.clock.NewTicker(q.every)
	defer t.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case c := <-q.full:
			q.write(ctx, c)
		case <-t.C():
			q.sink.Tick(ctx)
			q.flush(ctx)
		}
	}
	q.flush(ctx)
	return q.Close()
}

// flush writes what waits, and what the buffers have.
func (q *Queue) flush(ctx context.Context) {
	var ready []chunk
	for i := range q.buffers {
		s := &q.buffers[i]
		s.mu.Lock()
		// With the lock held: what this buffer handed over before comes first, and nothing that comes later.
		for n := len(q.full); n > 0; n-- {
			ready = append(ready, <-q.full)
		}
		ready = append(ready, chunk{s.B, s.count})
		s.B, s.count = nil, 0
		s.mu.Unlock()
		for _, c := range ready {
			q.write(ctx, c)
		}
		ready = ready[:0]
	}
}

func (q *Queue) write(ctx context.Context, c chunk) {
	if c.count > 0 {
		if q.sink.Write(ctx, c.b) {
			q.added.Add(c.count)
		} else {
			q.dropped.Add(c.count)
		}
	}
	if c.b == nil || cap(c.b) > 2*handAt { // one very long record must not be kept room for
		return
	}
	select {
	case q.spare <- c.b[:0]:
	default:
	}
}

// Close closes the sink of a Queue that is not run. What is in its buffers is lost.
func (q *Queue) Close() error {
	if q == nil {
		return nil
	}
	return q.sink.Close()
}

// Package accesslog writes one line for each request: in the combined format of NCSA and Apache, or as JSON.
//
// It is not a log of what goes wrong, and not a queue: a line may be lost. A request never waits for the disk. Add formats
// the line into a buffer in memory; there is one for each loop of the fast lane and one for the rest, so that cores do not meet there. A
// buffer that is full, or a second old, goes to the one goroutine that writes. When that one does not keep up, because the disk is
// slow or full, buffers are dropped and their lines counted.
//
// Life cycle: Open, Run and Add side by side, then the end of Run's context, when nobody adds any more: Run writes out what is left and closes the
// file. A log that is never run is closed with Close. Run owns the file and starts no goroutine. A nil *Log is a log that is
// switched off: its methods do nothing.
//
// The file is moved aside when it would grow beyond MaxSize, and a fixed number of such files is kept. If somebody else moves
// or removes it, as logrotate does, a new one is begun within a second.
package accesslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
)

// Format is how a line looks.
type Format string

// The formats.
const (
	Combined Format = "combined" // NCSA combined, as Apache and nginx write it
	JSON     Format = "json"     // one object a line
)

// Config says what a Log works with.
type Config struct {
	Path    string // of the file, made if missing; "-" is Stdout
	Format  Format // empty means Combined
	MaxSize int64  // bytes of a file; 0 means no bound
	Keep    int    // how many older files are kept beside it, as Path.1, Path.2 …
	Buffers int    // how many callers of Add do not meet; 0 means one for each processor that Go uses, and one more
	Clock   clock.Clock
	Stdout  io.Writer    // for Path "-"
	Log     *slog.Logger // is told when writing begins to fail
}

const (
	// flushAt is the size at which a buffer is handed to the writer, in bytes.
	flushAt = 64 << 10
	// maxValue is how much of a value is written, in bytes; each may become six.
	maxValue = 4 << 10
	// flushEvery bounds how long a line stays in memory.
	flushEvery = time.Second
	// queue is how many full buffers may wait for the writer. With those being filled it bounds the memory of a Log.
	queue = 64
)

// Log is an access log. Its methods are safe for concurrent use.
type Log struct {
	json    bool
	clock   clock.Clock
	out     *output
	buffers []buffer
	full    chan chunk
	spare   chan []byte
	dropped atomic.Int64
}

// buffer collects lines. Its lock is contended once a second.
type buffer struct {
	mu    sync.Mutex
	b     []byte
	lines int64
	stamp stamp
	_     [64]byte
}

// chunk is a buffer on its way to the file.
type chunk struct {
	b     []byte
	lines int64
}

// Open opens, or makes, the file.
func Open(cfg Config) (*Log, error) {
	if cfg.Format != Combined && cfg.Format != JSON && cfg.Format != "" {
		return nil, fmt.Errorf("open access log: no format is called %q", cfg.Format)
	}
	if cfg.Buffers <= 0 {
		cfg.Buffers = runtime.GOMAXPROCS(0) + 1
	}
	out, err := openOutput(cfg)
	if err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	return &Log{
		json: cfg.Format == JSON, clock: cfg.Clock, out: out, buffers: make([]buffer, cfg.Buffers),
		full: make(chan chunk, queue), spare: make(chan []byte, queue),
	}, nil
}

// Add writes the line of one request into buffer i; who adds a lot has one for himself. It does not keep e, nor what its strings
// are made of.
func (l *Log) Add(i int, e *Entry) {
	if l == nil {
		return
	}
	s := &l.buffers[i%len(l.buffers)]
	s.mu.Lock()
	if s.b == nil {
		s.b = l.take()
	}
	if l.json {
		s.b = appendJSON(s.b, e, &s.stamp)
	} else {
		s.b = appendCombined(s.b, e, &s.stamp)
	}
	s.lines++
	if len(s.b) >= flushAt {
		l.hand(s)
	}
	s.mu.Unlock()
}

func (l *Log) take() []byte {
	select {
	case b := <-l.spare:
		return b
	default:
		return make([]byte, 0, flushAt+4096)
	}
}

// hand gives a buffer to the writer, or drops what is in it. s.mu is held.
func (l *Log) hand(s *buffer) {
	if s.lines == 0 {
		return
	}
	select {
	case l.full <- chunk{s.b, s.lines}:
		s.b = nil
	default:
		l.dropped.Add(s.lines)
		s.b = s.b[:0]
	}
	s.lines = 0
}

// Dropped returns how many lines were lost since Open.
func (l *Log) Dropped() int64 {
	if l == nil {
		return 0
	}
	return l.dropped.Load()
}

// Run writes until ctx ends, then writes what is left and closes the file. The error is that of closing it: one of writing is told to the
// logger, and the lines are counted as dropped.
func (l *Log) Run(ctx context.Context) error {
	if l == nil {
		return nil
	}
	t := l.clock.NewTicker(flushEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case c := <-l.full:
			l.write(c)
		case <-t.C():
			l.out.follow()
			l.flush()
		}
	}
	l.flush()
	return l.Close()
}

// flush writes what waits, and what the buffers have.
func (l *Log) flush() {
	var ready []chunk
	for i := range l.buffers {
		s := &l.buffers[i]
		s.mu.Lock()
		// With the lock held: what this buffer handed over before comes first, and nothing that comes later.
		for n := len(l.full); n > 0; n-- {
			ready = append(ready, <-l.full)
		}
		ready = append(ready, chunk{s.b, s.lines})
		s.b, s.lines = nil, 0
		s.mu.Unlock()
		for _, c := range ready {
			l.write(c)
		}
		ready = ready[:0]
	}
}

func (l *Log) write(c chunk) {
	if c.lines > 0 && !l.out.write(c.b) {
		l.dropped.Add(c.lines)
	}
	if c.b == nil || cap(c.b) > 2*flushAt { // one very long line must not be kept room for
		return
	}
	select {
	case l.spare <- c.b[:0]:
	default:
	}
}

// Close closes the file of a log that is not run. What is in its buffers is lost.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	if err := l.out.close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close access log: %w", err)
	}
	return nil
}

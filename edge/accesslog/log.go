// Package accesslog writes one line for each request: in the combined format of NCSA and Apache, or as JSON.
//
// It is not a log of what goes wrong, and not a queue: a line may be lost. A request never waits for the disk: package spool gathers lines in
// memory and writes them to a file that is moved aside when it grows too large. It says what becomes of them when the disk is slow or full.
//
// Life cycle: Open, Run and Add side by side, then the end of Run's context, when nobody adds any more: Run writes out what is left and closes the
// file. A log that is never run is closed with Close. Run owns the file and starts no goroutine. A nil *Log is a log that is
// switched off: its methods do nothing.
package accesslog

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"perigee/clock"
	"perigee/spool"
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

// Log is an access log. Its methods are safe for concurrent use.
type Log struct {
	json  bool
	queue *spool.Queue
}

// Open opens, or makes, the file.
func Open(cfg Config) (*Log, error) {
	if cfg.Format != Combined && cfg.Format != JSON && cfg.Format != "" {
		return nil, fmt.Errorf("open access log: no format is called %q", cfg.Format)
	}
	f, err := spool.OpenFile(spool.FileConfig{
		Name: "access log", Path: cfg.Path, MaxSize: cfg.MaxSize, Keep: cfg.Keep, Stdout: cfg.Stdout, Log: cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	return &Log{json: cfg.Format == JSON, queue: spool.New(spool.Config{Sink: f, Buffers: cfg.Buffers, Clock: cfg.Clock})}, nil
}

// Add writes the line of one request into buffer i; who adds a lot has one for himself. It does not keep e, nor what its strings
// are made of.
func (l *Log) Add(i int, e *Entry) {
	if l == nil {
		return
	}
	s := l.queue.Begin(i)
	if l.json {
		s.B = appendJSON(s.B, e, &s.Stamp)
	} else {
		s.B = appendCombined(s.B, e, &s.Stamp)
	}
	l.queue.End(s, 1)
}

// Dropped returns how many lines were lost since Open.
func (l *Log) Dropped() int64 {
	if l == nil {
		return 0
	}
	return l.queue.Dropped()
}

// Run writes until ctx ends, then writes what is left and closes the file. The error is that of closing it: one of writing is told to the
// logger, and the lines are counted as dropped.
func (l *Log) Run(ctx context.Context) error {
	if l == nil {
		return nil
	}
	return l.queue.Run(ctx)
}

// Close closes the file of a log that is not run. What is in its buffers is lost.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	return l.queue.Close()
}

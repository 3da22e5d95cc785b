// Package querylog writes one line for each DNS query, or for some of them: what was asked, what was answered, and which edge was chosen for whom.
//
// It is not a log of what goes wrong, and not a queue: a line may be lost. A query never waits for the disk: package spool gathers lines in
// memory, one buffer for each core that serves, and writes them to a file that is moved aside when it grows too large. It counts the lines that it drops when the
// disk is slow or full.
//
// Who asks is personal data in many countries. Clients decides how much of an address is written, and what is not written is not kept anywhere; the
// client subnet of a query (RFC 7871) is an address of somebody, too, and is cut to the same length.
//
// Life cycle: Open, Run and Add side by side, then the end of Run's context, when nobody adds any more: Run writes out what is left and closes the
// file. A log that is never run is closed with Close. Run owns the file and starts no goroutine. A nil *Log is a log that is
// switched off: its methods do nothing.
package querylog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"perigee/clock"
	"perigee/spool"
)

// Format is how a line looks.
type Format string

// The formats.
const (
	Text Format = "text" // columns, as Add describes them
	JSON Format = "json" // one object a line
)

// Clients is how much of an address is written: the first bits of it, all, or none.
type Clients struct {
	IPv4, IPv6 int // bits; 0 writes no address, 32 and 128 all of it
}

// ParseClients reads "address", "none", or how many bits of an IPv4 and of an IPv6 address are written, such as "24/56".
func ParseClients(text string) (Clients, error) {
	switch text {
	case "address":
		return Clients{32, 128}, nil
	case "none":
		return Clients{}, nil
	}
	four, six, ok := strings.Cut(text, "/")
	v4, err4 := strconv.ParseUint(four, 10, 8)
	v6, err6 := strconv.ParseUint(six, 10, 8)
	if !ok || err4 != nil || err6 != nil || v4 > 32 || v6 > 128 {
		return Clients{}, fmt.Errorf("%q does not say how much of a client's address is logged; write address, none, or the bits of an IPv4 and an IPv6 address, such as 24/56", text)
	}
	return Clients{int(v4), int(v6)}, nil
}

// Config says what a Log works with.
type Config struct {
	Path    string  // of the file, made if missing; "-" is Stdout
	Format  Format  // empty means Text
	Sample  float64 // which part of the queries is written, above 0 to 1; 0 means 1, all
	Clients Clients // the zero value writes no address
	MaxSize int64   // bytes of a file; 0 means no bound
	Keep    int     // how many older files are kept beside it, as Path.1, Path.2 …
	Buffers int     // how many callers of Add do not meet; 0 means one for each processor that Go uses, and one more
	Clock   clock.Clock
	Stdout  io.Writer    // for Path "-"
	Log     *slog.Logger // is told when writing begins to fail
}

// Transport is how a query came. The texts are written as they are.
type Transport string

// The transports.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	DoT Transport = "dot" // DNS over TLS, RFC 7858
	DoH Transport = "doh" // DNS over HTTPS, RFC 8484
	DoQ Transport = "doq" // DNS over QUIC, RFC 9250
)

// Entry is what a line tells of one query.
type Entry struct {
	Time      time.Time     // when the query had been read
	Duration  time.Duration // until the answer was handed to the system
	Client    netip.Addr    // whom the answer went to
	Transport Transport
	Name      []byte       // as asked, in wire form (RFC 1035 §3.1), not compressed; nil if it could not be read
	Type      uint16       // as asked
	ECS       netip.Prefix // the client subnet of the query; the zero Prefix if there was none
	Rcode     uint16       // with the upper bits of EDNS
	Edge      string       // the edge that was chosen, a plain name; "" if none was
	Scope     int          // SCOPE PREFIX-LENGTH of the answer; only with ECS
	TC, DO    bool         // the answer is truncated; the query asked for DNSSEC
	Cookie    string       // what package cookie found it to be, a plain word; "" if there was none
	Limited   string       // what package limit made of the answer, "slip" or "drop"; "" if it was sent
	Size      int          // bytes of the answer
}

// Log is a query log. Its methods are safe for concurrent use and allocate nothing.
type Log struct {
	json    bool
	all     bool
	sample  uint64 // a random number below it is written
	clients Clients
	queue   *spool.Queue
}

// Open opens, or makes, the file.
func Open(cfg Config) (*Log, error) {
	switch {
	case cfg.Format != Text && cfg.Format != JSON && cfg.Format != "":
		return nil, fmt.Errorf("open query log: no format is called %q", cfg.Format)
	case !(cfg.Sample >= 0 && cfg.Sample <= 1):
		return nil, fmt.Errorf("open query log: a sample of %v is not between 0 and 1", cfg.Sample)
	case cfg.Clients.IPv4 < 0 || cfg.Clients.IPv4 > 32 || cfg.Clients.IPv6 < 0 || cfg.Clients.IPv6 > 128:
		return nil, errors.New("open query log: more bits of an address are to be written than it has")
	}
	f, err := spool.OpenFile(spool.FileConfig{
		Name: "query log", Path: cfg.Path, MaxSize: cfg.MaxSize, Keep: cfg.Keep, Stdout: cfg.Stdout, Log: cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("open query log: %w", err)
	}
	l := &Log{json: cfg.Format == JSON, all: cfg.Sample == 0 || cfg.Sample == 1, clients: cfg.Clients}
	if !l.all {
		l.sample = uint64(cfg.Sample * math.MaxUint64)
	}
	l.queue = spool.New(spool.Config{Sink: f, Buffers: cfg.Buffers, Clock: cfg.Clock})
	return l, nil
}

// Wanted reports whether a query is to be written: always, or at random for the part that Sample says. Ask once for each query, before
// anything is done for the entry alone.
func (l *Log) Wanted() bool {
	return l != nil && (l.all || rand.Uint64() < l.sample)
}

// Add writes the line of one query into buffer i; each core that serves has one for itself. It does not keep e, nor what is in it.
func (l *Log) Add(i int, e *Entry) {
	if l == nil {
		return
	}
	s := l.queue.Begin(i)
	if l.json {
		s.B = l.appendJSON(s.B, e, &s.Stamp)
	} else {
		s.B = l.appendText(s.B, e, &s.Stamp)
	}
	l.queue.End(s, 1)
}

// Dropped returns how many lines were lost since Open, because the disk was slow or full.
func (l *Log) Dropped() int64 {
	if l == nil {
		return 0
	}
	return l.queue.Dropped()
}

// Written returns how many lines were written since Open.
func (l *Log) Written() int64 {
	if l == nil {
		return 0
	}
	return l.queue.Written()
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

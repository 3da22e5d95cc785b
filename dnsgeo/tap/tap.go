// Package tap tells a collector every query and every answer, byte by byte, in the form of dnstap (https://dnstap.info): messages AUTH_QUERY and
// AUTH_RESPONSE of dnstap.proto as data frames of a Frame Streams connection, to a Unix or TCP socket, or in a file.
//
// It is for machines that analyse traffic; package querylog is for people. It knows nothing of DNS but that messages are bytes, and cuts
// no address short: who must not see clients must not get a tap.
//
// A query never waits for the collector: package spool gathers frames in memory, one buffer for each core that serves, at most some 4 MiB, and
// what the collector does not take in time is dropped and counted. Frames are lost, too, while it is not connected: they tell of now, nobody wants them later.
//
// # The connection
//
// We connect, say READY with the only content type there is, are told ACCEPT, say START, send data frames, and at the end say STOP and are told FINISH
// (bidirectional mode of Frame Streams). Each wait on the collector is bounded by patience. One that fails us, in whatever way, is left and connected to again, after a second at
// first and a minute at last. Whole buffers count as dropped when writing one fails, although the collector may have seen its beginning.
//
// A file is a stream of its own (unidirectional mode: START, data frames, STOP), so one that is there is moved aside and not written on.
//
// Life cycle: Open, Run and Query/Response side by side, then the end of Run's context, when nobody adds any more: Run sends what is left, says STOP and
// closes the file or connection, within a few seconds. A tap that is never run is closed with Close. Run starts no goroutine. A nil *Tap is
// switched off: its methods do nothing.
package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"perigee/clock"
	"perigee/spool"
)

// Config says what a Tap works with: one of Socket and File.
type Config struct {
	Socket  string // of the collector: the path of a Unix socket, with a '/' in it, or host:port
	File    string // made if missing; "-" is Stdout
	MaxSize int64  // bytes of a file; 0 means no bound
	Keep    int    // how many older files are kept beside it, as File.1, File.2 …

	Identity, Version string // of this server, told with each message; may be empty, at most MaxIdentity bytes

	Buffers int // how many callers of Query and Response do not meet; 0 means one for each processor that Go uses, and one more
	Clock   clock.Clock
	Stdout  io.Writer    // for File "-"
	Log     *slog.Logger // is told when the collector goes and comes, and when writing begins to fail
}

// MaxIdentity bounds the bytes of Identity and Version each.
const MaxIdentity = 255

// every bounds how long a frame stays in memory.
const every = 200 * time.Millisecond

// Transport is the protocol that carried the messages: SocketProtocol of dnstap.proto.
type Transport uint8

// The transports.
const (
	UDP Transport = 1
	TCP Transport = 2
	DoT Transport = 3 // DNS over TLS, RFC 7858
	DoH Transport = 4 // DNS over HTTPS, RFC 8484
	DoQ Transport = 7 // DNS over QUIC, RFC 9250
)

// Exchange is a query and its answer.
type Exchange struct {
	Client, Server netip.AddrPort // where the query came from and went to; what is not valid is not told
	Transport      Transport
	Zone           []byte    // the zone that answers, in wire form, not compressed; may be nil
	Query          []byte    // the message as it came
	QueryTime      time.Time // when it came
	Response       []byte    // the message as it went
	ResponseTime   time.Time // when it went
}

// Tap tells what goes on. Its methods are safe for concurrent use and allocate nothing.
type Tap struct {
	head   []byte // what every message begins with: identity, version, type
	queue  *spool.Queue
	socket *socket // nil for a file
}

// Socket reads where a collector listens: a path with a '/' in it is a Unix socket, everything else host:port.
func Socket(at string) (network, address string, err error) {
	if strings.Contains(at, "/") {
		if len(at) > 107 { // sun_path without its final zero
			return "", "", fmt.Errorf("the path of the Unix socket %q is longer than 107 bytes", at)
		}
		return "unix", at, nil
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil || host == "" || port == "" || port == "0" {
		return "", "", fmt.Errorf("%q is no collector; write host:port, or the path of a Unix socket, such as /run/dnstap.sock", at)
	}
	return "tcp", at, nil
}

// Open opens, or makes, the file; a collector is connected to by Run.
func Open(cfg Config) (*Tap, error) {
	switch {
	case (cfg.Socket == "") == (cfg.File == ""):
		return nil, errors.New("open dnstap: give a socket or a file, one of them")
	case len(cfg.Identity) > MaxIdentity || len(cfg.Version) > MaxIdentity:
		return nil, fmt.Errorf("open dnstap: identity and version have at most %d bytes", MaxIdentity)
	}
	t := &Tap{head: appendHead(nil, cfg.Identity, cfg.Version)}
	var sink spool.Sink
	if cfg.File != "" {
		f, err := spool.OpenFile(spool.FileConfig{
			Name: "dnstap file", Path: cfg.File, MaxSize: cfg.MaxSize, Keep: cfg.Keep, Stdout: cfg.Stdout, Log: cfg.Log,
			Head: appendControl(nil, controlStart, contentType), Tail: appendControl(nil, controlStop, ""),
		})
		if err != nil {
			return nil, fmt.Errorf("open dnstap: %w", err)
		}
		sink = f
	} else {
		network, address, err := Socket(cfg.Socket)
		if err != nil {
			return nil, fmt.Errorf("open dnstap: %w", err)
		}
		t.socket = newSocket(network, address, cfg.Clock, cfg.Log)
		sink = t.socket
	}
	t.queue = spool.New(spool.Config{Sink: sink, Buffers: cfg.Buffers, Every: every, Clock: cfg.Clock})
	return t, nil
}

// Query tells of a query, as soon as it has been read, through buffer i; each core that serves has one for itself. Of x it uses everything but the
// response, and keeps nothing.
func (t *Tap) Query(i int, x *Exchange) { t.add(i, authQuery, x) }

// Response tells of an answer, as Query does of a query. Of x it uses everything but the bytes of the query.
func (t *Tap) Response(i int, x *Exchange) { t.add(i, authResponse, x) }

func (t *Tap) add(i int, kind uint64, x *Exchange) {
	if t == nil {
		return
	}
	s := t.queue.Begin(i)
	s.B = appendFrame(s.B, t.head, kind, x)
	t.queue.End(s, 1)
}

// Dropped returns how many messages were lost since Open.
func (t *Tap) Dropped() int64 {
	if t == nil {
		return 0
	}
	return t.queue.Dropped()
}

// Written returns how many messages were handed to the file or the collector's connection since Open.
func (t *Tap) Written() int64 {
	if t == nil {
		return 0
	}
	return t.queue.Written()
}

// Connected reports whether a collector takes messages; a file always does.
func (t *Tap) Connected() bool {
	return t != nil && (t.socket == nil || t.socket.connected.Load())
}

// Connections returns how many connections to the collector were made since Open.
func (t *Tap) Connections() int64 {
	if t == nil || t.socket == nil {
		return 0
	}
	return t.socket.made.Load()
}

// Run writes until ctx ends, then writes what is left and ends the stream. The error is that of closing a file; what cannot be
// written is told to the logger once and counted as dropped.
func (t *Tap) Run(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.queue.Run(ctx)
}

// Close closes the file of a tap that is not run. What is in its buffers is lost.
func (t *Tap) Close() error {
	if t == nil {
		return nil
	}
	return t.queue.Close()
}

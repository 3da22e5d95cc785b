// Package lane answers HTTP/1.1 requests in canonical form on event loops of its own: strict parse, one question to the
// handler, one write. Linux on amd64 and arm64 only; elsewhere Serve gives every connection to Config.Fallback.
//
// It is not an HTTP server: it knows GET and HEAD without a body and nothing of answers, whose every byte is the handler's.
// Whatever is not in the subset that parse accepts goes to Fallback, with the bytes already read, for the rest of the
// connection. What it accepts means the same to net/http; FuzzLaneAgainstNetHTTP holds it to that.
//
// A connection is in one phase at a time, and has one owner:
//
//	reading    the loop reads into its own buffer; only a head that is not complete costs the connection memory
//	writing    the loop waits until the client takes what is left of an answer; nothing more is read meanwhile
//	serving    a goroutine answers; the loop only tells it of room to write, and that the client is gone
//	lingering  all is written and said to be the last; what the client still sends is thrown away, so that no reset
//	           overtakes the answer
//
// Serve owns its loops, the goroutine that accepts, and those of Handler.Serve and of Fallback, and waits for all of them.
// Each loop owns an epoll descriptor and the descriptors of its connections; only the loop closes them. A loop without work is
// parked in Go's network poller, through its epoll descriptor, and holds no thread. Tables are bounded by the connections.
//
// Failure: an error of a connection ends that connection. A handler that panics is logged and its connection reset. An
// error of the listener ends Serve, after the same drain as the end of its context.
package lane

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"perigee/clock"
)

// Handler answers requests. All bytes of an answer, from its status line on, are the handler's, framed by Content-Length or
// without a body. It says Connection: close if Request.Close.
type Handler interface {
	// Hot answers at once, or says no and has then sent nothing; what it appended is dropped. It runs on the loop: it must not
	// block. r and what it points to are valid until it returns. The same request may be asked about again after a no.
	Hot(r *Request, w *Reply) bool
	// Elsewhere reports whether a request that Hot has no answer for is net/http's, with all that comes after it on its connection. It runs on the loop.
	Elsewhere(r *Request) bool
	// Serve answers on a goroutine of its own and may block. r is a copy that stays valid. ctx ends when the client is gone, as
	// far as one can tell: it reset the connection, or closed its side after the request had come; and at the end of grace.
	// When Serve returns, the answer is complete, or Writer.Abort was called.
	Serve(ctx context.Context, r *Request, w *Writer)
}

// Config says what a Lane works with. Durations and sizes of 0 mean the values given here.
type Config struct {
	Handler Handler
	// Fallback takes a connection over and serves it with net/http. The connection yields the bytes already read first,
	// unchanged. It is called on a goroutine of its own; Serve waits for it to return, not for the connection to end.
	Fallback    func(net.Conn)
	Clock       clock.Clock
	Loops       int           // 0 means GOMAXPROCS
	HeadTimeout time.Duration // for a head that has begun; 10 s
	Idle        time.Duration // between requests; 2 min
	WriteIdle   time.Duration // how long a client may take nothing of an answer; 60 s
	MaxHead     int           // bytes; a longer head goes to Fallback; 8 KiB
	// Measure is shown the descriptor of each connection that the lane is about to close, and about once a minute those of connections
	// in use. It runs on the loop: it must not block, and must not keep or change the descriptor. nil for nobody.
	Measure  func(fd int, remote netip.AddrPort)
	MaxConns int // further connections wait in the listener's queue; 0 means no bound
	Log      *slog.Logger
}

// Lane serves connections. It is safe for concurrent use; it starts nothing before Serve.
type Lane struct {
	cfg   Config
	conns atomic.Int64
}

// New returns a Lane.
func New(cfg Config) *Lane {
	if cfg.Loops <= 0 {
		cfg.Loops = runtime.GOMAXPROCS(0)
	}
	if cfg.HeadTimeout <= 0 {
		cfg.HeadTimeout = 10 * time.Second
	}
	if cfg.Idle <= 0 {
		cfg.Idle = 2 * time.Minute
	}
	if cfg.WriteIdle <= 0 {
		cfg.WriteIdle = time.Minute
	}
	if cfg.MaxHead <= 0 {
		cfg.MaxHead = 8 << 10
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Lane{cfg: cfg}
}

// Conns returns how many connections the lane holds. Those given to Fallback are not its own any more.
func (l *Lane) Conns() int64 { return l.conns.Load() }

// Serve accepts connections on ln until ctx ends or ln fails. Then it closes ln and the idle connections, lets requests under
// way finish for at most grace, with Request.Close set on those that begin meanwhile, and cuts the rest. It returns when nothing
// runs any more; nil after the end of ctx.
func (l *Lane) Serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	return l.serve(ctx, ln, grace)
}

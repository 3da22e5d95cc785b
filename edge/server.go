package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/edge/accesslog"
	"perigee/edge/cache"
	"perigee/edge/lane"
	"perigee/edge/rtt"
	"perigee/edge/strict"
	"perigee/object"
)

// Server answers readers over HTTP/1.1. It is an http.Handler; Serve runs it with the limits of a public listener.
type Server struct {
	node      string
	engine    *cache.Engine
	memory    memory // the engine's prepared answers; nil if it has none
	clock     clock.Clock
	log       *slog.Logger
	access    *accesslog.Log
	writeIdle time.Duration
	loops     int
	tally     *tally
	moments   moments
	lane      atomic.Pointer[lane.Lane] // while Serve runs on it
	pull      *pullSide                 // nil without an engine
	rules     ruleSets
	rtt       *rtt.Table // nil if nothing is measured
}

// ServerConfig says what a Server works with.
type ServerConfig struct {
	Node   string // name in Cache-Status
	Engine *cache.Engine
	Clock  clock.Clock
	Log    *slog.Logger
	Access *accesslog.Log // one line for each request; nil writes none. Whoever opened it runs it
	// WriteIdle is how long a client may take for 64 KiB before it is cut off; 0 means 60 s.
	WriteIdle time.Duration
	// Loops is how many loops the fast lane has; 0 means one for each processor that Go uses.
	Loops int
	// PullAllow are addresses outside the public Internet where the origins of pull sites may be.
	PullAllow []netip.Prefix
	// RTT takes in how long packets take to clients; nil measures nothing.
	RTT *rtt.Table
}

// NewServer returns a Server; it starts nothing.
func NewServer(cfg ServerConfig) *Server {
	s := &Server{
		node: cacheName(cfg.Node), engine: cfg.Engine, memory: memoryOf(cfg.Engine), clock: cfg.Clock, log: cfg.Log, access: cfg.Access,
		writeIdle: cfg.WriteIdle, loops: cfg.Loops, rtt: cfg.RTT,
	}
	if s.writeIdle == 0 {
		s.writeIdle = time.Minute
	}
	if s.loops <= 0 {
		s.loops = runtime.GOMAXPROCS(0)
	}
	s.tally = newTally(s.loops)
	if cfg.Engine != nil {
		s.pull = newPullSide(s, cfg.Engine, cfg.PullAllow, cfg.Clock)
	}
	return s
}

// Close ends what goes on for pull sites. Call it after Serve, and before the engine is closed.
func (s *Server) Close() {
	if s.pull != nil {
		s.pull.close()
	}
}

// cacheName returns the name of a node as Cache-Status takes it (RFC 8941 §3.3): a token if it is a label that begins with a
// letter, else a string.
func cacheName(node string) string {
	if _, err := object.ParseSite(node); err == nil && node[0] >= 'a' {
		return node
	}
	b := []byte{'"'}
	for i := range len(node) {
		switch c := node[i]; {
		case c < ' ' || c > '~':
			b = append(b, '?')
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

// account counts and logs one answer that went through the steps.
func (s *Server) account(x *exchange) {
	s.tally.slow(x)
	if s.access == nil {
		return
	}
	s.access.Add(x.slot, &accesslog.Entry{
		Time: x.began, Duration: s.clock.Now().Sub(x.began), Client: x.req.client, Method: x.req.method, Host: x.req.host, Target: x.req.target,
		Minor: x.req.minor, Status: x.status, Bytes: x.sent + x.page, Fwd: string(x.outcome.Fwd), Reason: string(x.outcome.Reason),
		Referer: x.req.referer, Agent: x.req.agent,
	})
}

// Serve accepts connections on ln until ctx ends or ln fails, then lets requests in progress finish for at most grace and
// cuts off the rest. It closes ln. When it returns no request is in progress.
func (s *Server) Serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	if _, ok := ln.(*net.TCPListener); ok {
		return s.serveFast(ctx, ln, grace)
	}
	return s.serveHTTP(ctx, ln, grace) // the lane reads from sockets
}

// conns returns how many connections there are.
func (s *Server) conns() int64 {
	n := s.tally.conns.Load()
	if l := s.lane.Load(); l != nil {
		n += l.Conns()
	}
	return n
}

// serveHTTP is Serve by net/http alone.
func (s *Server) serveHTTP(ctx context.Context, ln net.Listener, grace time.Duration) error {
	base, cut := context.WithCancel(context.Background())
	defer cut()
	var conns sync.WaitGroup
	hs := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnState: func(_ net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew:
				s.tally.conns.Add(1)
				conns.Add(1)
			case http.StateClosed:
				s.tally.conns.Add(-1)
				conns.Done()
			}
		},
	}
	accepting := make(chan error, 1)
	go func() { accepting <- hs.Serve(strict.Listener{Listener: rtt.Listener{Listener: ln, Table: s.rtt}}) }()
	var broken error
	select {
	case err := <-accepting:
		broken = fmt.Errorf("serve edge: %w", err)
		accepting <- nil
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := hs.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = hs.Close()
	}
	cut()
	<-accepting
	conns.Wait()
	return errors.Join(broken, err)
}

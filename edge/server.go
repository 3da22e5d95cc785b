package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/edge/cache"
	"perigee/object"
)

// Server answers readers over HTTP/1.1. It is an http.Handler; Serve runs it with the limits of a public listener.
type Server struct {
	node      string
	engine    *cache.Engine
	clock     clock.Clock
	log       *slog.Logger
	access    *slog.Logger
	writeIdle time.Duration
	counters  serverCounters
	metrics   *Metrics
}

type serverCounters struct {
	requests, hits, misses, sent atomic.Int64
	conns                        atomic.Int64
}

// ServerConfig says what a Server works with.
type ServerConfig struct {
	Node    string // name in Cache-Status
	Engine  *cache.Engine
	Clock   clock.Clock
	Log     *slog.Logger
	Access  *slog.Logger // one record per request; nil writes none
	Metrics *Metrics     // may be nil
	// WriteIdle is how long a client may take for 64 KiB before it is cut off; 0 means 60 s.
	WriteIdle time.Duration
}

// NewServer returns a Server; it starts nothing.
func NewServer(cfg ServerConfig) *Server {
	s := &Server{node: cacheName(cfg.Node), engine: cfg.Engine, clock: cfg.Clock, log: cfg.Log, access: cfg.Access, metrics: cfg.Metrics, writeIdle: cfg.WriteIdle}
	if s.writeIdle == 0 {
		s.writeIdle = time.Minute
	}
	return s
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

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{s: s, w: w, r: r}
	if r.ContentLength != 0 {
		// Nobody reads the body, but net/http throws it away before it answers, and must not wait for it for ever.
		http.NewResponseController(w).SetReadDeadline(s.clock.Now().Add(bodyPatience))
	}
	w.Header().Set("Server", "Perigee")
	x.steps()
	s.logAccess(x)
}

// logAccess counts and logs one answer.
func (s *Server) logAccess(x *exchange) {
	s.counters.requests.Add(1)
	if x.outcome.Hit() && x.pointer != nil {
		s.counters.hits.Add(1)
	} else if x.pointer != nil {
		s.counters.misses.Add(1)
	}
	if s.metrics != nil {
		s.metrics.count(x)
	}
	if s.access == nil {
		return
	}
	s.access.LogAttrs(context.Background(), slog.LevelInfo, "request",
		slog.String("client", x.r.RemoteAddr), slog.String("method", x.r.Method), slog.String("host", x.r.Host),
		slog.String("target", x.r.URL.RequestURI()), slog.Int("status", x.status), slog.Int64("bytes", x.sent),
		slog.String("fwd", string(x.outcome.Fwd)), slog.String("reason", string(x.outcome.Reason)))
}

// bodyPatience is how long a client may take to send a body that nobody asked for.
const bodyPatience = 10 * time.Second

// Serve accepts connections on ln until ctx ends or ln fails, then lets requests in progress finish for at most grace and
// cuts off the rest. It closes ln. When it returns no request is in progress.
func (s *Server) Serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
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
				s.counters.conns.Add(1)
				conns.Add(1)
			case http.StateClosed:
				s.counters.conns.Add(-1)
				conns.Done()
			}
		},
	}
	accepting := make(chan error, 1)
	go func() { accepting <- hs.Serve(ln) }()
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

package edge

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"perigee/edge/lane"
)

// The limits of the lane. A head that is longer goes to net/http, which has its own.
const (
	headTimeout = 10 * time.Second
	idleTimeout = 2 * time.Minute
	laneHead    = 8 << 10
)

// serveFast is Serve by the lane, with net/http for what the lane hands over.
func (s *Server) serveFast(ctx context.Context, ln net.Listener, grace time.Duration) error {
	rest := newHandover(ln.Addr())
	l := lane.New(lane.Config{
		Handler: onLane{s}, Fallback: rest.give, Clock: s.clock, Loops: s.loops, HeadTimeout: headTimeout, Idle: idleTimeout, WriteIdle: s.writeIdle,
		MaxHead: laneHead, Log: s.log, Measure: s.measure(),
	})
	s.lane.Store(l)
	defer s.lane.Store(nil)
	slow, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.serveHTTP(slow, rest, grace) }()
	defer context.AfterFunc(ctx, stop)() // both begin to end at the same time, so that one grace is enough for both
	err := l.Serve(ctx, ln, grace)
	stop()
	return errors.Join(err, <-done)
}

// measure is what the lane shows its connections to; nil if nothing is measured.
func (s *Server) measure() func(fd int, client netip.AddrPort) {
	if s.rtt == nil {
		return nil
	}
	return s.rtt.Sample
}

// handover is the listener through which net/http gets connections from the lane.
type handover struct {
	addr  net.Addr
	conns chan net.Conn

	mu   sync.Mutex
	over bool
}

// handoverRoom is how many connections may wait for net/http to take them, which takes it microseconds.
const handoverRoom = 1024

func newHandover(addr net.Addr) *handover {
	return &handover{addr: addr, conns: make(chan net.Conn, handoverRoom)}
}

// give hands c over. It does not block, for a loop calls it: after the end, or if net/http does not keep up at all, c is closed.
func (h *handover) give(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		select {
		case h.conns <- c:
			return
		default:
		}
	}
	c.Close()
}

// Accept implements net.Listener.
func (h *handover) Accept() (net.Conn, error) {
	c, ok := <-h.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close implements net.Listener. Connections that nobody has accepted are closed.
func (h *handover) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil
	}
	h.over = true
	close(h.conns)
	for c := range h.conns {
		c.Close()
	}
	return nil
}

// Addr implements net.Listener.
func (h *handover) Addr() net.Addr { return h.addr }

// Serve implements lane.Handler: the steps over the lane. r stays valid.
func (s onLane) Serve(ctx context.Context, r *lane.Request, w *lane.Writer) {
	out := &laneResponder{s: s.Server, w: w, minor: int(r.Minor)}
	target := view(r.Target)
	path, _, _ := strings.Cut(target, "?")
	x := &exchange{s: s.Server, out: out, ctx: ctx, began: r.Received, slot: r.Loop}
	x.req = request{
		method: r.Method.String(), host: view(r.Host), target: target, path: path, minor: int(r.Minor), client: r.Remote.String(),
		referer: view(r.Referer), agent: view(r.UserAgent), conditions: conditionsOf(r),
	}
	x.serve()
}

// laneResponder answers through the lane, whose Writer keeps the head until there are bytes of the body to send with it, and
// watches over the time that the client takes.
type laneResponder struct {
	s     *Server
	w     *lane.Writer
	minor int
}

func (o *laneResponder) begin(status int, f fields) {
	b := statusLine(make(fields, 0, len(f)+128), o.minor, status, o.s.clock.Now())
	b = append(b, f...)
	if o.minor > 0 && !o.w.KeepsAlive() {
		b = append(b, closingLine...)
	} else {
		b = append(b, emptyLine...)
	}
	o.w.Head(b) // an error comes back from Write
}

// Write implements responder.
func (o *laneResponder) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	o.s.tally.sending(n)
	return n, err
}

// SendFile sends a section of a file: what the engine has on disk goes to the client without passing through here.
func (o *laneResponder) SendFile(f *os.File, off, n int64) (int64, error) {
	sent, err := o.w.SendFile(f, off, n)
	o.s.tally.sending(int(sent))
	return sent, err
}

func (o *laneResponder) end() {}

func (o *laneResponder) abort() { o.w.Abort() }

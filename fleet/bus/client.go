package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"perigee/clock"
)

// ErrDisconnected says that the bus cannot be reached now. The client keeps trying.
var ErrDisconnected = errors.New("the bus cannot be reached")

var errNoAnswer = fmt.Errorf("the bus did not answer within %v", requestWait)

const (
	dialWait      = 2 * time.Second
	reconnectWait = 200 * time.Millisecond
	pingEvery     = 2 * time.Second // a peer that answers neither of two pings is gone
	flushWait     = 2 * time.Second
	requestWait   = 5 * time.Second
	closeWait     = 5 * time.Second
	// sameText is how often one and the same complaint of the connection is logged.
	sameText = time.Minute
)

// ClientConfig says which bus a Client talks to, and as whom.
type ClientConfig struct {
	// URL is where the server listens: "nats://host:port", several with commas between. InProcess, if set, is used
	// in its place.
	URL       string
	InProcess *Server
	// User and Password are empty on a bus without users.
	User, Password string
	// Name is for people who look at the server's list of connections: the node.
	Name string
	// Region is whose log this bus carries; the key of its marks in positions.
	Region string
	// Changed, if set, is told when the bus comes and goes, one call at a time and in order; the first call may come
	// before Connect returns. It must not block and must not call Close.
	Changed func(connected bool)
	Log     *slog.Logger
	Clock   clock.Clock
}

// Client is a connection to the bus that is never given up. Its methods are safe for concurrent use.
type Client struct {
	cfg     ClientConfig
	nc      *nats.Conn
	js      jetstream.JetStream
	undial  context.CancelFunc // ends attempts to connect
	first   chan struct{}      // closed when there was a connection for the first time
	closed  chan struct{}      // closed when the connection has called back for the last time
	dropped atomic.Uint64

	mu      sync.Mutex
	link    *link         // nil while disconnected
	arrived chan struct{} // closed while connected
	said    string        // last complaint, and when it was logged
	saidAt  time.Time
}

// link is one connection, from connect to disconnect.
type link struct {
	lost context.Context
	lose context.CancelCauseFunc
}

// Connect makes a client. It returns after the first attempt to connect, successful or not: only a configuration that
// can never work, or the end of ctx, is an error.
func Connect(ctx context.Context, cfg ClientConfig) (*Client, error) {
	if cfg.Region == "" || cfg.Log == nil || cfg.Clock == nil {
		return nil, errors.New("connect to the bus: region, log and clock must be configured")
	}
	dial, undial := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, undial)
	defer stop()
	c := &Client{
		cfg: cfg, undial: undial,
		first: make(chan struct{}), closed: make(chan struct{}), arrived: make(chan struct{}),
	}
	nc, err := nats.Connect(cfg.URL, c.options(dial)...)
	if err != nil {
		undial()
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	c.nc = nc
	if c.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(requestWait)); err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	if nc.IsConnected() {
		<-c.first // the library calls back a moment later, and whoever asks Connected now expects the truth
	}
	return c, nil
}

func (c *Client) options(dial context.Context) []nats.Option {
	opts := []nats.Option{
		nats.Name(c.cfg.Name),
		nats.CustomInboxPrefix(inboxPrefix(c.cfg.User)),
		nats.SetCustomDialer(dialer{dial}),
		nats.Timeout(dialWait),
		nats.FlusherTimeout(dialWait),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a password may be put right on the server's side
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait/2, reconnectWait/2),
		nats.ReconnectBufSize(-1), // a report or append that waited for the bus would be an old one
		nats.PingInterval(pingEvery),
		nats.SyncQueueLen(2 * readBatch), // an answer fits; the default, 65,536, is half a megabyte each time the log is read
		nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(c.attach),
		nats.ReconnectHandler(c.attach),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.detach(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.complain("the bus cannot be reached", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrSlowConsumer) { // readers notice gaps themselves
				c.complain("the bus refuses", err)
			}
		}),
		nats.ClosedHandler(func(*nats.Conn) {
			c.detach(nil)
			close(c.closed)
		}),
	}
	if c.cfg.User != "" {
		opts = append(opts, nats.UserInfo(c.cfg.User, c.cfg.Password))
	}
	if c.cfg.InProcess != nil {
		opts = append(opts, nats.InProcessServer(c.cfg.InProcess))
	}
	return opts
}

// dialer lets Close end an attempt to connect that hangs.
type dialer struct{ ctx context.Context }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: dialWait}
	return nd.DialContext(d.ctx, network, address)
}

// attach and detach are called by the connection, one at a time.
func (c *Client) attach(nc *nats.Conn) {
	lost, lose := context.WithCancelCause(context.Background())
	c.mu.Lock()
	c.link = &link{lost, lose}
	c.said = ""
	close(c.arrived)
	select {
	case <-c.first:
	default:
		close(c.first)
	}
	c.mu.Unlock()
	c.cfg.Log.Info("connected to the bus", "url", nc.ConnectedUrlRedacted())
	if c.cfg.Changed != nil {
		c.cfg.Changed(true)
	}
}

func (c *Client) detach(why error) {
	c.mu.Lock()
	l := c.link
	if l != nil {
		c.link, c.arrived = nil, make(chan struct{})
	}
	c.mu.Unlock()
	if l == nil {
		return
	}
	l.lose(ErrDisconnected)
	if why != nil {
		c.cfg.Log.Warn("lost the bus", "error", why)
	}
	if c.cfg.Changed != nil {
		c.cfg.Changed(false)
	}
}

func (c *Client) complain(what string, err error) {
	text, now := err.Error(), c.cfg.Clock.Now()
	c.mu.Lock()
	again := text == c.said && now.Sub(c.saidAt) < sameText
	if !again {
		c.said, c.saidAt = text, now
	}
	c.mu.Unlock()
	if !again {
		c.cfg.Log.Warn(what, "error", err)
	}
}

// Connected reports whether there is a connection to the bus, as far as is known: a peer that vanished without a word
// is noticed after about 6 s.
func (c *Client) Connected() bool { return c.current() != nil }

func (c *Client) current() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// wait returns the connection as soon as there is one.
func (c *Client) wait(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, arrived := c.link, c.arrived
		c.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.closed:
			return nil, nats.ErrConnectionClosed
		}
	}
}

// hold returns a context that ends with ctx, and with cause ErrDisconnected when l does.
func (l *link) hold(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.lost, func() { cancel(context.Cause(l.lost)) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}

// now returns a context for one request: it ends with ctx, with the connection and after requestWait. It fails at
// once while disconnected: the library would keep its caller waiting behind an attempt to connect.
func (c *Client) now(ctx context.Context) (context.Context, context.CancelFunc, error) {
	l := c.current()
	if l == nil {
		return nil, nil, ErrDisconnected
	}
	held, release := l.hold(ctx)
	held, cancel := context.WithTimeoutCause(held, requestWait, errNoAnswer)
	return held, func() { cancel(); release() }, nil
}

// because replaces a bare "context canceled" or "deadline exceeded" by what made ctx end.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// publish sends without waiting for anything.
func (c *Client) publish(subject string, data []byte) error {
	if c.current() == nil {
		return ErrDisconnected
	}
	return c.nc.Publish(subject, data)
}

// Close sends what was published and ends the connection; it returns when the connection has ended. Whatever still uses
// the client fails.
func (c *Client) Close() {
	c.undial()
	if c.Connected() {
		// An error means that what was published may be lost, as after any other loss of the connection.
		_ = c.nc.FlushTimeout(flushWait)
	}
	c.nc.Close()
	t := c.cfg.Clock.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-c.closed:
	case <-t.C():
		c.cfg.Log.Error("the bus client was closed while one of its callbacks does not return")
	}
}

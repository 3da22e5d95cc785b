package edge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/edge/accesslog"
	"perigee/edge/cache"
	"perigee/edge/rtt"
	"perigee/fleet"
	"perigee/purge"
)

// NodeConfig says what a Node works with.
type NodeConfig struct {
	Name     string
	Place    fleet.Place
	Addrs    []netip.AddrPort // where clients reach it; empty means the listener's address
	Listener net.Listener     // closed by Run
	Dir      string           // the cache directory; whether the node is drained is kept there, too
	Cache    cache.Config     // Dir, Clock, Log and Moved are set by the node
	Log      purge.Follower
	Report   func(*fleet.Report) error
	Version  string
	Clock    clock.Clock
	Logger   *slog.Logger
	Access   *accesslog.Log // may be nil; run, or closed, with the node
	// PullAllow are addresses outside the public Internet where the origins of pull sites may be.
	PullAllow []netip.Prefix
	// MeasureRTT measures how long packets take to clients, for the reports. See package edge/rtt.
	MeasureRTT bool
	// Capacity is what the node can send to clients, in bytes per second; 0 when it is not known.
	Capacity float64
	// Observed adds to each report what the node sees of others; nil for nothing. It must not block.
	Observed func(*fleet.Report)
	// Grace is how long requests in progress may go on after the end of Run's context; 0 means 10 s.
	Grace time.Duration
}

// Node is one edge of a fleet. Its life: NewNode opens the cache; Run serves, follows the log and reports until its context
// ends; then the node reports Stopping, finishes requests and closes the cache.
type Node struct {
	cfg      NodeConfig
	engine   *cache.Engine
	server   *Server
	reporter *fleet.Reporter
	load     *loadMeter
	rtt      *rtt.Table // nil if nothing is measured
	stopping atomic.Bool

	mu      sync.Mutex
	drained bool
}

// NewNode opens the cache. Close it by running it, or with Close.
func NewNode(cfg NodeConfig) (*Node, error) {
	n := &Node{cfg: cfg}
	if n.cfg.Grace == 0 {
		n.cfg.Grace = 10 * time.Second
	}
	if len(n.cfg.Addrs) == 0 {
		if a, err := netip.ParseAddrPort(cfg.Listener.Addr().String()); err == nil {
			n.cfg.Addrs = []netip.AddrPort{a}
		}
	}
	n.reporter = fleet.NewReporter(cfg.Clock, cfg.Logger, n.fill, cfg.Report)
	c := cfg.Cache
	c.Dir, c.Clock, c.Log, c.Moved = cfg.Dir, cfg.Clock, cfg.Logger, n.reporter.Kick
	var err error
	if n.engine, err = cache.Open(c); err != nil {
		return nil, err
	}
	if cfg.MeasureRTT {
		n.rtt = rtt.New(cfg.Clock)
	}
	n.server = NewServer(ServerConfig{
		Node: cfg.Name, Engine: n.engine, Clock: cfg.Clock, Log: cfg.Logger, Access: cfg.Access, PullAllow: cfg.PullAllow, RTT: n.rtt,
	})
	n.load = newLoadMeter(cfg.Clock, n.server, cfg.Capacity)
	if _, err := os.Stat(n.drainFile()); err == nil {
		n.drained = true
	}
	return n, nil
}

// Engine returns the node's cache.
func (n *Node) Engine() *cache.Engine { return n.engine }

// Kick makes the node report at once. It does not block.
func (n *Node) Kick() { n.reporter.Kick() }

// Measure makes m tell what the node has counted.
func (n *Node) Measure(m *Metrics) { m.server.Store(n.server) }

// Close closes the cache of a node that was never run.
func (n *Node) Close() error {
	n.server.Close()
	return errors.Join(n.engine.Close(), n.cfg.Access.Close())
}

// Run serves until ctx ends or the listener fails.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	logged := n.runAccessLog()
	var wg sync.WaitGroup
	background := func(what string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("edge %s: %s: %w", n.cfg.Name, what, err))
			}
		})
	}
	background("sites", n.engine.Run)
	background("purge log", n.follow)
	background("load", n.load.run)
	background("reports", n.reporter.Run)
	background("listener", func(ctx context.Context) error { return n.server.Serve(ctx, n.cfg.Listener, n.cfg.Grace) })
	<-ctx.Done()
	n.stopping.Store(true)
	err := context.Cause(ctx)
	cancel(nil)
	wg.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	n.server.Close()
	return errors.Join(err, n.engine.Close(), logged())
}

// erasePause is how long a disk that did not erase is left alone before it is asked again.
const erasePause = 5 * time.Second

// follow follows the log. What the disk does not erase is tried again for ever: until then the node stands before that entry, and everybody sees it.
func (n *Node) follow(ctx context.Context) error {
	for {
		err := n.cfg.Log.Follow(ctx, n.engine.Position(), n.engine)
		if !errors.Is(err, cache.ErrNotErased) {
			return err
		}
		n.cfg.Logger.Error("the disk does not erase what it must; trying again, and following no further until it does", "err", err)
		t := n.cfg.Clock.NewTimer(erasePause)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// runAccessLog starts the access log, which has to outlive everything that writes to it; the function ends it and waits.
func (n *Node) runAccessLog() (end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.cfg.Access.Run(ctx) }()
	return func() error { cancel(); return <-done }
}

func (n *Node) drainFile() string { return filepath.Join(n.cfg.Dir, "drained") }

// Drain makes the node ask for no new clients, or for clients again. It is remembered over restarts, and reported at once.
func (n *Node) Drain(drain bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	if drain {
		err = os.WriteFile(n.drainFile(), nil, 0o600)
	} else if err = os.Remove(n.drainFile()); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("remember drain of %s: %w", n.cfg.Name, err)
	}
	n.drained = drain
	n.reporter.Kick()
	return nil
}

// State returns what the node says of itself. It is Ready once it knows its sites: cut off from the log it serves too,
// confirming names with the bucket.
func (n *Node) State() fleet.State {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.stopping.Load():
		return fleet.Stopping
	case n.drained:
		return fleet.Draining
	case !n.engine.KnowsSites():
		return fleet.Starting
	}
	return fleet.Ready
}

// fill makes a report.
func (n *Node) fill(r *fleet.Report) {
	r.Node, r.Role, r.State, r.Place, r.Addrs, r.Version = n.cfg.Name, fleet.RoleEdge, n.State(), n.cfg.Place, n.cfg.Addrs, n.cfg.Version
	r.Load = n.load.now()
	s, t := n.engine.Stats(), n.server.tally.total()
	r.Cache = &fleet.CacheUse{
		Objects: s.Store.Bodies, Bytes: s.Store.Bytes, Limit: s.Store.Limit, RAM: s.RAM.Bytes,
		Hits: t.hits, Misses: t.misses, OriginOut: s.OriginBytes,
	}
	r.Position = n.engine.Position()
	r.Lease = n.engine.LeaseLeft().Milliseconds()
	if n.rtt != nil {
		r.RTT = n.rtt.Take(fleet.MaxRTT)
	}
	if n.cfg.Observed != nil {
		n.cfg.Observed(r)
	}
}

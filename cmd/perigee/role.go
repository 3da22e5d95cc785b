package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"

	"perigee/clock"
	"perigee/config"
	"perigee/dnsgeo/geo"
	"perigee/edge"
	"perigee/edge/accesslog"
	"perigee/edge/cache"
	"perigee/fleet"
	"perigee/fleet/admin"
	"perigee/fleet/bus"
	"perigee/origin"
	"perigee/origin/embedded"
)

// role is what every role command works with.
type role struct {
	cfg      *config.Config
	log      *slog.Logger
	clock    clock.Clock
	out      io.Writer
	places   *geo.Holder    // see geo
	steering *steered       // see steer
	events   *storageEvents // of the embedded server, if this process runs it
	*parts
}

func newRole(cfg *config.Config, out, logs io.Writer) (*role, error) {
	log, err := newLogger(cfg.Log, logs)
	if err != nil {
		return nil, err
	}
	if cfg.Storage.IsEmbedded() || cfg.Bus.IsEmbedded() {
		set, err := config.Secrets(cfg.Data)
		if err != nil {
			return nil, err
		}
		cfg.UseSecrets(set)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &role{cfg: cfg, log: log, clock: clock.System, out: out, parts: newParts(log)}, nil
}

func newLogger(c config.Log, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return slog.New(slog.NewTextHandler(w, o)), nil
}

// finish waits for the end of ctx or of a part, stops everything and says why it ended, if not by ctx.
func (r *role) finish(ctx context.Context) error {
	err := r.wait(ctx)
	return errors.Join(err, r.stop())
}

// bucket is the bucket for those who may write.
func (r *role) bucket() origin.Config {
	c := bucketOf(r.cfg.Storage)
	c.Log, c.Clock = r.log, r.clock
	return c
}

// bucketOf is the bucket of a configuration.
func bucketOf(s config.Storage) origin.Config {
	return origin.Config{
		Endpoint: s.Endpoint, Region: s.Region, Bucket: s.Bucket, AccessKey: s.AccessKey, SecretKey: s.SecretKey.Reveal(),
		PathStyle: s.PathStyle, Checksums: origin.ChecksumPolicy(s.Checksums),
	}
}

// edgeBucket is the bucket for those who only read. Without an account of their own they use the other one.
func (r *role) edgeBucket() origin.Config {
	c := r.bucket()
	if s := r.cfg.Storage; s.EdgeAccessKey != "" {
		c.AccessKey, c.SecretKey = s.EdgeAccessKey, s.EdgeSecretKey.Reveal()
	}
	return c
}

func (r *role) storageConfig() embedded.Config {
	s := r.cfg.Storage
	return embedded.Config{
		Root: s.Embedded.Root, Listen: s.Embedded.Listen, Bucket: s.Bucket, RootAccess: s.AccessKey, RootSecret: s.SecretKey.Reveal(),
		EdgeAccess: s.EdgeAccessKey, EdgeSecret: s.EdgeSecretKey.Reveal(), Log: r.log, Clock: r.clock,
	}
}

// startBus starts the embedded NATS server.
func (r *role) startBus() (*bus.Server, error) {
	b := r.cfg.Bus
	s, err := bus.Start(bus.ServerConfig{
		Listen: b.Listen, StoreDir: b.Store, Log: r.log, Clock: r.clock,
		Users: []bus.User{
			{Name: b.ControlUser, Password: b.ControlPassword.Reveal(), Control: true},
			{Name: b.EdgeUser, Password: b.EdgePassword.Reveal()},
		},
	})
	if err != nil {
		return nil, err
	}
	r.onStop("bus", func() error { s.Shutdown(); return nil })
	return s, nil
}

// account is who a client of the bus is.
type account bool

const (
	asControl account = true
	asNode    account = false
)

// connectBus connects to the bus; the client is closed when its turn comes.
func (r *role) connectBus(ctx context.Context, name string, a account, in *bus.Server, changed func(bool)) (*bus.Client, error) {
	b := r.cfg.Bus
	user, password := b.EdgeUser, b.EdgePassword.Reveal()
	if a == asControl {
		user, password = b.ControlUser, b.ControlPassword.Reveal()
	}
	c, err := bus.Connect(ctx, bus.ClientConfig{
		URL: b.URL, InProcess: in, User: user, Password: password, Name: name, Region: r.cfg.Region, Changed: changed, Log: r.log, Clock: r.clock,
	})
	if err != nil {
		return nil, err
	}
	r.onStop("bus client "+name, func() error { c.Close(); return nil })
	return c, nil
}

// startEdge starts one edge on ln. m is the fleet that it probes, if edges are to do so; blind hears when it reaches nobody, nil if the view is not its own.
func (r *role) startEdge(ctx context.Context, e config.Edge, ln net.Listener, c *bus.Client, m *member, blind func(bool)) (*edge.Node, *admin.Node, error) {
	reader, err := origin.NewReader(r.edgeBucket())
	if err != nil {
		return nil, nil, err
	}
	stores, err := r.edgeStores(reader)
	if err != nil {
		return nil, nil, fmt.Errorf("edge %s: %w", e.Name, err)
	}
	log := r.log.With("node", e.Name)
	var addrs []netip.AddrPort
	if len(e.Addrs) > 0 {
		addrs = e.Addrs
	}
	access, err := r.accessLog(e.AccessLog, log)
	if err != nil {
		return nil, nil, fmt.Errorf("edge %s: %w", e.Name, err)
	}
	observed := func(*fleet.Report) {}
	n, err := edge.NewNode(edge.NodeConfig{
		Name: e.Name, Place: e.Place.Fleet(), Addrs: addrs, Listener: ln, Dir: e.Cache,
		Cache:  cache.Config{Size: int64(e.CacheSize), RAM: int64(e.RAM), Origin: edge.Bucket{Reader: reader}, Objects: stores, OnPartition: e.OnPartition},
		Log:    c.Log(bus.LogConfig{}),
		Report: c.PublishReport, Version: version(), Clock: r.clock, Logger: log, Access: access, PullAllow: e.PullAllow,
		MeasureRTT: e.MeasureRTT, Capacity: float64(e.Capacity), Observed: func(rep *fleet.Report) { observed(rep) },
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("edge %s: %w", e.Name, err), access.Close())
	}
	reg := admin.NewRegistry()
	n.Measure(edge.NewMetrics(reg, n.Engine()))
	if m != nil && r.cfg.Probe.Edges {
		observed = r.prober(e.Name, e.Place.Fleet(), m, blind, n.Kick, reg).Fill
	}
	stop, err := c.ServeControl(e.Name, control(n))
	if err != nil {
		return nil, nil, errors.Join(err, n.Close())
	}
	r.onStop("commands for "+e.Name, func() error { stop(); return nil })
	r.start("edge "+e.Name, n.Run)
	return n, &admin.Node{Ready: readyWhen(n.State), Metrics: reg}, nil
}

// accessLog opens an edge's log of requests; nil if it has none.
func (r *role) accessLog(c config.AccessLog, log *slog.Logger) (*accesslog.Log, error) {
	if c.Path == "" {
		return nil, nil
	}
	return accesslog.Open(accesslog.Config{
		Path: c.Path, Format: accesslog.Format(c.Format), MaxSize: int64(c.MaxSize), Keep: c.Keep, Clock: r.clock, Stdout: r.out, Log: log,
	})
}

// readyWhen makes a readiness check of a node's own state.
func readyWhen(state func() fleet.State) func() error {
	return func() error {
		if s := state(); s != fleet.Ready {
			return fmt.Errorf("the node is %s", s)
		}
		return nil
	}
}

// startAdmin serves a role's admin address, if it has one.
func (r *role) startAdmin(addr string, n admin.Node) error {
	if addr == "" {
		return nil
	}
	ln, err := listen("tcp", addr, "the admin address")
	if err != nil {
		return err
	}
	r.start("admin", func(ctx context.Context) error {
		return admin.Serve(ctx, ln, admin.Guard(r.cfg.Admin.Token.Reveal(), n.Handler()), r.log)
	})
	return nil
}

// listen opens a listener, or says what to do about it.
func listen(network, addr, what string) (net.Listener, error) {
	ln, err := net.Listen(network, addr)
	if err != nil {
		return nil, fmt.Errorf("%s cannot listen on %s: %w%s", what, addr, err, listenAdvice(err))
	}
	return ln, nil
}

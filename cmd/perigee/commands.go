package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"perigee/config"
	"perigee/fleet"
	"perigee/fleet/admin"
	"perigee/object"
	"perigee/origin/embedded"
)

// readyPoll is how often a start looks whether everything is ready.
const readyPoll = 20 * time.Millisecond

type upCmd struct {
	Single    bool   `help:"Run one edge, on 127.0.0.1, for systems without further loopback addresses."`
	ReadyFile string `placeholder:"FILE" help:"Write every address to FILE as JSON when all is ready."`
}

// Run runs everything until the process is told to stop.
func (c *upCmd) Run(a *app) error {
	collectEarly()
	return a.role(func(r *role) error {
		if c.Single {
			r.cfg.Edges = r.cfg.Edges[:1]
			e := &r.cfg.Edges[0]
			_, port, _ := net.SplitHostPort(e.Listen)
			e.Listen = net.JoinHostPort("127.0.0.1", port)
		}
		return runUp(a.ctx, r, c.ReadyFile)
	})
}

// adminFlag is the admin address of a role that runs alone. Without it, and without one in the configuration, there is
// none: several roles of one machine cannot share the default.
type adminFlag struct {
	Admin string `placeholder:"ADDR" help:"Address of health, readiness and metrics; else admin.listen, if the configuration sets it."`
}

func (f adminFlag) addr(c *config.Config, own string) string {
	switch {
	case f.Admin != "":
		return f.Admin
	case own != "":
		return own
	case !strings.HasPrefix(c.Origin("admin.listen"), "default.yaml:"):
		return c.Admin.Listen
	}
	return ""
}

type uploadCmd struct{ adminFlag }

// Run runs the API and the console.
func (c *uploadCmd) Run(a *app) error {
	collectEarly()
	return a.role(func(r *role) error {
		m, err := r.joinFleet(a.ctx, "api", asControl, nil, filepath.Join(r.cfg.Data, "fleet.json"))
		if err != nil {
			return errors.Join(err, r.stop())
		}
		ln, n, err := r.startAPI(a.ctx, m)
		if err == nil {
			r.report("api", fleet.RoleAPI, m.bus)
			err = r.startAdmin(c.addr(r.cfg, ""), *n)
		}
		if err != nil {
			return errors.Join(err, r.stop())
		}
		r.log.Info("the API and console are up", "addr", ln.Addr())
		return r.finish(a.ctx)
	})
}

type edgeCmd struct {
	Name      string `placeholder:"NAME" help:"Which edge of the configuration to run; else the section edge."`
	Listen    string `placeholder:"ADDR" help:"Where readers reach it."`
	Cache     string `placeholder:"DIR" help:"Cache directory."`
	CacheSize string `placeholder:"SIZE" help:"Bytes on disk, such as 10GB."`
	RAM       string `name:"ram" placeholder:"SIZE" help:"Bytes in memory for small files, such as 256MB."`
	Origin    string `placeholder:"URL" help:"Be a caching reverse proxy of this HTTP origin alone, without bus, database and configuration."`
	Rules     string `type:"path" placeholder:"FILE" help:"With --origin: rules for paths, a list in YAML or JSON with the keys of the API."`
	adminFlag
}

// Run runs one edge.
func (c *edgeCmd) Run(a *app) error {
	if c.Origin != "" {
		return c.runAlone(a)
	}
	if c.Rules != "" {
		return errors.New("--rules is for an edge with --origin; the rules of a site in the fleet are part of its record: see api.sites_file, or PUT /api/v1/sites/{site}")
	}
	return a.role(func(r *role) error {
		e, err := r.cfg.EdgeNamed(c.Name)
		if err == nil {
			err = c.override(&e)
		}
		if err != nil {
			return err
		}
		ln, err := listen("tcp", e.Listen, "edge "+e.Name)
		if err != nil {
			return err
		}
		client, m, err := r.joinAsEdge(a.ctx, e)
		if err != nil {
			return errors.Join(err, ln.Close(), r.stop())
		}
		var blind func(bool)
		if m != nil {
			blind = m.board.Blind
		}
		_, n, err := r.startEdge(a.ctx, e, ln, client, m, blind)
		if err == nil {
			err = r.startAdmin(c.addr(r.cfg, e.Admin), *n)
		}
		if err != nil {
			return errors.Join(err, r.stop())
		}
		r.log.Info("the edge is up", "node", e.Name, "addr", ln.Addr())
		return r.finish(a.ctx)
	})
}

func (c *edgeCmd) override(e *config.Edge) error {
	if c.Listen != "" {
		e.Listen = c.Listen
	}
	if c.Cache != "" {
		e.Cache = c.Cache
	}
	for _, f := range []struct {
		flag, text string
		to         *config.Bytes
	}{{"--cache-size", c.CacheSize, &e.CacheSize}, {"--ram", c.RAM, &e.RAM}} {
		if f.text == "" {
			continue
		}
		n, err := config.ParseBytes(f.text)
		if err != nil {
			return fmt.Errorf("%s: %w", f.flag, err)
		}
		*f.to = n
	}
	return nil
}

type dnsCmd struct {
	Name   string   `default:"dns" placeholder:"NAME" help:"Name of this server in the fleet."`
	Listen string   `placeholder:"ADDR" help:"Where it answers, UDP and TCP."`
	Geo    []string `placeholder:"FILE" help:"GeoIP database (.mmdb) in place of the built-in table; may be repeated, for files that complete each other."`
	Zone   string   `type:"path" placeholder:"FILE" help:"A server alone, without bus and bucket: the records of its zone (RFC 1035). Needs --fleet."`
	Fleet  string   `type:"path" placeholder:"FILE" help:"With --zone: the steered names and the edges, in YAML or JSON."`
	adminFlag
}

// Run runs the DNS server.
func (c *dnsCmd) Run(a *app) error {
	if (c.Zone == "") != (c.Fleet == "") {
		return errors.New("a DNS server alone needs both --zone and --fleet; one of the fleet needs neither")
	}
	return a.role(func(r *role) error {
		d := &r.cfg.DNS
		if c.Listen != "" {
			d.Listen = c.Listen
		}
		if len(c.Geo) > 0 {
			d.Geo = c.Geo
		}
		if c.Zone != "" {
			return errors.Join(c.alone(a.ctx, r), r.stop())
		}
		m, err := r.joinFleet(a.ctx, c.Name, asNode, nil, filepath.Join(d.State, "fleet.json"))
		if err != nil {
			return errors.Join(err, r.stop())
		}
		s, n, err := r.startDNS(a.ctx, c.Name, m)
		if err == nil {
			err = r.startAdmin(c.addr(r.cfg, d.Admin), *n)
		}
		if err != nil {
			return errors.Join(err, r.stop())
		}
		r.log.Info("the DNS server is up", "addr", s.Addr())
		return r.finish(a.ctx)
	})
}

type busCmd struct{ adminFlag }

// Run runs the embedded NATS server.
func (c *busCmd) Run(a *app) error {
	return a.role(func(r *role) error {
		s, err := r.startBus()
		if err != nil {
			return err
		}
		if err := r.startAdmin(c.addr(r.cfg, ""), admin.Node{Ready: s.Health, Metrics: admin.NewRegistry()}); err != nil {
			return errors.Join(err, r.stop())
		}
		r.log.Info("the bus is up", "addr", s.Addr())
		return r.finish(a.ctx)
	})
}

type storageCmd struct {
	adminFlag
	Child bool `hidden:"" help:"Be the child of perigee up."`
}

// Run runs the embedded S3 server.
func (c *storageCmd) Run(a *app) error {
	if c.Child {
		cfg, err := a.load()
		if err != nil {
			return err
		}
		r, err := newRole(cfg, a.stdout, a.stderr)
		if err != nil {
			return err
		}
		return embedded.RunChild(a.ctx, r.storageConfig(), a.stdin, a.stdout, a.stderr)
	}
	return a.role(func(r *role) error {
		var up atomic.Bool
		cfg := r.storageConfig()
		if address := r.cfg.Storage.Embedded.Events; address != "" {
			events := newStorageEvents()
			cfg.Notify = events.notify
			r.start("events", func(ctx context.Context) error { return events.post(ctx, address, r.cfg.API.EventsSecret.Reveal(), r) })
		}
		r.start("storage", func(ctx context.Context) error {
			return embedded.Run(ctx, cfg, func(addr string) {
				up.Store(true)
				r.log.Info("the storage is up", "addr", addr)
			})
		})
		ready := func() error {
			if !up.Load() {
				return errors.New("the storage is starting")
			}
			return nil
		}
		if err := r.startAdmin(c.addr(r.cfg, ""), admin.Node{Ready: ready, Metrics: admin.NewRegistry()}); err != nil {
			return errors.Join(err, r.stop())
		}
		return r.finish(a.ctx)
	})
}

// role reads the configuration and runs f with it.
func (a *app) role(f func(*role) error) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	r, err := newRole(cfg, a.stdout, a.stderr)
	if err != nil {
		return err
	}
	return f(r)
}

// listenAdvice says what to do about the commonest failures to listen.
func listenAdvice(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "\nAnother program has this address. Is perigee running already? Otherwise stop that program, or choose another address in the configuration (perigee config show)."
	case errors.Is(err, syscall.EADDRNOTAVAIL) && runtime.GOOS == "darwin":
		return "\nThis system lacks the address. Add it with: sudo sh -c 'for i in 1 2 3; do ifconfig lo0 alias 127.0.1.$i; done' — or run one edge with --single."
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "\nThis system lacks the address. Add it with: sudo sh -c 'for i in 1 2 3; do ip address add 127.0.1.$i/32 dev lo; done' — or run one edge with --single."
	case errors.Is(err, os.ErrPermission):
		return "\nPorts below 1024 need privileges: choose another port."
	}
	return ""
}

func siteName(c *config.Config) object.Site { return object.Site(c.API.DefaultSite) }

// quiet takes the complaints of an HTTP server about its clients.
func quiet(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"perigee/dnsgeo"
	"perigee/durable"
	"perigee/edge"
	"perigee/fleet"
	"perigee/fleet/admin"
	"perigee/fleet/bus"
	"perigee/origin/embedded"
)

// addresses is what everything listens on, for --ready-file.
type addresses struct {
	API     string            `json:"api"`
	DNS     string            `json:"dns"`
	Admin   string            `json:"admin"`
	S3      string            `json:"s3"`
	Bus     string            `json:"bus"`
	Edges   map[string]string `json:"edges"`
	Storage int               `json:"storage_pid"` // 0 when the storage is not embedded
}

// runUp runs everything in this process, but for the S3 server, which is a child.
func runUp(ctx context.Context, r *role, readyFile string) error {
	at, err := r.startUp(ctx)
	if err == nil {
		if readyFile != "" {
			err = writeJSON(readyFile, at)
		}
		r.welcome(at)
		if err == nil {
			err = r.wait(ctx)
		}
		fmt.Fprintln(r.out, "\nStopping: requests in progress are finished, state is written out.")
	}
	return errors.Join(err, r.stop())
}

// startUp starts the parts from the bottom to the top: storage, bus, edges, DNS, API, admin.
func (r *role) startUp(ctx context.Context) (*addresses, error) {
	at := &addresses{Edges: map[string]string{}}
	if err := r.cfg.ValidateTogether(); err != nil {
		return nil, err
	}
	listeners, err := r.edgeListeners()
	if err != nil {
		return nil, err
	}
	if err := r.startStorageChild(ctx, at); err != nil {
		return nil, closeAll(err, listeners)
	}
	var server *bus.Server
	if r.cfg.Bus.IsEmbedded() {
		if server, err = r.startBus(); err != nil {
			return nil, closeAll(err, listeners)
		}
		at.Bus = server.Addr().String()
	}
	m, err := r.joinFleet(ctx, "up", asControl, server, filepath.Join(r.cfg.Data, "fleet.json"))
	if err != nil {
		return nil, closeAll(err, listeners)
	}
	if err := m.bus.Log(bus.LogConfig{}).Ensure(ctx); err != nil {
		r.log.Warn("the purge log is not there yet", "err", err) // the API goes on trying
	}
	client := m.bus
	if server != nil {
		// As edges that run alone: other nodes hear what is reported in the nodes' account, and not what control reports in its own.
		if client, err = r.connectBus(ctx, "edges", asNode, server, nil); err != nil {
			return nil, closeAll(err, listeners)
		}
	}
	admins := map[string]admin.Node{}
	var running []*edge.Node
	for i, e := range r.cfg.Edges {
		at.Edges[e.Name] = listeners[i].Addr().String()
		n, a, err := r.startEdge(ctx, e, listeners[i], client, m, nil)
		if err != nil {
			return nil, closeAll(err, listeners[i:])
		}
		running = append(running, n)
		admins[e.Name] = *a
	}
	dns, a, err := r.startDNS(ctx, "dns", m)
	if err != nil {
		return nil, err
	}
	at.DNS, admins["dns"] = dns.Addr().String(), *a
	ln, a, err := r.startAPI(ctx, m)
	if err != nil {
		return nil, err
	}
	at.API, admins["api"] = ln.Addr().String(), *a
	r.report("api", fleet.RoleAPI, m.bus)
	if err := r.startAdminSet(at, admins); err != nil {
		return nil, err
	}
	return at, r.untilReady(ctx, running, dns, admins)
}

// edgeListeners opens the edges' addresses first: a system that lacks them is told before anything was started.
func (r *role) edgeListeners() ([]net.Listener, error) {
	var lns []net.Listener
	for _, e := range r.cfg.Edges {
		ln, err := listen("tcp", e.Listen, "edge "+e.Name)
		if err != nil {
			return nil, closeAll(err, lns)
		}
		lns = append(lns, ln)
	}
	return lns, nil
}

func closeAll(err error, lns []net.Listener) error {
	for _, ln := range lns {
		ln.Close()
	}
	return err
}

// startStorageChild runs `perigee storage` as a child if the bucket is the embedded server's.
func (r *role) startStorageChild(ctx context.Context, at *addresses) error {
	s := &r.cfg.Storage
	if !s.IsEmbedded() {
		at.S3 = strings.TrimPrefix(strings.TrimPrefix(s.Endpoint, "http://"), "https://")
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start storage: %w", err)
	}
	root, err := filepath.Abs(s.Embedded.Root)
	if err != nil {
		return fmt.Errorf("start storage: %w", err)
	}
	// The child outlives ctx: it stops in its turn, after those who write to it.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	r.events = newStorageEvents()
	child, err := embedded.StartChild(life, embedded.ChildConfig{
		Notify: r.events.notify,
		Path:   self, Args: []string{"storage", "--child"}, Log: r.log.With("part", "storage"), Clock: r.clock,
		Env: []string{
			"PERIGEE_DATA=" + r.cfg.Data, "PERIGEE_STORAGE_EMBEDDED_LISTEN=" + s.Embedded.Listen, "PERIGEE_STORAGE_EMBEDDED_ROOT=" + root,
			"PERIGEE_STORAGE_BUCKET=" + s.Bucket, "PERIGEE_STORAGE_ACCESS_KEY=" + s.AccessKey, "PERIGEE_STORAGE_SECRET_KEY=" + s.SecretKey.Reveal(),
			"PERIGEE_STORAGE_EDGE_ACCESS_KEY=" + s.EdgeAccessKey, "PERIGEE_STORAGE_EDGE_SECRET_KEY=" + s.EdgeSecretKey.Reveal(),
		},
	})
	if err != nil {
		end()
		return fmt.Errorf("start storage: %w", err)
	}
	r.onStop("storage", func() error { end(); child.Wait(); return nil })
	at.S3, at.Storage = child.Addr(), child.PID()
	s.Endpoint = "http://" + child.Addr()
	return nil
}

func (r *role) startAdminSet(at *addresses, nodes map[string]admin.Node) error {
	if r.cfg.Admin.Listen == "" {
		return nil
	}
	ln, err := listen("tcp", r.cfg.Admin.Listen, "the admin address")
	if err != nil {
		return err
	}
	at.Admin = ln.Addr().String()
	self := admin.Node{Metrics: admin.NewRegistry(), Ready: func() error {
		for name, n := range nodes {
			if err := n.Ready(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	}}
	r.start("admin", func(ctx context.Context) error {
		return admin.Serve(ctx, ln, admin.Guard(r.cfg.Admin.Token.Reveal(), admin.Set(self, nodes)), r.log)
	})
	return nil
}

// untilReady waits until the lines printed next work: files can be published, every edge has reached the log and knows the
// default site, and DNS steers to one.
func (r *role) untilReady(ctx context.Context, edges []*edge.Node, dns *dnsgeo.Server, nodes map[string]admin.Node) error {
	host := r.cfg.Zone.HostOf(siteName(r.cfg))
	t := r.clock.NewTicker(readyPoll)
	defer t.Stop()
	for {
		ready := nodes["api"].Ready() == nil
		fit := false
		for _, n := range edges {
			_, err := n.Engine().Site(host)
			ready = ready && (err == nil || r.cfg.API.DefaultSite == "") && n.Engine().LeaseLeft() > 0
			fit = fit || n.State() == fleet.Ready
		}
		// Where every edge is drained there is nothing to wait for.
		steered := !fit || dns.Decide(string(host), netip.IPv4Unspecified(), dnsgeo.TypeA).Edge != ""
		if ready && (steered || r.cfg.API.DefaultSite == "") {
			return nil
		}
		select {
		case <-t.C():
		case <-ctx.Done():
			return nil
		case <-r.failed.Done():
			return nil // wait says why
		}
	}
}

func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.ReplaceBytes(file, 0o600, append(b, '\n')); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	return nil
}

// welcome prints what a person needs to begin.
func (r *role) welcome(at *addresses) {
	host, port, _ := net.SplitHostPort(at.DNS)
	site := r.cfg.Zone.HostOf(siteName(r.cfg))
	base := r.cfg.Zone.URLBase(site)
	p := func(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }
	p("Perigee %s is up. Data is in %s; Ctrl-C stops it.\n", version(), r.cfg.Data)
	p("  console and API   http://%s", at.API)
	p("  DNS               %s, zone %s", at.DNS, r.cfg.Zone.Name)
	for _, e := range r.cfg.Edges {
		p("  edge %-12s http://%s  (%s)", e.Name, at.Edges[e.Name], e.Place.Name)
	}
	p("  S3                http://%s, bucket %s", at.S3, r.cfg.Storage.Bucket)
	if at.Admin != "" {
		p("  health, metrics   http://%s/nodes/<name>/healthz, /readyz, /metrics", at.Admin)
	}
	p("\nTry it, in another terminal:\n")
	p("  upload    curl -T README.md http://%s/api/v1/sites/%s/files/hello.md", at.API, r.cfg.API.DefaultSite)
	p("  dig       dig @%s -p %s %s +short +subnet=81.2.69.0/24", host, port, site)
	p("  fetch     curl -i --connect-to ::$(dig @%s -p %s %s +short +subnet=81.2.69.0/24): %s/hello.md", host, port, site, base)
	p("  purge     bin/perigee purge --wait %s/hello.md", base)
	p("  explain   bin/perigee explain --ip 81.2.69.142 %s/hello.md\n", base)
}

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"perigee/config"
	"perigee/dnsgeo"
	"perigee/fleet"
	"perigee/fleet/admin"
)

// maxZoneFile bounds the zone file of a DNS server alone, in bytes.
const maxZoneFile = 16 << 20

// alone runs a DNS server that needs nobody: its zone and its fleet are files, which are read again when they change.
func (c *dnsCmd) alone(ctx context.Context, r *role) error {
	text, err := os.ReadFile(c.Zone)
	if err != nil {
		return fmt.Errorf("--zone: %w", err)
	}
	if len(text) > maxZoneFile {
		return fmt.Errorf("--zone: %s has %d bytes, at most %d are read", c.Zone, len(text), maxZoneFile)
	}
	zone, err := dnsgeo.ZoneName(string(text))
	if err != nil {
		return fmt.Errorf("--zone: %s: %w", c.Zone, err)
	}
	f := &staticFleet{file: c.Fleet, zone: zone}
	if err := f.read(); err != nil {
		return fmt.Errorf("--fleet: %w", err)
	}
	places, err := r.geo()
	if err != nil {
		return err
	}
	st, err := r.steer()
	if err != nil {
		return err
	}
	dc := dnsgeo.Config{
		Policy: st.policy.Load,
		Listen: r.cfg.DNS.Listen, Zone: zone, Zones: []dnsgeo.ZoneFile{{Name: zone, Path: c.Zone}}, TTL: r.cfg.DNS.TTL.Std(), SteadyTTL: r.cfg.DNS.TTLSteady.Std(), Names: f.names.Load, Fleet: f.snapshot.Load,
		Geo: places, Log: r.log, Clock: r.clock,
	}
	var own [32]byte         // for as long as this process runs
	_, _ = rand.Read(own[:]) // never fails
	if err := r.dnsParts(&dc, own[:]); err != nil {
		return err
	}
	if err := r.addZones(&dc); err != nil {
		return err
	}
	zk, err := r.keysOf(zone)
	if err != nil {
		return err
	}
	zk.configure(&dc)
	s, err := dnsgeo.New(dc)
	if err != nil {
		return fmt.Errorf("%w%s", err, listenAdvice(err))
	}
	r.start("DNS server", s.Run)
	r.start("fleet file", func(ctx context.Context) error { f.follow(ctx, r); return nil })
	reg := admin.NewRegistry()
	dnsgeo.RegisterMetrics(reg, s)
	registerDNSParts(reg, &dc)
	if err := r.startAdmin(c.addr(r.cfg, r.cfg.DNS.Admin), admin.Node{Ready: func() error { return nil }, Metrics: reg}); err != nil {
		return err
	}
	r.log.Info("the DNS server is up", "addr", s.Addr(), "zone", zone)
	return r.wait(ctx)
}

// staticFleet is a fleet from a file.
type staticFleet struct {
	file, zone string
	sum        [sha256.Size]byte // of the file, as it was last looked at
	gen        uint64
	snapshot   atomic.Pointer[fleet.Snapshot]
	names      atomic.Pointer[dnsgeo.Names]
}

// read puts what the file says into force.
func (f *staticFleet) read() error {
	decl, err := config.ReadFleet(f.file)
	if err != nil {
		return err
	}
	if b, err := os.ReadFile(f.file); err == nil {
		f.sum = sha256.Sum256(b)
	}
	var hosts []string
	for _, n := range decl.Names {
		if n == "@" {
			hosts = append(hosts, f.zone)
			continue
		}
		hosts = append(hosts, n+"."+f.zone)
	}
	names := dnsgeo.NewNames(f.zone, hosts)
	if names.Len() == 0 {
		return fmt.Errorf("%s: no steered name is a domain name in %s", f.file, f.zone)
	}
	f.gen++
	s := &fleet.Snapshot{Gen: f.gen}
	for _, e := range decl.Edges {
		n := fleet.Node{Report: fleet.Report{
			Format: 1, Node: e.Name, Role: fleet.RoleEdge, State: fleet.Ready, Place: fleet.Place(e.Place),
		}, Down: e.Down}
		if e.Drain {
			n.State = fleet.Draining
		}
		for _, ip := range e.IPs {
			n.Addrs = append(n.Addrs, netip.AddrPortFrom(ip, 80))
		}
		s.Nodes = append(s.Nodes, n)
	}
	f.snapshot.Store(s)
	f.names.Store(names)
	return nil
}

// follow reads the file again when it has changed. What cannot be read changes nothing.
func (f *staticFleet) follow(ctx context.Context, r *role) {
	t := r.clock.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C():
		}
		b, err := os.ReadFile(f.file)
		if err != nil || sha256.Sum256(b) == f.sum {
			continue
		}
		f.sum = sha256.Sum256(b)
		if err := f.read(); err != nil {
			r.log.Error("the fleet file is not put into force; what was known stays", "err", err)
			continue
		}
		r.log.Info("the fleet file was read again", "edges", len(f.snapshot.Load().Nodes))
	}
}

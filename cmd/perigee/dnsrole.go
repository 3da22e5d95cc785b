package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"perigee/config"
	"perigee/dnsgeo"
	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/geo/update"
	"perigee/fleet"
	"perigee/fleet/admin"
	"perigee/fleet/bus"
	"perigee/origin"
)

// startDNS starts the DNS server, and its reports under that name.
func (r *role) startDNS(ctx context.Context, name string, m *member) (*dnsgeo.Server, *admin.Node, error) {
	d := r.cfg.DNS
	if err := os.MkdirAll(d.State, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make state directory: %w", err)
	}
	reader, err := origin.NewReader(r.edgeBucket())
	if err != nil {
		return nil, nil, err
	}
	names := dnsgeo.NewSites(dnsgeo.SitesConfig{
		Zone: r.cfg.Zone.Name, File: filepath.Join(d.State, "sites.json"), List: reader.Sites, Clock: r.clock, Log: r.log,
	})
	places, err := r.geo()
	if err != nil {
		return nil, nil, err
	}
	updates, err := r.geoUpdates(places)
	if err != nil {
		return nil, nil, err
	}
	c, err := r.dnsConfig(d.Listen, names.Names, m.board, places)
	if err != nil {
		return nil, nil, err
	}
	c.Demand = nil // what it counts itself
	if err := r.addZones(&c); err != nil {
		return nil, nil, err
	}
	zk, err := r.keys(ctx, name, m)
	if err != nil {
		return nil, nil, err
	}
	zk.configure(&c)
	set, err := config.Secrets(r.cfg.Data)
	if err != nil {
		return nil, nil, err
	}
	if err := r.dnsParts(&c, set.CookieKey()); err != nil {
		return nil, nil, err
	}
	s, err := dnsgeo.New(c)
	if err != nil {
		return nil, nil, fmt.Errorf("%w%s", err, listenAdvice(err))
	}
	r.start("sites of the DNS server", names.Run)
	log := m.bus.Log(bus.LogConfig{})
	r.start("purge log of the DNS server", func(ctx context.Context) error { return log.Follow(ctx, names.Position(), names) })
	demand := s.Demand
	r.steering.demand.Store(&demand)
	r.start("DNS server", s.Run)
	reg := admin.NewRegistry()
	dnsgeo.RegisterMetrics(reg, s)
	registerDNSParts(reg, &c)
	zk.register(reg)
	update.RegisterMetrics(reg, places, updates)
	if m.latency, err = r.addUpLatency(m, places, reg); err != nil {
		return nil, nil, err
	}
	r.start("measured round trips", func(ctx context.Context) error { r.steering.learn(ctx, r, m.latency); return nil })
	r.reportDNS(name, m, reg)
	ready := func() error {
		if !names.Known() {
			return errors.New("the sites are not known yet")
		}
		return zk.ready()
	}
	return s, &admin.Node{Ready: ready, Metrics: reg}, nil
}

func (r *role) dnsConfig(listen string, names func() *dnsgeo.Names, b *fleet.Board, places *geo.Holder) (dnsgeo.Config, error) {
	st, err := r.steer()
	if err != nil {
		return dnsgeo.Config{}, err
	}
	z := r.cfg.Zone
	var servers []dnsgeo.NameServer
	for _, ns := range z.NS {
		n := dnsgeo.NameServer{Name: ns}
		// The one address this process knows of a name server inside the zone is its own.
		if at, err := netip.ParseAddrPort(r.cfg.DNS.Listen); err == nil && !at.Addr().IsUnspecified() && strings.HasSuffix(ns, "."+z.Name) {
			n.Addrs = []netip.Addr{at.Addr()}
		}
		servers = append(servers, n)
	}
	return dnsgeo.Config{
		Listen: listen, Zone: z.Name, Servers: servers, TTL: r.cfg.DNS.TTL.Std(), SteadyTTL: r.cfg.DNS.TTLSteady.Std(), Names: names,
		Fleet: b.Snapshot, Geo: places, Policy: st.policy.Load, Latencies: st.latencies.Load, Demand: st.Demand, Log: r.log, Clock: r.clock,
	}, nil
}

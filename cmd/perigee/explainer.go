package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"perigee/dnsgeo"
	"perigee/dnsgeo/steer"
	"perigee/edge/cache"
	"perigee/fleet/bus"
	"perigee/object"
	"perigee/web"
)

// explainer joins what the DNS engine decides, on this process's view of the fleet, with what the chosen edge says of itself.
type explainer struct {
	decider *dnsgeo.Server
	zone    string
	host    func(object.SiteRecord) string
	sites   sites
	m       *member
	turn    chan struct{} // held by the one question what if that is being worked on
}

func newExplainer(r *role, m *member, all sites) (*explainer, error) {
	places, err := r.geo()
	if err != nil {
		return nil, err
	}
	e := &explainer{sites: all, m: m, zone: r.cfg.Zone.Name, turn: make(chan struct{}, 1)}
	e.host = func(s object.SiteRecord) string {
		if len(s.Hosts) > 0 {
			return string(s.Hosts[0])
		}
		return string(r.cfg.Zone.HostOf(s.Site))
	}
	c, err := r.dnsConfig("", e.names, m.board, places)
	if err != nil {
		return nil, err
	}
	if e.decider, err = dnsgeo.New(c); err != nil {
		return nil, err
	}
	r.start("steering of explain", e.decider.Run)
	return e, nil
}

// names is every host of every site. It asks the catalogue: this decider answers people, not resolvers.
func (e *explainer) names() *dnsgeo.Names {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	all, err := e.sites.Sites(ctx)
	if err != nil {
		return nil
	}
	var hosts []string
	for _, s := range all {
		for _, h := range s.Hosts {
			hosts = append(hosts, string(h))
		}
	}
	return dnsgeo.NewNames(e.zone, hosts)
}

// Explain implements web.Explainer.
func (e *explainer) Explain(ctx context.Context, site object.Site, path object.Path, ip netip.Addr) (web.Explanation, error) {
	rec, err := e.sites.catalog.Site(ctx, site)
	if err != nil {
		return web.Explanation{}, err
	}
	family, qtype := "A", dnsgeo.TypeA
	d := e.decider.Decide(e.host(rec), ip, qtype)
	x := web.Explanation{
		Site: site, Path: path, IP: ip, Chosen: d.Edge,
		Place:  web.Place{Country: d.Place.Country, City: d.Place.City, Lat: d.Place.Lat, Lon: d.Place.Lon, Known: d.Place.Known},
		Geo:    web.GeoSource{Source: d.Geo.Source, Built: d.Geo.Built.Format(time.DateOnly)},
		Answer: web.DNSAnswer{Type: family, TTL: d.TTL},
	}
	if d.Addr.IsValid() {
		x.Answer.Addr = d.Addr.String()
	}
	if d.Scope.IsValid() {
		x.Answer.Scope = d.Scope.String()
	}
	snap := e.m.board.Snapshot()
	for _, c := range d.Edges {
		n := snap.Find(c.Name)
		if n == nil {
			continue // forgotten since the decision
		}
		x.Candidates = append(x.Candidates, web.Candidate{
			Node: c.Name, Km: c.KM, State: n.State, Down: n.Down, Reason: string(c.Reason), Addrs: n.Addrs,
		})
	}
	x.Edge = e.ask(ctx, d.Edge, site, path)
	return x, nil
}

// WhatIf implements web.Explainer.
func (e *explainer) WhatIf(ctx context.Context, change steer.Change) (steer.Comparison, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
		return e.decider.WhatIf(change)
	case <-ctx.Done():
		return steer.Comparison{}, ctx.Err()
	}
}

// ask asks the chosen edge what it holds.
func (e *explainer) ask(ctx context.Context, node string, site object.Site, path object.Path) web.EdgeState {
	if node == "" {
		return web.EdgeState{Reason: "DNS names no edge"}
	}
	var held cache.Explanation
	err := e.m.bus.Send(ctx, node, bus.Request{Command: bus.Explain, Site: site, Path: path}, &held)
	if err != nil {
		return web.EdgeState{Reason: fmt.Sprintf("the edge could not be asked: %v", err)}
	}
	return web.EdgeState{Outcome: held.Outcome, Reason: string(held.Reason), Pointer: held.Pointer, Blob: held.Blob}
}

package main

import (
	"net/netip"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/dnsgeo"
	"perigee/dnsgeo/cookie"
	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/limit"
	"perigee/dnsgeo/querylog"
	"perigee/dnsgeo/tap"
	"perigee/fleet"
)

// dnsParts adds to a DNS server's configuration what every one has, alone or in a fleet: cookies, the limit of answers, the log of queries and the tap. Who is told of queries is started
// before the server and ends after it. own is the key of cookies where none is configured.
func (r *role) dnsParts(c *dnsgeo.Config, own []byte) (err error) {
	d := r.cfg.DNS
	if d.Cookies.Enabled {
		if c.Cookies, err = d.Cookies.Jar(own); err != nil {
			return err
		}
	}
	if c.Limit, err = d.Limit.New(r.clock.Now()); err != nil {
		return err
	}
	c.NSID, c.Explain = d.NSID, d.Explain
	buffers := runtime.GOMAXPROCS(0) + 1 // one for each socket, and one for the connections
	if d.Log.Path != "" {
		q, err := d.Log.Config()
		if err != nil {
			return err
		}
		q.Clock, q.Log, q.Stdout, q.Buffers = r.clock, r.log, r.out, buffers
		if c.Queries, err = querylog.Open(q); err != nil {
			return err
		}
		r.start("query log", c.Queries.Run)
	}
	if d.Tap.Enabled() {
		t := d.Tap.Config()
		t.Version, t.Clock, t.Log, t.Stdout, t.Buffers = version(), r.clock, r.log, r.out, buffers
		if c.Tap, err = tap.Open(t); err != nil {
			return err
		}
		r.start("dnstap", c.Tap.Run)
	}
	return nil
}

// registerDNSParts registers what dnsParts made.
func registerDNSParts(reg prometheus.Registerer, c *dnsgeo.Config) {
	counter := func(name, help string, labels prometheus.Labels, value func() float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "perigee_dns_" + name, Help: help, ConstLabels: labels}, value))
	}
	if j := c.Cookies; j != nil {
		for v := cookie.Absent; v <= cookie.Renew; v++ {
			counter("cookies_total", "Queries by what their cookie was found to be.", prometheus.Labels{"verdict": v.String()}, func() float64 { return float64(j.Count(v)) })
		}
	}
	if l := c.Limit; l != nil {
		for _, class := range limit.Classes {
			labels := prometheus.Labels{"class": class.String()}
			counter("limited_dropped_total", "Answers not sent, because their network had had too many.", labels, func() float64 { return float64(l.Counters.Dropped[class].Load()) })
			counter("limited_slipped_total", "Answers sent truncated, because their network had had too many.", labels, func() float64 { return float64(l.Counters.Slipped[class].Load()) })
		}
		counter("limited_overall_total", "Of both, those beyond the rate of all classes only.", nil, func() float64 { return float64(l.Counters.Overall.Load()) })
		counter("limit_evicted_total", "Networks forgotten while they were limited: the table is too small.", nil, func() float64 { return float64(l.Counters.Evicted.Load()) })
	}
	if q := c.Queries; q != nil {
		counter("log_lines_total", "Lines of the query log written.", nil, func() float64 { return float64(q.Written()) })
		counter("log_dropped_total", "Lines of the query log lost.", nil, func() float64 { return float64(q.Dropped()) })
	}
	if t := c.Tap; t != nil {
		counter("tap_messages_total", "Messages handed to the tap's collector.", nil, func() float64 { return float64(t.Written()) })
		counter("tap_dropped_total", "Messages lost by the tap.", nil, func() float64 { return float64(t.Dropped()) })
		counter("tap_connections_total", "Connections made to the tap's collector.", nil, func() float64 { return float64(t.Connections()) })
	}
}

func (r *role) dnsConfig(listen string, names func() *dnsgeo.Names, b *fleet.Board, places *geo.Holder) dnsgeo.Config {
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
		Listen: listen, Zone: z.Name, Servers: servers, TTL: r.cfg.DNS.TTL.Std(), Names: names,
		Fleet: b.Snapshot, Geo: places, Log: r.log, Clock: r.clock,
	}
}

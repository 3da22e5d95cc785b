package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/steer"
	"perigee/fleet"
)

// zoneName is the zone that all servers serve.
const zoneName = "bench.test"

// edge is one place that clients are sent to.
type edge struct {
	name     string
	country  string
	lat, lon float64
}

// allEdges are where edges stand; the first so many are taken.
var allEdges = []edge{
	{"fra", "DE", 50.11, 8.68}, {"nyc", "US", 40.71, -74.01}, {"sin", "SG", 1.35, 103.82}, {"sao", "BR", -23.55, -46.63},
	{"syd", "AU", -33.87, 151.21}, {"jnb", "ZA", -26.20, 28.05}, {"lax", "US", 34.05, -118.24}, {"tyo", "JP", 35.68, 139.69},
	{"bom", "IN", 19.08, 72.88}, {"lon", "GB", 51.51, -0.13}, {"mad", "ES", 40.42, -3.70}, {"waw", "PL", 52.23, 21.01},
	{"chi", "US", 41.88, -87.63}, {"dxb", "AE", 25.20, 55.27}, {"scl", "CL", -33.45, -70.67}, {"sto", "SE", 59.33, 18.07},
}

// v4 and v6 are the addresses of edge number i, of networks that are for examples.
func v4(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}) }
func v6(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)) }

// field is the edges and names of one measurement, and its zone.
type field struct {
	edges []edge
	plan  *steer.Plan // what is nearest
}

func newField(n int) *field {
	f := &field{edges: allEdges[:n]}
	s := &fleet.Snapshot{Gen: 1}
	for i, e := range f.edges {
		n := fleet.Node{Report: fleet.Report{Format: 1, Node: e.name, Role: fleet.RoleEdge, State: fleet.Ready,
			Place: fleet.Place{Name: e.name, Country: e.country, Lat: e.lat, Lon: e.lon}}}
		n.Addrs = append(n.Addrs, netip.AddrPortFrom(v4(i), 80), netip.AddrPortFrom(v6(i), 80))
		s.Nodes = append(s.Nodes, n)
	}
	f.plan = steer.NewPlan(nil, s)
	return f
}

// nearest returns the number of the edge that a client at a place is to be sent to.
func (f *field) nearest(p geo.Place) int {
	a := f.plan.Choose(p)
	name := a.First(steer.IPv4).Name
	for i, e := range f.edges {
		if e.name == name {
			return i
		}
	}
	return 0
}

// The names, all of the same length, so that the kinds of queries differ in nothing else.
const (
	steeredNames = 8
	staticNames  = 64
)

func steeredName(i int) string { return fmt.Sprintf("www%02d", i) }
func staticName(i int) string  { return fmt.Sprintf("srv%02d", i) }

func staticAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 10)}) }

// zone returns the static part of the zone, with extra before the hosts.
func zone(extra string) string {
	var t strings.Builder
	fmt.Fprintf(&t, "$ORIGIN %s.\n$TTL 60\n@ SOA ns1 hostmaster 1 7200 1800 1209600 60\n@ NS ns1\nns1 A 192.0.2.1\n%s", zoneName, extra)
	for i := range staticNames {
		fmt.Fprintf(&t, "%s A %s\n", staticName(i), staticAddr(i))
	}
	return t.String()
}

// writeFleet writes the declaration of the fleet that Perigee reads, in one step. drained edges take no new clients.
func (f *field) writeFleet(file string, drained ...int) error {
	type declared struct {
		Name  string         `json:"name"`
		Addrs []netip.Addr   `json:"addrs"`
		Place map[string]any `json:"place"`
		Drain bool           `json:"drain"`
	}
	var d struct {
		Names []string   `json:"names"`
		Edges []declared `json:"edges"`
	}
	for i := range steeredNames {
		d.Names = append(d.Names, steeredName(i))
	}
	for i, e := range f.edges {
		d.Edges = append(d.Edges, declared{Name: e.name, Addrs: []netip.Addr{v4(i), v6(i)},
			Place: map[string]any{"name": e.name, "country": e.country, "lat": e.lat, "lon": e.lon}})
	}
	for _, i := range drained {
		d.Edges[i].Drain = true
	}
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	next := filepath.Join(filepath.Dir(file), ".next-"+filepath.Base(file))
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, file)
}

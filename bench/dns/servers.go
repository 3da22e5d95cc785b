package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"perigee/bench/program"
)

// serverCore and loadCore are the cores of the server and of the load generator.
const (
	serverCore = "0"
	loadCore   = "1"
)

// server is one program under test.
type server struct {
	name, version string
	// steers says by what it chooses edges.
	steers string
	launch func(b *bench, f *field, dir, addr string) (*program.Program, error)
}

// installed returns Perigee and the peers that this machine has, and says of the others that they are not there.
func installed(o options) (all []server, left []string) {
	all = []server{{"perigee", program.FirstLine(o.perigee, "version"), "coordinates", launchPerigee}}
	for _, p := range []struct {
		command, pkg string
		server
	}{
		{"gdnsd", "gdnsd", server{"gdnsd", "", "coordinates", launchGdnsd}},
		{"knotd", "knot-module-geoip", server{"knot", "", "country", launchKnot}},
		{"pdns_server", "pdns-backend-geoip", server{"pdns", "", "country", launchPDNS}},
	} {
		if _, err := exec.LookPath(p.command); err != nil {
			left = append(left, p.name+" (not installed)")
			continue
		}
		p.version = "Debian's " + strings.Join(strings.Fields(program.FirstLine("dpkg-query", "-W", p.pkg)), " ")
		all = append(all, p.server)
	}
	return all, left
}

// write writes configuration files below dir.
func write(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func start(dir string, args ...string) (*program.Program, error) {
	return program.Start(serverCore, filepath.Join(dir, "log"), args...)
}

// fleetFile is the declaration of the fleet below an instance's directory.
const fleetFile = "fleet.json"

func launchPerigee(b *bench, f *field, dir, addr string) (*program.Program, error) {
	if err := write(dir, map[string]string{"zone": zone("")}); err != nil {
		return nil, err
	}
	if err := f.writeFleet(filepath.Join(dir, fleetFile)); err != nil {
		return nil, err
	}
	return start(dir, "env", "GOMAXPROCS=1", "PERIGEE_DATA="+filepath.Join(dir, "data"), b.perigee, "dns", "--listen", addr, "--zone", filepath.Join(dir, "zone"),
		"--fleet", filepath.Join(dir, fleetFile), "--geo", b.world.file)
}

func launchGdnsd(b *bench, f *field, dir, addr string) (*program.Program, error) {
	var names, coords, addrs, dyna strings.Builder
	for i, e := range f.edges {
		fmt.Fprintf(&names, " %s,", e.name)
		fmt.Fprintf(&coords, " %s => [ %v, %v ],", e.name, e.lat, e.lon)
		fmt.Fprintf(&addrs, " %s => { addrs_v4 => %s, addrs_v6 => \"%s\" },", e.name, v4(i), v6(i))
	}
	for i := range steeredNames {
		fmt.Fprintf(&dyna, "%s DYNA geoip!edges\n", steeredName(i))
	}
	conf := fmt.Sprintf(`options => { listen => [ "%s" ], udp_threads => 1, tcp_threads => 1, run_dir => %s, state_dir => %s }
plugins => { geoip => {
  maps => { near => { geoip2_db => %s, datacenters => [%s ], auto_dc_coords => {%s } } }
  resources => { edges => { map => near, service_types => up, dcmap => {%s } } }
} }
`, addr, filepath.Join(dir, "run"), filepath.Join(dir, "state"), b.world.file, names.String(), coords.String(), addrs.String())
	if err := write(dir, map[string]string{"config": conf, "zones/" + zoneName: zone(dyna.String()), "run/.keep": "", "state/.keep": ""}); err != nil {
		return nil, err
	}
	return start(dir, "gdnsd", "-c", dir, "start")
}

// countries calls add for each country with the number of the edge nearest to where most of its addresses are.
func (b *bench) countries(f *field, add func(country string, edge int)) {
	for _, c := range slices.Sorted(maps.Keys(b.world.home)) {
		add(c, f.nearest(b.world.home[c]))
	}
}

func launchKnot(b *bench, f *field, dir, addr string) (*program.Program, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var steered, unknown strings.Builder
	first := f.nearest(unknownPlace)
	for i := range steeredNames {
		fmt.Fprintf(&steered, "%s.%s:\n", steeredName(i), zoneName)
		b.countries(f, func(country string, edge int) {
			fmt.Fprintf(&steered, "  - geo: \"%s\"\n    A: %s\n    AAAA: %s\n", country, v4(edge), v6(edge))
		})
		fmt.Fprintf(&unknown, "%[1]s A %[2]s\n%[1]s AAAA %[3]s\n", steeredName(i), v4(first), v6(first))
	}
	conf := fmt.Sprintf(`server:
    listen: %s@%s
    rundir: %s
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    edns-client-subnet: on
log:
  - target: stderr
    any: warning
database:
    storage: %[3]s/db
mod-geoip:
  - id: edges
    config-file: %[3]s/geo
    ttl: 60
    mode: geodb
    geodb-file: %[4]s
    geodb-key: [ country/iso_code ]
zone:
  - domain: %[5]s
    storage: %[3]s
    file: zone
    module: mod-geoip/edges
`, host, port, dir, b.world.file, zoneName)
	if err := write(dir, map[string]string{"conf": conf, "geo": steered.String(), "zone": zone(unknown.String()), "db/.keep": ""}); err != nil {
		return nil, err
	}
	return start(dir, "knotd", "-c", filepath.Join(dir, "conf"))
}

func launchPDNS(b *bench, f *field, dir, addr string) (*program.Program, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var records, services, mapping strings.Builder
	for i, e := range f.edges {
		fmt.Fprintf(&records, "    %s.edge.%s:\n      - a: %s\n      - aaaa: %s\n", e.name, zoneName, v4(i), v6(i))
	}
	for i := range staticNames {
		fmt.Fprintf(&records, "    %s.%s:\n      - a: %s\n", staticName(i), zoneName, staticAddr(i))
	}
	for i := range steeredNames {
		fmt.Fprintf(&services, "    %s.%s: [ '%%mp.edge.%[2]s', '%[3]s.edge.%[2]s' ]\n", steeredName(i), zoneName, f.edges[f.nearest(unknownPlace)].name)
	}
	b.countries(f, func(country string, edge int) {
		fmt.Fprintf(&mapping, "    '%s': %s\n", strings.ToLower(country), f.edges[edge].name)
	})
	zones := fmt.Sprintf(`domains:
- domain: %[1]s
  ttl: 60
  records:
    %[1]s:
      - soa: ns1.%[1]s hostmaster.%[1]s 1 7200 1800 1209600 60
      - ns: ns1.%[1]s
    ns1.%[1]s:
      - a: 192.0.2.1
%[2]s  services:
%[3]s  mapping_lookup_formats: [ '%%cc' ]
  custom_mapping:
%[4]s`, zoneName, records.String(), services.String(), mapping.String())
	if err := write(dir, map[string]string{"zones.yaml": zones}); err != nil {
		return nil, err
	}
	return start(dir, "pdns_server", "--no-config", "--launch=geoip", "--geoip-database-files=mmdb:"+b.world.file, "--geoip-zones-file="+filepath.Join(dir, "zones.yaml"),
		"--local-address="+host, "--local-port="+port, "--socket-dir="+dir, "--daemon=no", "--guardian=no", "--disable-syslog", "--loglevel=3",
		"--receiver-threads=1", "--distributor-threads=1", "--edns-subnet-processing=yes")
}

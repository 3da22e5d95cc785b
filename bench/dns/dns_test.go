package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"perigee/config"
	"perigee/dnsgeo"
	"perigee/dnsgeo/geo"
)

// TestContinents: a country of the table without a continent would get the servers' default, and the comparison would be about something else.
func TestContinents(t *testing.T) {
	db, err := geo.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range db.Places() {
		if p.Country != "" && !seen[p.Country] && continentOf(p.Country) == "" {
			t.Errorf("%s has no continent", p.Country)
		}
		seen[p.Country] = true
	}
	all := ""
	for _, c := range continents {
		all += " " + c
	}
	codes := strings.Fields(all)
	slices.Sort(codes)
	if len(slices.Compact(slices.Clone(codes))) != len(codes) || len(codes) < 245 {
		t.Errorf("%d countries, or one in two continents", len(codes))
	}
}

func TestAfter(t *testing.T) {
	for network, want := range map[string]string{
		"0.0.0.0/8": "1.0.0.0", "10.255.255.0/24": "11.0.0.0", "1.2.3.4/32": "1.2.3.5", "128.0.0.0/1": "", "0.0.0.0/0": "",
		"2000::/3": "4000::", "2001:db8:ffff::/48": "2001:db9::", "8000::/1": "", "2001:db8::/32": "2001:db9::",
	} {
		got := after(netip.MustParsePrefix(network))
		if want == "" && got.IsValid() || want != "" && got != netip.MustParseAddr(want) {
			t.Errorf("after %s comes %s, want %q", network, got, want)
		}
	}
}

// TestField: Perigee takes the zone and the fleet as they are written, with as many edges drained as are named.
func TestField(t *testing.T) {
	f := newField(6)
	if name, err := dnsgeo.ZoneName(zone("")); err != nil || name != zoneName+"." {
		t.Errorf("zone %q, %v", name, err)
	}
	file := t.TempDir() + "/" + fleetFile
	if err := f.writeFleet(file, 1, 3); err != nil {
		t.Fatal(err)
	}
	d, err := config.ReadFleet(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Edges) != 6 || len(d.Names) != steeredNames || !d.Edges[1].Drain || !d.Edges[3].Drain || d.Edges[0].Drain || d.Edges[5].IPs[1] != v6(5) {
		t.Errorf("%+v", d)
	}
	for place, want := range map[geo.Place]string{
		{Lat: 52.5, Lon: 13.4, Known: true}: "fra", {Lat: 43.7, Lon: -79.4, Known: true}: "nyc", {Lat: -41, Lon: 174, Known: true}: "syd", {}: "fra",
	} {
		if got := f.edges[f.nearest(place)].name; got != want {
			t.Errorf("%+v is sent to %s, want %s", place, got, want)
		}
	}
}

func TestSeries(t *testing.T) {
	length := 0
	for _, x := range newField(16).series() {
		for _, k := range x.kinds {
			if len(k.Addrs) == 0 && k.Rcode == 0 || k.Each && len(k.Addrs) != len(k.Names) {
				t.Errorf("%s: %+v", x.name, k)
			}
			for _, n := range k.Names {
				if length == 0 {
					length = len(n)
				}
				if !k.Random && len(n) != length {
					t.Errorf("%s: %s is not as long as the others", x.name, n)
				}
			}
		}
	}
}

// TestReport: medians, faults as sums, ratios in terms of Perigee.
func TestReport(t *testing.T) {
	b := &bench{options: options{rounds: 3, seconds: 3, outstanding: 128}, world: new(world)}
	for _, cpu := range []float64{9, 2, 3} {
		b.samples = append(b.samples, sample{server: "perigee", series: "static A", edges: 6, cpu: cpu, qps: 1000, wrong: 1},
			sample{server: "gdnsd", series: "static A", edges: 6, cpu: 2 * cpu, qps: 500, lost: 2})
	}
	text := b.report([]server{{name: "perigee"}, {name: "gdnsd"}, {name: "knot"}})
	for _, want := range []string{
		"| static A | perigee | 1000 | 0 % | 3.00 | 1.00 | 0 | 0 | 0 | 3 | 0 | 0.00 |",
		"| static A | gdnsd | 500 | 0 % | 6.00 | 2.00 | 0 | 0 | 0 | 0 | 6 | 0.00 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "| knot |") {
		t.Errorf("a server that was not measured has a line:\n%s", text)
	}
	if plot := b.plot([]server{{name: "perigee"}, {name: "gdnsd"}}); !strings.Contains(plot, "2.00 (6.00 µs)") {
		t.Errorf("the plot lacks a bar:\n%s", plot)
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"perigee/bench/figures"
)

// median returns the sample of one server and scenario whose CPU time is the median, with the medians of the other figures.
func (b *bench) median(server, scenario string) (m sample, ok bool) {
	var all []sample
	for _, s := range b.samples {
		if s.server == server && s.scenario == scenario {
			all = append(all, s)
			m.errors += s.errors
		}
	}
	if len(all) == 0 {
		return m, false
	}
	of := func(f func(sample) float64) float64 {
		var v []float64
		for _, s := range all {
			v = append(v, f(s))
		}
		return figures.Median(v)
	}
	m.server, m.scenario = server, scenario
	m.rps, m.cpu = of(func(s sample) float64 { return s.rps }), of(func(s sample) float64 { return s.cpu })
	m.origin = of(func(s sample) float64 { return s.origin })
	m.p50, m.p99, m.p999 = of(func(s sample) float64 { return s.p50 }), of(func(s sample) float64 { return s.p99 }), of(func(s sample) float64 { return s.p999 })
	return m, true
}

func (b *bench) scenarios() []string {
	var out []string
	for _, s := range b.samples {
		if !slices.Contains(out, s.scenario) {
			out = append(out, s.scenario)
		}
	}
	return out
}

// report words what was measured.
func (b *bench) report(servers []server) string {
	var t strings.Builder
	fmt.Fprintf(&t, "# The edge beside other caches\n\nWritten by `make bench` on %s. Machine: %s.\n\n", figures.Today(), figures.Machine())
	for _, s := range servers {
		fmt.Fprintf(&t, "- %s: %s\n", s.name, s.version)
	}
	for _, l := range b.left {
		fmt.Fprintf(&t, "- left out: %s\n", l)
	}
	fmt.Fprintf(&t, `
Each server runs on core 0 alone, load generator and origin on core 1; %d rounds, interleaved, medians. CPU is the server's user and system time per request, so it does
not depend on how fast the load generator is; requests a second do. Every answer's status, length and bytes are checked. *ram*: small objects may be held in
memory. *disk*: Perigee with `+"`ram: 0`"+`, Varnish with file storage; all of it is in the page cache of the system. *log*: as ram, with access log and metrics on (varnishncsa is
counted). *fill* is one request for each of the objects; *Zipf 0.9* asks for them after that. ×: the peer's CPU per request in terms of Perigee's. *origin*: reads of objects at the origin per request.

`, b.rounds)
	t.WriteString("| scenario | server | requests/s | CPU µs/request | × | p50 µs | p99 µs | p99.9 µs | origin | errors |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, sc := range b.scenarios() {
		us, _ := b.median("perigee", sc)
		for _, s := range servers {
			m, ok := b.median(s.name, sc)
			if !ok {
				continue
			}
			ratio := ""
			if us.cpu > 0 {
				ratio = fmt.Sprintf("%.2f", m.cpu/us.cpu)
			}
			fmt.Fprintf(&t, "| %s | %s | %.0f | %.2f | %s | %.0f | %.0f | %.0f | %.2f | %d |\n", sc, s.name, m.rps, m.cpu, ratio, m.p50, m.p99, m.p999, m.origin, m.errors)
		}
	}
	if len(b.facts) > 0 {
		fmt.Fprintf(&t, "\n## %d objects of 1 kB\n\n| server | what | value |\n|---|---|---:|\n", b.million)
		for _, f := range b.facts {
			fmt.Fprintf(&t, "| %s | %s | %s |\n", f.server, f.name, f.value)
		}
		t.WriteString("\nMemory is the growth of the process's anonymous pages over the fill, 512 MiB of prepared answers in Perigee and the objects themselves in Varnish included. Warm is the share of 5,000 requests by Zipf 0.9 that the origin did not see.\n")
	}
	t.WriteString("\n![CPU per request](edge-cpu.svg)\n\nThe commands: `make bench-peers` once, then `make bench`.\n")
	return t.String()
}

// write puts report and plot in place.
func (b *bench) write(text string, servers []server) error {
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.out, "edge.md"), []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.out, "edge-cpu.svg"), []byte(b.plot(servers)), 0o644)
}

// plot draws the CPU time per request of each server in terms of Perigee's, scenario by scenario.
func (b *bench) plot(servers []server) string {
	var names []string
	for _, s := range servers {
		names = append(names, s.name)
	}
	var groups []figures.Group
	for _, sc := range b.scenarios() {
		us, ok := b.median("perigee", sc)
		if !ok || us.cpu == 0 {
			continue
		}
		g := figures.Group{Name: sc}
		for i, s := range servers {
			if m, ok := b.median(s.name, sc); ok {
				g.Bars = append(g.Bars, figures.Bar{Series: i, Value: m.cpu / us.cpu, Label: fmt.Sprintf("%.2f (%.1f µs)", m.cpu/us.cpu, m.cpu)})
			}
		}
		groups = append(groups, g)
	}
	return figures.Plot("CPU time per request, Perigee = 1 (bars end at 8)", names, groups, 8)
}

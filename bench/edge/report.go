package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
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
		slices.Sort(v)
		return v[len(v)/2]
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
	fmt.Fprintf(&t, "# The edge beside other caches\n\nWritten by `make bench` on %s. Machine: %s, %d cores, %s.\n\n", now(), cpuModel(), runtime.NumCPU(), runtime.GOOS)
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

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.SplitSeq(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
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

var colours = []string{"#d55e00", "#0072b2", "#009e73", "#cc79a7"}

// plot draws the CPU time per request of each server in terms of Perigee's, scenario by scenario.
func (b *bench) plot(servers []server) string {
	const left, width, bar, gap = 130, 560, 12, 14
	y := 60
	var t strings.Builder
	for i, s := range servers {
		fmt.Fprintf(&t, `<rect x="%d" y="30" width="12" height="12" fill="%s"/><text x="%d" y="41">%s</text>`, left+i*130, colours[i%len(colours)], left+18+i*130, s.name)
	}
	for _, sc := range b.scenarios() {
		us, ok := b.median("perigee", sc)
		if !ok || us.cpu == 0 {
			continue
		}
		fmt.Fprintf(&t, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+bar, sc)
		for i, s := range servers {
			m, ok := b.median(s.name, sc)
			if !ok {
				continue
			}
			ratio := m.cpu / us.cpu
			fmt.Fprintf(&t, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" font-size="10">%.2f (%.1f µs)</text>`,
				left, y, min(ratio, 8)/8*width, bar-1, colours[i%len(colours)], left+4+min(ratio, 8)/8*width, y+bar-2, ratio, m.cpu)
			y += bar
		}
		y += gap
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12"><rect width="100%%" height="100%%" fill="white"/>`+
		`<text x="%d" y="18" font-size="14">CPU time per request, Perigee = 1 (bars end at 8)</text>%s</svg>`+"\n", left+width+110, y+10, left, t.String())
}

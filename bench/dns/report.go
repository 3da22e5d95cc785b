package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"perigee/bench/figures"
)

// median returns the medians of the samples of one server, series and number of edges, with the sum of their faults.
func (b *bench) median(server, series string, edges int) (m sample, ok bool) {
	var all []sample
	for _, s := range b.samples {
		if s.server == server && s.series == series && s.edges == edges {
			all = append(all, s)
			m.wrong += s.wrong
			m.lost += s.lost
		}
	}
	of := func(f func(sample) float64) float64 {
		var v []float64
		for _, s := range all {
			v = append(v, f(s))
		}
		return figures.Median(v)
	}
	m.server, m.series, m.edges = server, series, edges
	m.qps, m.cpu, m.busy = of(func(s sample) float64 { return s.qps }), of(func(s sample) float64 { return s.cpu }), of(func(s sample) float64 { return s.busy })
	m.gen = of(func(s sample) float64 { return s.gen })
	m.p50, m.p99, m.p999 = of(func(s sample) float64 { return s.p50 }), of(func(s sample) float64 { return s.p99 }), of(func(s sample) float64 { return s.p999 })
	return m, len(all) > 0
}

// fields are the series and numbers of edges that were measured, in order.
func (b *bench) fields() (series []string, edges []int) {
	for _, s := range b.samples {
		if !slices.Contains(series, s.series) {
			series = append(series, s.series)
		}
		if !slices.Contains(edges, s.edges) {
			edges = append(edges, s.edges)
		}
	}
	return series, edges
}

// report words what was measured.
func (b *bench) report(servers []server) string {
	var t strings.Builder
	fmt.Fprintf(&t, "# The DNS server beside others\n\nWritten by `make bench` on %s. Machine: %s; load average before: %s.\n\n", figures.Today(), figures.Machine(), b.load)
	for _, s := range servers {
		fmt.Fprintf(&t, "- %s: %s; steers by %s\n", s.name, s.version, s.steers)
	}
	for _, l := range b.left {
		fmt.Fprintf(&t, "- left out: %s\n", l)
	}
	fmt.Fprintf(&t, `
All answer over UDP on loopback for the same zone (%d steered names, %d static ones), with the same edges, from the same GeoIP file: Perigee's embedded table written as
GeoLite2-City, %d networks. Perigee and gdnsd choose by distance from each client's coordinates; Knot's and PowerDNS's modules have no distances, so each country is mapped to
the edge nearest to the place that has most of its addresses, which is less work for worse answers (the share of nearest edges is below). Each server runs on core %s alone
with one thread for UDP, everything else as its package has it; the load generator on core %s keeps %d queries outstanding from one socket. %d rounds of %.0f s, interleaved, medians;
the same queries for everybody, from a seed. Steered names are asked with a client subnet (ECS) of a random public /24 where that is said, everything else with EDNS and without ECS;
*mixed* is 70 parts steered A with ECS, 20 static A, 10 NXDOMAIN with random labels. Of each answer are checked: id, flags, response code, the question, the number of answers,
that the address is one of the edges' (or the static name's own), the OPT record, and that the client subnet comes back. *wrong* and *lost* are sums over the rounds.

CPU is the server's user and system time per query, and what to compare: ×, the peer's in terms of Perigee's, does not depend on the load generator. Queries a second do as soon as
*busy*, the share of the time in which the server computed, is below 100 %%: then the generator was slower than the server. *load* is the generator's own CPU per query. With a fixed number of
queries outstanding the median latency is that number divided by the rate. A measurement waits until the machine is at rest and is repeated, up to %d times, if others used more than
%.0f %% of it meanwhile; in the worst that was kept they used %.1f %%.

`, steeredNames, staticNames, b.world.networks, serverCore, loadCore, b.outstanding, b.rounds, b.seconds, tries, 100*disturbed, 100*b.worst())
	b.behind(&t, servers)
	series, edges := b.fields()
	for _, n := range edges {
		fmt.Fprintf(&t, "## %d edges\n\n", n)
		b.table(&t, servers, series, n)
	}
	b.startTable(&t, servers, edges)
	b.churnTable(&t)
	t.WriteString("\n![CPU per query](dns-cpu.svg)\n\nThe commands: `make bench-peers` once, then `make bench`; this page alone: `go build -o bin/bench-dns ./bench/dns && bin/bench-dns`.\n")
	return t.String()
}

// worst returns the largest share of the machine that others used during a measurement.
func (b *bench) worst() (share float64) {
	for _, s := range b.samples {
		share = max(share, s.others)
	}
	return share
}

// even is by how much two CPU times must differ to be called different.
const even = 0.03

// behind lists where a peer needs less CPU than Perigee.
func (b *bench) behind(t *strings.Builder, servers []server) {
	t.WriteString("Where Perigee is behind in CPU per query (by more than 3 %):\n\n")
	series, edges := b.fields()
	none := true
	for _, n := range edges {
		for _, sc := range series {
			us, _ := b.median("perigee", sc, n)
			for _, s := range servers {
				if m, ok := b.median(s.name, sc, n); ok && m.cpu < us.cpu*(1-even) {
					fmt.Fprintf(t, "- %s, %d edges: %s %.2f µs, Perigee %.2f µs\n", sc, n, s.name, m.cpu, us.cpu)
					none = false
				}
			}
		}
	}
	if none {
		t.WriteString("- nowhere in these series\n")
	}
	t.WriteString("\n")
}

func (b *bench) table(t *strings.Builder, servers []server, series []string, edges int) {
	t.WriteString("| series | server | queries/s | busy | CPU µs/query | × | p50 µs | p99 µs | p99.9 µs | wrong | lost | load µs/query |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, sc := range series {
		us, _ := b.median("perigee", sc, edges)
		for _, s := range servers {
			m, ok := b.median(s.name, sc, edges)
			if !ok {
				continue
			}
			fmt.Fprintf(t, "| %s | %s | %.0f | %.0f %% | %.2f | %s | %.0f | %.0f | %.0f | %d | %d | %.2f |\n",
				sc, s.name, m.qps, 100*m.busy, m.cpu, ratio(m.cpu, us.cpu), m.p50, m.p99, m.p999, m.wrong, m.lost, m.gen)
		}
	}
	t.WriteString("\n")
}

// ratio words a in terms of b; "" when there is no b.
func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a/b)
}

// startTable says what the servers are like at rest.
func (b *bench) startTable(t *strings.Builder, servers []server, edges []int) {
	t.WriteString("## Start, memory, accuracy\n\n| server | edges | first right answer s | resident MiB | of it anonymous MiB | clients sent to the nearest edge |\n|---|---:|---:|---:|---:|---:|\n")
	for _, n := range edges {
		for _, s := range servers {
			var ready, resident, anonymous, nearest []float64
			for _, x := range b.starts {
				if x.server == s.name && x.edges == n {
					ready, resident = append(ready, x.ready), append(resident, x.resident/(1<<20))
					anonymous, nearest = append(anonymous, x.anonymous/(1<<20)), append(nearest, 100*x.nearest)
				}
			}
			if len(ready) > 0 {
				fmt.Fprintf(t, "| %s | %d | %.1f | %.0f | %.0f | %.1f %% |\n", s.name, n,
					figures.Median(ready), figures.Median(resident), figures.Median(anonymous), figures.Median(nearest))
			}
		}
	}
	t.WriteString("\nResident memory counts the pages of the GeoIP file that are mapped. Nearest: of 20,000 random public /24s that the file knows, weighted by address space and not by users.\n")
}

// churnTable says what came of the fleet's changes.
func (b *bench) churnTable(t *strings.Builder) {
	if len(b.churns) == 0 {
		return
	}
	fmt.Fprintf(t, `
## While the fleet changes

The mixed series for %.0f s while the fleet file is replaced every %d ms, each time with another edge that drains. Perigee looks at the file once a second, so that it sees every fifth
version or so; each of those makes a new steering map, on the one core that also answers.

| server | edges | file replaced | put into force | queries/s | CPU µs/query | p50 µs | p99 µs | p99.9 µs | wrong | lost |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
`, b.churn, every.Milliseconds())
	for _, c := range b.churns {
		fmt.Fprintf(t, "| %s | %d | %d | %d | %.0f | %.2f | %.0f | %.0f | %.0f | %d | %d |\n",
			c.server, c.edges, c.written, c.applied, c.qps, c.cpu, c.p50, c.p99, c.p999, c.wrong, c.lost)
	}
}

// write puts report and plot in place.
func (b *bench) write(text string, servers []server) error {
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.out, "dns.md"), []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.out, "dns-cpu.svg"), []byte(b.plot(servers)), 0o644)
}

// plot draws the CPU time per query of each server in terms of Perigee's, series by series, with the first number of edges.
func (b *bench) plot(servers []server) string {
	var names []string
	for _, s := range servers {
		names = append(names, s.name)
	}
	series, edges := b.fields()
	var groups []figures.Group
	for _, n := range edges {
		for _, sc := range series {
			us, ok := b.median("perigee", sc, n)
			if !ok || us.cpu == 0 {
				continue
			}
			g := figures.Group{Name: fmt.Sprintf("%s, %d edges", sc, n)}
			for i, s := range servers {
				if m, ok := b.median(s.name, sc, n); ok {
					g.Bars = append(g.Bars, figures.Bar{Series: i, Value: m.cpu / us.cpu, Label: fmt.Sprintf("%.2f (%.2f µs)", m.cpu/us.cpu, m.cpu)})
				}
			}
			groups = append(groups, g)
		}
	}
	return figures.Plot("CPU time per query, Perigee = 1 (bars end at 8)", names, groups, 8)
}

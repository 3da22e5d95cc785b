// Command dns measures Perigee's DNS server beside the geographic DNS servers that are installed, in one run on one machine: queries a second, the server's CPU time
// per query, latency, memory. All of them answer for the same zone, with the same edges, from the same GeoIP file, which is made at the start. Each server has core 0
// to itself and one thread, the load generator has core 1; rounds are interleaved and medians are taken. It writes docs/benchmarks/dns.md and the plot beside it.
//
// It starts itself as load generator, so that this is a process of its own that can be pinned.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"perigee/bench/dnsload"
)

// options are the flags.
type options struct {
	perigee, out, dir, only string
	rounds, outstanding     int
	seconds, churn          float64
	patience                float64
}

func main() {
	log.SetFlags(log.Ltime)
	if len(os.Args) == 3 && os.Args[1] == "load" {
		if err := serveLoad(os.Args[2]); err != nil {
			log.Fatal(err)
		}
		return
	}
	var o options
	flag.StringVar(&o.perigee, "perigee", "bin/perigee", "the binary to measure")
	flag.StringVar(&o.out, "out", "docs/benchmarks", "directory of the report")
	flag.StringVar(&o.dir, "dir", "", "directory for configurations and logs; default a temporary one, removed at the end")
	flag.StringVar(&o.only, "only", "", "only servers with this in their name; then no report is written")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of which the median is taken")
	flag.IntVar(&o.outstanding, "outstanding", 128, "queries without an answer at any time")
	flag.Float64Var(&o.seconds, "seconds", 3, "of each measurement")
	flag.Float64Var(&o.churn, "churn", 10, "seconds of the measurement during which the fleet changes")
	flag.Float64Var(&o.patience, "patience", 20, "seconds to wait for a machine at rest before each measurement")
	flag.Parse()
	if err := run(o); err != nil {
		log.Fatal(err)
	}
}

// serveLoad is the load generator.
func serveLoad(config string) error {
	var cfg dnsload.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return err
	}
	r, err := dnsload.Run(cfg)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func run(o options) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "bench-dns-")
		if err != nil {
			return err
		}
		o.dir = dir
		defer os.RemoveAll(dir)
	}
	b := &bench{options: o, load: loadAverage()}
	log.Printf("making the GeoIP file; load average %s", b.load)
	var err error
	if b.world, err = newWorld(filepath.Join(o.dir, "city.mmdb")); err != nil {
		return fmt.Errorf("make the GeoIP file: %w", err)
	}
	var servers []server
	servers, b.left = installed(o)
	servers = slices.DeleteFunc(servers, func(s server) bool { return !strings.Contains(s.name, o.only) })
	for round := range o.rounds {
		for _, n := range []int{6, 16} {
			for i := range servers {
				s := servers[(i+round)%len(servers)] // so that nobody is always the one after a rest
				if slices.ContainsFunc(b.left, func(l string) bool { return strings.HasPrefix(l, s.name+" ") }) {
					continue
				}
				if err := b.measure(s, newField(n), round); err != nil {
					if s.name == "perigee" {
						return fmt.Errorf("%s: %w", s.name, err)
					}
					log.Printf("%s is left out: %v", s.name, err)
					b.left = append(b.left, fmt.Sprintf("%s (%v)", s.name, err))
				}
			}
		}
	}
	text := b.report(servers)
	fmt.Print(text)
	if o.only != "" {
		return nil
	}
	return b.write(text, servers)
}

// loadAverage returns what the machine was busy with before.
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(b))[:min(3, len(strings.Fields(string(b))))], " ")
}

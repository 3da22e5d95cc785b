// Command edge measures an edge of Perigee beside the caches that are installed, in one run on one machine: requests a second, the server's CPU time per
// request, latency, memory per object, and how long a restart after kill -9 takes. Each server has core 0 to itself, the load generator and the origin
// have the others; rounds are interleaved and medians are taken. It writes docs/benchmarks/edge.md and the plots beside it.
//
// It starts itself as origin and as load generator, so that these are processes of their own that can be pinned.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"

	"perigee/bench/farm"
	"perigee/bench/load"
)

// options are the flags.
type options struct {
	perigee, out, dir, only string
	rounds, million         int
	seconds                 float64
}

func main() {
	log.SetFlags(log.Ltime)
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "origin":
			serveOrigin(os.Args[2], os.Args[3])
			return
		case "load":
			var cfg load.Config
			if err := json.Unmarshal([]byte(os.Args[2]), &cfg); err != nil {
				log.Fatal(err)
			}
			json.NewEncoder(os.Stdout).Encode(load.Run(cfg))
			return
		}
	}
	var o options
	flag.StringVar(&o.perigee, "perigee", "bin/perigee", "the binary to measure")
	flag.StringVar(&o.out, "out", "docs/benchmarks", "directory of the report")
	flag.StringVar(&o.dir, "dir", "", "directory for caches and logs; default a temporary one, removed at the end")
	flag.StringVar(&o.only, "only", "", "only servers and scenarios with this in their name; then no report is written")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of which the median is taken")
	flag.IntVar(&o.million, "objects", 1_000_000, "objects of the large scenario; 0 leaves it out")
	flag.Float64Var(&o.seconds, "seconds", 4, "of each measurement")
	flag.Parse()
	if err := run(o); err != nil {
		log.Fatal(err)
	}
}

func serveOrigin(addr, kinds string) {
	all, err := farm.ParseKinds(kinds)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(addr, farm.New(all).Handler()))
}

func run(o options) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "bench-edge-")
		if err != nil {
			return err
		}
		o.dir = dir
		defer os.RemoveAll(dir)
	}
	b := &bench{options: o}
	defer b.stopOrigin()
	if err := b.startOrigin(); err != nil {
		return err
	}
	servers := installed(o)
	for round := range o.rounds {
		for _, m := range modes {
			for i := range servers {
				s := servers[(i+round)%len(servers)] // so that nobody is always the one after a rest
				if err := b.measure(s, m); err != nil {
					if s.name == "perigee" {
						return fmt.Errorf("%s, %s: %w", s.name, m.name, err)
					}
					b.leaveOut(s.name, err)
				}
			}
		}
	}
	if o.million > 0 {
		for _, s := range servers {
			if err := b.large(s); err != nil {
				if s.name == "perigee" {
					return fmt.Errorf("%s, %d objects: %w", s.name, o.million, err)
				}
				b.leaveOut(s.name, err)
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

// leaveOut goes on without a peer that does not run here.
func (b *bench) leaveOut(name string, err error) {
	log.Printf("%s is left out: %v", name, err)
	b.left = append(b.left, fmt.Sprintf("%s (%v)", name, err))
}

// wanted reports whether -only takes a measurement in.
func (b *bench) wanted(server, scenario string) bool {
	for _, l := range b.left {
		if strings.HasPrefix(l, server+" ") {
			return false
		}
	}
	return b.only == "" || strings.Contains(server+" "+scenario, b.only)
}

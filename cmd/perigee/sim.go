package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"perigee/edge/cache/sim"
)

type simCmd struct {
	Trace      string `placeholder:"FILE" help:"The trace, plain or gzip: one request a line, fields parted by space, tab or comma."`
	Format     string `default:"time-id-size" enum:"id,id-size,time-id-size" help:"Fields of a line: ${enum}. In a trace of ids alone each object has size 1."`
	Size       string `placeholder:"N" help:"Size of the cache in bytes, with K, M, G or T for KiB to TiB."`
	Policy     string `default:"all" help:"Policies to compare, with commas between: perigee, lru, s3-fifo, sieve, w-tinylfu, gdsf, belady; or all, or online, which is all but belady."`
	SVG        string `name:"svg" placeholder:"FILE" help:"Replay with caches of N/16, N/8, N/4, N/2 and N, and plot the hit ratios into FILE."`
	ObjectSize string `placeholder:"N" help:"Size of each object in a trace of ids alone; else 1."`
	Segment    string `placeholder:"N" help:"Size of a segment of Perigee's store; else a 256th of the cache."`
	MaxFuture  int    `default:"200000000" placeholder:"N" help:"Requests belady may take; it needs 4 bytes for each and 30 for each object, the others only what their cache holds."`
	Generate   string `placeholder:"SPEC" help:"Write a generated trace (time-id-size) to FILE of --trace, or to the standard output, instead: such as seed=1,requests=1000000,objects=100000,zipf=0.9,onehit=0.3,sizes=lognormal,scan=0.1,drift=2,flip=1."`
}

// Run replays a trace, or writes a generated one.
func (c *simCmd) Run(a *app) error {
	if c.Generate != "" {
		return c.generate(a)
	}
	if c.Trace == "" || c.Size == "" {
		return fmt.Errorf("sim needs --trace FILE and --size N; --generate makes a trace")
	}
	size, err := parseSize("--size", c.Size)
	if err != nil {
		return err
	}
	objectSize, err := parseSize("--object-size", c.ObjectSize)
	if err != nil {
		return err
	}
	segment, err := parseSize("--segment", c.Segment)
	if err != nil {
		return err
	}
	format, err := sim.ParseFormat(c.Format, objectSize)
	if err != nil {
		return err
	}
	policies, err := c.policies()
	if err != nil {
		return err
	}
	source := func(f func(sim.Request) error) error { return sim.ReadFile(c.Trace, format, f) }
	conf := sim.Config{Size: size, Segment: segment}
	if c.Format == "id" {
		conf.Objects = max(objectSize, 1)
	}
	if slices.Contains(policies, "belady") {
		if conf.Future, err = c.future(a, source); err != nil {
			return err
		}
	}
	sizes := []int64{size}
	if c.SVG != "" {
		sizes = []int64{size / 16, size / 8, size / 4, size / 2, size}
	}
	var runs []*sim.Run
	for _, conf.Size = range sizes {
		for _, p := range policies {
			cache, err := sim.New(p, conf)
			if err != nil {
				return err
			}
			runs = append(runs, sim.NewRun(p, conf.Size, cache))
		}
	}
	if err := sim.Replay(a.ctx, a.clock, source, runs); err != nil {
		return err
	}
	return c.print(a, runs)
}

// policies returns the policies asked for, each once.
func (c *simCmd) policies() ([]string, error) {
	all := sim.Names()
	var out []string
	for _, p := range strings.Split(c.Policy, ",") {
		switch {
		case p == "all":
			out = append(out, all...)
		case p == "online":
			out = append(out, slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "belady" })...)
		case slices.Contains(all, p):
			out = append(out, p)
		default:
			return nil, fmt.Errorf("--policy: there is no %q; there are all, online, %s", p, strings.Join(all, ", "))
		}
	}
	var once []string
	for _, p := range out {
		if !slices.Contains(once, p) {
			once = append(once, p)
		}
	}
	return once, nil
}

// future reads the trace once for belady.
func (c *simCmd) future(a *app, source sim.Source) (*sim.Future, error) {
	f := new(sim.Future)
	err := source(func(r sim.Request) error {
		if f.Requests() >= c.MaxFuture || f.Requests() >= 1<<32-2 {
			return fmt.Errorf("belady needs the whole trace in memory, which has more than %d requests: use --policy online, or raise --max-future", c.MaxFuture)
		}
		f.Add(r)
		if f.Requests()%(1<<16) == 0 {
			return a.ctx.Err()
		}
		return nil
	})
	f.Done()
	return f, err
}

func (c *simCmd) print(a *app, runs []*sim.Run) error {
	if c.SVG != "" {
		if err := writeTo(c.SVG, func(w io.Writer) error { return sim.WriteSVG(w, "Hit ratios: "+c.Trace, runs) }); err != nil {
			return err
		}
	}
	if a.JSON {
		for _, r := range runs {
			b, err := json.Marshal(r)
			if err == nil {
				_, err = fmt.Fprintf(a.stdout, "%s\n", b)
			}
			if err != nil {
				return fmt.Errorf("write output: %w", err)
			}
		}
		return nil
	}
	return sim.WriteTable(a.stdout, runs)
}

func (c *simCmd) generate(a *app) error {
	mix, err := sim.ParseMix(c.Generate)
	if err != nil {
		return err
	}
	write := func(w io.Writer) error {
		n := 0
		return mix.Generate(func(second int64, r sim.Request) error {
			if n++; n%(1<<16) == 0 && a.ctx.Err() != nil {
				return a.ctx.Err()
			}
			_, err := fmt.Fprintf(w, "%d %016x %d\n", second, r.Key, r.Size)
			return err
		})
	}
	if c.Trace != "" {
		return writeTo(c.Trace, write)
	}
	out := bufio.NewWriter(a.stdout)
	if err := write(out); err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	return out.Flush()
}

// writeTo makes file with what f writes.
func writeTo(file string, f func(io.Writer) error) error {
	h, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	out := bufio.NewWriter(h)
	err = f(out)
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	if cerr := h.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// parseSize reads a number of bytes with an optional unit K, M, G or T; an empty text is 0.
func parseSize(flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	digits, shift := strings.TrimRight(strings.ToUpper(s), "IB"), 0
	if n := len(digits); n > 0 {
		if i := strings.IndexByte("KMGT", digits[n-1]); i >= 0 {
			digits, shift = digits[:n-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > 1<<50>>shift {
		return 0, fmt.Errorf("%s %s is no size such as 1000000, 512M or 20G, at most 1024T", flag, s)
	}
	return n << shift, nil
}

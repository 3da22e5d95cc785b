package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"perigee/bench/dnsload"
	"perigee/bench/program"
	"perigee/dnsgeo/geo"
)

// unknownPlace is where clients are that the GeoIP file does not know.
var unknownPlace geo.Place

// bench is one run of the whole.
type bench struct {
	options
	world   *world
	load    string // average, before
	left    []string
	samples []sample
	starts  []started
	churns  []churned
}

// sample is one measurement.
type sample struct {
	server, series string
	edges          int
	qps, cpu       float64 // cpu: microseconds of the server per query
	busy           float64 // share of the time in which the server computed
	gen            float64 // microseconds of the load generator per query
	others         float64 // share of the machine that neither of them used
	p50, p99, p999 float64 // microseconds
	wrong, lost    int64
}

// started is what a server is like once it runs.
type started struct {
	server              string
	edges               int
	ready               float64 // seconds to the first right answer
	resident, anonymous float64 // bytes, after all series
	nearest             float64 // share of clients that get the edge nearest by the file's coordinates
}

// churned is what came of the series in which the fleet changes.
type churned struct {
	sample
	answers          int64
	written, applied int // changes of the file, and those the server has put into force
}

// Wire numbers of RFC 1035 and 3596.
const (
	typeA, typeAAAA = 1, 28
	nxdomain        = 3
)

// series are what is asked: A and AAAA of steered names, with a client subnet and without, static names, names that do not exist, and all of them mixed.
func (f *field) series() []struct {
	name  string
	kinds []dnsload.Kind
} {
	steered := dnsload.Kind{Weight: 1, Type: typeA}
	for i := range steeredNames {
		steered.Names = append(steered.Names, steeredName(i)+"."+zoneName)
	}
	six := steered
	six.Type = typeAAAA
	for i := range f.edges {
		steered.Addrs, six.Addrs = append(steered.Addrs, v4(i)), append(six.Addrs, v6(i))
	}
	near, six16 := steered, six
	near.ECS, six16.ECS = true, true
	static := dnsload.Kind{Weight: 1, Type: typeA, Each: true}
	for i := range staticNames {
		static.Names, static.Addrs = append(static.Names, staticName(i)+"."+zoneName), append(static.Addrs, staticAddr(i))
	}
	none := dnsload.Kind{Weight: 1, Type: typeA, Names: []string{zoneName}, Random: true, Rcode: nxdomain}
	mixed := []dnsload.Kind{near, static, none}
	mixed[0].Weight, mixed[1].Weight, mixed[2].Weight = 70, 20, 10
	return []struct {
		name  string
		kinds []dnsload.Kind
	}{
		{"steered A", []dnsload.Kind{steered}},
		{"steered A, ECS", []dnsload.Kind{near}},
		{"steered AAAA, ECS", []dnsload.Kind{six16}},
		{"static A", []dnsload.Kind{static}},
		{"NXDOMAIN", []dnsload.Kind{none}},
		{"mixed 70/20/10", mixed},
	}
}

// instance is a server that runs.
type instance struct {
	server
	addr, dir string
	main      *program.Program
	field     *field
}

func (i *instance) config(kinds []dnsload.Kind) dnsload.Config {
	return dnsload.Config{Addr: i.addr, Kinds: kinds, Outstanding: 128, Seed: 1}
}

// start starts a server and waits until it answers right.
func (b *bench) start(s server, f *field) (*instance, time.Duration, error) {
	dir, err := os.MkdirTemp(b.dir, s.name+"-")
	if err != nil {
		return nil, 0, err
	}
	addr, err := program.FreeAddr()
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	i := &instance{server: s, addr: addr, dir: dir, field: f}
	if i.main, err = s.launch(b, f, dir, addr); err != nil {
		return nil, 0, err
	}
	first := ""
	for time.Since(began) < 3*time.Minute && !i.main.Ended() {
		cfg := i.config(f.series()[1].kinds)
		cfg.Queries, cfg.Outstanding, cfg.Patience = 1, 1, 0.2
		r, err := dnsload.Run(cfg)
		if err != nil {
			first = err.Error()
		} else if r.Right == 1 {
			return i, time.Since(began), nil
		} else {
			first = r.First
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(filepath.Join(dir, "log"))
	log.Printf("%s", text[max(0, len(text)-2000):])
	i.main.Kill()
	return nil, 0, fmt.Errorf("it does not answer right: %s", first)
}

// measure runs all series against a fresh instance.
func (b *bench) measure(s server, f *field, round int) error {
	i, ready, err := b.start(s, f)
	if err != nil {
		return err
	}
	defer i.main.Kill()
	log.Printf("%-8s %2d edges, answers after %.1f s", s.name, len(f.edges), ready.Seconds())
	st := started{server: s.name, edges: len(f.edges), ready: ready.Seconds()}
	if st.nearest, err = b.nearest(i); err != nil {
		return err
	}
	for _, x := range f.series() {
		cfg := i.config(x.kinds)
		cfg.Outstanding, cfg.Seed = b.outstanding, uint64(round+1)
		cfg.Seconds = min(0.3, b.seconds) // so that caches are warm and nothing is left to be compiled
		if _, err := b.ask(i, "", cfg); err != nil {
			return err
		}
		cfg.Seconds = b.seconds
		if err := b.sample(i, x.name, cfg); err != nil {
			return err
		}
	}
	resident, anonymous := program.Memory(i.main)
	st.resident, st.anonymous = float64(resident), float64(anonymous)
	b.starts = append(b.starts, st)
	if s.name == "perigee" && round == 0 && b.churn > 0 {
		return b.change(i)
	}
	return nil
}

// What a measurement allows others on the machine: as much before, and as much meanwhile, as shares of it. One that was disturbed more is done again.
const (
	restless  = 0.05
	disturbed = 0.02
	tries     = 3
)

// sample measures a series and keeps the least disturbed of a few attempts.
func (b *bench) sample(i *instance, series string, cfg dnsload.Config) error {
	best := sample{others: 2}
	for try := 0; try < tries && best.others > disturbed; try++ {
		program.AwaitIdle(restless, time.Duration(b.patience*float64(time.Second)))
		s, err := b.ask(i, series, cfg)
		if err != nil {
			return err
		}
		if s.others < best.others {
			s.wrong, s.lost = s.wrong+best.wrong, s.lost+best.lost
			best = s
		} else {
			best.wrong, best.lost = best.wrong+s.wrong, best.lost+s.lost
		}
	}
	log.Printf("%-8s %2d %-18s %8.0f/s %6.2f µs CPU (%3.0f %%)  load %5.2f µs  p50 %.0f p99 %.0f p99.9 %.0f µs  others %.1f %%",
		i.name, best.edges, series, best.qps, best.cpu, 100*best.busy, best.gen, best.p50, best.p99, best.p999, 100*best.others)
	b.samples = append(b.samples, best)
	return nil
}

// ask runs a load against an instance.
func (b *bench) ask(i *instance, series string, cfg dnsload.Config) (sample, error) {
	before, busy, began := program.CPU(i.main), program.Busy(), time.Now()
	r, own, err := runLoad(cfg)
	if err != nil {
		return sample{}, err
	}
	used := program.CPU(i.main) - before
	others := (program.Busy() - busy - used - own).Seconds() / time.Since(began).Seconds() / float64(runtime.NumCPU())
	if i.main.Ended() {
		return sample{}, errors.New("it has ended by itself")
	}
	if r.Right == 0 {
		return sample{}, fmt.Errorf("%s: no right answer; %s", series, r.First)
	}
	asked := float64(r.Right + r.Wrong)
	s := sample{server: i.name, series: series, edges: len(i.field.edges), qps: asked / r.Seconds, cpu: used.Seconds() * 1e6 / asked, busy: used.Seconds() / r.Seconds,
		gen: r.CPU * 1e6 / asked, others: max(others, 0), p50: r.P50, p99: r.P99, p999: r.P999, wrong: r.Wrong, lost: r.Lost}
	if r.First != "" {
		log.Printf("%s, %s: %d wrong, %d lost: %s", i.name, series, r.Wrong, r.Lost, r.First)
	}
	return s, nil
}

// runLoad runs the load generator as a process of its own, and returns what that used in all, too.
func runLoad(cfg dnsload.Config) (r dnsload.Result, own time.Duration, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, 0, err
	}
	arg, err := json.Marshal(cfg)
	if err != nil {
		return r, 0, err
	}
	cmd := exec.Command("taskset", "-c", loadCore, self, "load", string(arg))
	cmd.Env, cmd.Stderr = append(os.Environ(), "GOMAXPROCS=1"), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, 0, fmt.Errorf("load generator: %w", err)
	}
	return r, cmd.ProcessState.SystemTime() + cmd.ProcessState.UserTime(), json.Unmarshal(out, &r)
}

// nearest asks for random clients and returns the share that is sent to the nearest edge, as the coordinates of the GeoIP file have it.
func (b *bench) nearest(i *instance) (float64, error) {
	cfg := i.config(i.field.series()[1].kinds)
	cfg.Queries, cfg.Seed = 20_000, 7
	near, known := 0, 0
	cfg.Heard = func(subnet netip.Prefix, addr netip.Addr) {
		place, _ := b.world.db.Lookup(subnet.Addr())
		if !place.Known {
			return
		}
		known++
		if addr == v4(i.field.nearest(place)) {
			near++
		}
	}
	if _, err := dnsload.Run(cfg); err != nil {
		return 0, err
	}
	return float64(near) / float64(max(known, 1)), nil
}

// every is how often the fleet changes.
const every = 200 * time.Millisecond

// change asks while the fleet file changes: in turn another edge takes no new clients.
func (b *bench) change(i *instance) error {
	stop, done := make(chan struct{}), make(chan error, 1)
	written := 0
	go func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-stop:
				done <- nil
				return
			case <-t.C:
			}
			if err := i.field.writeFleet(filepath.Join(i.dir, fleetFile), written%len(i.field.edges)); err != nil {
				done <- err
				return
			}
			written++
		}
	}()
	applied := b.applied(i)
	cfg := i.config(i.field.series()[5].kinds)
	cfg.Outstanding, cfg.Seconds = b.outstanding, b.churn
	s, err := b.ask(i, "", cfg)
	close(stop)
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	s.series = "mixed, fleet changes"
	c := churned{sample: s, answers: int64(s.qps * b.churn), written: written, applied: b.applied(i) - applied}
	log.Printf("%s %d edges: the file changed %d times, %d of them seen; %.0f/s, %d wrong, %d lost, p99.9 %.0f µs", i.name, s.edges, c.written, c.applied, s.qps, s.wrong, s.lost, s.p999)
	if c.applied == 0 {
		return errors.New("it has not seen the fleet change")
	}
	b.churns = append(b.churns, c)
	return nil
}

// applied returns how often Perigee has put the fleet file into force, as its log has it.
func (b *bench) applied(i *instance) int {
	text, _ := os.ReadFile(filepath.Join(i.dir, "log"))
	return strings.Count(string(text), "the fleet file was read again")
}

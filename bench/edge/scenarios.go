package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"perigee/bench/farm"
	"perigee/bench/load"
	"perigee/bench/program"
)

// sample is one measurement.
type sample struct {
	server, scenario string
	rps, cpu         float64 // cpu: microseconds of the server per request
	p50, p99, p999   float64 // microseconds
	origin           float64 // reads of objects at the origin per request
	errors           int64
}

// fact is a figure that is measured once.
type fact struct{ server, name, value string }

// hits are the objects of the hit scenarios.
var hits = []struct {
	name  string
	size  int64
	count int
	conns int
}{{"1 kB", 1000, 1000, 64}, {"100 kB", 100_000, 100, 32}, {"10 MB", 10_000_000, 10, 8}}

// instance is a server that runs.
type instance struct {
	server
	addr, dir string
	main      *program.Program
	extra     []*program.Program // counted, too
	helpers   []*program.Program // not counted
}

func (i *instance) all() []*program.Program { return append([]*program.Program{i.main}, i.extra...) }

func (i *instance) stop() {
	i.main.Kill()
	for _, p := range append(i.extra, i.helpers...) {
		p.Kill()
	}
	os.RemoveAll(i.dir)
}

func (b *bench) start(s server, m mode) (*instance, error) {
	dir, err := os.MkdirTemp(b.dir, s.name+"-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	i := &instance{server: s, addr: freeAddr(), dir: dir}
	if i.main, i.extra, i.helpers, err = s.launch(b, m, dir, i.addr); err != nil {
		return nil, err
	}
	if _, err := awaitAnswer(i.addr, s.prefix, 1000, 0); err != nil {
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, l := range logs {
			text, _ := os.ReadFile(l)
			log.Printf("%s:\n%s", l, text[max(0, len(text)-2000):])
		}
		i.stop()
		return nil, err
	}
	return i, nil
}

// ask runs a load against an instance and keeps the sample, if scenario is not "".
func (b *bench) ask(i *instance, scenario string, cfg load.Config) (sample, error) {
	cfg.Addr, cfg.Prefix = i.addr, i.prefix
	read, err := b.counts()
	if err != nil {
		return sample{}, err
	}
	before := program.CPU(i.all()...)
	r, err := runLoad(cfg)
	if err != nil {
		return sample{}, err
	}
	used := program.CPU(i.all()...) - before
	after, err := b.counts()
	if err != nil {
		return sample{}, err
	}
	s := sample{server: i.name, scenario: scenario, errors: r.Errors, p50: r.P50, p99: r.P99, p999: r.P999}
	if r.Requests > 0 {
		s.rps, s.cpu = float64(r.Requests)/r.Seconds, float64(used.Microseconds())/float64(r.Requests)
		s.origin = float64(after.Web+after.Blobs-read.Web-read.Blobs) / float64(r.Requests)
	}
	if r.Errors > 0 {
		log.Printf("%s, %s: %d errors: %s", i.name, scenario, r.Errors, r.First)
	}
	if scenario != "" {
		log.Printf("%-14s %-14s %9.0f/s %9.2f µs CPU  p50 %.0f p99 %.0f µs", i.name, scenario, s.rps, s.cpu, s.p50, s.p99)
		b.samples = append(b.samples, s)
	}
	return s, nil
}

// measure runs the scenarios of a mode against a fresh instance.
func (b *bench) measure(s server, m mode) error {
	if !b.wanted(s.name, m.name) {
		return nil
	}
	i, err := b.start(s, m)
	if err != nil {
		return err
	}
	defer i.stop()
	for _, h := range hits {
		if m.log && h.size > 100_000 {
			continue
		}
		// Three times over, so that whoever admits by frequency has admitted.
		if _, err := b.ask(i, "", load.Config{Size: h.size, Count: h.count, Conns: 8, Requests: 4 * int64(h.count)}); err != nil {
			return err
		}
		cfg := load.Config{Size: h.size, Count: h.count, Conns: h.conns, Seconds: b.seconds}
		if _, err := b.ask(i, h.name+" "+m.name, cfg); err != nil {
			return err
		}
	}
	if m.name != "ram" {
		return nil
	}
	if _, err := b.ask(i, "1 kB miss", load.Config{Size: 1000, First: 10_000, Count: 20_000, Conns: 32, Requests: 20_000}); err != nil {
		return err
	}
	_, err = b.ask(i, "10 MB miss", load.Config{Size: 10_000_000, First: 20, Count: 60, Conns: 4, Requests: 60})
	return err
}

// large is a million objects: filled one by one, asked for by Zipf 0.9, killed, and asked for again.
func (b *bench) large(s server) error {
	name := fmt.Sprintf("%d objects", b.million)
	if !b.wanted(s.name, name) {
		return nil
	}
	m := modes[0]
	i, err := b.start(s, m)
	if err != nil {
		return err
	}
	defer i.stop()
	_, empty := program.Memory(i.all()...)
	if _, err := b.ask(i, "fill", load.Config{Size: 1000, Count: b.million, Conns: 64, Requests: int64(b.million)}); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	_, full := program.Memory(i.all()...)
	b.facts = append(b.facts, fact{s.name, "memory per object", fmt.Sprintf("%.0f B", float64(full-empty)/float64(b.million))})
	for range b.rounds {
		if _, err := b.ask(i, "Zipf 0.9", load.Config{Size: 1000, Count: b.million, Zipf: 0.9, Conns: 64, Seconds: b.seconds}); err != nil {
			return err
		}
	}
	return b.restart(i)
}

// restart kills a server and asks it again for what it had.
func (b *bench) restart(i *instance) error {
	i.main.Kill()
	for _, p := range i.extra {
		p.Kill()
	}
	began := time.Now()
	var err error
	if i.name == "perigee" {
		i.main, err = relaunchPerigee(b, i.dir)
	} else {
		i.main, i.extra, _, err = i.launch(b, modes[0], i.dir, i.addr)
	}
	if err != nil {
		return err
	}
	if _, err := awaitAnswer(i.addr, i.prefix, 1000, 1); err != nil {
		return err
	}
	took := time.Since(began)
	before, err := b.counts()
	if err != nil {
		return err
	}
	const asked = 5000
	if _, err := b.ask(i, "", load.Config{Size: 1000, Count: b.million, Zipf: 0.9, Conns: 8, Requests: asked}); err != nil {
		return err
	}
	after, err := b.counts()
	if err != nil {
		return err
	}
	misses := after.Web + after.Blobs - before.Web - before.Blobs
	b.facts = append(b.facts, fact{i.name, "first right answer after kill -9", took.Round(time.Millisecond).String()},
		fact{i.name, "still warm after kill -9", fmt.Sprintf("%.1f %%", 100*float64(asked-misses)/asked)})
	return nil
}

// counts asks the origin what was read.
func (b *bench) counts() (c farm.Counts, err error) {
	r, err := http.Get("http://" + b.originAddr + "/counts")
	if err != nil {
		return c, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(body, &c)
}

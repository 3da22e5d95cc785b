package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"perigee/bench/farm"
	"perigee/bench/load"
	"perigee/bench/program"
)

// freeAddr returns a free address; the start of a server on one that is none says why.
func freeAddr() string {
	addr, err := program.FreeAddr()
	if err != nil {
		return "127.0.0.1:0"
	}
	return addr
}

// runLoad runs the load generator as a process of its own.
func runLoad(cfg load.Config) (load.Result, error) {
	self, err := os.Executable()
	if err != nil {
		return load.Result{}, err
	}
	arg, err := json.Marshal(cfg)
	if err != nil {
		return load.Result{}, err
	}
	out, err := exec.Command("taskset", "-c", "1", self, "load", string(arg)).Output()
	if err != nil {
		return load.Result{}, fmt.Errorf("load generator: %w", err)
	}
	var r load.Result
	return r, json.Unmarshal(out, &r)
}

// awaitAnswer waits until object n of a size is answered right, and returns how long that took.
func awaitAnswer(addr, prefix string, size int64, n int) (time.Duration, error) {
	began := time.Now()
	for time.Since(began) < 60*time.Second {
		r := load.Run(load.Config{Addr: addr, Prefix: prefix, Size: size, Count: 1, First: n, Conns: 1, Requests: 1})
		if r.Requests == 1 && r.Errors == 0 {
			return time.Since(began), nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0, errors.New("it does not answer")
}

// bench is one run of the whole.
type bench struct {
	options
	origin     *program.Program
	originAddr string
	samples    []sample
	facts      []fact
	left       []string // peers that did not run, and why
}

func (b *bench) kinds() []farm.Kind {
	return []farm.Kind{{Size: 1000, Count: max(b.million, 300_000)}, {Size: 100_000, Count: 2000}, {Size: 10_000_000, Count: 200}}
}

func (b *bench) startOrigin() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.originAddr = freeAddr()
	var kinds []string
	for _, k := range b.kinds() {
		kinds = append(kinds, k.String())
	}
	if b.origin, err = program.Start("1", filepath.Join(b.dir, "origin.log"), self, "origin", b.originAddr, strings.Join(kinds, ",")); err != nil {
		return err
	}
	_, err = awaitAnswer(b.originAddr, "/web", 1000, 0)
	return err
}

func (b *bench) stopOrigin() { b.origin.Kill() }

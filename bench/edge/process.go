package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"perigee/bench/farm"
	"perigee/bench/load"
)

// process is a program that was started, pinned, with its output in a file.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// start runs a program on some cores. It dies with this one.
func start(cores, log string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command("taskset", append([]string{"-c", cores}, args...)...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// kill ends the process and what it has started, as kill -9 does.
func (p *process) kill() {
	if p == nil {
		return
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// tree returns the process and its descendants.
func (p *process) tree() []int {
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		if f := statFields(s); len(f) > 1 {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
			parents[pid], _ = strconv.Atoi(f[1])
		}
	}
	out := []int{p.cmd.Process.Pid}
	for i := 0; i < len(out); i++ {
		for pid, parent := range parents {
			if parent == out[i] {
				out = append(out, pid)
			}
		}
	}
	return out
}

// statFields returns the fields of a /proc/PID/stat behind the name, the state first.
func statFields(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// tick is the unit of CPU times in /proc, which Linux fixes for programs.
const tick = 10 * time.Millisecond

// cpu returns the CPU time that the processes have used.
func cpu(all ...*process) time.Duration {
	var sum time.Duration
	for _, p := range all {
		for _, pid := range p.tree() {
			if f := statFields(fmt.Sprintf("/proc/%d/stat", pid)); len(f) > 12 {
				u, _ := strconv.Atoi(f[11])
				s, _ := strconv.Atoi(f[12])
				sum += time.Duration(u+s) * tick
			}
		}
	}
	return sum
}

// rss returns the resident memory of the processes, in bytes, what they share with others and files left out.
func rss(all ...*process) int64 {
	sum := int64(0)
	for _, p := range all {
		for _, pid := range p.tree() {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			for line := range strings.SplitSeq(string(b), "\n") {
				if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
					n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
					sum += n << 10
				}
			}
		}
	}
	return sum
}

func freeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer ln.Close()
	return ln.Addr().String()
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
	origin     *process
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
	if b.origin, err = start("1", filepath.Join(b.dir, "origin.log"), self, "origin", b.originAddr, strings.Join(kinds, ",")); err != nil {
		return err
	}
	_, err = awaitAnswer(b.originAddr, "/web", 1000, 0)
	return err
}

func (b *bench) stopOrigin() { b.origin.kill() }

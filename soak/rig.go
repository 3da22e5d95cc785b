package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"perigee/bench/farm"
	"perigee/bench/load"
)

// The objects that the proofs ask for.
var kinds = []farm.Kind{{Size: 1000, Count: 2000}, {Size: 100_000, Count: 200}, {Size: 10_000_000, Count: 8}}

// rig is an edge as processes of its own before a farm in this one.
type rig struct {
	dir, addr, config, perigee string
	farm                       *farm.Farm
	server                     *http.Server // of the farm
	others                     []*exec.Cmd  // bus and API: they stay
	edge                       *exec.Cmd
}

// newRig starts everything but the edge. ram is the edge's.
func newRig(perigee, ram string) (*rig, error) {
	dir, err := os.MkdirTemp("", "soak-")
	if err != nil {
		return nil, err
	}
	if perigee, err = filepath.Abs(perigee); err != nil {
		return nil, err
	}
	r := &rig{dir: dir, addr: freeAddr(), config: filepath.Join(dir, "perigee.yaml"), perigee: perigee}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r.farm = farm.New(kinds)
	r.server = &http.Server{Handler: r.farm.Handler()}
	go r.server.Serve(ln)
	bus, api := freeAddr(), freeAddr()
	yaml := fmt.Sprintf(`
data: %s
api: {listen: "%s"}
storage: {endpoint: "http://%s", access_key: writer, secret_key: writer-secret, edge_access_key: reader, edge_secret_key: reader-secret}
bus: {url: "nats://%s", listen: "%s"}
edges:
  - {name: soak, listen: "%s", cache: %s, cache_size: 1GiB, ram: %s, place: {name: Here, country: DE, lat: 50, lon: 8}}
`, dir, api, ln.Addr(), bus, bus, r.addr, r.cache(), ram)
	if err := os.WriteFile(r.config, []byte(yaml), 0o600); err != nil {
		return nil, err
	}
	for _, role := range []string{"bus", "upload"} {
		cmd, err := r.run(role)
		if err != nil {
			r.close()
			return nil, err
		}
		r.others = append(r.others, cmd)
		if err := await(map[string]string{"bus": bus, "upload": api}[role]); err != nil {
			r.close()
			return nil, fmt.Errorf("%s: %w", role, err)
		}
	}
	return r, nil
}

func (r *rig) cache() string { return filepath.Join(r.dir, "cache") }

// run starts a role; it dies with this process.
func (r *rig) run(args ...string) (*exec.Cmd, error) {
	out, err := os.OpenFile(filepath.Join(r.dir, args[0]+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(r.perigee, append(args, "--config", r.config)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, cmd.Start()
}

// patience is how long something that must happen is waited for.
const patience = 60 * time.Second

// await waits until somebody listens.
func await(addr string) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
	}
	return errors.New("it does not listen")
}

// start starts the edge and waits until it answers.
func (r *rig) start() error {
	var err error
	if r.edge, err = r.run("edge", "--name", "soak"); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		one := load.Run(load.Config{Addr: r.addr, Size: 1000, Count: 1, Conns: 1, Requests: 1})
		if one.Wrong > 0 {
			return fmt.Errorf("after a start: %s", one.First)
		}
		if one.Requests == 1 {
			return nil
		}
	}
	b, _ := os.ReadFile(filepath.Join(r.dir, "edge.log"))
	return fmt.Errorf("the edge does not answer:\n%s", b[max(0, len(b)-2000):])
}

// kill is kill -9 of the edge.
func (r *rig) kill() {
	if r.edge != nil {
		r.edge.Process.Kill()
		r.edge.Wait()
		r.edge = nil
	}
}

func (r *rig) close() {
	r.kill()
	for _, c := range r.others {
		c.Process.Kill()
		c.Wait()
	}
	r.server.Close()
	os.RemoveAll(r.dir)
}

// segments returns the segment files of the edge's cache.
func (r *rig) segments() (all []string) {
	filepath.WalkDir(r.cache(), func(path string, d os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".seg" {
			all = append(all, path)
		}
		return nil
	})
	return all
}

func freeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer ln.Close()
	return ln.Addr().String()
}

// tally adds up what was asked.
type tally struct {
	right, broken int64
	spoilt        int64  // of broken, after other bytes
	first         string // of what was broken
}

// ask runs a load and fails if one byte was wrong.
func (t *tally) ask(r *rig, k farm.Kind, requests int64, seconds float64, conns int) error {
	got := load.Run(load.Config{Addr: r.addr, Size: k.Size, Count: k.Count, Conns: conns, Requests: requests, Seconds: seconds})
	t.right += got.Requests
	t.broken += got.Errors
	t.spoilt += got.Spoilt
	if t.first == "" {
		t.first = got.First
	}
	if got.Wrong > 0 {
		return fmt.Errorf("%d wrong answers to requests for %v: %s", got.Wrong, k, got.FirstWrong)
	}
	return nil
}

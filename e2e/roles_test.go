package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// proc is one role as a process of its own.
type proc struct {
	name   string
	args   []string
	cmd    *exec.Cmd
	exited chan struct{}
}

// roles is a system of nine processes and one configuration file.
type roles struct {
	t      *testing.T
	dir    string
	config string
	system *System // addresses, for the functions that take one
	procs  map[string]*proc
}

// startRoles writes the configuration and starts every role.
func startRoles(t *testing.T) *roles {
	t.Helper()
	s, err := NewSystem(binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &roles{t: t, dir: s.Dir, config: filepath.Join(s.Dir, "perigee.yaml"), system: s, procs: map[string]*proc{}}
	free := func() string {
		addr, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		return addr
	}
	port := fmt.Sprint(s.EdgePort)
	s.API, s.DNS, s.Bus = free(), free(), free()
	s.Edges = map[string]string{"fra": "127.0.1.1:" + port, "nyc": "127.0.1.2:" + port, "sin": "127.0.1.3:" + port}
	yaml := fmt.Sprintf(`
data: %s
zone: {port: %s}
api: {listen: %s}
dns: {listen: %s}
storage:
  endpoint: http://%s
  embedded: {listen: %s}
bus: {url: nats://%s, listen: %s}
edges:
  - {name: fra, listen: 127.0.1.1:%s, place: {name: Frankfurt, country: DE, lat: 50.11, lon: 8.68}}
  - {name: nyc, listen: 127.0.1.2:%s, place: {name: New York, country: US, lat: 40.71, lon: -74.01}}
  - {name: sin, listen: 127.0.1.3:%s, place: {name: Singapore, country: SG, lat: 1.35, lon: 103.82}}
admin: {listen: ""}
`, filepath.Join(s.Dir, "data"), port, s.API, s.DNS, s.s3, s.s3, s.Bus, s.Bus, port, port, port)
	if err := os.WriteFile(r.config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	for name, args := range map[string][]string{
		"storage": {"storage"}, "bus": {"bus"}, "api": {"upload"}, "dns": {"dns"},
		"fra": {"edge", "--name", "fra"}, "nyc": {"edge", "--name", "nyc"}, "sin": {"edge", "--name", "sin"},
	} {
		r.procs[name] = &proc{name: name, args: append(args, "--config", r.config)}
		r.start(name)
	}
	return r
}

func (r *roles) start(name string) {
	r.t.Helper()
	p := r.procs[name]
	log, err := os.OpenFile(r.logFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(binary, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	p.exited = make(chan struct{})
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
}

func (r *roles) logFile(name string) string { return filepath.Join(r.dir, name+".log") }

func (r *roles) kill(name string) {
	r.t.Helper()
	p := r.procs[name]
	p.cmd.Process.Kill()
	<-p.exited
}

// stop interrupts every role; each must exit with 0, whatever else is gone.
func (r *roles) stop() {
	for name, p := range r.procs {
		if p.cmd == nil {
			continue
		}
		p.cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-p.exited:
		case <-time.After(long):
			r.t.Errorf("%s does not stop", name)
			p.cmd.Process.Kill()
			<-p.exited
		}
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			r.t.Errorf("%s exited with %d", name, code)
		}
	}
	if r.t.Failed() {
		for name := range r.procs {
			b, _ := os.ReadFile(r.logFile(name))
			r.t.Logf("%s:\n%s", name, b[max(0, len(b)-1500):])
		}
	}
}

// steered reports whether DNS gives London one of edges.
func (r *roles) steered(edges ...string) bool {
	m, err := ask(within(r.t, long), r.system.DNS, "udp", "www.perigee.test", dns.TypeA, places[0].network)
	if err != nil || len(m.Answer) != 1 {
		return false
	}
	got := fmt.Sprintf("%s:%d", m.Answer[0].(*dns.A).A, r.system.EdgePort)
	for _, e := range edges {
		if got == r.system.Edges[e] {
			return true
		}
	}
	return false
}

func (r *roles) put(path, body string) int {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, r.system.URL("/api/v1/sites/www/files"+path+"?wait=10s"), strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := do(http.DefaultClient, req)
	if err != nil {
		return 0
	}
	return a.Status
}

// TestRolesApart runs each role as its own process and kills one of each kind: the others serve on, and when it is back all is
// as it was.
func TestRolesApart(t *testing.T) {
	r := startRoles(t)
	s := r.system
	eventually(t, "files can be published", func() bool { return r.put("/a.txt", "one") == 201 || r.put("/a.txt", "one") == 200 })
	eventually(t, "London goes to Frankfurt", func() bool { return r.steered("fra") })
	url := s.siteURL("/a.txt")
	eventually(t, "every edge knows the site", func() bool { // the proof counts those alone that had reported by then
		for _, addr := range s.Edges {
			if a, err := Fetch(within(t, long), addr, url); err != nil || a.Status != 200 {
				return false
			}
		}
		return true
	})
	for _, addr := range s.Edges {
		fetchOK(t, addr, url)
	}
	t.Run("edge", func(t *testing.T) {
		r.kill("fra")
		began := time.Now()
		eventually(t, "London leaves the dead edge", func() bool { return r.steered("nyc", "sin") })
		t.Logf("DNS followed the crash after %v", time.Since(began).Round(time.Millisecond))
		r.start("fra")
		eventually(t, "London is back", func() bool { return r.steered("fra") })
		if a := fetchOK(t, s.Edges["fra"], url); string(a.Body) != "one" {
			t.Errorf("%q", a.Body)
		}
	})
	t.Run("bus", func(t *testing.T) {
		r.kill("bus")
		if !r.steered("fra") {
			t.Error("DNS forgot the fleet with the bus")
		}
		if a := fetchOK(t, s.Edges["nyc"], url); string(a.Body) != "one" || !isHit(a) {
			t.Errorf("%q %v", a.Body, a.Header)
		}
		if status := r.put("/while-away.txt", "later"); status/100 != 2 {
			t.Errorf("publishing without the bus: %d", status)
		}
		r.start("bus")
		eventually(t, "the outbox reaches the log", func() bool { return r.put("/a.txt", "two") == 200 && bodyOf(t, s.Edges["sin"], url) == "two" })
		if got := bodyOf(t, s.Edges["sin"], s.siteURL("/while-away.txt")); got != "later" {
			t.Errorf("%q", got)
		}
	})
	t.Run("api", func(t *testing.T) {
		r.kill("api")
		if !r.steered("fra") || bodyOf(t, s.Edges["fra"], url) != "two" {
			t.Error("serving depends on the API")
		}
		r.start("api")
		eventually(t, "the API is back", func() bool { return r.put("/a.txt", "three") == 200 })
		eventually(t, "edges follow", func() bool { return bodyOf(t, s.Edges["fra"], url) == "three" })
	})
	t.Run("storage", func(t *testing.T) {
		eventually(t, "nyc has it", func() bool { return bodyOf(t, s.Edges["nyc"], url) == "three" })
		r.kill("storage")
		if bodyOf(t, s.Edges["nyc"], url) != "three" {
			t.Error("an edge lost what it holds with the storage")
		}
		a, err := Fetch(within(t, long), s.Edges["nyc"], s.siteURL("/not-held"))
		if err != nil || a.Status != 502 && a.Status != 504 {
			t.Errorf("what is not held, without storage: %d %v", a.Status, err)
		}
		r.start("storage")
		eventually(t, "publishing works again", func() bool { return r.put("/b.txt", "b")/100 == 2 })
	})
	t.Run("dns", func(t *testing.T) {
		r.kill("bus")
		r.kill("storage")
		r.kill("dns")
		r.start("dns") // with neither bus nor bucket: from its own state
		eventually(t, "DNS answers from what it knew", func() bool { return r.steered("fra") })
		r.start("bus")
		r.start("storage")
		eventually(t, "publishing works again", func() bool { return r.put("/c.txt", "c")/100 == 2 })
	})
}

func bodyOf(t *testing.T, addr, url string) string {
	t.Helper()
	a, err := Fetch(within(t, long), addr, url)
	if err != nil || a.Status != 200 {
		return fmt.Sprint(a.Status, err)
	}
	return string(a.Body)
}

// TestRefusals starts the binary in ways that must be refused, with a sentence that says what to do.
func TestRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("api:\n  lisen: 127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"API beyond loopback without keys", []string{"upload", "--data", filepath.Join(dir, "a"), "--set", "api.listen=0.0.0.0:0"}, []string{"api.listen", "perigee keys create"}},
		{"up beyond loopback without keys", []string{"up", "--data", filepath.Join(dir, "b"), "--set", "api.listen=0.0.0.0:0"}, []string{"api.listen", "perigee keys create"}},
		{"wrong key", []string{"up", "--config", bad}, []string{"bad.yaml:2", "lisen", "listen"}},
		{"port taken", []string{"bus", "--data", filepath.Join(dir, "c"), "--set", "bus.listen=" + taken.Addr().String(), "--set", "bus.url=nats://" + taken.Addr().String()}, []string{taken.Addr().String(), "in use"}},
		{"data is a file", []string{"up", "--data", file}, []string{file}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := exec.CommandContext(within(t, long), binary, c.args...).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Fatalf("exit: %v\n%s", err, out)
			}
			for _, s := range c.says {
				if !strings.Contains(string(out), s) {
					t.Errorf("it does not say %q:\n%s", s, out)
				}
			}
		})
	}
}

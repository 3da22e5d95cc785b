package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"perigee/catalog/pgserver"
)

// shared is two API nodes on one PostgreSQL catalogue: a primary and two streaming replicas.
type shared struct {
	*roles
	primary  *pgserver.Server
	replicas []*pgserver.Server
	apis     []string // their addresses
	key      string   // that is sent; none in keyless mode
}

func startShared(t *testing.T) *shared {
	t.Helper()
	s := &shared{}
	started := func(p *pgserver.Server, err error) *pgserver.Server {
		t.Helper()
		if errors.Is(err, fs.ErrNotExist) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Remove(); err != nil {
				t.Error(err)
			}
		})
		return p
	}
	s.primary = started(pgserver.Start(t.Context(), pgserver.Config{Durable: true}))
	for range 2 {
		s.replicas = append(s.replicas, started(s.primary.Replica(t.Context())))
	}
	sys, err := NewSystem(binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.roles = &roles{t: t, dir: sys.Dir, config: filepath.Join(sys.Dir, "perigee.yaml"), system: sys, procs: map[string]*proc{}}
	bus := freeAddr(t)
	yaml := fmt.Sprintf(`
data: %s
catalog:
  kind: postgres
  dsn: "%s"
  replicas: ["%s", "%s"]
  connect_timeout: 1s
storage:
  endpoint: http://%s
  embedded: {listen: %s}
bus: {url: nats://%s, listen: %s}
admin: {listen: ""}
`, filepath.Join(sys.Dir, "data"), s.primary.DSN(pgserver.Database), s.replicas[0].Dir(), s.replicas[1].Dir(), sys.s3, sys.s3, bus, bus)
	if err := os.WriteFile(s.config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	s.procs["storage"] = &proc{name: "storage", args: []string{"storage", "--config", s.config}}
	s.procs["bus"] = &proc{name: "bus", args: []string{"bus", "--config", s.config}}
	for i := range 2 {
		s.apis = append(s.apis, freeAddr(t))
		name := fmt.Sprintf("api%d", i)
		s.procs[name] = &proc{name: name, args: []string{"upload", "--config", s.config, "--set", "api.listen=" + s.apis[i]}}
	}
	for name := range s.procs {
		s.start(name)
	}
	for i := range s.apis {
		eventually(t, fmt.Sprintf("node %d publishes", i), func() bool {
			a := s.call(i, http.MethodPut, fmt.Sprintf("/hello%d", i), "x", "")
			return a.Status/100 == 2
		})
	}
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// answered is what a node said of a file.
type answered struct {
	Status  int
	Token   string
	Version string `json:"version"`
	Type    string `json:"type"`
	header  http.Header
}

// call asks one node about a file; a node that does not answer has the status 0.
func (s *shared) call(node int, method, path, body, token string) answered {
	s.t.Helper()
	req, err := http.NewRequestWithContext(within(s.t, long), method, "http://"+s.apis[node]+"/api/v1/sites/www/files"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	if token != "" {
		req.Header.Set("Perigee-Consistency", token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answered{}
	}
	defer resp.Body.Close()
	a := answered{Status: resp.StatusCode, Token: resp.Header.Get("Perigee-Consistency"), header: resp.Header}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		s.t.Errorf("%s %s: %d: %v", method, path, resp.StatusCode, err)
	}
	return a
}

// writesAndReads publishes at one node and reads at the other, again and again: what was written is what is read.
func (s *shared) writesAndReads(n int) {
	s.t.Helper()
	for i := range n {
		path := fmt.Sprintf("/rw%d", i%3)
		put := s.call(i%2, http.MethodPut, path, fmt.Sprint(i), "")
		if put.Status/100 != 2 || put.Token == "" {
			s.t.Fatalf("put %d: %+v", i, put)
		}
		for node := range s.apis {
			if got := s.call(node, http.MethodGet, path, "", put.Token); got.Status != 200 || got.Version != put.Version {
				s.t.Fatalf("wrote version %s, node %d says %+v", put.Version, node, got)
			}
		}
	}
}

// TestNodesShareACatalogue: two API nodes on a PostgreSQL primary with two streaming replicas.
func TestNodesShareACatalogue(t *testing.T) {
	s := startShared(t)
	s.writesAndReads(12)
	t.Run("kept in memory", func(t *testing.T) {
		s.call(0, http.MethodPut, "/kept", "one", "")
		eventually(t, "node 1 knows the file", func() bool { return s.call(1, http.MethodGet, "/kept", "", "").Status == 200 })
		put := s.call(0, http.MethodPut, "/kept", "two", "")
		eventually(t, "node 1 has heard of the change", func() bool { return s.call(1, http.MethodGet, "/kept", "", "").Version == put.Version })
	})
	t.Run("replica paused", func(t *testing.T) {
		ok(t, s.replicas[0].PauseReplay(t.Context()))
		s.writesAndReads(12)
		ok(t, s.replicas[0].ResumeReplay(t.Context()))
	})
	t.Run("separate runs", s.separateRuns)
	t.Run("node killed", s.nodeKilled)
	t.Run("keys", s.sharedKeys)
	t.Run("primary killed", s.primaryKilled)
	t.Run("token", func(t *testing.T) {
		if a := s.call(0, http.MethodGet, "/rw0", "", "nonsense"); a.Status != 400 || a.Type != "/problems/invalid" {
			t.Errorf("a token that is none: %+v", a)
		}
	})
}

// sharedKeys: a key that one node makes is good at the other, and ends there soon after it was revoked, or later when that cannot be asked for.
func (s *shared) sharedKeys(t *testing.T) {
	run := func(args ...string) string {
		out, err := s.system.Perigee(within(t, long), append(args, "--config", s.config)...)
		ok(t, err)
		return out
	}
	admin := strings.TrimSpace(run("keys", "create", "--offline", "--name", "first", "--scope", "admin"))
	with := func(node int, method, path, key, body string) (int, string) {
		req, err := http.NewRequestWithContext(within(t, long), method, "http://"+s.apis[node]+"/api/v1"+path, strings.NewReader(body))
		ok(t, err)
		req.Header.Set("Authorization", "Bearer "+key)
		a, err := do(http.DefaultClient, req)
		ok(t, err)
		return a.Status, string(a.Body)
	}
	s.key = admin
	for node := range s.apis {
		eventually(t, "keyless mode has ended", func() bool { return s.anonymous(t, node) == 401 })
		eventually(t, "the first key is good", func() bool { status, _ := with(node, "GET", "/keys", admin, ""); return status == 200 })
	}
	var made struct{ ID, Key string }
	status, body := with(0, "POST", "/keys", admin, `{"name":"second"}`)
	if status != 201 {
		t.Fatal(status, body)
	}
	ok(t, json.Unmarshal([]byte(body), &made))
	began := time.Now()
	eventually(t, "the other node knows the new key", func() bool { status, _ := with(1, "GET", "/sites", made.Key, ""); return status == 200 })
	t.Logf("a new key was good at the other node after %v", time.Since(began).Round(time.Millisecond))
	if status, body := with(1, "DELETE", "/keys/"+made.ID, admin, ""); status != 204 {
		t.Fatal(status, body)
	}
	began = time.Now()
	eventually(t, "the revoked key has ended at the first node", func() bool { status, _ := with(0, "GET", "/sites", made.Key, ""); return status == 401 })
	t.Logf("a revoked key had ended at the other node after %v", time.Since(began).Round(time.Millisecond))
	if out := run("keys", "list", "--offline"); !strings.Contains(out, "first") || strings.Contains(out, "second") {
		t.Errorf("keys: %s", out)
	}
	if _, log := with(0, "GET", "/audit", admin, ""); !strings.Contains(log, `"offline"`) || !strings.Contains(log, made.ID) {
		t.Errorf("audit: %s", log)
	}
}

// anonymous returns how a node answers without a key.
func (s *shared) anonymous(t *testing.T, node int) int {
	req, err := http.NewRequestWithContext(within(t, long), http.MethodGet, "http://"+s.apis[node]+"/api/v1/sites", nil)
	ok(t, err)
	a, err := do(http.DefaultClient, req)
	ok(t, err)
	return a.Status
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// separateRuns: what one run of the command line publishes the next one lists, also when every replica that is asked stands still. A user who keeps nothing
// from run to run sees the old state then, which shows that the replicas are behind.
func (s *shared) separateRuns(t *testing.T) {
	addr := freeAddr(t)
	s.procs["lagging"] = &proc{name: "lagging", args: []string{"upload", "--config", s.config, "--set", "api.listen=" + addr, "--set", "catalog.max_lag=10m"}}
	s.start("lagging")
	defer func() {
		s.kill("lagging")
		delete(s.procs, "lagging")
	}()
	file, state := filepath.Join(t.TempDir(), "seen.txt"), t.TempDir()
	run := func(state string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(within(t, long), binary, args...)
		cmd.Env = append(os.Environ(), "PERIGEE_URL=http://"+addr, "XDG_STATE_HOME="+state)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	ok(t, os.WriteFile(file, []byte("first"), 0o600))
	eventually(t, "the node answers", func() bool {
		resp, err := http.Get("http://" + addr + "/api/v1/sites/www/files")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == 200
	})
	for _, r := range s.replicas {
		ok(t, r.PauseReplay(t.Context()))
	}
	run(state, "put", file)
	for range 5 {
		if out := run(state, "ls"); !strings.Contains(out, "/seen.txt") {
			t.Fatalf("the file that was just published is not listed:\n%s", out)
		}
	}
	if out := run(t.TempDir(), "ls"); strings.Contains(out, "/seen.txt") {
		t.Errorf("no replica is behind, so nothing was tried:\n%s", out)
	}
	for _, r := range s.replicas {
		ok(t, r.ResumeReplay(t.Context()))
	}
}

// nodeKilled kills a node between its reservation of a path and the write to the bucket. The other node finds the reservation
// when the lease of the dead one has ended, settles it and goes on.
func (s *shared) nodeKilled(t *testing.T) {
	db, err := pgx.Connect(t.Context(), s.primary.DSN(pgserver.Database))
	ok(t, err)
	defer db.Close(context.Background())
	before := s.call(1, http.MethodPut, "/killed", "before", "")

	// The reservation is made to wait, until the storage stands: then the node gets no further than that.
	tx, err := db.Begin(t.Context())
	ok(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE reservations IN EXCLUSIVE MODE`)
	ok(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.call(0, http.MethodPut, "/killed", "never", "")
	}()
	count := func(query string) (n int) {
		t.Helper()
		c, err := pgx.Connect(t.Context(), s.primary.DSN(pgserver.Database))
		ok(t, err)
		defer c.Close(context.Background())
		ok(t, c.QueryRow(t.Context(), query).Scan(&n))
		return n
	}
	eventually(t, "the node waits for its reservation", func() bool {
		return count(`SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'reservations'::regclass`) > 0
	})
	storage := s.procs["storage"].cmd.Process
	ok(t, storage.Signal(syscall.SIGSTOP))
	ok(t, tx.Commit(t.Context()))
	eventually(t, "the path is reserved", func() bool { return count(`SELECT count(*) FROM reservations WHERE path = '/killed'`) == 1 })
	s.kill("api0")
	ok(t, storage.Signal(syscall.SIGCONT))
	<-done

	if a := s.call(1, http.MethodGet, "/killed", "", before.Token); a.Version != before.Version {
		t.Errorf("after the kill: %+v, before it %s", a, before.Version)
	}
	var after answered
	eventually(t, "the other node publishes to the path", func() bool {
		after = s.call(1, http.MethodPut, "/killed", "after", "")
		return after.Status == 200
	})
	if n := count(`SELECT count(*) FROM versions WHERE path = '/killed'`); n != 2 || after.Version <= before.Version {
		t.Errorf("%d versions, the last is %s after %s", n, after.Version, before.Version)
	}
	if n := count(`SELECT count(*) FROM reservations`); n != 0 {
		t.Errorf("%d reservations are left", n)
	}
	s.start("api0")
	eventually(t, "the killed node is back", func() bool { return s.call(0, http.MethodGet, "/killed", "", after.Token).Version == after.Version })
}

// primaryKilled: reads go on, changes are answered 503 and go on by themselves.
func (s *shared) primaryKilled(t *testing.T) {
	known := s.call(0, http.MethodPut, "/known", "x", "")
	for _, r := range s.replicas {
		ok(t, s.primary.AwaitReplay(t.Context(), r))
	}
	ok(t, s.primary.Kill())
	for node := range s.apis {
		for range 5 {
			if a := s.call(node, http.MethodGet, "/known", "", known.Token); a.Status != 200 || a.Version != known.Version {
				t.Errorf("node %d without a primary: %+v", node, a)
			}
		}
		a := s.call(node, http.MethodPut, "/known", "y", "")
		if a.Status != 503 || a.Type != "/problems/catalogue-unavailable" || a.header.Get("Retry-After") == "" || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("node %d: a change without a primary: %+v", node, a)
		}
	}
	ok(t, s.primary.Start(t.Context()))
	for node := range s.apis {
		eventually(t, "changes go on", func() bool { return s.call(node, http.MethodPut, "/known", fmt.Sprint(node), "").Status == 200 })
	}
	s.writesAndReads(6)
}

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// verdict is what one test of the suite came to.
type verdict struct{ Suite, Kind, Verdict, Detail string }

// expected is a line of testdata/cache-tests.golden: test, kind, verdict, and behind # why it is no pass, if it is none.
type expected struct{ kind, verdict, why string }

const golden = "testdata/cache-tests.golden"

// TestPublicCacheSuite runs the public tests of HTTP caches against `perigee edge --origin` with its defaults. Each verdict must be the golden one; E2E_GOLDEN=write writes them
// anew, and keeps the reasons. A test that differs is run twice more: they measure freshness in seconds, and a machine may be busy.
func TestPublicCacheSuite(t *testing.T) {
	dir, err := filepath.Abs("cachesuite")
	if err != nil {
		t.Fatal(err)
	}
	install(t, dir)
	origin := startSuiteServer(t, dir)
	edge := startPullEdge(t, "http://"+origin)
	want := readGolden(t)
	got := runSuite(t, dir, "http://"+edge)
	for range 2 {
		var again []string
		for id, v := range got {
			if want[id].verdict != v.Verdict {
				again = append(again, id)
			}
		}
		if len(again) == 0 || os.Getenv("E2E_GOLDEN") == "write" {
			break
		}
		for id, v := range runSuite(t, dir, "http://"+edge, again...) {
			got[id] = v
		}
	}
	if os.Getenv("E2E_GOLDEN") == "write" {
		writeGolden(t, got, want)
		return
	}
	compareGolden(t, got, want)
}

// install fetches the suite, as its lock file says.
func install(t *testing.T, dir string) {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is missing: install Node with npm")
	}
	lock, _ := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	stamp := filepath.Join(dir, "node_modules", ".lock-installed")
	if have, _ := os.ReadFile(stamp); bytes.Equal(have, lock) {
		return
	}
	cmd := exec.CommandContext(within(t, 5*time.Minute), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.WriteFile(stamp, lock, 0o600); err != nil {
		t.Fatal(err)
	}
}

// startSuiteServer starts the suite's origin and returns its address.
func startSuiteServer(t *testing.T, dir string) string {
	t.Helper()
	addr, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("node", "server/server.mjs")
	cmd.Dir = filepath.Join(dir, "node_modules", "http-cache-tests")
	cmd.Env = append(os.Environ(), "npm_config_protocol=http", "npm_config_port="+port, "npm_config_pidfile="+filepath.Join(t.TempDir(), "pid"))
	begin(t, cmd)
	awaitListener(t, addr)
	return addr
}

// startPullEdge starts an edge that stands alone and returns its address.
func startPullEdge(t *testing.T, origin string, args ...string) string {
	t.Helper()
	addr, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, append([]string{"edge", "--listen", addr, "--origin", origin, "--cache", t.TempDir()}, args...)...)
	begin(t, cmd)
	awaitListener(t, addr)
	return addr
}

// begin starts a program that ends with the test.
func begin(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(long):
			cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Path, out.String())
		}
	})
}

func awaitListener(t *testing.T, addr string) {
	t.Helper()
	for ctx := within(t, long); ; {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("nobody listens on %s", addr)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// runSuite runs all tests of the suite, or some.
func runSuite(t *testing.T, dir, base string, ids ...string) map[string]verdict {
	t.Helper()
	cmd := exec.CommandContext(within(t, 5*time.Minute), "node", append([]string{"--no-warnings", "run.mjs", base}, ids...)...)
	cmd.Dir = dir
	out, err := cmd.Output()
	got := map[string]verdict{}
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil {
		t.Fatalf("the suite: %v\n%s", err, out)
	}
	return got
}

func readGolden(t *testing.T) map[string]expected {
	t.Helper()
	b, err := os.ReadFile(golden)
	if err != nil && os.Getenv("E2E_GOLDEN") != "write" {
		t.Fatal(err)
	}
	want := map[string]expected{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line, why, _ := strings.Cut(s.Text(), "#")
		if f := strings.Fields(line); len(f) == 3 {
			want[f[0]] = expected{f[1], f[2], strings.TrimSpace(why)}
		}
	}
	return want
}

func writeGolden(t *testing.T, got map[string]verdict, old map[string]expected) {
	t.Helper()
	ids := sortedIDs(got)
	b := []byte("# What each test of http-cache-tests comes to: test, kind, verdict, and why it is no pass. E2E_GOLDEN=write writes it anew.\n")
	for _, id := range ids {
		v := got[id]
		line := fmt.Sprintf("%-55s %-8s %s", id, v.Kind, v.Verdict)
		if v.Verdict == "fail" || v.Verdict == "setup" {
			line += "   # " + old[id].why
		}
		b = append(append(b, line...), '\n')
	}
	if err := os.WriteFile(golden, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func sortedIDs(m map[string]verdict) []string {
	ids := make([]string, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func compareGolden(t *testing.T, got map[string]verdict, want map[string]expected) {
	t.Helper()
	score := map[string]int{}
	for _, id := range sortedIDs(got) {
		v, w := got[id], want[id]
		score[v.Kind+" "+v.Verdict]++
		if w.verdict != v.Verdict {
			t.Errorf("%s %s: %s, want %s (%s)", v.Suite, id, v.Verdict, w.verdict, v.Detail)
		}
		if (v.Verdict == "fail" || v.Verdict == "setup") && v.Kind != "check" && w.why == "" {
			t.Errorf("%s: the golden file does not say why it is no pass", id)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d tests were run, the golden file has %d", len(got), len(want))
	}
	t.Logf("%v", score)
}

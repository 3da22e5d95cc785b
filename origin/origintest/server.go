package origintest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"perigee/clock"
	"perigee/origin"
	"perigee/origin/embedded"
)

// The environment that makes a test binary a storage process.
const (
	envRoot   = "ORIGINTEST_ROOT"
	envListen = "ORIGINTEST_LISTEN"
)

// Bucket is the bucket of a Server.
const Bucket = "perigee-test"

// The accounts of a Server.
const (
	rootAccess, rootSecret = "test-root", "test-root-secret-0123456789"
	edgeAccess, edgeSecret = "test-edge", "test-edge-secret-0123456789"
)

// Main is to be called by TestMain: it runs the tests or, in a process that Start started, the server. It does not return.
func Main(m *testing.M) {
	root := os.Getenv(envRoot)
	if root == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := embedded.RunChild(ctx, ServerConfig(root, os.Getenv(envListen)), os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// ServerConfig is how Main configures the server.
func ServerConfig(root, listen string) embedded.Config {
	return embedded.Config{
		Root:       root,
		Listen:     listen,
		Bucket:     Bucket,
		RootAccess: rootAccess, RootSecret: rootSecret,
		EdgeAccess: edgeAccess, EdgeSecret: edgeSecret,
	}
}

// ChildConfig is how Start starts it.
func ChildConfig(root, listen string, log *slog.Logger) (embedded.ChildConfig, error) {
	self, err := os.Executable()
	if err != nil {
		return embedded.ChildConfig{}, fmt.Errorf("find the test binary: %w", err)
	}
	env := []string{envRoot + "=" + root, envListen + "=" + listen, "GORACE=atexit_sleep_ms=0"}
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		env = append(env, "GOCOVERDIR="+dir)
	}
	return embedded.ChildConfig{Path: self, Env: env, Log: log}, nil
}

// Server is a running S3 server. It keeps its address when it is restarted.
type Server struct {
	Child *embedded.Child
	Root  string // its data directory
	stop  context.CancelFunc
	hears atomic.Pointer[func(embedded.Event)]
}

// OnEvent has the server tell f of objects that are written or deleted; nil ends that.
func (s *Server) OnEvent(f func(embedded.Event)) { s.hears.Store(&f) }

func (s *Server) heard(e embedded.Event) {
	if f := s.hears.Load(); f != nil && *f != nil {
		(*f)(e)
	}
}

// Start starts a server on a directory of its own, which ends with the test.
func Start(t testing.TB) *Server { return StartIn(t, t.TempDir()) }

// StartIn starts a server on the directory root, which ends with the test.
func StartIn(t testing.TB, root string) *Server {
	t.Helper()
	log := slog.New(slog.NewTextHandler(testLog{t}, nil))
	var err error
	for range 5 { // a port that was free a moment ago may be taken
		var cfg embedded.ChildConfig
		if cfg, err = ChildConfig(root, freeAddr(t), log); err != nil {
			break
		}
		ctx, stop := context.WithCancel(context.Background())
		s := &Server{Root: root, stop: stop}
		cfg.Notify = s.heard
		if s.Child, err = embedded.StartChild(ctx, cfg); err == nil {
			t.Cleanup(s.Stop)
			return s
		}
		stop()
		if !strings.Contains(err.Error(), "listen on") {
			break
		}
	}
	t.Fatalf("start S3 server: %v", err)
	return nil
}

// Stop ends the server and waits. It may be called again.
func (s *Server) Stop() {
	s.stop()
	s.Child.Wait()
}

// Kill kills the server's process, which is then started again, and returns when the new one can be reached. Requests under
// way fail.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	pid := s.Child.PID()
	if pid == 0 {
		return // between two lives
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill S3 server: %v", err)
	}
	Eventually(t, "the S3 server is started again", func() bool {
		if now := s.Child.PID(); now == 0 || now == pid {
			return false
		}
		conn, err := net.Dial("tcp", s.Child.Addr())
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// Config is the configuration of the account that may do everything.
func (s *Server) Config() origin.Config { return s.config(rootAccess, rootSecret) }

// EdgeConfig is the configuration of the account that may only read.
func (s *Server) EdgeConfig() origin.Config { return s.config(edgeAccess, edgeSecret) }

func (s *Server) config(access, secret string) origin.Config {
	return origin.Config{
		Endpoint:  "http://" + s.Child.Addr(),
		Bucket:    Bucket,
		AccessKey: access,
		SecretKey: secret,
		PathStyle: true,
		Log:       slog.New(slog.DiscardHandler),
	}
}

// Eventually waits until done reports true; the deadline is generous, for machines under load.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := clock.System.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := clock.System.NewTimer(time.Minute)
	defer limit.Stop()
	for !done() {
		select {
		case <-tick.C():
		case <-limit.C():
			t.Fatalf("waited a minute in vain: %s", what)
		}
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// testLog writes to the test's log.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

var _ io.Writer = testLog{}

// Package miniotest runs MinIO for tests: an S3 of another make than the embedded one, as a process of its own on a port that was
// free. It is how the tests see that configuration alone changes stores.
//
// MinIO is no part of Perigee: nothing of it is linked or shipped. scripts/install-minio, which make test calls, builds it once into
// the user's cache; PERIGEE_TEST_MINIO names another binary. Where there is none, Start skips the test, and fails it if CI is set.
//
// Life cycle: Start returns a server that answers and has a bucket; it ends with the test, and with the test binary however that
// ends. Kill is kill -9, after which nothing listens until Restart, on the same address and data.
package miniotest

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"perigee/clock"
	"perigee/origin"
)

// Bucket is the bucket that a Server has from the start.
const Bucket = "perigee-test"

// WebhookARN names the webhook of Options in a bucket's notification configuration.
const WebhookARN = "arn:minio:sqs::PERIGEE:webhook"

// The account that may do everything.
const (
	RootAccess = "test-root"
	RootSecret = "test-root-secret-0123456789"
)

// Options are what a test may want besides a plain server. The zero value is one.
type Options struct {
	// Webhook is a URL that MinIO posts its events to, as WebhookARN; empty for none. Its listener need not be there yet.
	Webhook string
	// WebhookToken is sent as "Authorization: Bearer …" with each event; may be empty.
	WebhookToken string
	// Queue keeps events on disk until the webhook has taken them, so that they survive its absence.
	Queue bool
	// Env are further variables for MinIO, NAME=value.
	Env []string
}

// Server is a running MinIO, or one that was killed. Its methods are not safe for concurrent use.
type Server struct {
	binary, dir, addr string
	options           Options
	process           *process // nil while none runs
}

// Binary returns the path of MinIO's binary. A test that gets none is skipped, or fails in CI.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("PERIGEE_TEST_MINIO")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(cache, "perigee", "tools", "minio")
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("MinIO is missing: %v; run scripts/install-minio", err)
		}
		t.Skip("MinIO is missing; scripts/install-minio builds it")
	}
	return path
}

// Start starts a server on a directory of its own, with Bucket in it. It ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{binary: Binary(t), dir: t.TempDir(), options: o}
	t.Cleanup(func() { s.end(syscall.SIGTERM) })
	var err error
	for range 5 { // a port that was free a moment ago may be taken
		s.addr = freeAddr(t)
		if err = s.run(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("start MinIO: %v", err)
	}
	w, err := origin.NewWriter(t.Context(), s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.EnsureBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// Kill is kill -9. Requests under way break; until Restart nothing listens at the address.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.end(syscall.SIGKILL)
}

// Restart starts the server again, where it was, after ending the process if one runs. It returns when the server answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.end(syscall.SIGTERM)
	if err := s.run(); err != nil {
		t.Fatalf("start MinIO again: %v", err)
	}
}

// Pause stops the process where it is, as a machine that hangs would be: its connections stay open and say nothing. Resume, Kill
// or the end of the test end it.
func (s *Server) Pause(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := s.process.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal MinIO: %v", err)
	}
}

// Endpoint is the server's address, http://127.0.0.1:port. It stays the same.
func (s *Server) Endpoint() string { return "http://" + s.addr }

// Dir is the server's data directory.
func (s *Server) Dir() string { return s.dir }

// Config is the configuration of the account that may do everything, on Bucket.
func (s *Server) Config() origin.Config {
	return origin.Config{
		Endpoint: s.Endpoint(), Bucket: Bucket, AccessKey: RootAccess, SecretKey: RootSecret, PathStyle: true,
		Log: slog.New(slog.DiscardHandler),
	}
}

// environment is all that MinIO is told; nothing of the test's own environment reaches it.
func (s *Server) environment() []string {
	env := []string{
		"HOME=" + s.dir,
		"MINIO_ROOT_USER=" + RootAccess,
		"MINIO_ROOT_PASSWORD=" + RootSecret,
		"MINIO_BROWSER=off",
		"MINIO_UPDATE=off",
		"MINIO_CI_CD=on", // a directory of the root file system will do
	}
	if s.options.Webhook != "" {
		env = append(env,
			"MINIO_NOTIFY_WEBHOOK_ENABLE_PERIGEE=on",
			"MINIO_NOTIFY_WEBHOOK_ENDPOINT_PERIGEE="+s.options.Webhook,
			"MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_PERIGEE="+s.options.WebhookToken)
	}
	if s.options.Queue {
		env = append(env, "MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_PERIGEE="+filepath.Join(s.dir, "events"))
	}
	return append(env, s.options.Env...)
}

// run starts the process and returns when it answers, or says why it does not.
func (s *Server) run() error {
	cmd := exec.Command(s.binary, "server", "--quiet", "--address", s.addr, "--certs-dir", filepath.Join(s.dir, "certs"), filepath.Join(s.dir, "data"))
	cmd.Env = s.environment()
	cmd.Dir = s.dir
	p, err := start(cmd)
	if err != nil {
		return err
	}
	s.process = p
	limit := clock.System.NewTimer(2 * time.Minute) // for machines under load
	defer limit.Stop()
	tick := clock.System.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !healthy(s.addr) {
		select {
		case <-tick.C():
		case <-p.done:
			s.process = nil
			return fmt.Errorf("it ended: %v\n%s", p.err, p.output.String())
		case <-limit.C():
			s.end(syscall.SIGKILL)
			return errors.New("it did not answer in time\n" + p.output.String())
		}
	}
	return nil
}

// healthy reports whether the server takes requests.
func healthy(addr string) bool {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get("http://" + addr + "/minio/health/cluster")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// end ends the process, if one runs, and waits.
func (s *Server) end(sig syscall.Signal) {
	if s.process == nil {
		return
	}
	for _, sig := range []syscall.Signal{sig, syscall.SIGCONT} { // the second for one that Pause stopped
		// It may have ended by itself.
		_ = s.process.cmd.Process.Signal(sig)
	}
	<-s.process.done
	s.process = nil
}

// process is one run of MinIO.
type process struct {
	cmd    *exec.Cmd
	output strings.Builder // complete when done is closed
	done   chan struct{}
	err    error // how it ended, once done is closed
}

// start starts cmd. The kernel kills it when the thread that started it ends, so a goroutine keeps that thread until the process is gone.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	cmd.SysProcAttr = attributes()
	started := make(chan error)
	go func() {
		defer close(p.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
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

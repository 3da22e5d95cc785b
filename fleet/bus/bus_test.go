package bus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"perigee/clock"
	"perigee/purge"
)

// patience is how long an event that must happen is waited for.
const patience = 30 * time.Second

// childEnv makes the test binary a bus server: "<listen> <directory>".
const childEnv = "PERIGEE_TEST_BUS"

func TestMain(m *testing.M) {
	if arg := os.Getenv(childEnv); arg != "" {
		listen, dir, _ := strings.Cut(arg, " ")
		if err := serve(listen, dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// serve runs a server until its standard input ends, so that it cannot outlive the test.
func serve(listen, dir string) error {
	signal.Ignore(syscall.SIGXFSZ) // TestDiskFull wants the error, not the signal
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return Run(ctx, ServerConfig{Listen: listen, StoreDir: dir, Log: quiet(), Clock: clock.System}, func(s *Server) { fmt.Println(s.Addr()) })
}

// child is a server in a process of its own.
type child struct {
	cmd  *exec.Cmd
	in   io.Closer
	addr string
}

func startChild(t *testing.T, listen, dir string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+listen+" "+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, in: in}
	t.Cleanup(c.kill)
	c.addr, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	c.addr = strings.TrimSpace(c.addr)
	return c
}

// kill is SIGKILL.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
	c.in.Close()
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func startServer(t *testing.T, cfg ServerConfig) *Server {
	t.Helper()
	if cfg.StoreDir == "" {
		cfg.StoreDir = t.TempDir()
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	cfg.Log, cfg.Clock = quiet(), clock.System
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, cfg ClientConfig) *Client {
	t.Helper()
	cfg.Name, cfg.Region, cfg.Log, cfg.Clock = t.Name(), "r1", quiet(), clock.System
	c, err := Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// collector is a sink that keeps what it gets.
type collector struct {
	mu       sync.Mutex
	ids      []string
	at       map[string]time.Time
	pos      purge.Position
	resets   []error
	confirms int
}

func (c *collector) Apply(r purge.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[string]time.Time{}
	}
	c.ids, c.pos = append(c.ids, r.ID), r.Position
	c.at[r.ID] = time.Now()
	return nil
}

func (c *collector) Reset(to purge.Position, why error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pos, c.resets = to, append(c.resets, why)
	return nil
}

func (c *collector) Confirm(time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.confirms++
}

// see calls f with the collector locked.
func (c *collector) see(f func() bool) func() bool {
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return f()
	}
}

// follow runs Follow until the test ends.
func follow(t *testing.T, l *Log, from purge.Position, s purge.Sink) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Follow(ctx, from, s) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow: %v", err)
		}
	})
}

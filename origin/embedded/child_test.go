package embedded_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"perigee/origin/embedded"
	"perigee/origin/origintest"
)

func TestChildIsRestarted(t *testing.T) {
	s := origintest.Start(t)
	addr := s.Child.Addr()
	put(t, writer(t, s.Config()), "b/x", "content")
	for range 2 {
		s.Kill(t)
		if s.Child.Addr() != addr {
			t.Fatalf("it moved from %s to %s", addr, s.Child.Addr())
		}
		if got := read(t, reader(t, s.Config()), "b/x"); got != "content" {
			t.Fatalf("after a kill it reads %q", got)
		}
	}
	s.Stop()
	if pid := s.Child.PID(); pid != 0 {
		t.Fatalf("after the end there is a process %d", pid)
	}
	closed(t, addr)
}

// TestChildDiesWithItsParent kills a parent in the hardest way.
func TestChildDiesWithItsParent(t *testing.T) {
	root := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self)
	parent.Env = append(os.Environ(), envParent+"="+root)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimSpace(line)
	if conn, err := net.Dial("tcp", addr); err != nil {
		t.Fatal(err)
	} else {
		conn.Close()
	}
	parent.Process.Kill()
	parent.Wait()
	closed(t, addr)
	put(t, writer(t, origintest.StartIn(t, root).Config()), "b/x", "the directory is free")
}

// TestChildEndsWithItsInput is the way that works on every system: the pipe to the parent breaks.
func TestChildEndsWithItsInput(t *testing.T) {
	cfg, err := origintest.ChildConfig(t.TempDir(), "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(cfg.Path, cfg.Args...)
	child.Env = cfg.Env
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		t.Fatalf("it said %q, %v", line, err)
	}
	in.Close()
	rest, err := io.ReadAll(said)
	if err != nil || len(rest) > 0 {
		t.Fatalf("in the end it said %q, %v", rest, err)
	}
	if err := child.Wait(); err != nil {
		t.Fatalf("it ended with %v", err)
	}
}

func TestChildThatCannotStart(t *testing.T) {
	for _, c := range []struct{ name, path, want string }{
		{"missing binary", "/nonexistent/perigee", "no such file"},
		{"silent exit", "/bin/true", "ended by itself"},
		{"failing exit", "/bin/false", "exit status 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := embedded.StartChild(t.Context(), embedded.ChildConfig{Path: c.path})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the error is %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestStoppedWhileStarting(t *testing.T) {
	cfg, err := origintest.ChildConfig(t.TempDir(), "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	child, err := embedded.StartChild(ctx, cfg)
	if err == nil { // it was quicker than the news
		child.Wait()
	}
}

// closed waits until nobody listens on addr.
func closed(t *testing.T, addr string) {
	t.Helper()
	origintest.Eventually(t, addr+" is closed", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return true
		}
		conn.Close()
		return false
	})
}

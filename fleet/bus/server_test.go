package bus

import (
	"context"
	"strings"
	"testing"

	"perigee/clock"
	"perigee/purge/purgetest"
)

// TestRun: the server serves until its context ends, and then leaves its address and directory to the next one.
func TestRun(t *testing.T) {
	cfg := ServerConfig{Listen: "127.0.0.1:0", StoreDir: t.TempDir(), Log: quiet(), Clock: clock.System}
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		err := Run(ctx, cfg, func(s *Server) {
			if err := connect(t, ClientConfig{URL: s.URL()}).Log(LogConfig{}).Ensure(ctx); err != nil {
				t.Error(err)
			}
			cfg.Listen = s.Addr().String()
			cancel()
		})
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	s := startServer(t, cfg)
	s.Shutdown()
	s.Shutdown() // harmless
	cfg = ServerConfig{StoreDir: t.TempDir(), Log: quiet(), Clock: clock.System}
	if err := Run(t.Context(), cfg, func(s *Server) { s.ns.Shutdown() }); err == nil {
		t.Error("a server that stops by itself: no error")
	}
}

// TestSyncs: a crash of the process does not show whether entries are synced; the server's own word must do.
func TestSyncs(t *testing.T) {
	s := startServer(t, ServerConfig{})
	l := connect(t, ClientConfig{InProcess: s}).Log(LogConfig{})
	first, err := l.Append(t.Context(), purgetest.NewEntry("first"))
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"at the start", "after the store was opened again"} {
		if cfg := s.ns.JetStreamConfig(); !cfg.SyncAlways || cfg.MaxStore != DefaultMaxStore {
			t.Errorf("%s: %+v", when, cfg)
		}
		if again, err := l.Append(t.Context(), purgetest.NewEntry("first")); err != nil || again.String() != first.String() {
			t.Errorf("%s: the entry is at %s, %v, and was at %s", when, again, err, first)
		}
		if err := s.reopen(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Health(); err != nil {
		t.Error(err)
	}
}

// TestRefusedAtStart: what Start must not accept.
func TestRefusedAtStart(t *testing.T) {
	user := []User{{Name: "a", Password: "p"}}
	for _, c := range []struct {
		name, listen string
		users        []User
		want         string
	}{
		{"beyond loopback", "0.0.0.0:0", nil, "beyond loopback"},
		{"all addresses", ":0", nil, "beyond loopback"},
		{"by name", "example.com:4222", nil, "beyond loopback"},
		{"IPv6", "[::]:0", nil, "beyond loopback"},
		{"no port", "127.0.0.1", nil, "missing port"},
		{"bad port", "127.0.0.1:http", nil, "not a number"},
		{"no password", "127.0.0.1:0", []User{{Name: "a"}}, "no password"},
		{"name", "127.0.0.1:0", []User{{Name: "a.b", Password: "p"}}, "a.b"},
		{"wildcard node", "127.0.0.1:0", []User{{Name: "a", Password: "p", Node: "*"}}, "node name"},
		{"twice", "127.0.0.1:0", append(user, user...), "twice"},
		{"reserved", "127.0.0.1:0", []User{{Name: "local", Password: "p"}}, "local"},
	} {
		s, err := Start(ServerConfig{Listen: c.listen, StoreDir: t.TempDir(), Users: c.users, Log: quiet(), Clock: clock.System})
		if err == nil {
			s.Shutdown()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for _, listen := range []string{"127.0.0.1:0", "localhost:0", "[::1]:0", ""} {
		s, err := Start(ServerConfig{Listen: listen, StoreDir: t.TempDir(), Log: quiet(), Clock: clock.System})
		if err != nil {
			t.Errorf("%q: %v", listen, err)
			continue
		}
		if s.Shutdown(); listen == "" && s.URL() != "" {
			t.Errorf("no address: listens on %s", s.URL())
		}
	}
	s, err := Start(ServerConfig{Listen: "0.0.0.0:0", StoreDir: t.TempDir(), Users: user, Log: quiet(), Clock: clock.System})
	if err != nil {
		t.Fatalf("beyond loopback with users: %v", err)
	}
	s.Shutdown()
}

func TestServerTaken(t *testing.T) {
	s := startServer(t, ServerConfig{})
	if _, err := Start(ServerConfig{Listen: s.Addr().String(), StoreDir: t.TempDir(), Log: quiet(), Clock: clock.System}); err == nil ||
		!strings.Contains(err.Error(), "address already in use") {
		t.Errorf("the same port: %v", err)
	}
	dir := t.TempDir()
	startServer(t, ServerConfig{StoreDir: dir})
	if _, err := Start(ServerConfig{StoreDir: dir, Log: quiet(), Clock: clock.System}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("the same directory: %v", err)
	}
	if err := s.Health(); err != nil {
		t.Errorf("Health: %v", err)
	}
}

// TestPasswordLater: users are set on a server that ran without; the log must be the same one.
func TestPasswordLater(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, ServerConfig{StoreDir: dir})
	open := connect(t, ClientConfig{InProcess: s})
	first, err := open.Log(LogConfig{}).Append(t.Context(), purgetest.NewEntry("first"))
	if err != nil {
		t.Fatal(err)
	}
	open.Close()
	s.Shutdown()
	s = startServer(t, ServerConfig{StoreDir: dir, Users: testUsers})
	again, err := connect(t, as(s, "api")).Log(LogConfig{}).Append(t.Context(), purgetest.NewEntry("first"))
	if err != nil || again.String() != first.String() {
		t.Errorf("the entry is at %v, %v, and was at %v", again, err, first)
	}
}

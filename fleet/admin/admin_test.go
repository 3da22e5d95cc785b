package admin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"perigee/fleet/admin"
)

func TestSet(t *testing.T) {
	ready := errors.New("the log was not reached yet")
	node := func(err error) admin.Node {
		return admin.Node{Ready: func() error { return err }, Metrics: admin.NewRegistry()}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	h := admin.Set(node(nil), map[string]admin.Node{"fra": node(ready)})
	go func() { done <- admin.Serve(ctx, ln, h, slog.New(slog.DiscardHandler)) }()
	f := func(path string, status int, part string) {
		t.Helper()
		resp, err := http.Get("http://" + ln.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != status || !strings.Contains(string(body), part) {
			t.Errorf("%s: %d %q", path, resp.StatusCode, body)
		}
	}
	f("/healthz", 200, "ok")
	f("/readyz", 200, "ready")
	f("/metrics", 200, "go_goroutines")
	f("/nodes/fra/healthz", 200, "ok")
	f("/nodes/fra/readyz", 503, "the log was not reached yet")
	f("/nodes/fra/metrics", 200, "process_cpu_seconds_total")
	f("/nodes/xyz/healthz", 404, "")
	guarded := admin.Guard("secret", h)
	for _, c := range []struct {
		path, auth string
		status     int
	}{{"/healthz", "", 200}, {"/readyz", "", 401}, {"/metrics", "Bearer wrong", 401}, {"/metrics", "Bearer secret", 200}, {"/nodes/fra/healthz", "", 200}} {
		r := httptest.NewRequest("GET", c.path, nil)
		if c.auth != "" {
			r.Header.Set("Authorization", c.auth)
		}
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s with %q: %d", c.path, c.auth, w.Code)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

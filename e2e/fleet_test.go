package e2e

import (
	"encoding/json"
	"net/http"
	"syscall"
	"testing"
	"time"

	"perigee/fleet"
)

// nodes asks the API for the fleet.
func nodes(t testing.TB, s *System) map[string]fleet.Node {
	t.Helper()
	a, err := Fetch(within(t, long), s.API, s.URL("/api/v1/fleet"))
	var v struct {
		Nodes []fleet.Node `json:"nodes"`
	}
	if err != nil || a.Status != 200 || json.Unmarshal(a.Body, &v) != nil {
		t.Fatalf("fleet: %d %s %v", a.Status, a.Body, err)
	}
	out := map[string]fleet.Node{}
	for _, n := range v.Nodes {
		out[n.Node] = n
	}
	return out
}

// waitLeases waits until every edge has reached the end of the log.
func waitLeases(t testing.TB, s *System) {
	t.Helper()
	eventually(t, "every edge has a lease", func() bool {
		all := nodes(t, s)
		for name := range s.Edges {
			if n, ok := all[name]; !ok || n.Down || n.Lease <= 0 {
				return false
			}
		}
		return true
	})
}

func post(t testing.TB, s *System, path, body string) Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t, long), http.MethodPost, s.URL(path), jsonBody(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	a, err := do(http.DefaultClient, req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDrainMovesClients(t *testing.T) {
	s := up(t)
	london := places[0]
	eventually(t, "London goes to Frankfurt", func() bool { return chosen(t, s, "udp", london.network) == s.Edges["fra"] })
	if a := post(t, s, "/api/v1/fleet/fra/drain", ""); a.Status/100 != 2 {
		t.Fatalf("drain: %d %s", a.Status, a.Body)
	}
	began := time.Now()
	eventually(t, "London leaves Frankfurt", func() bool { return chosen(t, s, "udp", london.network) != s.Edges["fra"] })
	t.Logf("DNS followed the drain after %v", time.Since(began).Round(time.Millisecond))
	if code, err := s.Interrupt(within(t, long)); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	start(t, s)
	waitLeases(t, s)
	if chosen(t, s, "udp", london.network) == s.Edges["fra"] {
		t.Error("the drain was forgotten over a restart")
	}
	if a := post(t, s, "/api/v1/fleet/fra/undrain", ""); a.Status/100 != 2 {
		t.Fatalf("undrain: %d %s", a.Status, a.Body)
	}
	eventually(t, "London is back in Frankfurt", func() bool { return chosen(t, s, "udp", london.network) == s.Edges["fra"] })
}

func TestPurgeWithProof(t *testing.T) {
	s := up(t)
	u, _ := put(t, s, "/p.txt", []byte("p"), "?wait=10s")
	for _, addr := range s.Edges {
		fetchOK(t, addr, u.URL)
		if a := fetchOK(t, addr, u.URL); !isHit(a) {
			t.Fatalf("no hit before the purge: %v", a.Header)
		}
	}
	a := post(t, s, "/api/v1/sites/www/purge?wait=10s", `{"urls":["`+u.URL+`"]}`)
	var p struct {
		ID        string
		Position  string
		Effective bool
		Edges     []struct {
			Node    string
			Applied bool
			MS      *float64
		}
	}
	if err := json.Unmarshal(a.Body, &p); err != nil || a.Status/100 != 2 {
		t.Fatalf("purge: %d %s", a.Status, a.Body)
	}
	if !p.Effective || len(p.Edges) != 3 || p.Position == "" {
		t.Fatalf("proof: %s", a.Body)
	}
	for _, e := range p.Edges {
		if !e.Applied || e.MS == nil {
			t.Errorf("proof of %s: %s", e.Node, a.Body)
		}
	}
	for name, addr := range s.Edges {
		if a := fetchOK(t, addr, u.URL); isHit(a) {
			t.Errorf("%s: a hit right after a proven purge: %v", name, a.Header)
		}
	}
	b, err := Fetch(within(t, long), s.API, s.URL("/api/v1/purges/"+p.ID))
	if err != nil || b.Status != 200 {
		t.Errorf("purge %s: %d %s %v", p.ID, b.Status, b.Body, err)
	}
}

func TestCleanStop(t *testing.T) {
	s := up(t)
	u, _ := put(t, s, "/keep.txt", []byte("keep"), "?wait=10s")
	for _, addr := range s.Edges {
		fetchOK(t, addr, u.URL)
	}
	storage := s.Storage
	code, err := s.Interrupt(within(t, long))
	if err != nil || code != 0 {
		t.Fatalf("exit %d, %v\n%s", code, err, s.LogTail())
	}
	if err := Gone(within(t, long), storage); err != nil {
		t.Fatal(err)
	}
	start(t, s)
	waitLeases(t, s)
	for name, addr := range s.Edges {
		if a := fetchOK(t, addr, u.URL); string(a.Body) != "keep" || !isHit(a) {
			t.Errorf("%s after a restart: %q %s", name, a.Body, a.Header.Get("Cache-Status"))
		}
	}
}

// TestStorageDiesWithItsParent kills the main process alone: its child must not stay behind and hold the data.
func TestStorageDiesWithItsParent(t *testing.T) {
	s := up(t)
	if err := syscall.Kill(s.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	if err := Gone(within(t, long), s.Storage); err != nil {
		t.Fatal(err)
	}
	start(t, s)
}

// TestStorageComesBack kills the S3 server alone: edges serve what they hold, uploads fail clearly or wait, and both work
// again when it is back.
func TestStorageComesBack(t *testing.T) {
	s := up(t)
	u, _ := put(t, s, "/held.txt", []byte("held"), "?wait=10s")
	fetchOK(t, s.Edges["fra"], u.URL)
	if err := syscall.Kill(s.Storage, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if a := fetchOK(t, s.Edges["fra"], u.URL); !isHit(a) {
		t.Errorf("a held file without storage: %v", a.Header)
	}
	eventually(t, "uploads work again", func() bool {
		_, status := put(t, s, "/after.txt", []byte("after"), "")
		return status/100 == 2
	})
	if a := fetchOK(t, s.Edges["nyc"], s.siteURL("/after.txt")); string(a.Body) != "after" {
		t.Errorf("%q", a.Body)
	}
}

package edge

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/clock"
	"perigee/edge/accesslog"
	"perigee/edge/cache"
	"perigee/edge/cache/cachetest"
	"perigee/fleet"
	"perigee/object"
	"perigee/purge"
	"perigee/purge/purgetest"
)

// station is a node with everything around it.
type station struct {
	t    *testing.T
	o    *cachetest.Origin
	log  *purgetest.Memory
	dir  string
	n    *Node
	w    *web // asks the node
	stop func() error

	measureRTT bool

	mu      sync.Mutex
	reports []fleet.Report
	changed chan struct{}
}

func newStation(t *testing.T) *station {
	return &station{t: t, o: cachetest.NewOrigin(), log: purgetest.NewMemory("one"), dir: t.TempDir(), changed: make(chan struct{})}
}

// start runs a node on the station's directory.
func (s *station) start(access *accesslog.Log) { s.startWith(access, nil) }

// startWith is start; before, if not nil, is called with the node before it runs.
func (s *station) startWith(access *accesslog.Log, before func(*Node)) {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := NewNode(NodeConfig{
		Name: "fra", Place: fleet.Place{Name: "Frankfurt", Country: "DE", Lat: 50, Lon: 8}, Listener: ln, Dir: s.dir,
		Cache: cache.Config{Size: 64 << 20, RAM: 1 << 20, Origin: s.o}, Log: s.log, Report: s.receive, Version: "test",
		Clock: clock.System, Logger: slog.New(slog.DiscardHandler), Access: access, Grace: time.Second, MeasureRTT: s.measureRTT,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.n, s.w = n, &web{t: s.t, addr: ln.Addr().String()}
	if before != nil {
		before(n)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	s.reports = nil
	go func() { done <- n.Run(ctx) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	s.t.Cleanup(func() { s.stop() })
}

func (s *station) receive(r *fleet.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := r.Validate(); err != nil {
		s.t.Errorf("report: %v", err)
	}
	s.reports = append(s.reports, *r)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// await returns the first report from now on, or the last one so far, that is as ok wants.
func (s *station) await(what string, ok func(r *fleet.Report) bool) *fleet.Report {
	s.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		var last *fleet.Report
		if n := len(s.reports); n > 0 {
			last = &s.reports[n-1]
		}
		s.mu.Unlock()
		if last != nil && ok(last) {
			return last
		}
		select {
		case <-changed:
		case <-late.C:
			s.t.Fatalf("no report says: %s; the last one is %+v", what, last)
		}
	}
}

func state(want fleet.State) func(*fleet.Report) bool {
	return func(r *fleet.Report) bool { return r.State == want }
}

func TestNodeLife(t *testing.T) {
	s := newStation(t)
	data := []byte("hello")
	s.o.SetDown(errUnplugged)
	s.start(nil)
	first := s.await("starting", state(fleet.Starting)) // it knows no site
	if first.Role != fleet.RoleEdge || first.Node != "fra" || first.Version != "test" || first.Place.Country != "DE" || len(first.Addrs) != 1 {
		t.Errorf("%+v", first)
	}
	if addr, _ := netip.ParseAddrPort(s.w.addr); first.Addrs[0] != addr {
		t.Errorf("address %v, want %v", first.Addrs, addr)
	}
	if a := s.w.ask("GET", "/file"); a.StatusCode != 503 || a.reason() != "sites-unknown" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	s.o.PutSite(cachetest.Site("www", "www.example"))
	p := s.o.Publish("www", "/file", 1, data)
	s.o.SetDown(nil)
	s.await("ready", state(fleet.Ready))
	s.w.mustGet("/file", data)
	s.w.mustGet("/file", data)

	position, err := s.log.Append(t.Context(), purge.Entry{Format: 1, ID: "one", Kind: purge.KindURL, Site: "www", Path: "/file"})
	if err != nil {
		t.Fatal(err)
	}
	r := s.await("applied", func(r *fleet.Report) bool { // a request is counted when it has ended, which may be after its answer
		return r.Position.Covers(position) && r.Cache != nil && r.Cache.Hits+r.Cache.Misses == 2
	})
	if r.Lease <= 0 || r.Cache == nil || r.Cache.Limit != 60<<20 || r.Cache.Hits != 1 || r.Cache.Misses != 1 || r.Cache.OriginOut != int64(len(data)) {
		t.Errorf("%+v, cache %+v", r, r.Cache)
	}
	if got := s.w.ask("GET", "/file").Header.Get("Cache-Status"); got != "fra; fwd=stale; detail=purged" {
		t.Errorf("%q", got)
	}

	if err := s.n.Drain(true); err != nil {
		t.Fatal(err)
	}
	s.await("draining", state(fleet.Draining))
	s.w.mustGet("/file", data) // it serves who comes all the same
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	last := s.await("stopping", state(fleet.Stopping))
	for i := 1; i < len(s.reports); i++ {
		if s.reports[i].Seq != s.reports[i-1].Seq+1 || s.reports[i].Boot != last.Boot {
			t.Errorf("report %d follows %d", s.reports[i].Seq, s.reports[i-1].Seq)
		}
	}
	if c, err := net.Dial("tcp", s.w.addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}

	// After a restart, cut off from everything, it is still drained, knows its sites and serves.
	s.o.SetDown(errUnplugged)
	s.log.SetReachable(false)
	s.start(nil)
	r = s.await("draining", state(fleet.Draining))
	if r.Boot == last.Boot || r.Lease != 0 || !r.Position.Covers(position) {
		t.Errorf("%+v", r)
	}
	a := s.w.mustGet("/file", data)
	if a.reason() != "lease-expired" {
		t.Errorf("%v", a.Header)
	}
	for range 2 { // a second time changes nothing
		if err := s.n.Drain(false); err != nil {
			t.Fatal(err)
		}
	}
	s.await("ready", state(fleet.Ready))
	s.log.SetReachable(true)
	s.await("lease", func(r *fleet.Report) bool { return r.Lease > 0 })
	s.w.mustGet("/file", data) // from disk: memory begins empty
	if got := s.w.mustGet("/file", data).reason(); got != "ram" {
		t.Errorf("%q", got)
	}
	if n := s.o.Reads(p.Blob); n != 1 {
		t.Errorf("%d reads of the blob", n)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.start(nil)
	s.await("ready", state(fleet.Ready)) // the drain is over after a restart too
}

func TestNodeStopsWhenItsListenerFails(t *testing.T) {
	s := newStation(t)
	s.o.PutSite(cachetest.Site("www", "www.example"))
	var socket *os.File // the lane closes the listener once it has the socket
	s.startWith(nil, func(n *Node) {
		var err error
		if socket, err = n.cfg.Listener.(*net.TCPListener).File(); err != nil {
			t.Fatal(err)
		}
	})
	defer socket.Close()
	s.await("ready", state(fleet.Ready))
	if err := syscall.Shutdown(int(socket.Fd()), syscall.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	s.await("stopping", state(fleet.Stopping)) // by itself
	if err := s.stop(); err == nil || !strings.Contains(err.Error(), "edge fra: listener") {
		t.Errorf("%v", err)
	}
	e, err := cache.Open(cache.Config{Dir: s.dir, Size: cache.MinSize, Origin: s.o, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("the cache was not closed: %v", err)
	}
	e.Close()
}

func TestNodeThatIsNotRun(t *testing.T) {
	s := newStation(t)
	s.start(nil)
	_, err := NewNode(s.n.cfg)
	if !errors.Is(err, cache.ErrInUse) {
		t.Errorf("a second node on the directory: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	n, err := NewNode(s.n.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := n.Drain(true); err == nil || n.State() == fleet.Draining {
		t.Errorf("a drain that cannot be remembered: %v, %s", err, n.State())
	}
}

func TestDrainFileSurvivesTheCache(t *testing.T) {
	s := newStation(t)
	s.start(nil)
	if err := s.n.Drain(true); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.dir, "journal")); err != nil {
		t.Fatal(err)
	}
	s.start(nil)
	if got := s.n.State(); got != fleet.Draining {
		t.Errorf("%s", got)
	}
}

func TestMetricsAndAccessLog(t *testing.T) {
	s := newStation(t)
	s.o.PutSite(cachetest.Site("www", "www.example"))
	s.o.Publish("www", "/file", 1, []byte("hello"))
	var lines lockedBuffer
	reg := prometheus.NewRegistry()
	access, err := accesslog.Open(accesslog.Config{Path: "-", Stdout: &lines, Format: accesslog.JSON, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.startWith(access, func(n *Node) { n.Measure(NewMetrics(reg, n.Engine())) })
	s.await("ready", state(fleet.Ready))
	s.w.mustGet("/file", []byte("hello"))
	s.w.mustGet("/file", []byte("hello"))
	s.w.ask("GET", "/absent%0aforged=1")
	s.w.ask("GET", "/"+string(object.Path("absent")))
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"perigee_edge_requests_total uri-miss not-held 200": 1, "perigee_edge_requests_total hit ram 200": 1, "perigee_edge_requests_total none bad-request 400": 1,
		"perigee_edge_requests_total uri-miss absent 404": 1, "perigee_edge_sent_bytes_total hit": 5, "perigee_edge_sent_bytes_total uri-miss": 5,
		"perigee_edge_origin_bytes_total": 5, "perigee_edge_origin_reads_total": 1, "perigee_edge_pointer_reads_total": 2, "perigee_edge_chunks": 1,
		"perigee_edge_names": 1, "perigee_edge_healed_total": 0, "perigee_edge_disk_failures_total": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
	log := lines.String()
	if n := strings.Count(log, "\n"); n != 4 || !strings.Contains(log, `"target":"/file","status":200,"bytes":5,"fwd":"uri-miss","reason":"not-held"`) ||
		!strings.Contains(log, `"target":"/absent%0aforged=1","status":400,`) {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

// lockedBuffer is a buffer for several writers.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

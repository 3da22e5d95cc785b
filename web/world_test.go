package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/clock"
	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/steer"
	"perigee/fleet"
	"perigee/keys"
	"perigee/object"
	"perigee/openapi"
	"perigee/origin/watch"
	"perigee/purge"
)

// world is a system around a Server that a test can move: a real board, tracker, ring and guard, and in place of
// catalogue, bucket and log a few maps.
type world struct {
	*publishing
	t       *testing.T
	board   *fleet.Board
	tracker *purge.Tracker
	ring    *keys.Ring
	cat     *catalog.Catalog // has the audit log, and no sites
	server  *Server
	http    *httptest.Server
	url     string

	appending sync.Mutex // one entry at a time is appended and applied, as in a log

	mu       sync.Mutex
	seq      uint64                    // of the log
	reports  map[string]*fleet.Report  // last report of each node
	entries  map[string]purge.Position // by id
	sites    []object.SiteRecord
	broken   error // what sites and files answer, when set
	telling  *telling
	refusing map[string]error
	slowEdge string               // applies nothing by itself
	used     map[string]time.Time // keys, by id
	watched  []watch.Status
}

const testSite = object.Site("www")

// newWorld starts a world without nodes. keyed gives it an API key, whose text it returns.
func newWorld(t *testing.T, keyed bool) (w *world, key string) {
	t.Helper()
	gin.SetMode(gin.TestMode)
	w = &world{
		t: t, board: fleet.NewBoard(clock.System), tracker: purge.NewTracker(clock.System, 100),
		used: map[string]time.Time{}, reports: map[string]*fleet.Report{}, entries: map[string]purge.Position{}, refusing: map[string]error{},
		sites: []object.SiteRecord{{Format: 1, Site: testSite, Kind: object.Published, Hosts: []object.Host{"www.perigee.test"}}},
	}
	w.publishing = newPublishing(w)
	var err error
	w.ring, err = keys.Open(keys.Config{File: filepath.Join(t.TempDir(), "keys.json")})
	if err != nil {
		t.Fatal(err)
	}
	if keyed {
		if key, _, err = w.ring.Create(t.Context(), keys.NewKey{Name: "tester", Scopes: []keys.Scope{keys.ScopeAdmin}}); err != nil {
			t.Fatal(err)
		}
	}
	w.cat, err = catalog.OpenSQLite(t.Context(), catalog.Config{File: filepath.Join(t.TempDir(), "c.db"), Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.cat.Close() })
	w.server, err = New(Config{
		Fleet: w, Purges: w, Sites: w, Explainer: w, Files: w.publishing, Contents: w, Keys: usedKeys{w.ring, w}, Ledger: w.cat,
		Watches: w, Stores: []string{"media", "archive"},
		Clock: clock.System, Log: slog.New(slog.DiscardHandler), Version: "1.2.3",
	})
	if err != nil {
		t.Fatal(err)
	}
	w.serve()
	return w, key
}

// serve starts the HTTP server with the guard, and Run; both end with the test, Run first.
func (w *world) serve() {
	w.http = httptest.NewUnstartedServer(nil)
	guard, err := keys.NewGuard(keys.GuardConfig{
		Ring: w.ring, Listen: w.http.Listener.Addr().String(), Public: Public, LoginPage: LoginPath,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	engine := gin.New()
	engine.Use(w.tell)
	w.server.Register(engine, openapi.New(openapi.Info{Version: "1.2.3"}))
	w.publishing.register(engine)
	w.http.Config.Handler = guard.Wrap(engine)
	w.http.Start()
	w.url = w.http.URL

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.server.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
		w.http.Close()
	})
}

// usedKeys is the ring with when its keys were last used.
type usedKeys struct {
	*keys.Ring
	w *world
}

func (u usedKeys) Uses(context.Context) (map[string]time.Time, error) {
	u.w.mu.Lock()
	defer u.w.mu.Unlock()
	maps.Copy(u.w.used, u.TakeUses())
	return maps.Clone(u.w.used), u.w.broken
}

// report sends a report of a node; change alters the last one of that name.
func (w *world) report(name string, change func(*fleet.Report)) {
	w.mu.Lock()
	r := w.reports[name]
	if r == nil {
		r = &fleet.Report{
			Format: 1, Node: name, Role: fleet.RoleEdge, Boot: "b", State: fleet.Ready, Version: "1.2.3",
			Place: fleet.Place{Name: name, Country: "DE"}, Cache: &fleet.CacheUse{},
		}
	}
	c := *r
	c.Seq++
	if change != nil {
		change(&c)
	}
	w.reports[name] = &c
	w.mu.Unlock()
	w.tracker.Applied(name, c.Position) // before the board, whose change wakes those who wait for a proof
	if err := w.board.Receive(&c); err != nil {
		w.t.Error(err)
	}
}

// entry appends an entry to the log; every edge but slowEdge applies it at once.
func (w *world) entry(e purge.Entry) (string, purge.Position) {
	w.appending.Lock()
	defer w.appending.Unlock()
	w.mu.Lock()
	w.seq++
	pos := purge.At("eu", purge.Mark{Stream: "s1", Seq: w.seq})
	e.Format, e.ID, e.At = 1, fmt.Sprintf("row-%d", w.seq), time.Now().UTC()
	w.entries[e.ID] = pos
	var edges []string
	for name, r := range w.reports {
		if r.Role == fleet.RoleEdge && name != w.slowEdge {
			edges = append(edges, name)
		}
	}
	w.mu.Unlock()
	w.tracker.Appended(e.ID, pos, time.Now())
	w.server.Changed(purge.Record{Entry: e, Position: pos})
	for _, name := range edges {
		w.report(name, func(r *fleet.Report) { r.Position = pos })
	}
	return e.ID, pos
}

// The interfaces of Config.

func (w *world) Snapshot() *fleet.Snapshot { return w.board.Snapshot() }

// Status serves Watches.
func (w *world) Status(context.Context) ([]watch.Status, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.watched), w.broken
}

// Changed serves Fleet and Purges: every report here changes the board, and so wakes both.
func (w *world) Changed() <-chan struct{} { return w.board.Changed() }

func (w *world) Drain(_ context.Context, node string, drain bool) error {
	w.mu.Lock()
	err := w.refusing[node]
	w.mu.Unlock()
	if err != nil {
		return err
	}
	w.report(node, func(r *fleet.Report) {
		r.State = fleet.Ready
		if drain {
			r.State = fleet.Draining
		}
	})
	return nil
}

func (w *world) Forget(node string) error { return w.board.Forget(node) }

func (w *world) Purge(_ context.Context, site object.Site, req PurgeRequest) (string, purge.Position, error) {
	if !w.hasSite(site) {
		return "", purge.Position{}, fmt.Errorf("site %s: %w", site, fs.ErrNotExist)
	}
	e := purge.Entry{Kind: purge.KindSite, Site: site, Soft: req.Soft}
	if len(req.Paths) > 0 {
		e.Kind, e.Path = purge.KindURL, req.Paths[0]
	}
	id, pos := w.entry(e)
	return id, pos, nil
}

// EraseFiles and the next three serve Contents, as if every site had one file, at /secret, of two versions.
func (w *world) EraseFiles(_ context.Context, site object.Site, paths ...object.Path) (Erased, error) {
	for _, path := range paths {
		if path != "/secret" {
			return Erased{}, fmt.Errorf("file %s of site %s: %w", path, site, fs.ErrNotExist)
		}
	}
	v := object.NextVersion(time.Now(), 1, "")
	id, pos := w.entry(purge.Entry{Kind: purge.KindErase, Site: site, Path: "/secret", Versions: []object.Version{v}})
	return Erased{ID: id, Position: pos, Files: 1, Versions: 2, Blobs: 1, KeptElsewhere: 1}, nil
}

func (w *world) EraseContent(ctx context.Context, hash object.Hash, site object.Site) (Erased, error) {
	if hash != object.HashOf([]byte("secret")) {
		return Erased{}, nil
	}
	return w.EraseFiles(ctx, cmp.Or(site, testSite), "/secret")
}

func (w *world) Garbage(context.Context, int) (Garbage, error) {
	return Garbage{After: 60, Condemned: Heap{1, 6}, Blobs: []Blob{{Key: object.BlobKey(object.HashOf([]byte("secret"))), SHA256: object.HashOf([]byte("secret")), Size: 6}}}, nil
}

func (w *world) Collect(context.Context) error { return w.broken }

func (w *world) Proof(id string) (Proof, error) {
	w.mu.Lock()
	pos, ok := w.entries[id]
	w.mu.Unlock()
	if !ok {
		return Proof{}, fmt.Errorf("purge %q: %w", id, fs.ErrNotExist)
	}
	var edges []string
	for n := range w.board.Snapshot().Edges {
		edges = append(edges, n.Node)
	}
	return NewProof(id, pos, w.tracker.Proof(id, pos, edges)), nil
}

func (w *world) hasSite(s object.Site) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.sites, func(r object.SiteRecord) bool { return r.Site == s })
}

func (w *world) Sites(context.Context) ([]object.SiteRecord, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sites), w.broken
}

func (w *world) CreateSite(_ context.Context, r object.SiteRecord) (object.SiteRecord, error) {
	r.Version = object.NextVersion(time.Now(), 1, "")
	if err := r.Validate(); err != nil {
		return r, err
	}
	if w.hasSite(r.Site) {
		return r, fmt.Errorf("create site %s: %w", r.Site, fs.ErrExist)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sites = append(w.sites, r)
	slices.SortFunc(w.sites, func(a, b object.SiteRecord) int { return cmp.Compare(a.Site, b.Site) })
	return r, nil
}

// Subject implements Purges: every change of this world is about the whole of its site.
func (w *world) Subject(_ context.Context, id string) (object.Site, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.entries[id]; !ok {
		return "", "", fmt.Errorf("change %s: %w", id, fs.ErrNotExist)
	}
	return testSite, "", nil
}

func (w *world) UpdateSite(_ context.Context, r object.SiteRecord, match object.Version) (object.SiteRecord, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.sites, func(old object.SiteRecord) bool { return old.Site == r.Site })
	if i < 0 {
		return r, fmt.Errorf("site %s: %w", r.Site, fs.ErrNotExist)
	}
	if match != "" && match != w.sites[i].Version {
		return r, fmt.Errorf("site %s: %w", r.Site, ErrPrecondition)
	}
	r.Version = object.NextVersion(time.Now(), 1, w.sites[i].Version)
	if err := r.Validate(); err != nil {
		return r, err
	}
	w.sites[i] = r
	return r, nil
}

var errBroken = errors.New("the disk is on fire at /secret/place")

func (w *world) WhatIf(_ context.Context, change steer.Change) (steer.Comparison, error) {
	p := steer.NewPlan(nil, w.board.Snapshot())
	db, err := geo.Embedded()
	if err != nil {
		return steer.Comparison{}, err
	}
	return p.WhatIf(steer.Balancing{DB: db}, change)
}

func (w *world) Explain(_ context.Context, site object.Site, path object.Path, ip netip.Addr) (Explanation, error) {
	if path == "/broken" {
		return Explanation{}, errBroken
	}
	e := Explanation{
		Site: site, Path: path, IP: ip, Geo: GeoSource{"DB-IP City Lite", "2026-11"}, Chosen: "fra",
		Answer: DNSAnswer{"A", "127.0.1.1", 20, "81.2.69.0/24"},
		Edge:   EdgeState{Outcome: "hit", Reason: "fresh", Blob: "ram"},
	}
	if !ip.IsPrivate() && !ip.IsLoopback() {
		e.Place = Place{"GB", "London", 51.51, -0.13, true}
	}
	for i, n := range w.board.Snapshot().Nodes {
		reason := "nearest fit edge"
		if i > 0 {
			reason = "further away"
		}
		e.Candidates = append(e.Candidates, Candidate{n.Node, 640 + 4900*float64(i), n.State, n.Down, reason, n.Addrs})
	}
	if f, ok := w.get(path); ok {
		e.Edge.Pointer = &object.Pointer{
			Format: 1, Site: site, Path: path, Version: f.version, State: object.Live, Modified: f.modified,
			Hash: f.hash, Root: f.hash, Size: f.size, Blob: object.BlobKey(f.hash), ContentType: f.contentType,
		}
	}
	return e, nil
}

// do makes a request and returns status, header and body. Header fields are given as "Name: value".
func (w *world) do(method, path, body string, fields ...string) (int, http.Header, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Set(name, value)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

package main

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/clock"
	"perigee/config"
	"perigee/edge"
	"perigee/fleet"
	"perigee/fleet/admin"
	"perigee/fleet/bus"
	"perigee/fleet/latency"
	"perigee/idempotency"
	"perigee/keys"
	"perigee/object"
	"perigee/openapi"
	"perigee/origin"
	"perigee/origin/watch"
	"perigee/purge"
	"perigee/upload"
	"perigee/web"
)

// member is this process's view of the fleet: a bus client and the board it feeds.
type member struct {
	bus     *bus.Client
	board   *fleet.Board
	tracker *purge.Tracker
	latency *latency.Aggregator // of a process with a DNS server, once that is started
	account account             // whose the bus client is
	server  *bus.Server         // of the bus, if it is in this process
}

// joinFleet connects to the bus and keeps a board that freezes while the bus is gone. file, if not "", keeps the last known
// fleet over restarts.
func (r *role) joinFleet(ctx context.Context, name string, a account, in *bus.Server, file string) (*member, error) {
	m := &member{board: fleet.NewBoardOf(fleet.BoardConfig{Self: name, Clock: r.clock, Log: r.log}), tracker: purge.NewTracker(r.clock, 10_000), account: a, server: in}
	if file != "" {
		if err := m.board.Load(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.log.Warn("the last known fleet is lost", "err", err)
		}
	}
	m.board.Freeze(true)
	var err error
	m.bus, err = r.connectBus(ctx, name, a, in, func(connected bool) { m.board.Freeze(!connected) })
	if err != nil {
		return nil, err
	}
	stop, err := m.bus.SubscribeReports(func(rep *fleet.Report) {
		if err := m.board.Receive(rep); err != nil {
			r.log.Warn("a report was refused", "err", err)
			return
		}
		m.tracker.Applied(rep.Node, rep.Position)
	})
	if err != nil {
		return nil, err
	}
	r.onStop("reports", func() error { stop(); return nil })
	r.start("board", m.board.Run)
	if file != "" {
		r.start("fleet file", func(ctx context.Context) error { return r.keepFleet(ctx, m.board, file) })
	}
	return m, nil
}

// keepFleet saves the board whenever what steering reads has changed, at most once a second.
func (r *role) keepFleet(ctx context.Context, b *fleet.Board, file string) error {
	t := r.clock.NewTicker(time.Second)
	defer t.Stop()
	for saved := uint64(0); ; {
		if s := b.Snapshot(); s.Gen != saved {
			if err := b.Save(file); err != nil {
				r.log.Warn("the fleet cannot be kept for the next start", "err", err)
			}
			saved = s.Gen
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}

// report makes a node without clients of its own visible in the fleet.
func (r *role) report(name string, role fleet.Role, c *bus.Client) {
	rep := fleet.NewReporter(r.clock, r.log, func(rep *fleet.Report) {
		rep.Node, rep.Role, rep.State, rep.Version = name, role, fleet.Ready, version()
	}, c.PublishReport)
	r.start("reports of "+name, rep.Run)
}

// api is the API and console of one process.
type api struct {
	r       *role
	m       *member
	ring    *keyring
	catalog *catalog.Catalog
	writer  *origin.Writer
	log     *bus.Log
	outbox  *catalog.Outbox
	mover   *catalog.Mover
	pub     *upload.Publisher
	console *web.Server
	once    *idempotency.Keeper
	watcher *watch.Watcher
	node    string // names this process among those that watch
	// prepared is closed when bucket and default site are there.
	prepared chan struct{}
	declared []object.SiteRecord // by the configuration
}

// startAPI starts the API and the console, and returns their listener.
func (r *role) startAPI(ctx context.Context, m *member) (net.Listener, *admin.Node, error) {
	a := &api{r: r, m: m, prepared: make(chan struct{})}
	host, err := os.Hostname()
	if err != nil {
		host = "api"
	}
	a.node = host + "-" + rand.Text()[:8]
	if err := a.openCatalog(ctx); err != nil {
		return nil, nil, err
	}
	if err := a.openKeys(ctx); err != nil {
		return nil, nil, err
	}
	// Before the listener is opened: an address that may not be used must not have been open for a moment.
	if err := keys.CheckListen(r.cfg.API.Listen, !a.ring.Empty(), "the API and console (api.listen)"); err != nil {
		return nil, nil, err
	}
	if err := a.build(ctx); err != nil {
		return nil, nil, err
	}
	ln, err := listen("tcp", r.cfg.API.Listen, "the API and console")
	if err != nil {
		return nil, nil, err
	}
	h, err := a.handler(ln)
	if err != nil {
		return nil, nil, errors.Join(err, ln.Close())
	}
	r.start("purge log", a.log.Run)
	if r.cfg.Catalog.IsPostgres() {
		r.start("purge log, followed", a.follow)
	}
	r.start("publishing", a.publish)
	r.start("moves of the catalogue", a.mover.Run)
	r.start("live events", a.console.Run)
	r.start("retention", a.expire)
	r.start("watching of buckets", a.watcher.Run)
	if r.events != nil {
		r.start("events of the storage", func(ctx context.Context) error { return r.events.run(ctx, a.watcher.Take, r) })
	}
	r.start("API", func(ctx context.Context) error { return serveHTTP(ctx, r, ln, h) })
	reg := admin.NewRegistry()
	catalog.NewMetrics(reg, a.catalog)
	registerWatch(reg, a.watcher)
	upload.RegisterMetrics(reg, a.pub)
	return ln, &admin.Node{Ready: a.ready, Metrics: reg}, nil
}

func (a *api) openCatalog(ctx context.Context) (err error) {
	cfg := a.r.catalogConfig()
	if err := os.MkdirAll(filepath.Dir(cfg.File), 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		a.catalog, err = catalog.Open(ctx, cfg)
		if !errors.Is(err, catalog.ErrUnavailable) {
			break
		}
		a.r.log.Warn("the API waits for its catalogue", "again_in", wait.String(), "err", err)
		if clock.Sleep(ctx, a.r.clock, wait) != nil {
			return ctx.Err()
		}
	}
	if err == nil {
		a.r.onStop("catalogue", a.catalog.Close)
	}
	return err
}

// build makes the rooms and starts nothing.
func (a *api) build(ctx context.Context) (err error) {
	r := a.r
	if a.once, err = idempotency.New(idempotency.Config{Store: a.catalog, Clock: r.clock, Log: r.log, Skip: upload.Resumes}); err != nil {
		return err
	}
	reader, err := origin.NewReader(r.bucket())
	if err != nil {
		return err
	}
	if a.writer, err = origin.NewWriter(ctx, r.bucket()); err != nil {
		return err
	}
	written, err := a.catalog.LastPosition(ctx)
	if err != nil {
		return err
	}
	a.log = a.m.bus.Log(bus.LogConfig{Written: written})
	a.outbox, err = catalog.NewOutbox(catalog.OutboxConfig{
		Catalog: a.catalog, Appender: a.log, Clock: r.clock, Log: r.log, Appended: a.appended,
	})
	if err != nil {
		return err
	}
	if a.mover, err = catalog.NewMover(catalog.MoverConfig{Catalog: a.catalog, Clock: r.clock, Log: r.log}); err != nil {
		return err
	}
	proof := &proofs{Tracker: a.m.tracker, board: a.m.board, catalog: a.catalog}
	publishing := upload.Config{
		Catalog: a.catalog, Outbox: a.outbox, Reader: reader, Writer: a.writer, Clock: r.clock, Log: r.log, Proof: proof,
		BaseURL:     func(s object.SiteRecord) string { return urlBase(r.cfg.Zone, s) },
		DefaultSite: object.Site(r.cfg.API.DefaultSite), MaxSize: int64(r.cfg.API.MaxUpload), FormResult: a.formResult,
		UploadTTL: config.LongestUpload, Longest: config.LongestUpload,
		CollectAfter: r.cfg.API.CollectAfter.Std(), CollectAgain: r.cfg.API.CollectAgain.Std(),
		Started:  func() bool { return a.ready() == nil },
		Progress: func(at upload.Progress) { a.console.Uploading(web.UploadProgress(at)) },
	}
	if public := r.cfg.Storage.PublicEndpoint; public != "" {
		if publishing.Presigner, err = a.writer.Presigner(public); err != nil {
			return err
		}
	}
	if a.pub, err = upload.New(publishing); err != nil {
		return err
	}
	proof.publisher = a.pub
	if f := r.cfg.API.SitesFile; f != "" {
		if a.declared, err = config.ReadSites(f); err != nil {
			return err
		}
	}
	all := sites{a.pub, a.catalog, a.declared, r.cfg}
	if a.watcher, err = a.newWatcher(reader); err != nil {
		return err
	}
	explain, err := newExplainer(r, a.m, all)
	if err != nil {
		return err
	}
	a.console, err = web.New(web.Config{
		Fleet: nodes{a.m.board, a.m.bus}, Purges: proof, Sites: all, Explainer: explain,
		Contents: contents{a.pub}, Files: files{catalog: a.catalog, sites: all, zone: r.cfg.Zone}, Keys: a.ring, Ledger: a.catalog, Catalogue: slots{a.catalog}, Watches: a.watcher, Stores: storeNames(r.cfg.Stores),
		Clock: r.clock, Log: r.log, Version: version(),
	})
	return err
}

// formResult shows what became of a form that did not wholly succeed.
func (a *api) formResult(c *gin.Context, status int, results []upload.FormResult) {
	out := make([]web.FormFile, len(results))
	for i, r := range results {
		out[i].Path = r.Path
		if r.Result != nil {
			out[i].URL = r.Result.URL
		}
		if r.Problem != nil {
			out[i].Problem, out[i].RequestID = r.Problem.Detail, r.Problem.RequestID
		}
	}
	a.console.FormOutcome(c, status, out)
}

// appended hears of every entry that the outbox has brought into the log.
func (a *api) appended(e purge.Entry, at purge.Position, when time.Time) {
	a.m.tracker.Appended(e.ID, at, when)
	if !a.r.cfg.Catalog.IsPostgres() { // else it is heard from the log, like what other nodes append
		a.console.Changed(purge.Record{Entry: e, Position: at})
	}
}

func (a *api) handler(ln net.Listener) (http.Handler, error) {
	c := a.r.cfg
	session, err := sessionKey(c)
	if err != nil {
		return nil, err
	}
	guard, err := keys.NewGuard(keys.GuardConfig{
		Ring: a.ring.Ring, Listen: ln.Addr().String(), PublicURL: c.API.PublicURL, SessionKey: session, SessionFor: c.API.Session.Std(),
		Public: web.Public, LoginPage: web.LoginPath, Clock: a.r.clock, Log: a.r.log,
		Rates: keys.Rates{Requests: float64(c.API.Rate.Requests), Bytes: float64(c.API.Rate.Bytes), Refused: float64(c.API.Rate.Refused), Burst: c.API.Rate.Burst.Std()},
	})
	if err != nil {
		return nil, err
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.UseRawPath, engine.UnescapePathValues = true, false
	d := openapi.New(apiInfo())
	engine.Use(a.pub.Consistency)
	a.pub.Register(engine, d)
	a.console.Register(engine, d)
	a.once.Describe(d)
	describeBeside(d)
	return a.withEvents(guard.Wrap(known(a.once.Wrap(engine)))), nil
}

// sessionKey signs the console's sessions: kept in the data directory, so that they outlive a restart, or given, so that several nodes know them.
func sessionKey(c *config.Config) ([]byte, error) {
	if given := c.API.SessionKey.Reveal(); given != "" {
		return hkdf.Key(sha256.New, []byte(given), nil, "perigee sessions", keys.SessionKeyLen)
	}
	set, err := config.Secrets(c.Data)
	if err != nil {
		return nil, err
	}
	return set.SessionBytes(), nil
}

// publish waits for the bucket, makes it and the default site if need be, and then keeps outbox and sweeper running.
func (a *api) publish(ctx context.Context) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := a.prepare(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			break
		}
		a.r.log.Warn("the bucket is not ready for publishing yet; trying on", "err", err)
		t := a.r.clock.NewTimer(pause)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { a.outbox.Run(ctx) })
	wg.Go(func() { a.pub.Run(ctx) })
	close(a.prepared)
	wg.Wait()
	return nil
}

// configID stands in the audit log where otherwise the id of an API key does, for what the configuration orders at a start.
const configID = "configuration"

func (a *api) prepare(ctx context.Context) error {
	if err := a.writer.EnsureBucket(ctx); err != nil {
		return err
	}
	ctx = catalog.WithActor(ctx, catalog.Actor{Key: configID})
	for _, rec := range a.declared {
		if err := checkStore(a.r.cfg, rec); err != nil {
			return err
		}
		if err := a.pub.DeclareSite(ctx, rec); err != nil {
			return fmt.Errorf("declare site %s: %w", rec.Site, err)
		}
	}
	site := object.Site(a.r.cfg.API.DefaultSite)
	if site == "" {
		return nil
	}
	_, err := a.pub.EnsureSite(ctx, object.SiteRecord{
		Format: 1, Site: site, Kind: object.Published, Hosts: []object.Host{a.r.cfg.Zone.HostOf(site)},
		Rules: object.SiteRules{AllowActive: object.Active{All: true}},
	})
	return err
}

// ready says whether files can be published.
func (a *api) ready() error {
	select {
	case <-a.prepared:
		return nil
	default:
		return errors.New("the bucket is not ready yet")
	}
}

// control carries out commands from the bus.
func control(n *edge.Node) func(bus.Request) (any, error) {
	return func(r bus.Request) (any, error) {
		if r.Command == bus.Explain {
			return n.Engine().Explain(r.Site, r.Path), nil
		}
		return nil, n.Drain(r.Command == bus.Drain)
	}
}

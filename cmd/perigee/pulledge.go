package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"perigee/clock"
	"perigee/config"
	"perigee/edge/cache/policy"
	"perigee/edge/cache/store"
	"perigee/edge/pull"
	"perigee/edge/rules"
	"perigee/fleet/admin"
	"perigee/object"
	"perigee/origin/site"
)

// The defaults of an edge that stands alone.
const (
	aloneListen = "127.0.0.1:8100"
	aloneSize   = 10 << 30
	aloneRAM    = 256 << 20
	aloneGrace  = 10 * time.Second
	collectAt   = 25 // percent of growth
)

// collectEarly has garbage collected when the heap has grown by collectAt, unless GOGC says otherwise. What lives on it is little beside caches and buffers, and most
// of that are tables without pointers, which cost nothing to mark: it is better collected often than twice as large.
func collectEarly() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
}

// runAlone runs an edge as a caching reverse proxy of one origin: it reads no configuration beyond its flags and the log section, and joins no fleet.
func (c *edgeCmd) runAlone(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	log, err := newLogger(cfg.Log, a.stderr)
	if err != nil {
		return err
	}
	collectEarly()
	r := &role{cfg: cfg, log: log, clock: clock.System, out: a.stdout, parts: newParts(log)}
	if err := c.startAlone(a.ctx, r); err != nil {
		return errors.Join(err, r.stop())
	}
	return r.finish(a.ctx)
}

// startAlone opens the cache and the listener.
func (c *edgeCmd) startAlone(ctx context.Context, r *role) error {
	u, cleartext2, err := site.ParseOrigin(c.Origin)
	if err != nil {
		return err
	}
	size, memory := config.Bytes(aloneSize), config.Bytes(aloneRAM)
	for _, f := range []struct {
		flag, text string
		to         *config.Bytes
	}{{"--cache-size", c.CacheSize, &size}, {"--ram", c.RAM, &memory}} {
		if f.text == "" {
			continue
		}
		if *f.to, err = config.ParseBytes(f.text); err != nil {
			return fmt.Errorf("%s: %w", f.flag, err)
		}
	}
	var list []object.Rule
	if c.Rules != "" {
		if list, err = config.ReadRules(c.Rules); err != nil {
			return fmt.Errorf("--rules: %w", err)
		}
	}
	addr := cmp.Or(c.Listen, aloneListen)
	dir := c.Cache
	if dir == "" {
		dir = aloneCache(addr, c.Origin)
	}
	ln, err := listen("tcp", addr, "the edge")
	if err != nil {
		return err
	}
	st, err := openAlone(r, dir, int64(size))
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	// An origin that the operator names on the command line may be wherever it is.
	everywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	t := site.NewTransport(site.Config{Allow: everywhere, Cleartext2: cleartext2, Clock: r.clock})
	cache := pull.New(pull.Config{Name: cmp.Or(c.Name, "perigee"), Records: st, RAM: int64(memory), Clock: r.clock, Log: r.log})
	r.onStop("cache", func() error {
		cache.Close()
		t.CloseIdleConnections()
		return st.Close()
	})
	r.start("store", st.Run)
	h := cache.Handler(&pull.Site{Origin: u, Transport: t, StaleUnreachable: pull.DefaultStaleUnreachable, Rules: rules.Compile(list)})
	r.start("edge", func(ctx context.Context) error { return pull.Serve(ctx, ln, h, aloneGrace, r.log) })
	reg := admin.NewRegistry()
	pull.RegisterMetrics(reg, cache, st)
	if err := r.startAdmin(c.addr(r.cfg, ""), admin.Node{Ready: func() error { return nil }, Metrics: reg}); err != nil {
		return err
	}
	r.log.Info("the edge is up", "addr", ln.Addr(), "origin", u.Redacted(), "cache", dir, "size", size)
	return nil
}

func openAlone(r *role, dir string, size int64) (*store.Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	st, err := store.Open(store.Config{Dir: dir, Size: size, Clock: r.clock, Log: r.log, Policy: policy.New(policy.Config{Size: size})})
	if err != nil {
		return nil, fmt.Errorf("cache in %s: %w", dir, err)
	}
	return st, nil
}

// aloneCache is where the cache of an edge lies that was not told: in the user's cache directory, one for each address and origin.
func aloneCache(addr, origin string) string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = filepath.Join(os.TempDir(), fmt.Sprintf("cache-%d", os.Getuid()))
	}
	sum := sha256.Sum256([]byte(addr + "\x00" + origin))
	return filepath.Join(base, "perigee", "edge-"+hex.EncodeToString(sum[:6]))
}

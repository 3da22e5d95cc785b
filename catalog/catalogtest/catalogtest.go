// Package catalogtest is the contract of package catalog as a suite that every database behind it must pass.
package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/clock"
	"perigee/object"
)

// Opener opens the catalogue at cfg.File, which names a place that the suite chose below a temporary directory. Opened
// again after Close, a place is the same catalogue in another run of the program. The suite closes it.
type Opener func(t *testing.T, cfg catalog.Config) *catalog.Catalog

// Run runs the suite.
func Run(t *testing.T, open Opener) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *bench)
	}{
		{"sites", testSites}, {"site hosts", testHosts}, {"site confirmation", testSiteStored},
		{"publish", testPublish}, {"conditions", testConditions}, {"modified and version rise", testMonotonic},
		{"commit twice", testCommitTwice}, {"delete", testDelete}, {"invalid pointer", testInvalidPointer},
		{"busy", testBusy}, {"busy gives up", testBusyGivesUp}, {"expired", testExpired}, {"past run", testPastRun},
		{"late commit", testLateCommit}, {"concurrent writers", testConcurrent}, {"adopt", testAdopt},
		{"list", testList}, {"list prefixes", testListPrefixes}, {"recent", testRecent}, {"versions", testVersions},
		{"streamed uploads", testStreamed}, {"resumable uploads", testResumable}, {"leases", testLeases}, {"references", testReferenced},
		{"claims", testClaims}, {"references of versions", testReferences}, {"unsure references", testDoubt}, {"blobs that nobody needs", testWaning},
		{"versions without a reference", testNamed}, {"removals", testRemovals},
		{"outbox rows", testRows}, {"purges", testPurges}, {"purge limits", testPurgeLimits}, {"reopen", testReopen},
		{"objects of buckets", testObjects}, {"watches", testWatches}, {"ended context", testContext}, {"usage", testUsage}, {"quota", testQuota},
		{"quota race", testQuotaRace}, {"audit", testAudit}, {"nothing to audit", testRefusedIsNotAudited}, {"requests once", testOnce},
		{"one of many requests", testOnceOne}, {"list purges", testListPurges},
		{"uses of keys", testKeyUses}, {"noted once", testNotedOnce}, {"nothing stored", testNothingStored},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{t: t, ctx: t.Context(), open: open, clock: &steppedClock{Clock: clock.System}}
			b.cfg = catalog.Config{
				File: t.TempDir() + "/catalogue.db", Clock: b.clock, Log: slog.New(slog.DiscardHandler),
				BusyWait: 30 * time.Second, ReservationTTL: time.Minute,
			}
			b.reopen()
			t.Cleanup(func() { b.close() })
			c.test(t, b)
		})
	}
}

// steppedClock is the system's clock, put forward or back.
type steppedClock struct {
	clock.Clock
	offset atomic.Int64
}

func (c *steppedClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.offset.Load())) }

func (c *steppedClock) step(d time.Duration) { c.offset.Add(int64(d)) }

// bench is an open catalogue and short words to use it with.
type bench struct {
	*catalog.Catalog
	t     *testing.T
	ctx   context.Context
	open  Opener
	cfg   catalog.Config
	clock *steppedClock
}

func (b *bench) close() {
	b.t.Helper()
	if b.Catalog == nil {
		return
	}
	if err := b.Close(); err != nil {
		b.t.Errorf("close: %v", err)
	}
	b.Catalog = nil
}

// reopen is a new run of the program.
func (b *bench) reopen() {
	b.t.Helper()
	b.close()
	b.Catalog = b.open(b.t, b.cfg)
}

// content makes a live pointer of one chunk.
func content(site object.Site, path object.Path, body string) object.Pointer {
	h := object.HashOf([]byte(body))
	return object.Pointer{Format: 1, Site: site, Path: path, State: object.Live, Hash: h, Root: h, Size: int64(len(body)),
		Blob: object.BlobKey(h), ContentType: "text/plain"}
}

func tombstone(site object.Site, path object.Path) object.Pointer {
	return object.Pointer{Format: 1, Site: site, Path: path, State: object.Gone}
}

func (b *bench) reserve(p object.Pointer) catalog.Reservation {
	b.t.Helper()
	r, err := b.Reserve(b.ctx, catalog.Change{Pointer: p})
	if err != nil {
		b.t.Fatalf("reserve %s: %v", p.Path, err)
	}
	return r
}

func etagOf(p object.Pointer) string { return fmt.Sprintf("%q", "e-"+string(p.Version)) }

func (b *bench) commit(r catalog.Reservation) string {
	b.t.Helper()
	id, err := b.Commit(b.ctx, r, etagOf(r.Pointer))
	if err != nil {
		b.t.Fatalf("commit %s: %v", r.Pointer.Path, err)
	}
	return id
}

// publish is a whole change.
func (b *bench) publish(p object.Pointer) object.Pointer {
	b.t.Helper()
	r := b.reserve(p)
	b.commit(r)
	return r.Pointer
}

func (b *bench) file(site object.Site, path object.Path) catalog.File {
	b.t.Helper()
	f, err := b.File(b.ctx, site, path)
	if err != nil {
		b.t.Fatalf("file %s: %v", path, err)
	}
	return f
}

func (b *bench) rows() []catalog.Row {
	b.t.Helper()
	rows, err := b.Rows(b.ctx, "", 0)
	if err != nil {
		b.t.Fatalf("rows: %v", err)
	}
	return rows
}

func (b *bench) site(name object.Site, hosts ...object.Host) object.SiteRecord {
	b.t.Helper()
	r, err := b.CreateSite(b.ctx, object.SiteRecord{Format: 1, Site: name, Kind: object.Published, Hosts: hosts})
	if err != nil {
		b.t.Fatalf("create site %s: %v", name, err)
	}
	return r
}

// want fails the test unless err wraps target.
func (b *bench) want(what string, err, target error) {
	b.t.Helper()
	if !errors.Is(err, target) {
		b.t.Errorf("%s: got error %v, want %v", what, err, target)
	}
}

// must fails the test if err is set.
func (b *bench) must(what string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

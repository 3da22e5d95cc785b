package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"perigee/catalog"
	"perigee/catalog/catalogtest"
	"perigee/catalog/pgserver"
	"perigee/object"
	"perigee/purge"
	"perigee/purge/purgetest"
)

// node is one of several processes that have one catalogue open.
type node struct {
	*catalog.Catalog
	t *testing.T
}

// nodes opens a catalogue n times.
func nodes(t *testing.T, cfg catalog.Config, n int) []node {
	t.Helper()
	all := make([]node, n)
	for i := range all {
		c, err := catalog.OpenPostgres(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = node{closing(t, c), t}
	}
	return all
}

func pointer(path, body string) object.Pointer {
	h := object.HashOf([]byte(body))
	return object.Pointer{Format: 1, Site: "www", Path: object.Path(path), State: object.Live, Hash: h, Root: h, Size: int64(len(body)), Blob: object.BlobKey(h)}
}

func (n node) reserve(path, body string) catalog.Reservation {
	n.t.Helper()
	r, err := n.Reserve(n.t.Context(), catalog.Change{Pointer: pointer(path, body)})
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

func (n node) publish(path, body string) (object.Version, string) {
	n.t.Helper()
	r := n.reserve(path, body)
	entry, err := n.Commit(n.t.Context(), r, "e")
	if err != nil {
		n.t.Fatal(err)
	}
	return r.Pointer.Version, entry
}

// eventually waits until ok says yes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestNodes is what several processes on one catalogue may expect of one another.
func TestNodes(t *testing.T) {
	dbs := catalogtest.Databases{Server: catalogtest.StartPostgres(t, pgserver.Config{})}
	for _, c := range []struct {
		name string
		test func(*testing.T, catalog.Config)
	}{
		{"leases", testLeases}, {"crash", testCrash}, {"one settles", testOneSettles}, {"writers", testWriters},
		{"sites", testSiteRaces}, {"outbox", testOutboxHandOver}, {"late rows", testLateRows}, {"strange texts", testStrangeTexts},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, postgresConfig(dbs.New(t))) })
	}
}

func testLeases(t *testing.T, cfg catalog.Config) {
	n := nodes(t, cfg, 2)
	r := n[0].reserve("/a", "x")
	_, err := n[0].OpenUpload(t.Context(), catalog.Upload{ID: "1111111111111111111111111111111a", Kind: catalog.Streamed})
	must(t, err)
	_, err = n[1].TakeOver(t.Context(), catalog.Reservation{Pointer: r.Pointer})
	if !errors.Is(err, catalog.ErrLost) {
		t.Errorf("a reservation was taken from somebody who holds it: %v", err)
	}
	stale := func() (int, int) {
		rs, err := n[1].Stale(t.Context(), 0)
		must(t, err)
		us, err := n[1].StaleUploads(t.Context(), 0)
		must(t, err)
		return len(rs), len(us)
	}
	if a, b := stale(); a+b != 0 {
		t.Errorf("what another node works on counts as abandoned: %d, %d", a, b)
	}
	// A node that ends in order says so: nobody waits for its lease.
	must(t, n[0].Close())
	if a, b := stale(); a != 1 || b != 1 {
		t.Errorf("after its node has ended: %d, %d", a, b)
	}
}

func testCrash(t *testing.T, cfg catalog.Config) {
	cfg.Lease = time.Second
	n := nodes(t, cfg, 2)
	r := n[0].reserve("/a", "x")
	must(t, catalog.Crash(n[0].Catalog))
	var found []catalog.Reservation
	eventually(t, "the reservation of a node that was killed is stale", func() bool {
		var err error
		found, err = n[1].Stale(t.Context(), 0)
		return err == nil && len(found) == 1
	})
	_, err := n[1].Reserve(t.Context(), catalog.Change{Pointer: pointer("/a", "y")})
	var busy *catalog.BusyError
	if !errors.As(err, &busy) || !busy.Stale {
		t.Fatalf("reserving its path: %v", err)
	}
	mine, err := n[1].TakeOver(t.Context(), found[0])
	must(t, err)
	must(t, n[1].Release(t.Context(), mine))
	if v, _ := n[1].publish("/a", "y"); v <= r.Pointer.Version {
		t.Errorf("version %s after %s", v, r.Pointer.Version)
	}
}

// testOneSettles: of several sweepers one gets a reservation, and what the others read of it before counts no more.
func testOneSettles(t *testing.T, cfg catalog.Config) {
	n := nodes(t, cfg, 3)
	n[0].reserve("/a", "x")
	must(t, n[0].Close())
	rs, err := n[1].Stale(t.Context(), 0)
	must(t, err)
	var won int
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			_, err := n[1+i%2].TakeOver(t.Context(), rs[0])
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, catalog.ErrLost) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("%d took it over", won)
	}
}

func testWriters(t *testing.T, cfg catalog.Config) {
	cfg.BusyWait = time.Minute
	n := nodes(t, cfg, 2)
	const writers, each = 6, 5
	entries := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				mine, other := n[w%2], n[(w+1)%2]
				r, err := mine.Reserve(t.Context(), catalog.Change{Pointer: pointer("/a", fmt.Sprint(w, i))})
				if err != nil {
					t.Errorf("reserve: %v", err)
					return
				}
				// The holder and, at the same time, another node that settles: both are told of one entry.
				var both sync.WaitGroup
				for _, who := range []node{mine, other} {
					both.Go(func() {
						entry, err := who.Commit(t.Context(), r, "e")
						if err != nil {
							t.Errorf("commit: %v", err)
							return
						}
						mu.Lock()
						defer mu.Unlock()
						entries[entry]++
					})
				}
				both.Wait()
			}
		})
	}
	all.Wait()
	rows, err := n[0].Rows(t.Context(), "", 0)
	must(t, err)
	if len(rows) != writers*each || len(entries) != writers*each {
		t.Fatalf("%d rows and %d entries of %d changes", len(rows), len(entries), writers*each)
	}
	last := object.Version("")
	for _, r := range rows {
		if r.Entry.Pointer.Version <= last || entries[r.Entry.ID] != 2 {
			t.Errorf("entry %s, version %s after %s, told %d times", r.Entry.ID, r.Entry.Pointer.Version, last, entries[r.Entry.ID])
		}
		last = r.Entry.Pointer.Version
	}
}

func testSiteRaces(t *testing.T, cfg catalog.Config) {
	n := nodes(t, cfg, 2)
	race := func(what string, f func(node, int) error) {
		t.Helper()
		var won int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				err := f(n[i%2], i)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case !errors.Is(err, fs.ErrExist) && !errors.Is(err, catalog.ErrPrecondition):
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		all.Wait()
		if won != 1 {
			t.Errorf("%s: %d have succeeded", what, won)
		}
	}
	race("one name", func(n node, i int) error {
		_, err := n.CreateSite(t.Context(), object.SiteRecord{Format: 1, Site: "www", Kind: object.Published})
		return err
	})
	race("one host", func(n node, i int) error {
		_, err := n.CreateSite(t.Context(), object.SiteRecord{Format: 1, Site: object.Site(fmt.Sprintf("s%d", i)), Kind: object.Published, Hosts: []object.Host{"one.test"}})
		return err
	})
	rec, err := n[0].Site(t.Context(), "www")
	must(t, err)
	race("one version", func(n node, i int) error {
		mine := rec
		mine.Rules.CacheControl = fmt.Sprintf("max-age=%d", i)
		_, err := n.UpdateSite(t.Context(), mine, rec.Version)
		return err
	})
}

func testOutboxHandOver(t *testing.T, cfg catalog.Config) {
	n := nodes(t, cfg, 2)
	log := purgetest.NewMemory("eu")
	a, b := newRelay(t, n[0].Catalog, log), newRelay(t, n[1].Catalog, log)
	a.start()
	first := a.wait(a.publish("/first")) // now a drains
	b.start()
	var last purge.Position
	for i := range 10 {
		// Whoever publishes, both learn where it is.
		entry := []*relay{a, b}[i%2].publish(fmt.Sprintf("/%d", i))
		at, other := a.wait(entry), b.wait(entry)
		if at.String() != other.String() || !at.Covers(first) || last.Covers(at) {
			t.Fatalf("entry %s is at %v and %v, the one before at %v", entry, at, other, last)
		}
		last = at
	}
	if len(b.seen) != 0 {
		t.Errorf("two nodes drained: the second appended %d", len(b.seen))
	}
	a.stop()
	entry := b.publish("/after")
	if at := b.wait(entry); !at.Covers(last) {
		t.Errorf("after the hand-over %v does not cover %v", at, last)
	}
	if m, _ := b.wait(entry).Mark("eu"); m.Seq != 12 {
		t.Errorf("the log has %d entries, want 12", m.Seq)
	}
	eventually(t, "the last position is that of the newest entry", func() bool {
		at, err := n[0].LastPosition(t.Context())
		return err == nil && at.String() == b.wait(entry).String()
	})
}

// testLateRows: a row whose transaction is committed after later ones is appended all the same, and the last position is
// that of the entry that was appended last.
func testLateRows(t *testing.T, cfg catalog.Config) {
	n := nodes(t, cfg, 1)
	r := newRelay(t, n[0].Catalog, purgetest.NewMemory("eu"))
	r.start()
	r.wait(r.publish("/first"))
	conn, err := pgx.Connect(t.Context(), cfg.Postgres.DSN)
	must(t, err)
	defer conn.Close(context.Background())
	tx, err := conn.Begin(t.Context())
	must(t, err)
	var id int64
	must(t, tx.QueryRow(t.Context(), `INSERT INTO outbox (slot, entry) SELECT slot, entry FROM outbox LIMIT 1 RETURNING id`).Scan(&id))
	before := r.wait(r.publish("/second"))
	late := fmt.Sprintf("%s-%d", n[0].ID(), id)
	if _, err := n[0].Row(t.Context(), late); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a row that is not committed: %v", err)
	}
	must(t, tx.Commit(t.Context()))
	at := r.wait(late)
	if !at.Covers(before) {
		t.Errorf("the late row is at %v, one before at %v", at, before)
	}
	eventually(t, "the last position is that of the late row", func() bool {
		last, err := n[0].LastPosition(t.Context())
		return err == nil && last.String() == at.String()
	})
}

func testStrangeTexts(t *testing.T, cfg catalog.Config) {
	n := nodes(t, cfg, 1)[0]
	for _, bad := range []string{"/a\x00b", "/a\xff"} {
		_, ferr := n.File(t.Context(), "www", object.Path(bad))
		_, lerr := n.ListFiles(t.Context(), "www", bad, "", 0)
		_, uerr := n.OpenUpload(t.Context(), catalog.Upload{ID: "1111111111111111111111111111111a", Kind: catalog.Streamed, Metadata: bad})
		for _, err := range []error{ferr, lerr, uerr} {
			if !errors.Is(err, object.ErrInvalid) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
	n.publish("/a", "x") // the connections are whole
}

package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/clock"
	"perigee/object"
	"perigee/purge"
	"perigee/purge/purgetest"
)

// relay is an outbox at work.
type relay struct {
	*catalog.Outbox
	t    *testing.T
	cat  *catalog.Catalog
	log  *purgetest.Memory
	stop func()

	mu   sync.Mutex
	seen []string // ids of entries, as Appended told them
}

func newRelay(t *testing.T, cat *catalog.Catalog, log *purgetest.Memory) *relay {
	t.Helper()
	r := &relay{t: t, cat: cat, log: log}
	var err error
	r.Outbox, err = catalog.NewOutbox(catalog.OutboxConfig{
		Catalog: cat, Appender: log, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
		Appended: func(e purge.Entry, at purge.Position, when time.Time) {
			if at.IsZero() || when.IsZero() {
				t.Errorf("appended %s at %v, %v", e.ID, at, when)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.seen = append(r.seen, e.ID)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *relay) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
	r.t.Cleanup(r.stop)
}

func (r *relay) publish(path string) string {
	r.t.Helper()
	h := object.HashOf([]byte(path))
	res, err := r.cat.Reserve(r.t.Context(), catalog.Change{Pointer: object.Pointer{
		Format: 1, Site: "www", Path: object.Path(path), State: object.Live, Hash: h, Root: h, Blob: object.BlobKey(h),
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	id, err := r.cat.Commit(r.t.Context(), res, "e")
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

func (r *relay) wait(id string) purge.Position {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	pos, err := r.Wait(ctx, id)
	if err != nil {
		r.t.Fatalf("wait for entry %s: %v", id, err)
	}
	return pos
}

func closing(t *testing.T, c *catalog.Catalog) *catalog.Catalog {
	t.Cleanup(func() { c.Close() })
	return c
}

func TestOutboxAppendsInOrder(t *testing.T) {
	r := newRelay(t, closing(t, openSQLite(t, sqliteConfig(t))), purgetest.NewMemory("eu"))
	const before, after = 300, 50 // more than one batch waits at the start
	var ids []string
	for i := range before {
		ids = append(ids, r.publish(fmt.Sprintf("/%d", i)))
	}
	r.start()
	for i := range after {
		ids = append(ids, r.publish(fmt.Sprintf("/%d", before+i)))
	}
	var last purge.Position
	for _, id := range ids {
		pos := r.wait(id)
		if !pos.Covers(last) || last.Covers(pos) {
			t.Fatalf("entry %s is at %v, the one before at %v", id, pos, last)
		}
		last = pos
	}
	r.stop()
	rows, err := r.cat.Rows(t.Context(), "", 0)
	if err != nil || len(rows) != len(ids) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, row := range rows {
		if row.Position.IsZero() || row.Appended.IsZero() || r.seen[i] != row.Entry.ID {
			t.Fatalf("row %d: %+v, hook told %s", i, row, r.seen[i])
		}
		if at, err := r.cat.PositionOf(t.Context(), row.Entry.ID); err != nil || at.String() != row.Position.String() {
			t.Fatalf("position of %s: %v, %v", row.Entry.ID, at, err)
		}
	}
	if at, err := r.cat.LastPosition(t.Context()); err != nil || at.String() != last.String() {
		t.Errorf("the last position is %v, %v, want %v", at, err, last)
	}
	if len(r.seen) != len(ids) {
		t.Errorf("the hook was told %d appends of %d", len(r.seen), len(ids))
	}
}

func TestOutboxOutlivesTheLog(t *testing.T) {
	log := purgetest.NewMemory("eu")
	r := newRelay(t, closing(t, openSQLite(t, sqliteConfig(t))), log)
	log.SetReachable(false)
	r.start()
	id := r.publish("/a")
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if pos, err := r.Wait(ctx, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait while the log is down: %v, %v", pos, err)
	}
	other := r.publish("/b")
	log.SetReachable(true)
	if first, second := r.wait(id), r.wait(other); !second.Covers(first) {
		t.Errorf("%v does not cover %v", second, first)
	}
}

func TestOutboxStopsWhileTheLogIsDown(t *testing.T) {
	log := purgetest.NewMemory("eu")
	r := newRelay(t, closing(t, openSQLite(t, sqliteConfig(t))), log)
	log.SetReachable(false)
	r.start()
	r.publish("/a")
	r.stop() // must return
}

// TestOutboxAfterCrash: entries that reached the log, but whose positions were not recorded, are not in it twice.
func TestOutboxAfterCrash(t *testing.T) {
	cfg, log := sqliteConfig(t), purgetest.NewMemory("eu")
	cat := openSQLite(t, cfg)
	r := newRelay(t, cat, log)
	id := r.publish("/a")
	row, err := cat.Row(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	pos, err := log.Append(t.Context(), row.Entry)
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Close(); err != nil {
		t.Fatal(err)
	}
	r = newRelay(t, closing(t, openSQLite(t, cfg)), log)
	r.start()
	if again := r.wait(id); again.String() != pos.String() {
		t.Errorf("appended at %v, again at %v", pos, again)
	}
	second := r.wait(r.publish("/b"))
	m, _ := second.Mark("eu")
	if m.Seq != 2 {
		t.Errorf("the second entry has sequence %d", m.Seq)
	}
}

func TestOutboxWaitForNothing(t *testing.T) {
	r := newRelay(t, closing(t, openSQLite(t, sqliteConfig(t))), purgetest.NewMemory("eu"))
	if _, err := r.Wait(t.Context(), r.cat.ID()+"-7"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing row: %v", err)
	}
}

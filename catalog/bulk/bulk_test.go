package bulk_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/catalog/bulk"
	"perigee/catalog/pgserver"
	"perigee/clock"
	"perigee/object"
)

// TestFill: what is filled is what package catalog would have written, as far as it can tell.
func TestFill(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		file := t.TempDir() + "/c.db"
		testFill(t, bulk.Target{SQLite: file}, catalog.Config{File: file})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		s, err := pgserver.Start(t.Context(), pgserver.Config{})
		if errors.Is(err, fs.ErrNotExist) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Remove() })
		dsn, err := s.CreateDatabase(t.Context(), "filled")
		if err != nil {
			t.Fatal(err)
		}
		testFill(t, bulk.Target{Postgres: dsn}, catalog.Config{Postgres: catalog.Postgres{DSN: dsn}})
	})
}

func testFill(t *testing.T, target bulk.Target, cfg catalog.Config) {
	ctx := context.Background()
	cfg.Clock, cfg.Log = clock.System, slog.New(slog.DiscardHandler)
	for pass := range 2 {
		c, err := catalog.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if pass == 1 {
			check(t, c)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if pass == 0 {
			if err := bulk.Fill(ctx, target, "www", files, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const files = 2500

func check(t *testing.T, c *catalog.Catalog) {
	seen := map[object.Path]bool{}
	for after := object.Path(""); ; {
		page, err := c.ListFiles(t.Context(), "www", "", after, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, f := range page {
			if after >= f.Pointer.Path {
				t.Fatalf("%s is listed after %s", f.Pointer.Path, after)
			}
			after = f.Pointer.Path
			seen[after] = true
		}
	}
	for n := range files {
		if !seen[bulk.Path(n)] {
			t.Fatalf("%s is not listed", bulk.Path(n))
		}
	}
	newest, err := c.Recent(t.Context(), 2)
	if err != nil || len(newest) != 2 || newest[0].Pointer.Path != bulk.Path(files-1) || newest[1].Pointer.Path != bulk.Path(files-2) {
		t.Errorf("newest %+v, %v", newest, err)
	}
	// Without a reference the collector would delete the blob, without a row it would be claimed as new.
	last := newest[0].Pointer
	if refs, err := c.RefsOf(t.Context(), last.Hash, "www", 0); err != nil || len(refs) != 1 || refs[0].Path != last.Path || refs[0].Blob != last.Blob {
		t.Errorf("references of the last file's hash: %+v, %v", refs, err)
	}
	if b, err := c.Blob(t.Context(), last.Blob); err != nil || b.State != catalog.BlobLive || b.Size != last.Size {
		t.Errorf("the last file's blob: %+v, %v", b, err)
	}
	// The filled are files like any other.
	path := bulk.Path(7)
	old, err := c.File(t.Context(), "www", path)
	if err != nil {
		t.Fatal(err)
	}
	p := old.Pointer
	p.Hash = object.HashOf([]byte("new"))
	p.Root, p.Blob = p.Hash, object.BlobKey(p.Hash)
	r, err := c.Reserve(t.Context(), catalog.Change{Pointer: p, Condition: catalog.Condition{Match: []object.Version{old.Pointer.Version}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Commit(t.Context(), r, "e2"); err != nil {
		t.Fatal(err)
	}
	if vs, err := c.Versions(t.Context(), "www", path, "", 0); err != nil || len(vs) != 2 {
		t.Errorf("versions %+v, %v", vs, err)
	}
}

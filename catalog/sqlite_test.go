package catalog_test

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"perigee/catalog"
	"perigee/catalog/catalogtest"
	"perigee/clock"
)

func openSQLite(t *testing.T, cfg catalog.Config) *catalog.Catalog {
	t.Helper()
	c, err := catalog.OpenSQLite(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSQLite(t *testing.T) { catalogtest.Run(t, openSQLite) }

// TestSQLiteShards: three files are one catalogue.
func TestSQLiteShards(t *testing.T) {
	catalogtest.Run(t, func(t *testing.T, cfg catalog.Config) *catalog.Catalog {
		cfg.Shards = []catalog.Shard{{Name: "second", File: cfg.File + ".second"}, {Name: "third", File: cfg.File + ".third"}}
		return openSQLite(t, cfg)
	})
}

func sqliteConfig(t *testing.T) catalog.Config {
	return catalog.Config{File: t.TempDir() + "/c?a#t%20 é.db", Clock: clock.System, Log: slog.New(slog.DiscardHandler)}
}

func TestSecondProcessIsRefused(t *testing.T) {
	cfg := sqliteConfig(t)
	c := openSQLite(t, cfg)
	if _, err := os.Stat(cfg.File); err != nil {
		t.Errorf("the database is not where it was asked for: %v", err)
	}
	_, err := catalog.OpenSQLite(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "in use by another perigee process") {
		t.Errorf("second open: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openSQLite(t, cfg).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenErrorsAreClear(t *testing.T) {
	cfg := sqliteConfig(t)
	cfg.File = t.TempDir() + "/no/such/dir/c.db"
	if _, err := catalog.OpenSQLite(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "/no/such/dir") {
		t.Errorf("missing directory: %v", err)
	}
	cfg.File = t.TempDir() + "/c.db"
	if err := os.WriteFile(cfg.File, []byte(strings.Repeat("this is not a database. ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.OpenSQLite(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), cfg.File) {
		t.Errorf("not a database: %v", err)
	}
	if _, err := catalog.OpenSQLite(t.Context(), catalog.Config{}); err == nil {
		t.Error("an empty Config was taken")
	}
}

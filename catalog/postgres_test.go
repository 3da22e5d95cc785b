package catalog_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/catalog/catalogtest"
	"perigee/catalog/pgserver"
	"perigee/clock"
	"perigee/keys"
	"perigee/keys/keystest"
)

// places gives every File that a suite chooses a database of its own.
type places struct {
	catalogtest.Databases

	mu  sync.Mutex
	dsn map[string]string
}

func (p *places) config(t *testing.T, cfg catalog.Config) catalog.Config {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dsn == nil {
		p.dsn = map[string]string{}
	}
	dsn, ok := p.dsn[cfg.File]
	if !ok {
		dsn = p.New(t)
		p.dsn[cfg.File] = dsn
	}
	cfg.Postgres.DSN = dsn
	if cfg.Lease == 0 {
		cfg.Lease = time.Hour // beats would tell the database's time again and undo the steps of a test's clock
	}
	return cfg
}

func (p *places) open(t *testing.T, cfg catalog.Config) *catalog.Catalog {
	t.Helper()
	c, err := catalog.OpenPostgres(t.Context(), p.config(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPostgres(t *testing.T) {
	p := places{Databases: catalogtest.Databases{Server: catalogtest.StartPostgres(t, pgserver.Config{})}}
	catalogtest.Run(t, p.open)
}

// TestKeyStoreInPostgres: two nodes that share a catalogue share its keys.
func TestKeyStoreInPostgres(t *testing.T) {
	p := places{Databases: catalogtest.Databases{Server: catalogtest.StartPostgres(t, pgserver.Config{})}}
	keystest.Run(t, func(t *testing.T) (keys.Store, keys.Store) {
		var nodes [2]*catalog.Catalog
		for i := range nodes {
			nodes[i] = p.open(t, catalog.Config{File: t.Name(), Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
			t.Cleanup(func() { nodes[i].Close() })
		}
		return nodes[0].KeyStore(), nodes[1].KeyStore()
	})
}

func postgresConfig(dsn string) catalog.Config {
	return catalog.Config{Postgres: catalog.Postgres{DSN: dsn}, Clock: clock.System, Log: slog.New(slog.DiscardHandler)}
}

func TestPostgresErrorsAreClear(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u:s3cret@%zz/x":                    "no connection string",
		"host=/no/such/dir user=u password=s3cret":     "/no/such/dir",
		"postgres://u:s3cret@127.0.0.1:1/perigee":      "127.0.0.1:1",
		"postgres://u:s3cret@h/db?sslmode=nonsense":    "no connection string",
		"postgres://u:s3cret@h:s3cret/db":              "no connection string",
		"user=u password='s3cret host=h dbname=broken": "no connection string",
	} {
		_, err := catalog.OpenPostgres(t.Context(), postgresConfig(dsn))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", dsn, err)
		}
		if reached := strings.Contains(dsn, "/no/such/dir") || strings.Contains(dsn, "127.0.0.1:1"); errors.Is(err, catalog.ErrUnavailable) != reached {
			t.Errorf("%s: to be tried again: %v: %v", dsn, !reached, err)
		}
	}
	p := catalog.Postgres{DSN: "postgres://u@h/db", Replicas: []string{"ok", "h:1", "[::1]:2", "/a/b", "u:p@h"}}
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "u:p@h") {
		t.Errorf("replica with a user: %v", err)
	}
}

// TestPostgresShards: three servers are one catalogue.
func TestPostgresShards(t *testing.T) {
	var on [3]places
	for i := range on {
		on[i].Server = catalogtest.StartPostgres(t, pgserver.Config{})
	}
	catalogtest.Run(t, func(t *testing.T, cfg catalog.Config) *catalog.Catalog {
		cfg.Shards = nil
		for i, name := range []string{"second", "third"} {
			cfg.Shards = append(cfg.Shards, catalog.Shard{Name: name, Postgres: on[i+1].config(t, cfg).Postgres})
		}
		return on[0].open(t, cfg)
	})
}

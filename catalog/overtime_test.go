package catalog

import (
	"database/sql"
	"errors"
	"log/slog"
	"testing"
	"time"

	"perigee/catalog/pgserver"
	"perigee/clock"
	"perigee/object"
)

func openOwn(t *testing.T, cfg Postgres) (*pgserver.Server, *Catalog) {
	t.Helper()
	if _, err := pgserver.Find(); err != nil {
		t.Skip(err)
	}
	s, err := pgserver.Start(t.Context(), pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	cfg.DSN = s.DSN(pgserver.Database)
	c, err := OpenPostgres(t.Context(), Config{Postgres: cfg, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return s, c
}

// TestOvertimeBeforeCommit: a transaction whose time was over before its commit was sent ended in database/sql's "transaction has already been committed or
// rolled back", which said neither that the server is away nor that nothing was changed.
func TestOvertimeBeforeCommit(t *testing.T) {
	_, c := openOwn(t, Postgres{Timeout: 200 * time.Millisecond})
	s := c.members[0].server
	err := s.change(t.Context(), "be slow", func(*sql.Tx) error {
		time.Sleep(s.cfg.Postgres.Timeout + 1500*time.Millisecond) // longer than bounded gives it
		return nil
	})
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, sql.ErrTxDone) {
		t.Errorf("%v", err)
	}
}

// TestQuotaOfKilledServer: every upload asks for the quota of its site, and the first ones after a crash of the database failed, on
// connections that were broken, where every other question was asked again.
func TestQuotaOfKilledServer(t *testing.T) {
	s, c := openOwn(t, Postgres{})
	if _, err := c.CreateSite(t.Context(), object.SiteRecord{Format: 1, Site: "www", Kind: object.Published}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Quota(t.Context(), "www"); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Quota(t.Context(), "www"); err != nil {
		t.Errorf("on connections from before the crash: %v", err)
	}
}

package catalog

import (
	"database/sql"
	"errors"
	"log/slog"
	"testing"
	"time"

	"perigee/catalog/pgserver"
	"perigee/clock"
)

func openOwn(t *testing.T) *Catalog {
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
	c, err := OpenPostgres(t.Context(), Config{Postgres: Postgres{DSN: s.DSN(pgserver.Database)}, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestOvertimeBeforeCommit: a transaction whose time was over between two statements, or before its commit was sent, ended in database/sql's "transaction has
// already been committed or rolled back", which said neither that the server is away nor that nothing was changed.
func TestOvertimeBeforeCommit(t *testing.T) {
	c := openOwn(t)
	whole := c.members[0].server
	s := &server{cfg: whole.cfg, write: whole.write, read: whole.read, lease: whole.lease}
	s.cfg.Postgres.Timeout = 0 // bounded adds a second
	over := func(tx *sql.Tx) error {
		for {
			if _, err := tx.ExecContext(t.Context(), `SELECT 1`); errors.Is(err, sql.ErrTxDone) {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	for name, f := range map[string]func(*sql.Tx) error{
		"before a statement": over,
		"before the commit":  func(tx *sql.Tx) error { _ = over(tx); return nil },
	} {
		if err := s.change(t.Context(), "be slow", f); !errors.Is(err, ErrUnavailable) || errors.Is(err, sql.ErrTxDone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package catalog

import (
	"errors"
	"io/fs"
	"log/slog"
	"testing"

	"perigee/catalog/pgserver"
	"perigee/clock"
)

// TestPostgresQueriesUseIndexes is TestQueriesUseIndexes on PostgreSQL.
func TestPostgresQueriesUseIndexes(t *testing.T) {
	if _, err := pgserver.Find(); errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	s, err := pgserver.Start(t.Context(), pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Remove() })
	dsn, err := s.CreateDatabase(t.Context(), "plans")
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenPostgres(t.Context(), Config{Postgres: Postgres{DSN: dsn}, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	testPlans(t, c)
	p, err := c.members[0].server.plan(t.Context(), question{"bad", `SELECT pointer FROM files WHERE etag = $1`, []any{"x"}})
	if err != nil || p.Fault == "" {
		t.Errorf("a query without an index: fault %q, %v", p.Fault, err)
	}
}

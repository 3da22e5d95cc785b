package catalog

import (
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"perigee/catalog/pgserver"
	"perigee/clock"
)

// TestPostgresQueriesUseIndexes is TestQueriesUseIndexes on PostgreSQL. Its tables are empty here, so reading them whole would be
// best: that and sorting are forbidden, and what still does it has no index to use.
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
	conn, err := c.members[0].server.write.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), `SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off`); err != nil {
		t.Fatal(err)
	}
	for name, q := range indexedQueries() {
		rows, err := conn.QueryContext(t.Context(), `EXPLAIN `+q.text, q.args...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var whole strings.Builder
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			whole.WriteString(line + "\n")
		}
		rows.Close()
		for line := range strings.Lines(whole.String()) {
			if step := strings.TrimLeft(line, " ->"); strings.HasPrefix(step, "Seq Scan") || strings.HasPrefix(step, "Sort  ") {
				t.Errorf("%s: %s\n%s", name, step, whole.String())
				break
			}
		}
	}
}

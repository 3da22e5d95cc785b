package catalog

import (
	"log/slog"
	"strings"
	"testing"

	"perigee/clock"
)

// TestNewerSchemaIsRefused: an older program must not write into a newer one's catalogue.
func TestNewerSchemaIsRefused(t *testing.T) {
	cfg := Config{File: t.TempDir() + "/c.db", Clock: clock.System, Log: slog.New(slog.DiscardHandler)}
	c, err := OpenSQLite(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.members[0].server.write.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSQLite(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "newer perigee") {
		t.Errorf("open: %v", err)
	}
}

// TestQueriesUseIndexes: what is asked often must not read whole tables or sort.
func TestQueriesUseIndexes(t *testing.T) {
	c, err := OpenSQLite(t.Context(), Config{File: t.TempDir() + "/c.db", Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	testPlans(t, c)
}

// testPlans wants a plan of every query, without a fault.
func testPlans(t *testing.T, c *Catalog) {
	t.Helper()
	plans, err := c.Plans(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plans {
		if p.Fault != "" {
			t.Errorf("%s: %s\n%s", p.Query, p.Fault, p.Steps)
		}
	}
	if want := len(c.members[0].server.questions()); len(plans) != want || want == 0 {
		t.Errorf("%d plans of %d queries", len(plans), want)
	}
}

// TestPlansTellFaults: a query without an index is a fault, else the tests of plans could not fail.
func TestPlansTellFaults(t *testing.T) {
	c, err := OpenSQLite(t.Context(), Config{File: t.TempDir() + "/c.db", Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, text := range []string{`SELECT pointer FROM files WHERE etag = $1`, `SELECT path FROM versions WHERE site = $1 ORDER BY size`} {
		p, err := c.members[0].server.plan(t.Context(), question{"bad", text, []any{"x"}})
		if err != nil {
			t.Fatal(err)
		}
		if p.Fault == "" {
			t.Errorf("%s: no fault in\n%s", text, p.Steps)
		}
	}
}

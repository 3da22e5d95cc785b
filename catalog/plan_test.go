package catalog

import (
	"database/sql"
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
	for name, query := range map[string]string{
		"list":        listQuery,
		"list prefix": listPrefixQuery,
		"recent":      recentQuery,
		"file":        fileQuery,
		"version":     versionQuery,
		"versions":    versionsQuery,
		"upload":      uploadQuery,
		"pending":     rowColumns + ` WHERE position = '' ORDER BY id LIMIT $1`,
		"streamed":    streamedQuery,
		"resumable":   resumableQuery,
		"reference":   `SELECT 1 FROM versions WHERE blob = $1 AND blob <> '' LIMIT 1`,
	} {
		for _, step := range plan(t, c.members[0].server.read, query) {
			if strings.Contains(step, "TEMP B-TREE") || strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "INDEX") {
				t.Errorf("%s: %s", name, step)
			}
		}
	}
}

func plan(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	args := make([]any, strings.Count(query, "$"))
	for i := range args {
		args[i] = ""
	}
	rows, err := db.Query(`EXPLAIN QUERY PLAN `+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, detail)
	}
	return steps
}

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
	for name, q := range indexedQueries() {
		query := q.text
		for _, step := range plan(t, c.members[0].server.read, query) {
			if strings.Contains(step, "TEMP B-TREE") || strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "INDEX") && !strings.HasPrefix(step, "SCAN v ") /* the few rows of a subquery */ {
				t.Errorf("%s: %s", name, step)
			}
		}
	}
}

// indexed is a query that must find what it needs by an index, with values of the types of its parameters.
type indexed struct {
	text string
	args []any
}

// indexedQueries are all queries of the package, but for those of tables that are always small: slots, layout, servers, moves, runs.
func indexedQueries() map[string]indexed {
	qs := map[string]indexed{
		"list":             {listQuery, []any{"www", "/a", "", 100}},
		"list prefix":      {listPrefixQuery, []any{"www", "/a", "/", 100, "0"}},
		"recent":           {recentQuery, []any{10, 0}},
		"file":             {fileQuery, []any{1, "www", "/a"}},
		"version":          {versionQuery, []any{1, "www", "/a", "v"}},
		"versions":         {versionsQuery, []any{1, "www", "/a", "~", 10}},
		"upload":           {uploadQuery, []any{1, "u"}},
		"pending":          {rowColumns + ` WHERE position = '' ORDER BY id LIMIT $1`, []any{10}},
		"rows":             {rowColumns + ` WHERE id > $1 ORDER BY id LIMIT $2`, []any{1, 10}},
		"row":              {rowColumns + ` WHERE id = $1`, []any{1}},
		"drained":          {drainedQuery, []any{1}},
		"changed":          {changedQuery, []any{1, 10}},
		"streamed":         {streamedQuery, []any{"h", 10, 1}},
		"resumable":        {resumableQuery, []any{1, 10}},
		"reference":        {`SELECT 1 FROM versions WHERE blob = $1 AND blob <> '' LIMIT 1`, []any{"b"}},
		"reservation":      {reservationColumns + ` WHERE slot = $1 AND site = $2 AND path = $3`, []any{1, "www", "/a"}},
		"sites":            {`SELECT record FROM sites WHERE site > $1 ORDER BY site LIMIT $2`, []any{"", 10}},
		"host":             {`SELECT site FROM hosts WHERE host = $1`, []any{"h"}},
		"purge":            {`SELECT id, site, request, created FROM purges WHERE id = $1`, []any{"p"}},
		"change of a slot": {`SELECT state FROM slots WHERE slot = $1`, []any{1}},
	}
	values := map[string]any{"site": "www", "path": "/a", "version": "v", "id": "u"}
	for _, m := range movedTables() {
		after, ofUnit := []any{1}, []any{1}
		for _, k := range m.key {
			after = append(after, values[k])
		}
		for _, k := range m.unit {
			ofUnit = append(ofUnit, values[k])
		}
		qs["copy of "+m.name] = indexed{m.pageQuery(len(m.key)), after}
		qs["unit of "+m.name] = indexed{`SELECT * FROM ` + m.name + m.ofUnit(), ofUnit}
		qs["count of "+m.name] = indexed{`SELECT COUNT(*) FROM ` + m.name + ` WHERE slot = $1`, []any{1}}
	}
	return qs
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

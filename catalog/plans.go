package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// Plan is how the database of the home server finds what a query asks for: proofs at size and tests look at it.
type Plan struct {
	// Query says what is asked.
	Query string
	// Steps is the plan, as the database tells it, a step a line.
	Steps string
	// Fault is the step that reads a whole table or sorts one for want of an index; empty in a good plan.
	Fault string
}

// Plans returns the plans of all queries, but for those of tables that are always small (slots, layout, servers, moves, runs, API keys) and for
// those that have to look at everything (Recount of a site, the reservations that are under way).
func (c *Catalog) Plans(ctx context.Context) ([]Plan, error) {
	home, err := c.home(ctx)
	if err != nil {
		return nil, err
	}
	var out []Plan
	for _, q := range home.questions() {
		p, err := home.plan(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("plan of %s: %w", q.name, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// question is a query with values of the types of its parameters.
type question struct {
	name, text string
	args       []any
}

// questions are those that must find what they need by an index.
func (s *server) questions() []question {
	return slices.Concat(s.readerQuestions(), collectorQuestions(), keeperQuestions(), moverQuestions())
}

// readerQuestions are those of clients, and of the changes they order.
func (s *server) readerQuestions() []question {
	return []question{
		{"list", s.listQuery(false), []any{"www", "/a", "", 100}},
		{"list prefix", s.listQuery(true), []any{"www", "/a", "/", 100, "0"}},
		{"recent", recentQuery, []any{10, 0}},
		{"file", fileQuery, []any{1, "www", "/a"}},
		{"version", versionQuery, []any{1, "www", "/a", "v"}},
		{"versions", versionsQuery, []any{1, "www", "/a", "~", 10}},
		{"bytes kept of a path", keepsQuery, []any{1, "www", "/a", "b"}},
		{"standing", standingQuery, []any{1, "www", "/a", "v"}},
		{"reservation", reservationColumns + ` WHERE slot = $1 AND site = $2 AND path = $3`, []any{1, "www", "/a"}},
		{"upload", uploadQuery, []any{1, "u"}},
		{"sites", `SELECT record FROM sites WHERE site > $1 ORDER BY site LIMIT $2`, []any{"", 10}},
		{"host", `SELECT site FROM hosts WHERE host = $1`, []any{"h"}},
		{"purge", purgeColumns + ` WHERE id = $1`, []any{"p"}},
		{"purges", purgesQuery, []any{1, "p", 10}},
		{"purges of a site", purgesInQuery, []any{1, "p", 10, "www"}},
		{"state of a slot", `SELECT state FROM slots WHERE slot = $1`, []any{1}},
	}
}

// collectorQuestions are those about blobs.
func collectorQuestions() []question {
	return []question{
		{"reference", referencedQuery, []any{"b"}},
		{"versions of a blob", namingQuery, []any{"b"}},
		{"blob", `SELECT ` + blobColumns + ` FROM blobs` + thisBlob, []any{1, "h", "b"}},
		{"blob by key", blobsAtQuery, []any{"b"}},
		{"waning blobs", waningQuery, []any{"condemned", 1, 10}},
		{"count of waning blobs", countWaningQuery, nil},
		{"reference of a version", refColumns + thisRef, []any{1, "h", "b", "www", "/a", "v"}},
		{"blob that a site has", heldQuery, []any{1, "h", "www"}},
		{"references", refsQuery, []any{1, "h", 10}},
		{"references of a site", refsInQuery, []any{1, "h", 10, "www"}},
		{"unsure references", unsureQuery, []any{1, 10}},
		{"expired claims", expiredClaimsQuery, []any{1, 10}},
		{"removals", removalsQuery, []any{10}},
		{"paths with old versions", agedQuery, []any{1, "www", "/a", 10}},
	}
}

// keeperQuestions are those of the outbox and of the sweeper.
func keeperQuestions() []question {
	return []question{
		{"pending", rowColumns + ` WHERE position = '' ORDER BY id LIMIT $1`, []any{10}},
		{"rows", rowColumns + ` WHERE id > $1 ORDER BY id LIMIT $2`, []any{1, 10}},
		{"row", rowColumns + ` WHERE id = $1`, []any{1}},
		{"streamed uploads", streamedQuery, []any{"h", 10, 1}},
		{"resumable uploads", resumableQuery, []any{1, 10}},
		{"expired audit", expireAuditQuery, []any{"a", 10}},
		{"expired requests", expireOnceQuery, []any{1, 10}},
	}
}

// moverQuestions are those of a move, of each table.
func moverQuestions() []question {
	qs := []question{
		{"drained", drainedQuery, []any{1}},
		{"changed", changedQuery, []any{1, 10}},
	}
	values := map[string]any{"site": "www", "path": "/a", "version": "v", "id": "u", "hash": "h", "blob": "b", "holder": "r"}
	for _, m := range movedTables() {
		after, ofUnit := []any{1}, []any{1}
		for _, k := range m.key {
			after = append(after, values[k])
		}
		for _, k := range m.unit {
			ofUnit = append(ofUnit, values[k])
		}
		qs = append(qs,
			question{"copy of " + m.name, m.pageQuery(0), []any{1}},
			question{"further copy of " + m.name, m.pageQuery(len(m.key)), after},
			question{"unit of " + m.name, `SELECT * FROM ` + m.name + m.ofUnit(), ofUnit},
			question{"count of " + m.name, m.countQuery(), []any{1}},
			question{"removal of " + m.name, m.removeQuery(), []any{1}})
	}
	return qs
}

// plan asks the database how it would answer.
func (s *server) plan(ctx context.Context, q question) (Plan, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return Plan{}, err
	}
	defer tx.Rollback() // it has changed nothing
	p := Plan{Query: q.name}
	if s.lease == nil {
		p.Steps, p.Fault, err = sqlitePlan(ctx, tx, q)
		return p, err
	}
	p.Steps, p.Fault, err = postgresPlan(ctx, tx, q)
	return p, err
}

// sqlitePlan: SQLite knows nothing of how much there is, and plans the same in every catalogue.
func sqlitePlan(ctx context.Context, tx *sql.Tx, q question) (steps, fault string, err error) {
	tables, err := collect(ctx, tx, scanText, `SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		return "", "", err
	}
	lines, err := collect(ctx, tx, func(sc scanner) (line string, err error) {
		err = sc.Scan(new(any), new(any), new(any), &line)
		return line, err
	}, `EXPLAIN QUERY PLAN `+q.text, q.args...)
	for _, line := range lines {
		what, table, _ := strings.Cut(line, " ")
		table, how, _ := strings.Cut(table, " ")
		whole := what == "SCAN" && slices.Contains(tables, table) && !strings.Contains(how, "INDEX")
		if fault == "" && (whole || strings.Contains(line, "TEMP B-TREE")) {
			fault = line
		}
	}
	return strings.Join(lines, "\n"), fault, err
}

// many is how many rows a table of PostgreSQL has that must not be read whole.
const many = 10_000

// postgresPlan looks at the plan as it is and, since PostgreSQL rightly reads small tables whole, at the one that it makes when
// it may neither do that nor sort: what still does it has no index to use.
func postgresPlan(ctx context.Context, tx *sql.Tx, q question) (steps, fault string, err error) {
	large, err := collect(ctx, tx, scanText, `SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > $1`, many)
	if err != nil {
		return "", "", err
	}
	lines, err := collect(ctx, tx, scanText, `EXPLAIN `+q.text, q.args...)
	if err != nil {
		return "", "", err
	}
	for _, line := range lines {
		if _, what, found := strings.Cut(line, "Seq Scan on "); found && slices.Contains(large, strings.Fields(what)[0]) {
			return strings.Join(lines, "\n"), strings.TrimSpace(line), nil
		}
	}
	if _, err := tx.ExecContext(ctx, `SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off`); err != nil {
		return "", "", err
	}
	forced, err := collect(ctx, tx, scanText, `EXPLAIN `+q.text, q.args...)
	for _, line := range forced {
		if step := strings.TrimLeft(line, " ->"); strings.HasPrefix(step, "Seq Scan") || strings.HasPrefix(step, "Sort  ") {
			return strings.Join(forced, "\n"), strings.TrimSpace(line), err
		}
	}
	return strings.Join(lines, "\n"), "", err
}

func scanText(sc scanner) (text string, err error) {
	err = sc.Scan(&text)
	return text, err
}

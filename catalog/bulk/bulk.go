// Package bulk fills the tables of a catalogue with files that nobody published: what proofs at size stand on. Publishing
// them one by one would take days.
//
// It writes what package catalog would have written for files that were published once each, but for what only matters on
// the way: no rows of the outbox, no reservations, no uploads. It knows the tables, so it breaks when they change; its test
// says so. It is no way to bring files into a catalogue that is in use: nothing of them is in the bucket.
//
// Fill is one long call. While it runs the catalogue must not be open. After an error the tables are of no use.
package bulk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"perigee/object"
)

// Target is where the tables are: one of the two. They exist, as catalog.Open made them, and have no files.
type Target struct {
	SQLite   string // a file
	Postgres string // a DSN
}

// Path is the path of file number n.
func Path(n int) object.Path { return object.Path(fmt.Sprintf("/d%04d/file-%08d.bin", n%997, n)) }

// file is what the tables have of a file.
type file struct {
	slot    object.Slot
	path    object.Path
	version object.Version
	blob    object.Key
	size    int64 // bytes
	pointer string
}

// made returns file number n of a site, one of many that were published one after the other since start.
func made(site object.Site, n int, start time.Time) file {
	at := start.Add(time.Duration(n) * 100 * time.Microsecond)
	h := object.HashOf([]byte(Path(n)))
	p := object.Pointer{
		Format: 1, Site: site, Path: Path(n), Version: object.NextVersion(at, 0, ""), State: object.Live, Hash: h, Root: h, Size: int64(1000 + n%1000),
		Blob: object.BlobKey(h), ContentType: "application/octet-stream", Modified: at.Truncate(time.Second).UTC(),
	}
	return file{object.SlotOf(site, p.Path), p.Path, p.Version, p.Blob, p.Size, string(object.MarshalPointer(&p))}
}

// Fill writes n files of a site, with one version each: 2n rows. said, if set, is told now and then how many files are written.
func Fill(ctx context.Context, t Target, site object.Site, n int, start time.Time, said func(int)) error {
	db, err := t.open()
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	defer db.Close()
	var w writer = &sqliteWriter{db: db}
	if t.Postgres != "" {
		w = &postgresWriter{db: db}
	}
	// Rows come in the order of the primary key, and the other indexes are made when all are there.
	indexes, err := w.dropIndexes(ctx)
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	const batch = 20_000
	order := ordered(site, n)
	for from := 0; from < n; from += batch {
		files := make([]file, 0, batch)
		for _, i := range order[from:min(n, from+batch)] {
			files = append(files, made(site, int(i), start))
		}
		if err := w.write(ctx, site, files); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
		if said != nil {
			said(from + len(files))
		}
	}
	for _, statement := range append(indexes, w.last()...) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("fill: %s: %w", statement, err)
		}
	}
	// A catalogue in use has in memory what is used. Without the extension it is read when it is first asked for.
	for _, statement := range w.warm() {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil
		}
	}
	return nil
}

// ordered returns the numbers 0 to n-1 in the order of their files' slots and paths.
func ordered(site object.Site, n int) []int32 {
	slots := make([]object.Slot, n)
	out := make([]int32, n)
	for i := range out {
		slots[i], out[i] = object.SlotOf(site, Path(i)), int32(i)
	}
	slices.SortFunc(out, func(a, b int32) int {
		if d := int(slots[a]) - int(slots[b]); d != 0 {
			return d
		}
		if d := int(a)%997 - int(b)%997; d != 0 { // the order of Path
			return d
		}
		return int(a) - int(b)
	})
	return out
}

func (t Target) open() (*sql.DB, error) {
	if t.Postgres != "" {
		return sql.Open("pgx", t.Postgres)
	}
	if t.SQLite == "" {
		return nil, errors.New("no target")
	}
	db, err := sql.Open("sqlite", "file:"+t.SQLite+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=cache_size(-400000)")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// writer is what the databases do differently.
type writer interface {
	// dropIndexes drops all indexes of files and versions but the primary keys, and returns how to make them again.
	dropIndexes(ctx context.Context) ([]string, error)
	write(ctx context.Context, site object.Site, files []file) error
	// last are the statements that end the filling, warm those that bring the tables into memory, if they can.
	last() []string
	warm() []string
}

var (
	fileColumns    = []string{"slot", "site", "path", "version", "state", "etag", "pointer"}
	versionColumns = []string{"slot", "site", "path", "version", "blob", "size", "pointer", "entry"}
)

func fileRow(site object.Site, f file) []any {
	return []any{int64(f.slot), string(site), string(f.path), string(f.version), string(object.Live), `"e"`, f.pointer}
}

func versionRow(site object.Site, f file) []any {
	return []any{int64(f.slot), string(site), string(f.path), string(f.version), string(f.blob), f.size, f.pointer, "none"}
}

// drop drops the indexes that a query names, with the statement that makes them.
func drop(ctx context.Context, db *sql.DB, query string) ([]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names, again []string
	for rows.Next() {
		var name, statement string
		if err := rows.Scan(&name, &statement); err != nil {
			return nil, err
		}
		names, again = append(names, name), append(again, statement)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, err := db.ExecContext(ctx, `DROP INDEX `+name); err != nil {
			return nil, err
		}
	}
	return again, nil
}

type sqliteWriter struct{ db *sql.DB }

func (w *sqliteWriter) dropIndexes(ctx context.Context) ([]string, error) {
	return drop(ctx, w.db, `SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('files', 'versions') AND sql IS NOT NULL`)
}

func (w *sqliteWriter) write(ctx context.Context, site object.Site, files []file) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after the commit
	for _, t := range []struct {
		name    string
		columns []string
		row     func(object.Site, file) []any
	}{{"files", fileColumns, fileRow}, {"versions", versionColumns, versionRow}} {
		st, err := tx.PrepareContext(ctx, `INSERT INTO `+t.name+` (`+strings.Join(t.columns, ", ")+`) VALUES (?`+strings.Repeat(", ?", len(t.columns)-1)+`)`)
		if err != nil {
			return err
		}
		for _, f := range files {
			if _, err := st.ExecContext(ctx, t.row(site, f)...); err != nil {
				return errors.Join(err, st.Close())
			}
		}
		if err := st.Close(); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (w *sqliteWriter) last() []string { return []string{`ANALYZE`, `PRAGMA wal_checkpoint(TRUNCATE)`} }

func (w *sqliteWriter) warm() []string { return nil }

type postgresWriter struct{ db *sql.DB }

func (w *postgresWriter) dropIndexes(ctx context.Context) ([]string, error) {
	return drop(ctx, w.db, `SELECT i.indexname, replace(i.indexdef, ' ON ONLY ', ' ON ') FROM pg_indexes AS i WHERE i.schemaname = current_schema() AND i.tablename IN ('files', 'versions')
		AND NOT EXISTS (SELECT 1 FROM pg_constraint AS c WHERE c.conname = i.indexname)`)
}

func (w *postgresWriter) write(ctx context.Context, site object.Site, files []file) error {
	c, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Raw(func(driver any) error {
		conn := driver.(*stdlib.Conn).Conn()
		for _, t := range []struct {
			name    string
			columns []string
			row     func(object.Site, file) []any
		}{{"files", fileColumns, fileRow}, {"versions", versionColumns, versionRow}} {
			_, err := conn.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromSlice(len(files), func(i int) ([]any, error) { return t.row(site, files[i]), nil }))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *postgresWriter) last() []string {
	return []string{`VACUUM ANALYZE files`, `VACUUM ANALYZE versions`}
}

func (w *postgresWriter) warm() []string {
	return []string{`CREATE EXTENSION IF NOT EXISTS pg_prewarm`,
		`SELECT SUM(pg_prewarm(oid)) FROM pg_class WHERE relkind IN ('r', 'i') AND (relname LIKE 'files%' OR relname LIKE 'versions%')`}
}

// Package bulk fills the tables of a catalogue with files that nobody published: what proofs at size stand on. Publishing
// them one by one would take days.
//
// It writes what package catalog would have written for files that were published once each: the file, its version, its blob
// and the reference between them. It leaves out what only matters on the way, reservations and uploads, and what is appended
// and found by its number, the outbox. It knows the tables, so it breaks when they change; its test says so. It is no way to bring files into a catalogue that is in use: nothing of them is in the bucket.
//
// Fill is one long call. While it runs the catalogue must not be open. After an error the tables are of no use.
package bulk

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
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

// perFolder is how many files a folder has.
const perFolder = 500

// Path is the path of file number n. Files are published a folder at a time, in the order of their names, and folders in no order.
func Path(n int) object.Path {
	return object.Path(fmt.Sprintf("/d%08x/file-%03d.bin", folder(n/perFolder), n%perFolder))
}

// folder is what folder number n is named by: no other folder's, and behind which other one it comes is as good as random.
func folder(n int) uint32 { return uint32(n) * 2654435761 }

// rowsPerFile is how many rows Fill writes for a file.
const rowsPerFile = 4

// Files is how many files have so many rows.
func Files(rows int) int { return rows / rowsPerFile }

// file is what the tables have of a file.
type file struct {
	object.Pointer
	pointer string
}

// made returns file number n of a site, one of many that were published one after the other since start.
func made(site object.Site, n int, start time.Time) file {
	at := start.Add(time.Duration(n) * 100 * time.Microsecond)
	h := hashOf(n)
	p := object.Pointer{
		Format: 1, Site: site, Path: Path(n), Version: object.NextVersion(at, 0, ""), State: object.Live, Hash: h, Root: h, Size: int64(1000 + n%1000),
		Blob: object.BlobKey(h), ContentType: "application/octet-stream", Modified: at.Truncate(time.Second).UTC(),
	}
	return file{p, string(object.MarshalPointer(&p))}
}

// hashOf is that of the bytes of file number n.
func hashOf(n int) object.Hash { return object.HashOf([]byte(Path(n))) }

// table is one of those that are filled, with a row for each file.
type table struct {
	name    string
	columns []string
	row     func(file) []any
}

var (
	files = table{"files", []string{"slot", "site", "path", "version", "state", "etag", "pointer"}, func(f file) []any {
		return []any{int64(object.SlotOf(f.Site, f.Path)), string(f.Site), string(f.Path), string(f.Version), string(f.State), `"e"`, f.pointer}
	}}
	versions = table{"versions", []string{"slot", "site", "path", "version", "blob", "size", "pointer", "entry"}, func(f file) []any {
		return []any{int64(object.SlotOf(f.Site, f.Path)), string(f.Site), string(f.Path), string(f.Version), string(f.Blob), f.Size, f.pointer, "none"}
	}}
	blobs = table{"blobs", []string{"slot", "hash", "blob", "root", "size", "state", "since"}, func(f file) []any {
		return []any{int64(object.SlotOfHash(f.Hash)), f.Hash.String(), string(f.Blob), f.Root.String(), f.Size, "live", int64(0)}
	}}
	refs = table{"refs", []string{"slot", "hash", "blob", "site", "path", "version", "sure", "since"}, func(f file) []any {
		return []any{int64(object.SlotOfHash(f.Hash)), f.Hash.String(), string(f.Blob), string(f.Site), string(f.Path), string(f.Version), int64(1), int64(0)}
	}}
)

// tables are the names of all of them, as a list of SQL.
const tables = `('files', 'versions', 'blobs', 'refs')`

// pass is one way through all files.
type pass struct {
	tables []table
	// order are the numbers of the files as they are written, nil for the order in which they were published.
	order func(n int) []int32
}

// Fill writes n files of a site, 4n rows. said, if set, is told now and then how many rows are written.
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
	// The indexes are made when all rows are there.
	indexes, err := w.dropIndexes(ctx)
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	written := 0
	for _, p := range w.passes() {
		for batch := range batches(ctx, site, n, start, p) {
			if err := w.write(ctx, p.tables, batch); err != nil {
				return fmt.Errorf("fill: %w", err)
			}
			if written += len(batch) * len(p.tables); said != nil {
				said(written)
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	for _, statement := range append(indexes, w.last()...) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("fill: %s: %w", statement, err)
		}
	}
	return nil
}

// batches makes n files in the order of a pass, while those before are written. The channel is closed after the last one, or when
// ctx has ended.
func batches(ctx context.Context, site object.Site, n int, start time.Time, p pass) <-chan []file {
	const size = 20_000
	out := make(chan []file, 1)
	go func() {
		defer close(out)
		var order []int32
		if p.order != nil {
			order = p.order(n)
		}
		for from := 0; from < n; from += size {
			batch := make([]file, min(size, n-from))
			for i := range batch {
				number := from + i
				if order != nil {
					number = int(order[number])
				}
				batch[i] = made(site, number, start)
			}
			select {
			case out <- batch:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// byPath is the order of paths.
func byPath(n int) []int32 {
	return sorted(n, func(i int) uint64 { return uint64(folder(i/perFolder))<<32 | uint64(i%perFolder) })
}

// byHash is that of the blobs' slots and hashes, as far as the first eight bytes tell.
func byHash(n int) []int32 {
	return sorted(n, func(i int) uint64 {
		h := hashOf(i)
		return binary.BigEndian.Uint64(h[:8])
	})
}

func sorted(n int, by func(int) uint64) []int32 {
	keys, out := make([]uint64, n), make([]int32, n)
	for i := range out {
		keys[i], out[i] = by(i), int32(i)
	}
	slices.SortFunc(out, func(a, b int32) int { return cmp.Compare(keys[a], keys[b]) })
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
	// dropIndexes drops those indexes of the tables that may be dropped, and returns how to make them again.
	dropIndexes(ctx context.Context) ([]string, error)
	passes() []pass
	write(ctx context.Context, into []table, files []file) error
	// last are the statements that end the filling.
	last() []string
}

// drop runs the statements of the first column of a query, which drop indexes, and returns those of the second, which make them again.
func drop(ctx context.Context, db *sql.DB, query string) ([]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var drops, again []string
	for rows.Next() {
		var drop, statement string
		if err := rows.Scan(&drop, &statement); err != nil {
			return nil, err
		}
		drops, again = append(drops, drop), append(again, statement)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for _, statement := range drops {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	return again, nil
}

type sqliteWriter struct{ db *sql.DB }

func (w *sqliteWriter) dropIndexes(ctx context.Context) ([]string, error) {
	return drop(ctx, w.db, `SELECT 'DROP INDEX ' || name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN `+tables+` AND sql IS NOT NULL`)
}

// passes go through the files in the order of the keys, in which the rows lie however they come.
func (w *sqliteWriter) passes() []pass {
	return []pass{{[]table{files, versions}, byPath}, {[]table{blobs, refs}, byHash}}
}

func (w *sqliteWriter) write(ctx context.Context, into []table, files []file) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after the commit
	for _, t := range into {
		st, err := tx.PrepareContext(ctx, `INSERT INTO `+t.name+` (`+strings.Join(t.columns, ", ")+`) VALUES (?`+strings.Repeat(", ?", len(t.columns)-1)+`)`)
		if err != nil {
			return err
		}
		for _, f := range files {
			if _, err := st.ExecContext(ctx, t.row(f)...); err != nil {
				return errors.Join(err, st.Close())
			}
		}
		if err := st.Close(); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// last gathers no statistics: a catalogue in use has none either, and its queries are to be planned as there.
func (w *sqliteWriter) last() []string { return []string{`PRAGMA wal_checkpoint(TRUNCATE)`} }

type postgresWriter struct{ db *sql.DB }

func (w *postgresWriter) dropIndexes(ctx context.Context) ([]string, error) {
	return drop(ctx, w.db, `SELECT CASE WHEN c.oid IS NULL THEN 'DROP INDEX ' || i.indexname ELSE 'ALTER TABLE ' || i.tablename || ' DROP CONSTRAINT ' || i.indexname END,
		CASE WHEN c.oid IS NULL THEN replace(i.indexdef, ' ON ONLY ', ' ON ')
		ELSE 'ALTER TABLE ' || i.tablename || ' ADD CONSTRAINT ' || i.indexname || ' ' || pg_get_constraintdef(c.oid) END
		FROM pg_indexes AS i LEFT JOIN pg_constraint AS c ON c.conname = i.indexname AND c.conrelid = i.tablename::regclass
		WHERE i.schemaname = current_schema() AND i.tablename IN `+tables)
}

// passes go through the files once, as they were published: rows lie as they were written.
func (w *postgresWriter) passes() []pass {
	return []pass{{tables: []table{files, versions, blobs, refs}}}
}

func (w *postgresWriter) write(ctx context.Context, into []table, files []file) error {
	c, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Raw(func(driver any) error {
		conn := driver.(*stdlib.Conn).Conn()
		for _, t := range into {
			_, err := conn.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromSlice(len(files), func(i int) ([]any, error) { return t.row(files[i]), nil }))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *postgresWriter) last() []string {
	return []string{`VACUUM ANALYZE files`, `VACUUM ANALYZE versions`, `VACUUM ANALYZE blobs`, `VACUUM ANALYZE refs`}
}

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perigee/catalog"
	"perigee/catalog/bulk"
	"perigee/catalog/pgserver"
	"perigee/clock"
	"perigee/object"
)

// fewRows is the size of the catalogue that the large one is compared with.
const fewRows = 10_000

// catalogue measures the same questions and changes of a small catalogue and of a large one, on both databases: what depends on how
// much there is must not show. The two are asked in turn, so that whatever else the machine does falls on both. It is done in rounds,
// whose medians count, after one that warms up. At the end the large one must answer every query by an index.
func catalogue(o options) (string, error) {
	dir, err := os.MkdirTemp("", "soak-catalogue-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	var parts []string
	for _, kind := range []struct {
		name string
		open func(context.Context, string, int) (*stock, error)
	}{{"SQLite", openFile}, {"PostgreSQL", openServer}} {
		if o.only != "" && o.only != kind.name {
			continue
		}
		part, err := compare(o, filepath.Join(dir, kind.name), kind.open)
		if err != nil {
			return "", fmt.Errorf("%s: %w", kind.name, err)
		}
		log.Print(kind.name, " ", part)
		parts = append(parts, kind.name+" "+part)
	}
	return strings.Join(parts, "; "), nil
}

// stock is a filled catalogue.
type stock struct {
	*catalog.Catalog
	files int
	size  int64 // bytes of the database
	end   func() error
	fresh int // paths that were published since
}

const stockSite = object.Site("www")

func fillStock(ctx context.Context, t bulk.Target, files int, cfg catalog.Config, open func(context.Context, catalog.Config) (*catalog.Catalog, error)) (*catalog.Catalog, error) {
	cfg.Clock, cfg.Log = clock.System, slog.New(slog.DiscardHandler)
	c, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if _, err := c.CreateSite(ctx, object.SiteRecord{Format: 1, Site: stockSite, Kind: object.Published}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.Close(); err != nil {
		return nil, err
	}
	said := time.Now()
	err = bulk.Fill(ctx, t, stockSite, files, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), func(n int) {
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			log.Printf("%d rows", n)
		}
	})
	if err != nil {
		return nil, err
	}
	return open(ctx, cfg)
}

func openFile(ctx context.Context, dir string, files int) (*stock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "c.db")
	c, err := fillStock(ctx, bulk.Target{SQLite: file}, files, catalog.Config{File: file}, catalog.OpenSQLite)
	if err != nil {
		return nil, err
	}
	s := &stock{Catalog: c, files: files, end: c.Close}
	s.size, err = readWhole(file)
	return s, err
}

// readWhole reads a file into the system's memory: a catalogue in use is there.
func readWhole(file string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(io.Discard, f)
}

// openServer starts a server with PostgreSQL's own settings, but for one: a filling writes more than a day's log.
func openServer(ctx context.Context, dir string, files int) (*stock, error) {
	s, err := pgserver.Start(ctx, pgserver.Config{Durable: true, Settings: map[string]string{
		"shared_buffers": "128MB", "max_wal_size": "4GB", "maintenance_work_mem": "512MB",
	}})
	if err != nil {
		return nil, err
	}
	const name = "stock"
	dsn, err := s.CreateDatabase(ctx, name)
	st := &stock{files: files, end: s.Remove}
	if err == nil {
		st.Catalog, err = fillStock(ctx, bulk.Target{Postgres: dsn}, files, catalog.Config{Postgres: catalog.Postgres{DSN: dsn}}, catalog.OpenPostgres)
	}
	if err == nil {
		st.end = func() error { return errors.Join(st.Close(), s.Remove()) }
		st.size, err = warmServer(ctx, s, name)
	}
	if err != nil {
		return nil, errors.Join(err, st.end())
	}
	return st, nil
}

// warmServer reads a database into the system's memory and returns its size in bytes.
func warmServer(ctx context.Context, s *pgserver.Server, name string) (size int64, err error) {
	// What was filled goes to the disk now, lest it hold up the commits that are measured.
	err = s.Exec(ctx, name, `CHECKPOINT`, `CREATE EXTENSION pg_prewarm`, `SELECT SUM(pg_prewarm(oid, 'read')) FROM pg_class WHERE relkind IN ('r', 'i') AND relpersistence = 'p'`)
	if err != nil {
		return 0, err
	}
	db, err := sql.Open("pgx", s.DSN(name))
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `SELECT pg_database_size(current_database())`).Scan(&size)
	return size, err
}

// compare fills a small and a large catalogue and measures both.
func compare(o options, dir string, open func(context.Context, string, int) (*stock, error)) (result string, err error) {
	ctx := context.Background()
	var both [2]*stock
	began := time.Now()
	for i, rows := range []int{min(fewRows, o.rows), o.rows} {
		if both[i], err = open(ctx, fmt.Sprintf("%s-%d", dir, i), bulk.Files(rows)); err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, both[i].end()) }()
	}
	out := []string{fmt.Sprintf("of %d and of %d rows (%d files, %.1f GB, filled in %v), medians of %d rounds of %d",
		min(fewRows, o.rows), o.rows, both[1].files, float64(both[1].size)/1e9, time.Since(began).Round(time.Second), o.rounds, o.times)}
	rng := o.random()
	for _, op := range []struct {
		name string
		do   func(*stock, context.Context, *rand.Rand) error
	}{{"list", (*stock).list}, {"look-up", (*stock).lookUp}, {"upload", (*stock).upload}} {
		line, err := measure(o, both, func(s *stock) error { return op.do(s, ctx, rng) })
		if err != nil {
			return "", fmt.Errorf("%s: %w", op.name, err)
		}
		log.Print(op.name, " ", line)
		out = append(out, op.name+" "+line)
	}
	n, err := both[1].planned(ctx)
	return fmt.Sprintf("%s; all of %d queries by an index", strings.Join(out, ", "), n), err
}

// measure does the same to both in turn, in rounds, and tells p50 and p99 and how much they are in the large one of those in the small.
func measure(o options, both [2]*stock, do func(*stock) error) (string, error) {
	at := [2]float64{0.5, 0.99}
	var rounds [2][2][]time.Duration // of a quantile, of a stock
	for round := range 1 + o.rounds {
		var took [2][]time.Duration
		for range o.times {
			for i, s := range both {
				began := time.Now()
				if err := do(s); err != nil {
					return "", err
				}
				took[i] = append(took[i], time.Since(began))
			}
		}
		if round == 0 { // it warms up
			continue
		}
		for q := range at {
			for i := range both {
				rounds[q][i] = append(rounds[q][i], quantile(took[i], at[q]))
			}
		}
	}
	var parts []string
	for q := range at {
		small, large := quantile(rounds[q][0], 0.5), quantile(rounds[q][1], 0.5)
		parts = append(parts, fmt.Sprintf("p%.0f %v and %v (×%.2f)", 100*at[q], small.Round(time.Microsecond), large.Round(time.Microsecond), float64(large)/float64(small)))
	}
	return strings.Join(parts, " "), nil
}

// planned makes sure that every query is answered by an index, and returns how many there are.
func (s *stock) planned(ctx context.Context) (int, error) {
	plans, err := s.Plans(ctx)
	for _, p := range plans {
		if p.Fault != "" {
			err = errors.Join(err, fmt.Errorf("the query %q has no index: %s\n%s", p.Query, p.Fault, p.Steps))
		}
	}
	return len(plans), err
}

func quantile(ds []time.Duration, at float64) time.Duration {
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(at*float64(len(ds))))]
}

// list asks for a page of a hundred files from a place anywhere.
func (s *stock) list(ctx context.Context, rng *rand.Rand) error {
	n := rng.IntN(s.files - 1)
	path, next := bulk.Path(n), bulk.Path(n+1)
	files, err := s.ListFiles(ctx, stockSite, "", path, 100)
	if err != nil || filepath.Dir(string(path)) != filepath.Dir(string(next)) {
		return err
	}
	if len(files) == 0 || files[0].Pointer.Path != next {
		return fmt.Errorf("%s is not listed behind %s: %w", next, path, fs.ErrInvalid)
	}
	return nil
}

// lookUp asks for a file.
func (s *stock) lookUp(ctx context.Context, rng *rand.Rand) error {
	path := bulk.Path(rng.IntN(s.files))
	f, err := s.File(ctx, stockSite, path)
	if err == nil && f.Pointer.Path != path {
		err = fmt.Errorf("asked for %s, got %s: %w", path, f.Pointer.Path, fs.ErrInvalid)
	}
	return err
}

// upload publishes a file, every other time under a path that has one.
func (s *stock) upload(ctx context.Context, rng *rand.Rand) error {
	s.fresh++
	path := object.Path(fmt.Sprintf("/new/%d", s.fresh))
	if s.fresh%2 == 0 {
		path = bulk.Path(rng.IntN(s.files))
	}
	h := object.HashOf([]byte(fmt.Sprint(s.fresh)))
	r, err := s.Reserve(ctx, catalog.Change{Pointer: object.Pointer{
		Format: 1, Site: stockSite, Path: path, State: object.Live, Hash: h, Root: h, Size: 1, Blob: object.BlobKey(h), ContentType: "text/plain",
	}})
	if err == nil {
		_, err = s.Commit(ctx, r, `"e"`)
	}
	return err
}

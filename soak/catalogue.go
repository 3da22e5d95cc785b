package main

import (
	"context"
	"errors"
	"fmt"
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
// much there is must not show. The two are asked in turn, so that whatever else the machine does falls on both.
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
			log.Printf("%d of %d rows", 2*n, 2*files)
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
	return &stock{Catalog: c, files: files, end: c.Close}, nil
}

func openServer(ctx context.Context, dir string, files int) (*stock, error) {
	settings := map[string]string{"max_wal_size": "4GB"}
	if files > 100_000 { // a quarter of a machine's memory, as PostgreSQL advises: so that all is in it
		settings["shared_buffers"], settings["maintenance_work_mem"] = "6GB", "1GB"
	}
	s, err := pgserver.Start(ctx, pgserver.Config{Durable: true, Settings: settings})
	if err != nil {
		return nil, err
	}
	dsn, err := s.CreateDatabase(ctx, "stock")
	var c *catalog.Catalog
	if err == nil {
		c, err = fillStock(ctx, bulk.Target{Postgres: dsn}, files, catalog.Config{Postgres: catalog.Postgres{DSN: dsn}}, catalog.OpenPostgres)
	}
	if err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return &stock{Catalog: c, files: files, end: func() error { return errors.Join(c.Close(), s.Remove()) }}, nil
}

// compare fills a small and a large catalogue and measures both.
func compare(o options, dir string, open func(context.Context, string, int) (*stock, error)) (result string, err error) {
	ctx := context.Background()
	var both [2]*stock
	began := time.Now()
	for i, files := range []int{min(fewRows, o.rows) / 2, o.rows / 2} {
		if both[i], err = open(ctx, fmt.Sprintf("%s-%d", dir, i), files); err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, both[i].end()) }()
	}
	filled := time.Since(began)
	rng := o.random()
	var out []string
	for _, op := range []struct {
		name string
		do   func(*stock, context.Context, *rand.Rand) error
	}{{"list", (*stock).list}, {"look-up", (*stock).lookUp}, {"upload", (*stock).upload}} {
		var took [2][]time.Duration
		for n := range o.times + o.times/10 {
			for i, s := range both {
				began := time.Now()
				if err := op.do(s, ctx, rng); err != nil {
					return "", fmt.Errorf("%s: %w", op.name, err)
				}
				if n >= o.times/10 { // the first ones warm up
					took[i] = append(took[i], time.Since(began))
				}
			}
		}
		line := op.name
		for _, at := range []float64{0.5, 0.99} {
			small, large := quantile(took[0], at), quantile(took[1], at)
			line += fmt.Sprintf(" p%.0f %v and %v (×%.2f)", 100*at, small.Round(time.Microsecond), large.Round(time.Microsecond), float64(large)/float64(small))
		}
		out = append(out, line)
	}
	return fmt.Sprintf("of %d and of %d rows (filled in %v), %d times each: %s", 2*both[0].files, 2*both[1].files, filled.Round(time.Second), o.times, strings.Join(out, ", ")), nil
}

func quantile(ds []time.Duration, at float64) time.Duration {
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(at*float64(len(ds))))]
}

// list asks for a page of a hundred files from a place anywhere.
func (s *stock) list(ctx context.Context, rng *rand.Rand) error {
	n := rng.IntN(s.files)
	files, err := s.ListFiles(ctx, stockSite, "", bulk.Path(n), 100)
	if err == nil && len(files) == 0 && n%997 < 996 { // the last directory is at the end of the list
		err = fmt.Errorf("nothing is listed behind %s: %w", bulk.Path(n), fs.ErrInvalid)
	}
	return err
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

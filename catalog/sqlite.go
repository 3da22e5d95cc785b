package catalog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"perigee/clock"
)

//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var migrations embed.FS

// Config is what the catalogue needs.
type Config struct {
	// Postgres, if it has a DSN, is what Open opens in place of File.
	Postgres Postgres
	// File is the database file of OpenSQLite. Its directory must exist; beside it appear <File>-wal, <File>-shm and
	// <File>.lock.
	File string
	// Shards are further servers, at most 63: the rows of paths are spread over them and the one in File, which is the home server.
	Shards []Shard
	// Writer tells apart the regions that publish the same paths, 0 to 32767; see object.NextVersion.
	Writer uint16
	// BusyWait is how long Reserve waits for another change of the same path; 3 s when zero.
	BusyWait time.Duration
	// ReservationTTL is how long a reservation holds; 2 min when zero. Publishing stops writing 20 s before its end.
	ReservationTTL time.Duration
	// Lookups is how many site records and files are kept in memory for readers of a PostgreSQL catalogue, and LookupFor how
	// long at most; none if either is zero. Who sets them tells Applied what the log says.
	Lookups   int
	LookupFor time.Duration
	// Lease is how long a run of the program that says nothing any more counts as alive, on PostgreSQL; 15 s when zero.
	Lease time.Duration
	Clock clock.Clock
	Log   *slog.Logger
}

// Shard is one of the further servers.
type Shard struct {
	// Name names it for good: rows are known to be on a server by its name. Up to 32 lower-case letters, digits and '-'.
	Name string
	// File is its database file, as Config.File.
	File string
	// Postgres is where it is if the catalogue is in PostgreSQL.
	Postgres Postgres
}

func (c *Config) check() error {
	postgres := c.Postgres.DSN != ""
	if c.File == "" && !postgres || c.Clock == nil || c.Log == nil {
		return errors.New("catalog: Config needs File or Postgres, Clock and Log")
	}
	if c.Lease == 0 {
		c.Lease = 15 * time.Second
	}
	c.Postgres.fill()
	names := map[string]bool{HomeName: true}
	for _, s := range c.Shards {
		if !isShardName(s.Name) || names[s.Name] || postgres != (s.Postgres.DSN != "") || s.File == "" && !postgres {
			return fmt.Errorf("catalog: shard %q: it needs a place of the kind of the home server's and a name of its own, of up to 32 lower-case letters, digits and '-', other than %q", s.Name, HomeName)
		}
		names[s.Name] = true
	}
	if len(c.Shards) > maxShards {
		return fmt.Errorf("catalog: %d shards; the limit is %d", len(c.Shards), maxShards)
	}
	if c.BusyWait == 0 {
		c.BusyWait = 3 * time.Second
	}
	if c.ReservationTTL == 0 {
		c.ReservationTTL = 2 * time.Minute
	}
	return nil
}

const maxShards = 63

func isShardName(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// readers is how many connections read at a time. Reads are short and take no lock; more would only share the cores.
const readers = 8

// OpenSQLite opens the catalogue in cfg.File, making or migrating it as needed. A second process gets an error that
// says so. Close it when everything that uses it has ended.
func OpenSQLite(ctx context.Context, cfg Config) (*Catalog, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s, err := openSQLite(ctx, cfg, rand.Text())
	if err != nil {
		return nil, err
	}
	var shards []*member
	for _, x := range cfg.Shards {
		own := cfg
		own.File = x.File
		shards = append(shards, &member{name: x.Name, open: func(ctx context.Context) (*server, error) { return openSQLite(ctx, own, s.holder) }})
	}
	c := newCatalog(cfg, s, shards...)
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// openSQLite opens the database cfg.File for the run of the program that holder names.
func openSQLite(ctx context.Context, cfg Config, holder string) (_ *server, err error) {
	file, err := filepath.Abs(cfg.File)
	if err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	s := &server{cfg: cfg, holder: holder, enqueued: make(chan struct{}, 1), appended: map[int64]Row{}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.lock, err = lockFile(file + ".lock"); err != nil {
		return nil, err
	}
	base := (&url.URL{Scheme: "file", Path: file}).String() + "?_txlock=immediate&_busy_timeout=10000&_foreign_keys=1&_journal_mode=WAL&_synchronous=FULL"
	if s.write, err = sql.Open("sqlite", base); err != nil {
		return nil, fmt.Errorf("open catalogue %s: %w", file, err)
	}
	s.write.SetMaxOpenConns(1)
	if err = migrate(ctx, s.write, goose.DialectSQLite3, "sqlite"); err != nil {
		return nil, fmt.Errorf("open catalogue %s: %w", file, err)
	}
	if s.read, err = sql.Open("sqlite", base+"&_query_only=1"); err != nil {
		return nil, fmt.Errorf("open catalogue %s: %w", file, err)
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	if err = s.write.QueryRowContext(ctx, `SELECT id FROM catalogue`).Scan(&s.id); err != nil {
		return nil, fmt.Errorf("open catalogue %s: read its id: %w", file, err)
	}
	return s, s.change(ctx, "note this run", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM runs`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO runs (id, expires) VALUES ($1, $2)`, s.holder, int64(alwaysAlive))
		return err
	})
}

// migrate brings a database to the newest schema.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, folder string) error {
	dir, err := fs.Sub(migrations, "migrations/"+folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, dir, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read its schema version: %w", err)
	}
	if have > want {
		return fmt.Errorf("its schema is version %d and this program knows %d: it was written by a newer perigee, use that one", have, want)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// lockFile takes the lock that keeps a second process out; it ends with the process.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("open catalogue: %s is in use by another perigee process (%w); stop that one first", name, err)
	}
	return f, nil
}

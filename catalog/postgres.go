package catalog

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
)

// Postgres says how a PostgreSQL server is reached.
type Postgres struct {
	// DSN leads to the primary, as libpq writes it: a URL, or keywords and values. It may name several hosts: the one that
	// takes writes is the primary. It may hold a password and is never logged.
	DSN string
	// Replicas are streaming replicas that may answer reads, each "host", "host:port" or the directory of a socket; user,
	// password, database and TLS are those of DSN.
	Replicas []string
	// MaxLag is how far a replica may be behind the primary; 5 s when zero.
	MaxLag time.Duration
	// Connections is the most there are to each server; 16 when zero, at least 4.
	Connections int
	// Timeout is how long a statement may take; 10 s when zero.
	Timeout time.Duration
	// ConnectTimeout is how long a connection may take to come about; 3 s when zero.
	ConnectTimeout time.Duration
}

func (p *Postgres) fill() {
	if p.MaxLag == 0 {
		p.MaxLag = 5 * time.Second
	}
	if p.Connections == 0 {
		p.Connections = 16
	}
	p.Connections = max(p.Connections, 4)
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	if p.ConnectTimeout == 0 {
		p.ConnectTimeout = 3 * time.Second
	}
}

// Check reports what is wrong with the settings, without the password.
func (p Postgres) Check() error {
	p.fill()
	base, err := p.primary()
	if err != nil {
		return err
	}
	for _, r := range p.Replicas {
		if _, err := replicaOf(base, r); err != nil {
			return err
		}
	}
	return nil
}

// String says where the primary is, without the password.
func (p Postgres) String() string {
	p.fill()
	c, err := p.primary()
	if err != nil {
		return "PostgreSQL"
	}
	return describe(c)
}

func describe(c *pgx.ConnConfig) string {
	return fmt.Sprintf("PostgreSQL database %s at %s", c.Database, net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))))
}

// primary reads DSN. The error tells nothing of it that may be secret.
func (p Postgres) primary() (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(p.DSN)
	if err != nil {
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) {
			parse.ConnString = ""
		}
		return nil, errors.New("it is no connection string of PostgreSQL; write it as postgres://user@host:5432/database, or as host=… user=… dbname=…")
	}
	c.ConnectTimeout = p.ConnectTimeout
	if c.ValidateConnect == nil {
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	for name, value := range map[string]string{
		"application_name":                    "perigee",
		"statement_timeout":                   strconv.FormatInt(p.Timeout.Milliseconds(), 10),
		"lock_timeout":                        strconv.FormatInt(p.Timeout.Milliseconds()/2, 10),
		"idle_in_transaction_session_timeout": strconv.FormatInt(2*p.Timeout.Milliseconds(), 10),
		"default_transaction_isolation":       "read committed",
		"synchronous_commit":                  "on", // what is acknowledged is on disk, and Session relies on it
		"tcp_keepalives_idle":                 "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3",
	} {
		if _, given := c.RuntimeParams[name]; !given {
			c.RuntimeParams[name] = value
		}
	}
	return c, nil
}

// replicaOf is base with another address.
func replicaOf(base *pgx.ConnConfig, addr string) (*pgx.ConnConfig, error) {
	c := base.Copy()
	c.Fallbacks, c.ValidateConnect = nil, nil
	host, port, err := net.SplitHostPort(addr)
	if err != nil || strings.HasPrefix(addr, "/") {
		host, port = addr, ""
	}
	if host == "" || strings.ContainsAny(host, " @") {
		return nil, fmt.Errorf("replica %q: write its host, host:port or the directory of its socket; user, password and database are those of the primary", addr)
	}
	c.Host = strings.Trim(host, "[]")
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("replica %q: %q is no port", addr, port)
		}
		c.Port = uint16(n)
	}
	if c.TLSConfig != nil && c.TLSConfig.ServerName != "" {
		c.TLSConfig = withServerName(c.TLSConfig, c.Host)
	}
	return c, nil
}

func withServerName(c *tls.Config, host string) *tls.Config {
	c = c.Clone()
	c.ServerName = host
	return c
}

// pool opens a pool of connections; nothing is connected yet.
func (p Postgres) pool(c *pgx.ConnConfig) *sql.DB {
	db := sql.OpenDB(newConnector(c))
	db.SetMaxOpenConns(p.Connections)
	db.SetMaxIdleConns(p.Connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// Open opens the catalogue of cfg.Postgres if that has a DSN, else that of cfg.File.
func Open(ctx context.Context, cfg Config) (*Catalog, error) {
	if cfg.Postgres.DSN == "" {
		return OpenSQLite(ctx, cfg)
	}
	return OpenPostgres(ctx, cfg)
}

// OpenPostgres opens the catalogue in a PostgreSQL database, making or migrating its tables as needed. Any number of
// processes may have it open. It starts goroutines, which Close ends. While the server cannot be reached, or is starting, the error wraps ErrUnavailable.
func OpenPostgres(ctx context.Context, cfg Config) (*Catalog, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s, err := openPostgres(ctx, cfg, rand.Text())
	if err != nil {
		return nil, err
	}
	var shards []*member
	for _, x := range cfg.Shards {
		own := cfg
		own.Postgres = x.Postgres
		own.Postgres.fill()
		shards = append(shards, &member{name: x.Name, open: func(ctx context.Context) (*server, error) { return openPostgres(ctx, own, s.holder) }})
	}
	c := newCatalog(cfg, s, shards...)
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// openPostgres opens the database of cfg.Postgres for the run of the program that holder names.
func openPostgres(ctx context.Context, cfg Config, holder string) (_ *server, err error) {
	base, err := cfg.Postgres.primary()
	if err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	where := describe(base)
	s := &server{cfg: cfg, holder: holder, enqueued: make(chan struct{}, 1), appended: map[int64]Row{}}
	s.write = cfg.Postgres.pool(base)
	s.read = s.write
	defer func() {
		if err != nil {
			s.close()
			if fateOf(err) == away {
				err = told(away, err)
			}
		}
	}()
	if err = migrateOne(ctx, base); err != nil {
		return nil, fmt.Errorf("open catalogue: %s: %w", where, err)
	}
	if err = s.write.QueryRowContext(ctx, `SELECT id FROM catalogue`).Scan(&s.id); err != nil {
		return nil, fmt.Errorf("open catalogue: %s: read its id: %w", where, err)
	}
	s.lease = &lease{cfg: cfg, db: s.write, holder: holder}
	if err = s.lease.beat(ctx); err != nil {
		return nil, fmt.Errorf("open catalogue: %s: %w", where, err)
	}
	if s.replicas, err = newReplicas(cfg, s.id, s.write, base); err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	s.wire = newWire(cfg, s, base)
	s.run()
	return s, nil
}

// MigratePostgres makes the tables of a catalogue in the database of p, or brings them to the newest schema, as OpenPostgres does, and opens nothing.
func MigratePostgres(ctx context.Context, p Postgres) error {
	p.fill()
	base, err := p.primary()
	if err != nil {
		return fmt.Errorf("migrate catalogue: %w", err)
	}
	if err := migrateOne(ctx, base); err != nil {
		return fmt.Errorf("migrate catalogue: %s: %w", describe(base), err)
	}
	return nil
}

// migrateOne migrates the database while no other process does.
func migrateOne(ctx context.Context, base *pgx.ConnConfig) error {
	// A migration may take longer than a statement: neither waiting for it nor it itself is limited.
	slow := base.Copy()
	slow.RuntimeParams["statement_timeout"], slow.RuntimeParams["lock_timeout"] = "0", "0"
	slow.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	one := sql.OpenDB(newConnector(slow))
	defer one.Close()
	c, err := one.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	const lock = 0x7065726967656501 // "perigee" and a number
	if _, err := c.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(lock)); err != nil {
		return err
	}
	return migrate(ctx, one, goose.DialectPostgres, "postgres") // closing the connection frees the lock
}

// run starts what works beside the questions: the lease, the watch over the replicas, the wire.
func (s *server) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { s.keepLease(ctx) })
	all.Go(func() { s.replicas.watch(ctx) })
	all.Go(func() { s.wire.listen(ctx) })
	all.Go(func() { s.wire.tell(ctx) })
	s.stop = func() {
		cancel()
		all.Wait()
	}
}

// endLease gives this run's lease back, so that others need not wait until it expires.
func (s *server) endLease() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := s.lease.end(ctx); err != nil {
		s.cfg.Log.Warn("the catalogue keeps this run's lease until it expires", "err", err)
	}
}

// keepLease prolongs the lease until ctx ends.
func (s *server) keepLease(ctx context.Context) {
	tick := s.cfg.Clock.NewTicker(s.cfg.Lease / beatsPerLease)
	defer tick.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
		}
		beat, cancel := context.WithTimeout(ctx, s.cfg.Lease/beatsPerLease)
		err := s.lease.beat(beat)
		cancel()
		switch {
		case err != nil && !failed && ctx.Err() == nil:
			s.cfg.Log.Warn("the catalogue's primary does not answer; what is published waits", "err", err)
		case err == nil && failed:
			s.cfg.Log.Info("the catalogue's primary answers again")
		}
		failed = err != nil
	}
}

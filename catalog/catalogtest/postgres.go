package catalogtest

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/catalog/pgserver"
)

// StartPostgres starts a PostgreSQL server that ends with the test; without PostgreSQL on this machine it skips the test.
func StartPostgres(t *testing.T, cfg pgserver.Config) *pgserver.Server {
	t.Helper()
	if _, err := pgserver.Find(); errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	s, err := pgserver.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	removeAtEnd(t, s)
	return s
}

// StartReplica starts a streaming replica of a server, which ends with the test.
func StartReplica(t *testing.T, primary *pgserver.Server) *pgserver.Server {
	t.Helper()
	r, err := primary.Replica(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	removeAtEnd(t, r)
	return r
}

func removeAtEnd(t *testing.T, s *pgserver.Server) {
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Errorf("remove PostgreSQL: %v", err)
		}
	})
}

// Databases makes databases on a server, each with a name of its own.
type Databases struct {
	Server   *pgserver.Server
	template string
	n        int
}

// New makes a database with the empty tables of a catalogue and returns its connection string. Making hundreds of tables takes seconds, copying them does not: so they are
// made once.
func (d *Databases) New(t *testing.T) (dsn string) {
	t.Helper()
	ctx := t.Context()
	if d.template == "" {
		dsn, err := d.Server.CreateDatabase(ctx, "template")
		must(t, err)
		must(t, catalog.MigratePostgres(ctx, catalog.Postgres{DSN: dsn, ConnectTimeout: time.Minute}))
		d.template = "template"
	}
	d.n++
	name := fmt.Sprintf("perigee%d", d.n)
	dsn, err := d.Server.CopyDatabase(ctx, d.template, name)
	must(t, err)
	must(t, d.Server.Exec(ctx, name, "UPDATE catalogue SET id = substr(replace(gen_random_uuid()::text, '-', ''), 1, 16)"))
	return dsn
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

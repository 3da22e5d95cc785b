package catalogtest

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

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
	Server *pgserver.Server
	n      int
}

// New makes an empty database and returns its connection string.
func (d *Databases) New(t *testing.T) (dsn string) {
	t.Helper()
	d.n++
	dsn, err := d.Server.CreateDatabase(t.Context(), fmt.Sprintf("perigee%d", d.n))
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

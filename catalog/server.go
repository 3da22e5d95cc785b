package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// server is one database with the tables of the catalogue. It knows its own rows and no other server; Catalog decides
// which one is asked. Its methods are safe for concurrent use.
type server struct {
	cfg    Config
	id     string // random, made with the database; begins the ids of its log entries
	holder string // names this run of the program in rows that die with it
	lock   *os.File
	write  *sql.DB // SQLite: one connection
	read   *sql.DB // PostgreSQL: the same as write, the primary

	// What follows is of PostgreSQL, else nil.
	lease    *lease
	replicas *replicas
	wire     *wire
	stop     func() // ends the goroutines of the three above and waits for them

	// enqueued has a value when there may be new outbox rows.
	enqueued chan struct{}

	mu sync.Mutex
	// had is which slots the server had when its stamp was hadStamp; nil before that was first asked.
	had      *possession
	hadStamp int64
	// appended are rows of the outbox that are in the log and not yet recorded as such.
	appended map[int64]Row
}

// close closes the database and lets another process open it.
func (s *server) close() error {
	var errs []error
	if s.stop != nil {
		s.stop()
		s.endLease()
	}
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	errs = append(errs, s.replicas.close())
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close catalogue: %w", err)
	}
	return nil
}

// newest is the database to read from when what was committed last must be seen.
func (s *server) newest() *sql.DB { return s.read }

// forShare is what a SELECT ends with that keeps others from changing the row before the transaction ends. SQLite has one
// writer at a time.
func (s *server) forShare() string {
	if s.lease == nil {
		return ""
	}
	return " FOR SHARE"
}

// forUpdate is as forShare, for a row that the transaction is going to change.
func (s *server) forUpdate() string {
	if s.lease == nil {
		return ""
	}
	return " FOR UPDATE"
}

// snapshot is the kind of transaction that sees one state of the database throughout.
func (s *server) snapshot() *sql.TxOptions {
	if s.lease == nil {
		return &sql.TxOptions{ReadOnly: true}
	}
	return &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
}

// querier is what *sql.DB and *sql.Tx have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// database is what *sql.DB and *sql.Conn have in common.
type database interface {
	querier
	BeginTx(ctx context.Context, o *sql.TxOptions) (*sql.Tx, error)
}

// affected reports whether a statement changed any row.
func affected(r sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// scanner is what *sql.Row and *sql.Rows have in common.
type scanner interface{ Scan(dest ...any) error }

// missing turns the driver's word for no row into ours.
func missing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fs.ErrNotExist
	}
	return err
}

// maxPage is the most rows any listing returns.
const maxPage = 1000

func page(limit int) int {
	if limit <= 0 || limit > maxPage {
		return maxPage
	}
	return limit
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

package catalog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"perigee/clock"
)

// fate is what an error of a database says about trying again.
type fate int

const (
	final    fate = iota // it would end the same way
	conflict             // the transaction was rolled back because of another one: again, at once
	away                 // the server was not reached, or has gone: again, when it is back
)

// errConflict ends a transaction that another one was faster than.
var errConflict = errors.New("another change of the same rows was faster")

// fateOf sorts the errors of PostgreSQL by their SQLSTATE, and those of the line to it.
func fateOf(err error) fate {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "40001", "40P01", // serialization failure, deadlock
			"23505", // a key that the transaction had seen free was taken meanwhile
			"55P03": // a lock was not free in time
			return conflict
		case "57P01", "57P02", "57P03", // shut down, crashed, starting
			"25006", // read-only: it is no primary any more
			"53300", // too many connections
			"57014": // the statement took too long
			return away
		}
		if pg.Code[:2] == "08" { // connection exception
			return away
		}
		return final
	}
	var connect *pgconn.ConnectError
	var line net.Error
	switch {
	case errors.Is(err, errConflict):
		return conflict
	case errors.As(err, &connect), errors.As(err, &line), pgconn.SafeToRetry(err), pgconn.Timeout(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone):
		return away
	}
	return final
}

const (
	// patience is how long a change waits for a server that is away before it gives up.
	patience = 2 * time.Second
	// maxConflicts is how often a change that loses to others is tried.
	maxConflicts = 30
	retryMin     = 2 * time.Millisecond
	retryMax     = 200 * time.Millisecond
)

// change runs f in a transaction: committed when f returns nil, rolled back when it does not. f may run several times: when
// another transaction was in its way, or the server was lost before the commit. If it is lost during the commit the error
// wraps ErrUnavailable and the change may have been made; see changeAgain.
func (s *server) change(ctx context.Context, what string, f func(*sql.Tx) error) error {
	return s.try(ctx, what, false, func(tx *sql.Tx, _ bool) error { return f(tx) })
}

// changeAgain is change for an f that may be done again after it was done: also an unknown outcome of the commit is
// settled by running it once more. again says that this is so: what f finds may be its own.
func (s *server) changeAgain(ctx context.Context, what string, f func(tx *sql.Tx, again bool) error) error {
	return s.try(ctx, what, true, f)
}

func (s *server) try(ctx context.Context, what string, repeatable bool, f func(*sql.Tx, bool) error) error {
	deadline := s.cfg.Clock.Now().Add(patience)
	again, wait := false, retryMin
	for conflicts := 0; ; {
		unknown, err := s.attempt(ctx, func(tx *sql.Tx) error { return f(tx, again) })
		if err == nil {
			s.wrote(ctx)
			return nil
		}
		kind := s.fate(ctx, err)
		again = again || unknown
		switch {
		case kind == final, unknown && !repeatable:
		case kind == conflict && conflicts < maxConflicts:
			conflicts++
			if s.pause(ctx, wait) == nil {
				wait = min(2*wait, retryMax)
				continue
			}
		case kind == away && s.cfg.Clock.Now().Before(deadline):
			wait = max(wait, retryMax/4)
			if s.pause(ctx, wait) == nil {
				wait = min(2*wait, retryMax)
				continue
			}
		}
		return fmt.Errorf("%s: %w", what, told(kind, err))
	}
}

// fate is fateOf for this server: SQLite has no line that breaks, and who asked may have gone.
func (s *server) fate(ctx context.Context, err error) fate {
	if s.lease == nil || ctx.Err() != nil {
		return final
	}
	return fateOf(err)
}

// told adds what callers look for to an error.
func told(kind fate, err error) error {
	switch kind {
	case away:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case conflict:
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}

// attempt is one transaction. unknown says that the commit was sent and not answered.
func (s *server) attempt(ctx context.Context, f func(*sql.Tx) error) (unknown bool, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	if err := f(tx); err != nil {
		// The transaction is gone either way; why f failed is what matters.
		_ = tx.Rollback()
		return false, overtime(ctx, err)
	}
	err = tx.Commit()
	if errors.Is(err, sql.ErrTxDone) {
		return false, overtime(ctx, err) // the commit was not sent, and that is known
	}
	return err != nil && s.lease != nil && fateOf(err) == away, err
}

// overtime says of a transaction that database/sql has rolled back, because its time was over, that this is why.
func overtime(ctx context.Context, err error) error {
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// bounded limits what one question to a PostgreSQL server may take, however silent the line to it is.
func (s *server) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.lease == nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.cfg.Postgres.Timeout+time.Second)
}

// pause waits for d, give or take half, so that those who met do not meet again.
func (s *server) pause(ctx context.Context, d time.Duration) error {
	return clock.Sleep(ctx, s.cfg.Clock, d/2+rand.N(d))
}

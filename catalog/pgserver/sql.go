package pgserver

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"perigee/clock"
)

// Exec runs statements in one of the server's databases.
func (s *Server) Exec(ctx context.Context, database string, statements ...string) error {
	c, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer c.Close(ctx)
	for _, sql := range statements {
		if _, err := c.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// CreateDatabase makes an empty database and returns its connection string.
func (s *Server) CreateDatabase(ctx context.Context, name string) (dsn string, err error) {
	if err := s.Exec(ctx, Database, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", err
	}
	return s.DSN(name), nil
}

// CopyDatabase makes a database that is what another one is, which nobody may be connected to, and returns its connection string.
func (s *Server) CopyDatabase(ctx context.Context, from, name string) (dsn string, err error) {
	if err := s.Exec(ctx, Database, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE "+pgx.Identifier{from}.Sanitize()+" STRATEGY file_copy"); err != nil {
		return "", err
	}
	return s.DSN(name), nil
}

// PauseReplay makes a replica stand still: it goes on answering with what it has. It returns when it stands.
func (s *Server) PauseReplay(ctx context.Context) error {
	if err := s.Exec(ctx, Database, "SELECT pg_wal_replay_pause()"); err != nil {
		return fmt.Errorf("pause replica: %w", err)
	}
	return s.await(ctx, "SELECT pg_get_wal_replay_pause_state() = 'paused'")
}

// ResumeReplay lets it go on.
func (s *Server) ResumeReplay(ctx context.Context) error {
	return s.Exec(ctx, Database, "SELECT pg_wal_replay_resume()")
}

// AwaitReplay waits until replica has replayed everything that s, a primary, has written by now.
func (s *Server) AwaitReplay(ctx context.Context, replica *Server) error {
	c, err := pgx.Connect(ctx, s.DSN(Database))
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer c.Close(ctx)
	var at string
	if err := c.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&at); err != nil {
		return fmt.Errorf("ask the primary for its position: %w", err)
	}
	return replica.await(ctx, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", at)
}

// Promote makes a replica a primary.
func (s *Server) Promote(ctx context.Context) error {
	if err := s.Exec(ctx, Database, "SELECT pg_promote()"); err != nil {
		return fmt.Errorf("promote replica: %w", err)
	}
	return s.await(ctx, "SELECT NOT pg_is_in_recovery()")
}

// await asks until the answer is true.
func (s *Server) await(ctx context.Context, question string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	c, err := pgx.Connect(ctx, s.DSN(Database))
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	poll := clock.System.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		var yes bool
		if err := c.QueryRow(ctx, question, args...).Scan(&yes); err != nil || yes {
			return err
		}
		select {
		case <-poll.C():
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", question, ctx.Err())
		}
	}
}

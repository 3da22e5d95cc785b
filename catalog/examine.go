package catalog

import (
	"context"
	"errors"
	"fmt"
)

// ReplicaState is what Examine found of a replica.
type ReplicaState struct {
	Name string
	// Behind is how many bytes of the write-ahead log it has not replayed.
	Behind uint64
	// Err says why it cannot answer reads.
	Err error
}

// Examine looks at the servers of cfg.Postgres and changes nothing. The error is about the primary; without it replicas
// cannot be judged.
func Examine(ctx context.Context, cfg Config) ([]ReplicaState, error) {
	cfg.Postgres.fill()
	base, err := cfg.Postgres.primary()
	if err != nil {
		return nil, err
	}
	db := cfg.Postgres.pool(base)
	defer db.Close()
	at, err := position(ctx, db, `SELECT pg_current_wal_flush_lsn()::text`)
	if err != nil {
		return nil, err
	}
	all, err := newReplicas(cfg, "", db, base)
	if err != nil {
		return nil, err
	}
	defer all.close()
	var found []ReplicaState
	for _, one := range all.all {
		s := ReplicaState{Name: one.name}
		var replays bool
		if s.Err = one.db.QueryRowContext(ctx, `SELECT pg_is_in_recovery()`).Scan(&replays); s.Err == nil && !replays {
			s.Err = errors.New("it is no replica: it takes writes of its own")
		}
		if s.Err == nil {
			var has lsn
			if has, s.Err = position(ctx, one.db, `SELECT pg_last_wal_replay_lsn()::text`); s.Err == nil && has < at {
				s.Behind = uint64(at - has)
			}
		}
		if s.Err != nil {
			s.Err = fmt.Errorf("ask the replica: %w", s.Err)
		}
		found = append(found, s)
	}
	return found, nil
}

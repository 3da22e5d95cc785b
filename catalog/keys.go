package catalog

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// KeyStore keeps API keys in the catalogue, for several API nodes: package keys gives it records, which hold no secret
// but a hash, and says what is in them. It implements keys.Store. Make one with Catalog.KeyStore.
type KeyStore struct{ c *Catalog }

// KeyStore returns the store of API keys in this catalogue.
func (c *Catalog) KeyStore() *KeyStore { return &KeyStore{c} }

// Stamp returns a number that changes with every change of the keys. It is read from the primary: a revoked key must
// not live on as long as a replica lags.
func (s *KeyStore) Stamp(ctx context.Context) (string, error) {
	home, err := s.c.home(ctx)
	if err != nil {
		return "", err
	}
	var n int64
	if err := home.newest().QueryRowContext(ctx, `SELECT changes FROM api_key_changes`).Scan(&n); err != nil {
		return "", fmt.Errorf("stamp of API keys: %w", err)
	}
	return fmt.Sprint(n), nil
}

// Load returns all records in the order in which they were added.
func (s *KeyStore) Load(ctx context.Context) ([]json.RawMessage, error) {
	home, err := s.c.home(ctx)
	if err != nil {
		return nil, err
	}
	records, err := collect(ctx, home.newest(), func(s scanner) (json.RawMessage, error) {
		var text string
		err := s.Scan(&text)
		return json.RawMessage(text), err
	}, `SELECT record FROM api_keys ORDER BY added`)
	if err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	return records, nil
}

// Add adds a record. An id that is taken is fs.ErrExist; more than most are refused.
func (s *KeyStore) Add(ctx context.Context, id string, record json.RawMessage, most int) error {
	return s.change(ctx, KeyCreated, id, func(tx *sql.Tx, changes int64) error {
		var n, same int
		err := tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(CASE WHEN id = $1 THEN 1 ELSE 0 END), 0) FROM api_keys`, id).Scan(&n, &same)
		switch {
		case err != nil:
			return err
		case same > 0:
			return fs.ErrExist
		case n >= most:
			return errors.New("there are too many API keys; revoke some")
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO api_keys (id, added, record) VALUES ($1, $2, $3)`, id, changes, string(record))
		return err
	})
}

// Remove removes a record; fs.ErrNotExist if there is none.
func (s *KeyStore) Remove(ctx context.Context, id string) error {
	return s.change(ctx, KeyRevoked, id, func(tx *sql.Tx, _ int64) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM api_keys WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n == 0 || err != nil {
			return cmp.Or(err, fs.ErrNotExist)
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM api_key_uses WHERE id = $1`, id)
		return err
	})
}

// change does f with the number of this change, which no other one gets: the row of changes is held first.
func (s *KeyStore) change(ctx context.Context, what Action, id string, f func(*sql.Tx, int64) error) error {
	home, err := s.c.home(ctx)
	if err != nil {
		return err
	}
	var entry AuditEntry
	err = home.change(ctx, string(what)+" "+id, func(tx *sql.Tx) error {
		var changes int64
		err := tx.QueryRowContext(ctx, `UPDATE api_key_changes SET changes = changes + 1 RETURNING changes`).Scan(&changes)
		if err == nil {
			err = f(tx, changes)
		}
		if err == nil {
			entry, err = home.audit(ctx, tx, AuditEntry{Action: what, Object: id})
		}
		return err
	})
	if err == nil {
		home.told(entry)
	}
	return err
}

// NoteKeyUses keeps when API keys were last used, by id, wherever they are kept. An older time changes nothing.
func (c *Catalog) NoteKeyUses(ctx context.Context, used map[string]time.Time) error {
	home, err := c.home(ctx)
	if err != nil || len(used) == 0 {
		return err
	}
	return home.change(ctx, "note when API keys were used", func(tx *sql.Tx) error {
		for _, id := range slices.Sorted(maps.Keys(used)) { // in one order, so that nodes do not wait for one another crosswise
			_, err := tx.ExecContext(ctx, `INSERT INTO api_key_uses (id, used) VALUES ($1, $2)
				ON CONFLICT (id) DO UPDATE SET used = excluded.used WHERE api_key_uses.used < excluded.used`, id, used[id].UnixMicro())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// KeyUses returns when API keys were last used, by id; those that never were are not in it.
func (c *Catalog) KeyUses(ctx context.Context) (map[string]time.Time, error) {
	home, err := c.home(ctx)
	if err != nil {
		return nil, err
	}
	type use struct {
		id string
		at time.Time
	}
	uses, err := lookAll(ctx, home, func(s scanner) (u use, err error) {
		var at int64
		err = s.Scan(&u.id, &at)
		u.at = fromMicros(at)
		return u, err
	}, `SELECT id, used FROM api_key_uses`)
	if err != nil {
		return nil, fmt.Errorf("list uses of API keys: %w", c.members[0].fault(err))
	}
	used := make(map[string]time.Time, len(uses))
	for _, u := range uses {
		used[u.id] = u.at
	}
	return used, nil
}

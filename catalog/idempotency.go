package catalog

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"io/fs"
	"time"
)

// An idempotency record remembers a request that its client may send again, for a day:
//
//	BeginOnce   the request has never come: its record is running, the caller carries it out
//	            ... the audit entry of each change that it makes names the record, in the transaction of the change ...
//	RenewOnce   every now and then while it runs
//	FinishOnce  the answer is kept; a repetition gets it
//	DropOnce    in place of FinishOnce, when nothing was changed: the request may come again as if for the first time
//
// A process that dies in between leaves a running record whose time ends. If an entry names it, the change was made and its
// answer is lost: a repetition is told so and changes nothing. If none does, the repetition is carried out.
//
// Records are named by a hash of the API key's id and the client's key, so what clients choose is not stored.

// Once is an idempotency record.
type Once struct {
	ID string // see OnceID
	// Series names the request and its repetitions: what Actor.Once is while it is carried out.
	Series string
	// Owner is the id of the API key.
	Owner string
	// Fingerprint tells one request from another: the client's key must not come with another one.
	Fingerprint string
	State       OnceState
	// Effect is the id of the audit entry of the first change that the request made; set when State is OnceLost.
	Effect string
	// Answer is kept by FinishOnce.
	Answer Answer
	// run names the attempt that runs.
	run string
}

// OnceState says what to do with a request that has an idempotency record.
type OnceState string

// The states that BeginOnce returns.
const (
	OnceNew     OnceState = "new"     // carry it out
	OnceRunning OnceState = "running" // somebody does
	OnceDone    OnceState = "done"    // Answer is the answer
	OnceLost    OnceState = "lost"    // it has taken effect, and its answer was lost in a crash
	OnceOther   OnceState = "other"   // the record is another request's

	onceAbandoned OnceState = "abandoned" // it ran, and nobody carries it out any more
	onceOver      OnceState = "over"      // it is older than onceFor
)

// Answer is an answer that is given again.
type Answer struct {
	Status int
	Header string // as JSON
	Body   string
	// BodyHash is the SHA-256 of the first BodyRead bytes of the request's body, and BodyEnded that it had no more.
	BodyHash  string
	BodyRead  int64
	BodyEnded bool
}

const (
	// onceFor is how long records are kept.
	onceFor = 24 * time.Hour
	// onceLease is how long a record counts as running after it was begun or renewed.
	onceLease = 30 * time.Second
	// MaxOnce is how many records one API key may have; with a new one the oldest that is done is forgotten.
	MaxOnce = 10_000
)

// OnceRenewal is how often who carries out a request calls RenewOnce.
const OnceRenewal = onceLease / 3

// OnceID names the record of a client's key.
func OnceID(owner, key string) string {
	h := sha256.Sum256([]byte(owner + "\x00" + key))
	return hex.EncodeToString(h[:])
}

// BeginOnce returns what to do with a request; if that is OnceNew, its record now runs.
func (c *Catalog) BeginOnce(ctx context.Context, id, owner, fingerprint string) (Once, error) {
	home, err := c.home(ctx)
	if err != nil {
		return Once{}, err
	}
	o, err := home.beginOnce(ctx, id, owner, fingerprint)
	switch {
	case err == nil && o.State == onceOver:
		return home.takeOnce(ctx, o, fingerprint)
	case err != nil || o.State != onceAbandoned:
		return o, err
	}
	e, err := c.effectOf(ctx, o.Series)
	switch {
	case err == nil:
		o.State, o.Effect = OnceLost, e.ID
		return o, nil
	case !errors.Is(err, fs.ErrNotExist):
		return o, err
	}
	return home.takeOnce(ctx, o, fingerprint)
}

// beginOnce is BeginOnce, which decides about a record that is abandoned.
func (s *server) beginOnce(ctx context.Context, id, owner, fingerprint string) (o Once, err error) {
	now := s.now()
	run := auditID(now, true)
	err = s.change(ctx, "begin request once", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx,
			`INSERT INTO idempotency (id, owner, fingerprint, state, series, run, holder, created, ends, status, header, body, body_hash, body_read, body_ended)
			VALUES ($1, $2, $3, 'running', $4, $4, $5, $6, $7, 0, '', '', '', 0, 0) ON CONFLICT (id) DO NOTHING`,
			id, owner, fingerprint, run, s.holder, now.UnixMicro(), now.Add(onceLease).UnixMicro())
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if n > 0 {
			o = Once{ID: id, Series: run, Owner: owner, Fingerprint: fingerprint, State: OnceNew, run: run}
			return forgetOldest(ctx, tx, owner)
		}
		o, err = s.repeated(ctx, tx, id, fingerprint, now)
		return err
	})
	return o, err
}

// repeated returns the record of a request that has come before.
func (s *server) repeated(ctx context.Context, tx *sql.Tx, id, fingerprint string, now time.Time) (Once, error) {
	o := Once{ID: id}
	var created, ends int64
	var holder string
	var ended int
	err := tx.QueryRowContext(ctx,
		`SELECT owner, fingerprint, state, series, run, holder, created, ends, status, header, body, body_hash, body_read, body_ended FROM idempotency WHERE id = $1`, id).
		Scan(&o.Owner, &o.Fingerprint, &o.State, &o.Series, &o.run, &holder, &created, &ends,
			&o.Answer.Status, &o.Answer.Header, &o.Answer.Body, &o.Answer.BodyHash, &o.Answer.BodyRead, &ended)
	if err != nil {
		return o, err
	}
	o.Answer.BodyEnded = ended != 0
	dead := ends <= now.UnixMicro() || s.lock != nil && holder != s.holder // with a lock there is no other process
	switch over := now.Sub(fromMicros(created)) >= onceFor; {
	case over && (o.State == OnceDone || dead):
		o.State = onceOver
	case o.Fingerprint != fingerprint:
		o.State = OnceOther
	case o.State == OnceDone:
	case dead:
		o.State = onceAbandoned
	default:
		o.State = OnceRunning
	}
	return o, nil
}

// takeOnce lets a request run whose record was abandoned; one of several that try.
func (s *server) takeOnce(ctx context.Context, o Once, fingerprint string) (Once, error) {
	now := s.now()
	run := auditID(now, true)
	if o.State == onceOver {
		o.Series = run
	}
	var n int64
	err := s.change(ctx, "begin request once", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx,
			`UPDATE idempotency SET fingerprint = $3, state = 'running', run = $4, holder = $5, created = $6, ends = $7, series = $8,
			status = 0, header = '', body = '', body_hash = '', body_read = 0, body_ended = 0 WHERE id = $1 AND run = $2`,
			o.ID, o.run, fingerprint, run, s.holder, now.UnixMicro(), now.Add(onceLease).UnixMicro(), o.Series)
		if err == nil {
			n, err = res.RowsAffected()
		}
		return err
	})
	o.State, o.Fingerprint, o.run = OnceNew, fingerprint, run
	if n == 0 {
		o.State = OnceRunning
	}
	return o, err
}

// forgetOldest keeps an API key from having more than MaxOnce records.
func forgetOldest(ctx context.Context, tx *sql.Tx, owner string) error {
	_, err := tx.ExecContext(ctx,
		`DELETE FROM idempotency WHERE id IN (
			SELECT id FROM idempotency WHERE owner = $1 AND state = 'done' ORDER BY created DESC LIMIT 100 OFFSET $2)`, owner, MaxOnce)
	return err
}

// RenewOnce keeps the record of a request that is being carried out from counting as abandoned.
func (c *Catalog) RenewOnce(ctx context.Context, o Once) error {
	return c.changeOnce(ctx, "renew", o, `UPDATE idempotency SET ends = $3 WHERE id = $1 AND run = $2`,
		c.cfg.Clock.Now().Add(onceLease).UnixMicro())
}

// FinishOnce keeps the answer of a request that was carried out.
func (c *Catalog) FinishOnce(ctx context.Context, o Once, a Answer) error {
	ended := 0
	if a.BodyEnded {
		ended = 1
	}
	return c.changeOnce(ctx, "finish", o,
		`UPDATE idempotency SET state = 'done', status = $3, header = $4, body = $5, body_hash = $6, body_read = $7, body_ended = $8
		WHERE id = $1 AND run = $2`,
		a.Status, a.Header, a.Body, a.BodyHash, a.BodyRead, ended)
}

// DropOnce forgets a request that was carried out and changed nothing. One that did stays, as one whose answer is lost.
func (c *Catalog) DropOnce(ctx context.Context, o Once) error {
	if _, err := c.effectOf(ctx, o.Series); err == nil {
		return c.changeOnce(ctx, "drop", o, `UPDATE idempotency SET ends = 0 WHERE id = $1 AND run = $2`)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return c.changeOnce(ctx, "drop", o, `DELETE FROM idempotency WHERE id = $1 AND run = $2`)
}

func (c *Catalog) changeOnce(ctx context.Context, verb string, o Once, query string, args ...any) error {
	home, err := c.home(ctx)
	if err != nil {
		return err
	}
	return home.change(ctx, verb+" request once", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, append([]any{o.ID, o.run}, args...)...)
		return err
	})
}

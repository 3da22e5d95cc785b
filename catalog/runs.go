package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"sync"
	"time"

	"perigee/object"
)

// Every run of the program has a row in the table runs of each server. Reservations and streamed uploads name the run that
// made them; when its row is gone or has expired, nobody will finish them.
//
// In SQLite the lock on the file says that there is one run, so its row never expires and the others are removed when it
// starts. PostgreSQL serves several runs at a time: each prolongs its row, by the database's clock, and removes it when it
// ends in order. Two things keep a run that is alive from being taken for dead:
//
//	A holder must stop writing while its row is still valid (Catalog.WriteBy), so that who settles its reservation
//	finds the bucket at rest.
//
//	After the database was away every row has expired. Who comes back first must not settle what the others hold: an
//	expired row counts only for a run that has itself been there for as long as a lease lasts.

// alwaysAlive is when a row of runs expires that does not.
const alwaysAlive = math.MaxInt64

// beatsPerLease is how often a lease is prolonged while it lasts.
const beatsPerLease = 5

// lease is the row of this run in a PostgreSQL catalogue. Its methods are safe for concurrent use.
type lease struct {
	cfg    Config
	db     *sql.DB
	holder string

	mu sync.Mutex
	// told is what the database's clock showed when Config.Clock showed at.
	told, at time.Time
	// until is when the row expires, by Config.Clock, at the latest that others may see it.
	until time.Time
	// since is when, by Config.Clock, this run's row began to be valid without a break.
	since time.Time
}

// databaseNow is the database's clock in microseconds since 1970.
const databaseNow = `(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint`

// beat prolongs the lease.
func (l *lease) beat(ctx context.Context) error {
	sent := l.cfg.Clock.Now()
	var expires int64
	err := l.db.QueryRowContext(ctx, `INSERT INTO runs (id, expires) VALUES ($1, `+databaseNow+` + $2)
		ON CONFLICT (id) DO UPDATE SET expires = excluded.expires RETURNING expires`, l.holder, l.cfg.Lease.Microseconds()).Scan(&expires)
	if err != nil {
		return fmt.Errorf("prolong the lease of this run: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	told := fromMicros(expires).Add(-l.cfg.Lease)
	step := told.Sub(l.told) - sent.Sub(l.at) // of the database's clock against ours
	if sent.After(l.until) || step.Abs() > l.cfg.Lease/4 {
		l.since = sent
	}
	l.told, l.at, l.until = told, sent, sent.Add(l.cfg.Lease)
	return nil
}

// now is the database's clock, as far as it is known: Config.Clock carries it on from the last beat.
func (l *lease) now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told.Add(l.cfg.Clock.Now().Sub(l.at))
}

// horizon is the time, by the database's clock, up to which a row of another run must have expired to count as ended.
func (l *lease) horizon() time.Time {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cfg.Clock.Now().Sub(l.since) < l.cfg.Lease {
		return time.Time{}
	}
	return now
}

// writeBy is until when, by Config.Clock, this run may write what others would settle.
func (l *lease) writeBy() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until.Add(-l.cfg.Lease / 3)
}

// end removes the row, and with it those of runs that ended long ago.
func (l *lease) end(ctx context.Context) error {
	_, err := l.db.ExecContext(ctx, `DELETE FROM runs WHERE id = $1 OR expires < $2`, l.holder, l.now().Add(-24*time.Hour).UnixMicro())
	if err != nil {
		return fmt.Errorf("end the lease of this run: %w", err)
	}
	return nil
}

// now is the time by which the server's rows expire.
func (s *server) now() time.Time {
	if s.lease != nil {
		return s.lease.now()
	}
	return s.cfg.Clock.Now()
}

// horizon is what a row of runs must have expired by to count as ended, in microseconds; see lease.
func (s *server) horizon() int64 {
	if s.lease == nil {
		return s.now().UnixMicro()
	}
	if h := s.lease.horizon(); !h.IsZero() {
		return h.UnixMicro()
	}
	return 0
}

// headMargin is how long before its reservation ends a head pointer must have been written.
const headMargin = 20 * time.Second

// WriteBy returns until when, by Config.Clock, the holder of r may write the bucket. Later somebody else may settle r.
func (c *Catalog) WriteBy(r Reservation) time.Time {
	by := r.by
	if by.IsZero() {
		by = r.Expires.Add(-headMargin)
	}
	s := c.at(object.SlotOf(r.Pointer.Site, r.Pointer.Path)).opened()
	if s == nil || s.lease == nil {
		return by
	}
	if l := s.lease.writeBy(); l.Before(by) {
		return l
	}
	return by
}

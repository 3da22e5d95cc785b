package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Query separation: what is written goes to the primary, what is read may come from a replica. A replica is asked when it
// answers, is not behind by more than Postgres.MaxLag, and has replayed what the reader's session has seen.
//
// That last condition is a question of its own, on the connection that reads next. In one statement the answer would be
// about a moment after the statement's snapshot was taken, and the row might still be missing from it. For the same
// reason a writer's position is asked for after its commit: how far the log is synced, which is behind the commit
// (synchronous_commit is on) and never ahead of what replicas are sent.
//
// What a replica does not have is asked from the primary. While the primary is away, replicas go on answering with what
// they have; that something is missing cannot be said then.

const (
	// probeEvery is how often primary and replicas are asked how far they are.
	probeEvery = 500 * time.Millisecond
	// probeTime is how long an answer may take.
	probeTime = time.Second
	// keptSamples is how many positions of the primary are remembered: half a minute.
	keptSamples = 64
)

// replicas are the replicas of one server. Its methods are safe for concurrent use.
type replicas struct {
	cfg     Config
	id      string // of the catalogue
	primary *sql.DB
	all     []*replica
	next    atomic.Uint32

	mu sync.Mutex
	// samples are the newest positions of the primary, oldest first.
	samples []sample
	count   ReadCounts
}

// sample is how far the primary's write-ahead log was at a time.
type sample struct {
	at  time.Time
	lsn lsn
}

// replica is one of them.
type replica struct {
	name string
	db   *sql.DB
	// fit says that the last probe, and every question since, was answered, and that the lag was within bounds.
	fit atomic.Bool
	// told is whether the log knows that it is not fit.
	told bool
	lag  atomic.Int64 // nanoseconds, as of the last probe
}

// ReadCounts says where reads that may be answered by a replica were answered.
type ReadCounts struct {
	// Replica counts those a replica answered; the others went to the primary:
	Replica uint64
	// Unfit because no replica was fit,
	Unfit uint64
	// Behind because the replica had not replayed what the reader had written,
	Behind uint64
	// Missing because the replica did not have it,
	Missing uint64
	// Failed because the replica did not answer.
	Failed uint64
}

func newReplicas(cfg Config, id string, primary *sql.DB, base *pgx.ConnConfig) (*replicas, error) {
	r := &replicas{cfg: cfg, id: id, primary: primary}
	for _, addr := range cfg.Postgres.Replicas {
		c, err := replicaOf(base, addr)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.all = append(r.all, &replica{name: net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), db: cfg.Postgres.pool(c)})
	}
	return r, nil
}

func (r *replicas) close() error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, one := range r.all {
		errs = append(errs, one.db.Close())
	}
	return errors.Join(errs...)
}

// watch probes until ctx ends.
func (r *replicas) watch(ctx context.Context) {
	if len(r.all) == 0 {
		return
	}
	tick := r.cfg.Clock.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		r.probe(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
		}
	}
}

// probe asks the primary, then all replicas at a time, how far they are.
func (r *replicas) probe(ctx context.Context) {
	asked := r.cfg.Clock.Now()
	// Without an answer the samples end: a replica that has replayed all there was is as good as it can be.
	if at, err := position(ctx, r.primary, `SELECT pg_current_wal_flush_lsn()::text`); err == nil {
		r.mu.Lock()
		r.samples = append(r.samples, sample{asked, at})
		r.samples = r.samples[max(0, len(r.samples)-keptSamples):]
		r.mu.Unlock()
	}
	var all sync.WaitGroup
	for _, one := range r.all {
		all.Go(func() {
			at, err := position(ctx, one.db, `SELECT COALESCE(pg_last_wal_replay_lsn(), pg_current_wal_flush_lsn())::text`)
			if ctx.Err() == nil {
				r.judge(one, at, err)
			}
		})
	}
	all.Wait()
}

// position asks a server for a position in its write-ahead log.
func position(ctx context.Context, q querier, query string) (lsn, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var text string
	if err := q.QueryRowContext(ctx, query).Scan(&text); err != nil {
		return 0, err
	}
	return parseLSN(text)
}

// judge decides whether a replica is fit.
func (r *replicas) judge(one *replica, at lsn, err error) {
	lag := r.lag(at)
	if err == nil && lag > r.cfg.Postgres.MaxLag {
		err = fmt.Errorf("it is %v behind", lag.Round(time.Second))
	}
	one.lag.Store(int64(lag))
	one.fit.Store(err == nil)
	switch {
	case err != nil && !one.told:
		r.cfg.Log.Warn("a replica of the catalogue is not fit; reads go to others", "replica", one.name, "err", err)
	case err == nil && one.told:
		r.cfg.Log.Info("a replica of the catalogue is fit again", "replica", one.name)
	}
	one.told = err != nil
}

// lag is for how long the primary has had something that a replica at that position lacks.
func (r *replicas) lag(at lsn) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.samples {
		if s.lsn > at {
			return r.cfg.Clock.Now().Sub(s.at)
		}
	}
	return 0
}

// pick returns a fit replica, each in turn; nil if there is none.
func (r *replicas) pick() *replica {
	n := len(r.all)
	for start, i := int(r.next.Add(1)), 0; i < n; i++ {
		if one := r.all[(start+i)%n]; one.fit.Load() {
			return one
		}
	}
	return nil
}

func (r *replicas) counted(what func(*ReadCounts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what(&r.count)
}

// errBehind says that a replica has not replayed what the reader has seen.
var errBehind = errors.New("the replica is behind the reader")

// look answers a question: f asks it of a replica if the context's session allows that, else of the primary.
func look[T any](ctx context.Context, s *server, f func(context.Context, database) (T, error)) (T, error) {
	session, deciding := sessionOf(ctx)
	if s.replicas == nil || session == nil || deciding || len(s.replicas.all) == 0 {
		return fromPrimary(ctx, s, f)
	}
	r := s.replicas
	one := r.pick()
	if one == nil {
		r.counted(func(c *ReadCounts) { c.Unfit++ })
		return fromPrimary(ctx, s, f)
	}
	since := session.since(s.id)
	if since == 0 && session.Token() != "" {
		// It has seen something of another server: rows may have come from there since, and this replica not know of it.
		r.counted(func(c *ReadCounts) { c.Behind++ })
		return fromPrimary(ctx, s, f)
	}
	v, err := askReplica(ctx, s, one, since, f)
	switch {
	case err == nil:
		r.counted(func(c *ReadCounts) { c.Replica++ })
		return v, nil
	case ctx.Err() != nil:
		return v, err
	case errors.Is(err, errBehind):
		r.counted(func(c *ReadCounts) { c.Behind++ })
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errElsewhere):
		r.counted(func(c *ReadCounts) { c.Missing++ })
	default:
		one.fit.Store(false) // until the next probe
		r.counted(func(c *ReadCounts) { c.Failed++ })
	}
	return fromPrimary(ctx, s, f)
}

// lookAll is look for all rows of a query.
func lookAll[T any](ctx context.Context, s *server, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	return look(ctx, s, func(ctx context.Context, db database) ([]T, error) { return collect(ctx, db, scan, query, args...) })
}

// askReplica asks one replica, after making sure that it has replayed the log up to since.
func askReplica[T any](ctx context.Context, s *server, one *replica, since lsn, f func(context.Context, database) (T, error)) (none T, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	c, err := one.db.Conn(ctx)
	if err != nil {
		return none, err
	}
	defer c.Close()
	if since > 0 {
		var there bool
		err := c.QueryRowContext(ctx, `SELECT COALESCE(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)`, since.String()).Scan(&there)
		if err != nil {
			return none, err
		}
		if !there {
			return none, errBehind
		}
	}
	return f(ctx, c)
}

// fromPrimary asks the primary, again if the connection broke.
func fromPrimary[T any](ctx context.Context, s *server, f func(context.Context, database) (T, error)) (T, error) {
	for tries := 1; ; tries++ {
		once, cancel := s.bounded(ctx)
		v, err := f(once, s.read)
		cancel()
		if err == nil {
			return v, nil
		}
		kind := s.fate(ctx, err)
		if kind == final {
			return v, err
		}
		if tries == 3 || s.pause(ctx, retryMax/4) != nil {
			return v, told(kind, err)
		}
	}
}

// wrote notes in the context's session how far the log is after a change, which is committed.
func (s *server) wrote(ctx context.Context) {
	session, _ := sessionOf(ctx)
	if session == nil || s.lease == nil {
		return
	}
	at, err := position(context.WithoutCancel(ctx), s.write, `SELECT pg_current_wal_flush_lsn()::text`)
	if err != nil {
		at = lastLSN // no replica will do: whoever reads with this session asks the primary
	}
	session.wrote(s.id, at)
}

// lastLSN is a position that no server reaches.
const lastLSN = ^lsn(0)

package catalog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"perigee/clock"
	"perigee/purge"
)

// OutboxConfig is what an Outbox needs.
type OutboxConfig struct {
	Catalog  *Catalog
	Appender purge.Appender
	Clock    clock.Clock
	Log      *slog.Logger
	// Appended, if set, is called after each append, in order, with the time the log had it on stable storage. After a
	// crash it may be called again for an entry. It must not block.
	Appended func(e purge.Entry, position purge.Position, at time.Time)
}

// Outbox moves rows from the catalogue's outbox to the log: each one, in order, exactly once in effect, because the
// log knows an Entry.ID again. A row that cannot be appended holds up those behind it: order is what caches rely on.
type Outbox struct {
	cfg OutboxConfig

	mu sync.Mutex
	// waiters are told the position of their row, each at most once.
	waiters map[int64][]chan purge.Position
}

// NewOutbox returns an Outbox; Run makes it work.
func NewOutbox(cfg OutboxConfig) (*Outbox, error) {
	if cfg.Catalog == nil || cfg.Appender == nil || cfg.Clock == nil || cfg.Log == nil {
		return nil, errors.New("catalog: OutboxConfig needs Catalog, Appender, Clock and Log")
	}
	return &Outbox{cfg: cfg, waiters: map[int64][]chan purge.Position{}}, nil
}

// errNoPosition is what a log must not answer.
var errNoPosition = errors.New("the log gave no position")

const (
	// outboxBatch is how many appends share one transaction that records them.
	outboxBatch = 256
	// outboxPoll is how often the outbox looks for rows that nobody announced, such as another process's.
	outboxPoll = time.Second
	// Back-off of a log or database that does not answer.
	outboxRetryMin = 50 * time.Millisecond
	outboxRetryMax = 2 * time.Second
)

// Run appends until ctx ends and returns nil then. A log or database that is down is tried again for ever, with
// back-off; the first failure and the recovery are logged.
func (o *Outbox) Run(ctx context.Context) error {
	poll := o.cfg.Clock.NewTicker(outboxPoll)
	defer poll.Stop()
	for {
		more, err := o.drain(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			o.cfg.Log.Error("outbox", "err", err)
		} else if more {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.cfg.Catalog.enqueued:
		case <-poll.C():
		}
	}
}

// drain appends one batch; more says that there may be another one.
func (o *Outbox) drain(ctx context.Context) (more bool, err error) {
	rows, err := o.cfg.Catalog.pending(ctx, outboxBatch)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	done := 0
	for i := range rows {
		if !o.append(ctx, &rows[i]) {
			break
		}
		done++
	}
	if done == 0 {
		return false, nil
	}
	// What is in the log is recorded even if ctx has ended; if that fails, the next run appends the same ids again.
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := o.cfg.Catalog.recordAppended(rctx, rows[:done]); err != nil {
		return false, err
	}
	return len(rows) == outboxBatch, nil
}

// append gets one row into the log; false means that ctx ended first.
func (o *Outbox) append(ctx context.Context, r *Row) bool {
	wait := outboxRetryMin
	for tries := 1; ; tries++ {
		pos, err := o.cfg.Appender.Append(ctx, r.Entry)
		if err == nil && pos.IsZero() {
			err = errNoPosition
		}
		if err == nil {
			r.Position, r.Appended = pos, o.cfg.Clock.Now()
			if tries > 1 {
				o.cfg.Log.Info("the log takes entries again", "row", r.ID, "tries", tries)
			}
			o.publish(r)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if tries == 1 {
			o.cfg.Log.Warn("the log does not take entries; changes reach the edges when it does", "row", r.ID, "err", err)
		}
		t := o.cfg.Clock.NewTimer(wait)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return false
		}
		wait = min(2*wait, outboxRetryMax)
	}
}

// publish tells everyone who wants to know that r is in the log.
func (o *Outbox) publish(r *Row) {
	if o.cfg.Appended != nil {
		o.cfg.Appended(r.Entry, r.Position, r.Appended)
	}
	o.cfg.Catalog.noteAppended(*r)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, ch := range o.waiters[r.ID] {
		ch <- r.Position // has room for one
	}
	delete(o.waiters, r.ID)
}

// Wait returns the position of an outbox row as soon as it is in the log. It ends with ctx's error, or with
// fs.ErrNotExist if there is no such row.
func (o *Outbox) Wait(ctx context.Context, id int64) (purge.Position, error) {
	ch := o.watch(id)
	defer o.unwatch(id, ch)
	// The row may have been appended before we watched.
	row, err := o.cfg.Catalog.Row(ctx, id)
	if err != nil {
		return purge.Position{}, err
	}
	if !row.Position.IsZero() {
		return row.Position, nil
	}
	select {
	case pos := <-ch:
		return pos, nil
	case <-ctx.Done():
		return purge.Position{}, ctx.Err()
	}
}

// watch returns a channel that will get the row's position when it is appended.
func (o *Outbox) watch(id int64) chan purge.Position {
	o.mu.Lock()
	defer o.mu.Unlock()
	ch := make(chan purge.Position, 1)
	o.waiters[id] = append(o.waiters[id], ch)
	return ch
}

func (o *Outbox) unwatch(id int64, ch chan purge.Position) {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.waiters[id]
	for i := range list {
		if list[i] == ch {
			o.waiters[id] = append(list[:i], list[i+1:]...)
			break
		}
	}
	if len(o.waiters[id]) == 0 {
		delete(o.waiters, id)
	}
}

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
	// Appended, if set, is called after each append, one call at a time and in order for each server, with the time the
	// log had it on stable storage. After a crash it may be called again for an entry. It must not block.
	Appended func(e purge.Entry, position purge.Position, at time.Time)
}

// Outbox moves rows from the outboxes of the catalogue's servers to the log: each one, in its server's order, exactly once
// in effect, because the log knows an Entry.ID again. A row that cannot be appended holds up those behind it: order is what
// caches rely on.
type Outbox struct {
	cfg OutboxConfig

	mu sync.Mutex
	// waiters are told the position of their entry, each at most once.
	waiters map[string][]chan purge.Position
}

// NewOutbox returns an Outbox; Run makes it work.
func NewOutbox(cfg OutboxConfig) (*Outbox, error) {
	if cfg.Catalog == nil || cfg.Appender == nil || cfg.Clock == nil || cfg.Log == nil {
		return nil, errors.New("catalog: OutboxConfig needs Catalog, Appender, Clock and Log")
	}
	return &Outbox{cfg: cfg, waiters: map[string][]chan purge.Position{}}, nil
}

// Run appends until ctx ends and returns nil then. A log or database that is down is tried again for ever, with
// back-off; the first failure and the recovery are logged. Each server's outbox is emptied on its own: one that does
// not answer holds up no other.
func (o *Outbox) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, m := range o.cfg.Catalog.members {
		all.Go(func() {
			if s := o.await(ctx, m); s != nil {
				(&drainer{outbox: o, server: s}).run(ctx)
			}
		})
	}
	all.Wait()
	return nil
}

// await returns the server as soon as it answers; nil when ctx has ended.
func (o *Outbox) await(ctx context.Context, m *member) *server {
	for {
		if s, err := m.get(ctx); err == nil {
			return s
		}
		t := o.cfg.Clock.NewTimer(outboxPoll)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// publish tells everyone who wants to know that r is in the log.
func (o *Outbox) publish(r *Row) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cfg.Appended != nil {
		o.cfg.Appended(r.Entry, r.Position, r.Appended)
	}
	for _, ch := range o.waiters[r.Entry.ID] {
		ch <- r.Position // has room for one
	}
	delete(o.waiters, r.Entry.ID)
}

// Wait returns the position of an entry as soon as it is in the log. It ends with ctx's error, or with
// fs.ErrNotExist if no outbox of the catalogue has an entry of that id.
func (o *Outbox) Wait(ctx context.Context, entry string) (purge.Position, error) {
	ch := o.watch(entry)
	defer o.unwatch(entry, ch)
	for {
		// Before looking, so that no append falls in between.
		moved, err := o.cfg.Catalog.appendedElsewhere(ctx, entry)
		if err != nil {
			return purge.Position{}, err
		}
		row, err := o.cfg.Catalog.Row(ctx, entry)
		if err != nil {
			return purge.Position{}, err
		}
		if !row.Position.IsZero() {
			return row.Position, nil
		}
		if pos, err := o.waitOnce(ctx, ch, moved); err != nil || !pos.IsZero() {
			return pos, err
		}
	}
}

// waitOnce waits until it is worth while to look again: moved is closed, or, in case its news got lost, some time is over.
func (o *Outbox) waitOnce(ctx context.Context, ch <-chan purge.Position, moved <-chan struct{}) (purge.Position, error) {
	var late <-chan time.Time
	if moved != nil {
		t := o.cfg.Clock.NewTimer(outboxPoll)
		defer t.Stop()
		late = t.C()
	}
	select {
	case pos := <-ch:
		return pos, nil
	case <-moved:
	case <-late:
	case <-ctx.Done():
		return purge.Position{}, ctx.Err()
	}
	return purge.Position{}, nil
}

// watch returns a channel that will get the entry's position when it is appended.
func (o *Outbox) watch(entry string) chan purge.Position {
	o.mu.Lock()
	defer o.mu.Unlock()
	ch := make(chan purge.Position, 1)
	o.waiters[entry] = append(o.waiters[entry], ch)
	return ch
}

func (o *Outbox) unwatch(entry string, ch chan purge.Position) {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.waiters[entry]
	for i := range list {
		if list[i] == ch {
			o.waiters[entry] = append(list[:i], list[i+1:]...)
			break
		}
	}
	if len(o.waiters[entry]) == 0 {
		delete(o.waiters, entry)
	}
}

package catalog

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// wire tells the other processes that have a PostgreSQL catalogue open when there is something to look at, and hears it
// from them (LISTEN and NOTIFY). What it says is only that looking is worth while: who misses it looks a little later.
//
// A notification is sent after the commit and not within: PostgreSQL lets commits that notify through one at a time.
type wire struct {
	cfg     Config
	server  *server
	base    *pgx.ConnConfig
	channel string

	// news and moved have a value when there is something to tell: new rows in the outbox, rows that were appended.
	news, moved chan struct{}

	mu sync.Mutex
	// heard is closed when another process, or this one, has appended rows.
	heard chan struct{}
}

// What a notification says.
const (
	wordNew      = "new"
	wordAppended = "appended"
)

func newWire(cfg Config, s *server, base *pgx.ConnConfig) *wire {
	return &wire{cfg: cfg, server: s, base: base, channel: "perigee_" + s.id,
		news: make(chan struct{}, 1), moved: make(chan struct{}, 1), heard: make(chan struct{})}
}

// signal puts a value into a channel of capacity one that may already hold one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// tell sends what is to be told until ctx ends.
func (w *wire) tell(ctx context.Context) {
	for {
		word := wordNew
		select {
		case <-ctx.Done():
			return
		case <-w.news:
		case <-w.moved:
			word = wordAppended
		}
		send, cancel := context.WithTimeout(ctx, w.cfg.Postgres.Timeout)
		// One that is lost is made good by those who look from time to time.
		_, err := w.server.write.ExecContext(send, `SELECT pg_notify($1, $2)`, w.channel, word)
		cancel()
		if err != nil && ctx.Err() == nil {
			w.cfg.Log.Debug("a notification was not sent", "err", err)
		}
	}
}

// listen hears until ctx ends, on a connection of its own.
func (w *wire) listen(ctx context.Context) {
	for wait := retryMax; ; wait = min(2*wait, 5*time.Second) {
		heard, err := w.hear(ctx)
		if ctx.Err() != nil {
			return
		}
		if heard {
			wait = retryMax
		}
		w.cfg.Log.Debug("the catalogue's notifications broke off", "err", err)
		if w.server.pause(ctx, wait) != nil {
			return
		}
	}
}

// hear listens on one connection until it breaks; heard says that it worked for a while.
func (w *wire) hear(ctx context.Context) (heard bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, w.base)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{w.channel}.Sanitize()); err != nil {
		return false, fmt.Errorf("listen: %w", err)
	}
	// What was said while nobody listened.
	signal(w.server.enqueued)
	w.shout()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return true, err
		}
		if n.Payload == wordNew {
			signal(w.server.enqueued)
		} else {
			w.shout()
		}
	}
}

// shout wakes those who wait for rows to be appended.
func (w *wire) shout() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.heard)
	w.heard = make(chan struct{})
}

// changedRows returns a channel that is closed when rows may have been appended; nil in a catalogue of one process.
func (s *server) changedRows() <-chan struct{} {
	if s.wire == nil {
		return nil
	}
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	return s.wire.heard
}

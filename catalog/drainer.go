package catalog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"
)

// drainer empties the outbox of one server.
type drainer struct {
	outbox *Outbox
	server *server
	// lead is the connection that holds the right to drain, of PostgreSQL; nil while another process has it.
	lead *sql.Conn
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

// run is this drainer's part of Outbox.Run.
func (d *drainer) run(ctx context.Context) {
	poll := d.outbox.cfg.Clock.NewTicker(outboxPoll)
	defer poll.Stop()
	defer d.resign()
	for {
		mine, err := d.mayDrain(ctx)
		more := false
		if mine {
			more, err = d.drain(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			d.outbox.cfg.Log.Error("outbox", "err", err)
		} else if more {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-d.server.enqueued:
		case <-poll.C():
		}
	}
}

// mayDrain reports whether this process drains the server, and applies for it if nobody does. The right is an advisory
// lock of PostgreSQL on a connection that is held: when its process dies, or the line to it, the server gives it to the next
// who asks, within outboxPoll.
//
// It saves work and keeps nothing right. Two that drain at a time, because one does not know yet that it has lost its
// connection, append no entry twice (the log knows its id) and in no other order than one alone: each appends in the order
// of the rows it sees, and whoever sees a row also sees every row that was committed before that one's transaction began.
func (d *drainer) mayDrain(ctx context.Context) (bool, error) {
	if d.server.lease == nil {
		return true, nil
	}
	ctx, cancel := d.server.bounded(ctx)
	defer cancel()
	if d.lead != nil {
		if _, err := d.lead.ExecContext(ctx, `SELECT 1`); err == nil {
			return true, nil
		}
		d.resign()
	}
	c, err := d.server.write.Conn(ctx)
	if err != nil {
		return false, err
	}
	var got bool
	if err := c.QueryRowContext(ctx, `SELECT pg_try_advisory_lock(hashtextextended($1, 0))`, "perigee outbox "+d.server.id).Scan(&got); err != nil || !got {
		return false, errors.Join(err, c.Close())
	}
	d.lead = c
	d.outbox.cfg.Log.Debug("this process empties the outbox", "catalogue", d.server.id)
	return true, nil
}

// resign lets another process drain.
func (d *drainer) resign() {
	if d.lead == nil {
		return
	}
	// The connection ends, and the lock with it: back in the pool it would keep it.
	_ = d.lead.Raw(func(any) error { return driver.ErrBadConn })
	_ = d.lead.Close()
	d.lead = nil
}

// drain appends one batch; more says that there may be another one.
func (d *drainer) drain(ctx context.Context) (more bool, err error) {
	rows, err := d.server.pending(ctx, outboxBatch)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	done := 0
	for i := range rows {
		if !d.append(ctx, &rows[i]) {
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
	if err := d.server.recordAppended(rctx, rows[:done]); err != nil {
		return false, err
	}
	return len(rows) == outboxBatch, nil
}

// append gets one row into the log; false means that ctx ended first.
func (d *drainer) append(ctx context.Context, r *Row) bool {
	wait := outboxRetryMin
	for tries := 1; ; tries++ {
		pos, err := d.outbox.cfg.Appender.Append(ctx, r.Entry)
		if err == nil && pos.IsZero() {
			err = errNoPosition
		}
		if err == nil {
			r.Position, r.Appended = pos, d.outbox.cfg.Clock.Now()
			if tries > 1 {
				d.outbox.cfg.Log.Info("the log takes entries again", "entry", r.Entry.ID, "tries", tries)
			}
			d.server.noteAppended(*r)
			d.outbox.publish(r)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if tries == 1 {
			d.outbox.cfg.Log.Warn("the log does not take entries; changes reach the edges when it does", "entry", r.Entry.ID, "err", err)
		}
		t := d.outbox.cfg.Clock.NewTimer(wait)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return false
		}
		wait = min(2*wait, outboxRetryMax)
	}
}

package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"perigee/object"
)

// A move takes a slot from one server to another while both are in use. What it has to do next stands in its row on the home
// server and in the states of the slot on both servers, so that any process can take it on after a crash:
//
//	copying   source: owned -> leaving     changes are noted from here on
//	          target:          coming      rows are copied, then those of units that changed meanwhile
//	          source: leaving -> fenced    nothing more is written; the last changes are copied, and the log takes the slot's
//	                                       last entries from the source's outbox, so that it has them before the target's first
//	          home:   layout, epoch, step  one transaction: the slot is the target's
//	placed    target: coming -> owned      it is written again
//	          source: (no row)             rows are deleted
//	          home:   the move's row is deleted
//	undoing   source: back to owned, target: rows and state deleted, home: the move's row is deleted
//
// Who works on a move has it for a while (moveLease) and renews that. Each run has a higher number than all before, which the
// servers keep beside the state: what a run does that was overtaken is refused. Until the step placed the source has the truth,
// from there on the target has.
type moveStep string

const (
	moveCopying moveStep = "copying"
	movePlaced  moveStep = "placed"
	moveUndoing moveStep = "undoing"
)

const (
	// moveLease is how long a run of a move that gives no sign of life keeps others from taking it on. A crash while the slot is fenced
	// holds up its writers for that long.
	moveLease = 10 * time.Second
	// fenceTime is how long a slot is fenced at most before the move lets writers in again and tries once more later.
	fenceTime = 2 * time.Second
)

// moving is a move while a run works on it.
type moving struct {
	c      *Catalog
	home   *server
	slot   object.Slot
	step   moveStep
	number int64
	from   *member
	to     *member

	source, target *server
	renewed        time.Time

	// stop, set by tests only, is asked between the steps; an error ends the run there, as a crash would.
	stop func(string) error
}

// takeMove begins a run of the move of a slot: nil if there is none, or another process works on it.
func (c *Catalog) takeMove(ctx context.Context, slot object.Slot) (*moving, error) {
	home, err := c.home(ctx)
	if err != nil {
		return nil, err
	}
	v := &moving{c: c, home: home, slot: slot, stop: func(string) error { return nil }}
	now := c.cfg.Clock.Now()
	var from, to string
	err = home.change(ctx, fmt.Sprintf("take the move of slot %d on", slot), func(tx *sql.Tx) error {
		var holder string
		var expires int64
		err := tx.QueryRowContext(ctx, `SELECT source, target, step, holder, expires FROM moves WHERE slot = $1`+home.forUpdate(), slot).
			Scan(&from, &to, &v.step, &holder, &expires)
		if err != nil {
			return err
		}
		if holder != "" && expires > now.UnixMicro() && (holder == home.holder || home.lock == nil) {
			return errOvertaken
		}
		if err := tx.QueryRowContext(ctx, `UPDATE catalogue SET moves = moves + 1 RETURNING moves`).Scan(&v.number); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE moves SET number = $2, holder = $3, expires = $4, tries = tries + 1 WHERE slot = $1`,
			slot, v.number, home.holder, now.Add(moveLease).UnixMicro())
		return err
	})
	if errors.Is(err, sql.ErrNoRows) || errors.Is(err, errOvertaken) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v.renewed = now
	if v.from, err = c.named(from); err != nil {
		return nil, err
	}
	v.to, err = c.named(to)
	return v, err
}

// run does what is left of the move. After an error another run can be begun.
func (v *moving) run(ctx context.Context) (err error) {
	for v.step != "" && err == nil {
		switch v.step {
		case moveCopying:
			err = v.copy(ctx)
		case movePlaced:
			err = v.finish(ctx)
		case moveUndoing:
			err = v.undo(ctx)
		default:
			return fmt.Errorf("move slot %d: step %q is none", v.slot, v.step)
		}
	}
	if err != nil {
		return fmt.Errorf("move slot %d from %s to %s: %w", v.slot, v.from.name, v.to.name, err)
	}
	return nil
}

// servers opens both.
func (v *moving) servers(ctx context.Context) (err error) {
	if v.source, err = v.from.get(ctx); err == nil {
		v.target, err = v.to.get(ctx)
	}
	return err
}

// copy does the step copying.
func (v *moving) copy(ctx context.Context) error {
	if err := v.servers(ctx); err != nil {
		return err
	}
	if err := v.begin(ctx); err != nil {
		return err
	}
	for _, t := range movedTables() {
		if err := errors.Join(v.copyTable(ctx, t), v.stop("copied "+t.name)); err != nil {
			return err
		}
	}
	if err := v.catchUp(ctx, fewChanges); err != nil {
		return err
	}
	if err := v.stop("caught up"); err != nil {
		return err
	}
	if err := v.fenced(ctx); err != nil {
		if errors.Is(err, errStopped) {
			return err
		}
		// Writers are not to wait for the next run.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), fenceTime)
		defer cancel()
		return errors.Join(err, v.set(clean, v.source, slotFenced, slotLeaving))
	}
	// From here on nobody may write to the source again before it is certain whether the layout was changed: a run that
	// takes the move on learns that, since it changes the same row.
	if err := v.place(ctx); err != nil {
		return err
	}
	v.step = movePlaced
	return v.stop("placed")
}

// errStopped is what tests end a run with.
var errStopped = errors.New("stopped")

// begin makes source and target ready: what an earlier run has copied is kept if the source has noted every change since.
func (v *moving) begin(ctx context.Context) error {
	state, err := v.source.slotState(ctx, v.slot)
	if err != nil {
		return err
	}
	have, err := v.target.slotState(ctx, v.slot)
	if err != nil {
		return err
	}
	if have != "" && have != slotComing {
		return fmt.Errorf("server %s says that it has the slot already (%s)", v.to.name, have)
	}
	if state == slotOwned || have == "" {
		if err := v.arrive(ctx); err != nil {
			return err
		}
		if err := v.target.removeRows(ctx, v.slot, v.number); err != nil {
			return err
		}
	} else if err := v.arrive(ctx); err != nil {
		return err
	}
	if err := v.stop("target ready"); err != nil {
		return err
	}
	return v.source.change(ctx, "begin a move", func(tx *sql.Tx) error {
		if state == slotOwned {
			if _, err := tx.ExecContext(ctx, `DELETE FROM changed WHERE slot = $1`, v.slot); err != nil {
				return err
			}
		}
		res, err := tx.ExecContext(ctx, `UPDATE slots SET state = $2, move = $3 WHERE slot = $1 AND move < $3 AND state IN ('owned', 'leaving', 'fenced')`,
			v.slot, slotLeaving, v.number)
		if err := one(res, err); err != nil {
			return err
		}
		return raiseStamp(ctx, tx)
	})
}

// arrive makes the slot come to the target, by this run.
func (v *moving) arrive(ctx context.Context) error {
	return v.target.change(ctx, "expect a slot", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO slots (slot, state, move) VALUES ($1, $2, $3)
			ON CONFLICT (slot) DO UPDATE SET move = excluded.move WHERE slots.state = $2 AND slots.move < $3`, v.slot, slotComing, v.number)
		if err := one(res, err); err != nil {
			return err
		}
		return raiseStamp(ctx, tx)
	})
}

// fenced does what is done while nobody writes, before the slot is the target's.
func (v *moving) fenced(ctx context.Context) error {
	if err := v.set(ctx, v.source, slotLeaving, slotFenced); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fenceTime)
	defer cancel()
	if err := v.stop("fenced"); err != nil {
		return err
	}
	if err := v.catchUp(ctx, 0); err != nil {
		return err
	}
	if err := v.drained(ctx); err != nil {
		return err
	}
	if err := v.stop("drained"); err != nil {
		return err
	}
	if err := v.compare(ctx); err != nil {
		return errors.Join(err, v.set(ctx, v.source, slotFenced, slotOwned))
	}
	return nil
}

const drainedQuery = `SELECT COUNT(*) FROM outbox WHERE position = '' AND slot = $1`

// drained waits until the log has every entry of the slot that the source has in its outbox.
func (v *moving) drained(ctx context.Context) error {
	for {
		var n int64
		err := v.source.newest().QueryRowContext(ctx, drainedQuery, v.slot).Scan(&n)
		if err != nil || n == 0 {
			return err
		}
		t := v.c.cfg.Clock.NewTimer(movePoll)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("the log has not taken the last %d entries of the slot yet: %w", n, ctx.Err())
		}
	}
}

// place makes the slot the target's: this one transaction is where a move takes effect.
func (v *moving) place(ctx context.Context) error {
	return v.home.change(ctx, "change the layout", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE moves SET step = $3 WHERE slot = $1 AND number = $2 AND step = 'copying'`, v.slot, v.number, movePlaced)
		if err := one(res, err); err != nil {
			return err
		}
		res, err = tx.ExecContext(ctx, `UPDATE layout SET server = $2 WHERE slot = $1 AND server = $3`, v.slot, v.to.name, v.from.name)
		if err := one(res, err); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE catalogue SET epoch = epoch + 1`)
		return err
	})
}

// finish does the step placed. The target does not wait for a source that does not answer.
func (v *moving) finish(ctx context.Context) (err error) {
	if v.target, err = v.to.get(ctx); err != nil {
		return err
	}
	err = v.target.change(ctx, "own a slot", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE slots SET state = $2 WHERE slot = $1 AND state = 'coming' AND move <= $3`, v.slot, slotOwned, v.number); err != nil {
			return err
		}
		return raiseStamp(ctx, tx)
	})
	if err != nil {
		return err
	}
	if err := v.c.relearn(ctx); err != nil {
		return err
	}
	if err := v.stop("owned"); err != nil {
		return err
	}
	if v.source, err = v.from.get(ctx); err != nil {
		return err
	}
	if err := v.leave(ctx, v.source, slotFenced); err != nil {
		return err
	}
	if err := v.stop("left"); err != nil {
		return err
	}
	if err := v.source.removeRows(ctx, v.slot, v.number); err != nil {
		return err
	}
	if err := v.stop("removed"); err != nil {
		return err
	}
	return v.end(ctx)
}

// undo does the step undoing.
func (v *moving) undo(ctx context.Context) error {
	if err := v.servers(ctx); err != nil {
		return err
	}
	err := v.source.change(ctx, "keep a slot", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE slots SET state = $2, move = $3 WHERE slot = $1 AND move < $3 AND state IN ('leaving', 'fenced')`,
			v.slot, slotOwned, v.number); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM changed WHERE slot = $1`, v.slot); err != nil {
			return err
		}
		return raiseStamp(ctx, tx)
	})
	if err != nil {
		return err
	}
	if err := v.leave(ctx, v.target, slotComing); err != nil {
		return err
	}
	if err := v.target.removeRows(ctx, v.slot, v.number); err != nil {
		return err
	}
	return v.end(ctx)
}

// leave ends what a server has to do with the slot, in that state; its rows are deleted later.
func (v *moving) leave(ctx context.Context, s *server, state slotState) error {
	return s.change(ctx, "leave a slot", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM slots WHERE slot = $1 AND state = $2 AND move <= $3`, v.slot, state, v.number); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM changed WHERE slot = $1`, v.slot); err != nil {
			return err
		}
		return raiseStamp(ctx, tx)
	})
}

// end forgets the move.
func (v *moving) end(ctx context.Context) error {
	v.step = ""
	return v.home.change(ctx, "end a move", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM moves WHERE slot = $1 AND number = $2`, v.slot, v.number)
		return one(res, err)
	})
}

// set changes the state of the slot on a server, if this run of the move set it last.
func (v *moving) set(ctx context.Context, s *server, from, to slotState) error {
	return s.change(ctx, "make a slot "+string(to), func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE slots SET state = $2 WHERE slot = $1 AND state = $3 AND move = $4`, v.slot, to, from, v.number)
		if err := one(res, err); err != nil {
			return err
		}
		return raiseStamp(ctx, tx)
	})
}

// progress notes rows that were copied, and keeps the move.
func (v *moving) progress(ctx context.Context, rows int64) error {
	now := v.c.cfg.Clock.Now()
	if rows == 0 && now.Sub(v.renewed) < moveLease/5 {
		return nil
	}
	v.renewed = now
	return v.home.change(ctx, "note the progress of a move", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE moves SET copied = copied + $3, expires = $4 WHERE slot = $1 AND number = $2`,
			v.slot, v.number, rows, now.Add(moveLease).UnixMicro())
		return one(res, err)
	})
}

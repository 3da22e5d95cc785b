package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"perigee/clock"
	"perigee/object"
)

// at returns the server that has a slot by the layout as it is known here.
func (c *Catalog) at(slot object.Slot) *member { return c.members[c.layout.Load().server[slot]] }

// How long a request waits for a move to end, and how often it looks.
const (
	moveWait = 30 * time.Second
	movePoll = 10 * time.Millisecond
)

// moved waits until it is worth trying again what m has refused; nil says that it is. With now it does not wait: false says
// that the layout still names m.
func (c *Catalog) moved(ctx context.Context, slot object.Slot, m *member) (bool, error) {
	if err := c.relearn(ctx); err != nil {
		return false, err
	}
	return c.at(slot) != m, nil
}

// again waits a little before a request is sent once more; the error is ErrBusy when deadline has passed.
func (c *Catalog) again(ctx context.Context, deadline time.Time, why error) error {
	if !c.cfg.Clock.Now().Before(deadline) {
		return fmt.Errorf("%w: %w", ErrBusy, why)
	}
	return clock.Sleep(ctx, c.cfg.Clock, movePoll)
}

// write has f done by the server of the slot, for as long as wait allows while a move is about to end.
func (c *Catalog) write(ctx context.Context, slot object.Slot, wait time.Duration, f func(*server) error) error {
	deadline := c.cfg.Clock.Now().Add(wait)
	for {
		m := c.at(slot)
		s, err := m.get(ctx)
		if err != nil {
			return err
		}
		err = f(s)
		if !errors.Is(err, errElsewhere) && !errors.Is(err, errFenced) {
			return m.fault(err)
		}
		moved, lerr := c.moved(ctx, slot, m)
		if lerr != nil {
			return lerr
		}
		if moved {
			continue
		}
		if err := c.again(ctx, deadline, err); err != nil {
			return err
		}
	}
}

// read has f answered by the server of the slot.
func read[T any](ctx context.Context, c *Catalog, slot object.Slot, f func(*server) (T, slotState, error)) (T, error) {
	var none T
	deadline := c.cfg.Clock.Now().Add(c.cfg.BusyWait)
	for {
		m := c.at(slot)
		s, err := m.get(ctx)
		if err != nil {
			return none, err
		}
		v, state, err := f(s)
		elsewhere := errors.Is(err, errElsewhere)
		if !elsewhere && state != slotFenced {
			return v, m.fault(err)
		}
		moved, lerr := c.moved(ctx, slot, m)
		switch {
		case lerr != nil:
			return none, lerr
		case moved:
			continue
		case !elsewhere:
			// It is fenced, and the move had not ended after the answer was given.
			return v, m.fault(err)
		}
		if err := c.again(ctx, deadline, err); err != nil {
			return none, err
		}
	}
}

// part is what one server answered.
type part[T any] struct {
	rows []T
	has  *possession // nil if the question was not about slots
	err  error
}

// ask asks every server at once.
func ask[T any](ctx context.Context, c *Catalog, f func(*server) ([]T, *possession, error)) []part[T] {
	parts := make([]part[T], len(c.members))
	one := func(i int, m *member) {
		s, err := m.get(ctx)
		if err == nil {
			parts[i].rows, parts[i].has, err = f(s)
		}
		parts[i].err = m.fault(err)
	}
	if len(parts) == 1 {
		one(0, c.members[0])
		return parts
	}
	var all sync.WaitGroup
	for i, m := range c.members {
		all.Go(func() { one(i, m) })
	}
	all.Wait()
	return parts
}

// merge asks every server for its first limit rows and returns the first limit of all. Each slot is taken from one server, and
// none is left out: if one server gave a slot away after another was asked that got it, they are asked again. When servers do
// not answer, the rows of the others come with a PartialError.
func merge[T any](ctx context.Context, c *Catalog, limit int, slotOf func(T) object.Slot, order func(a, b T) int, f func(*server) ([]T, *possession, error)) ([]T, error) {
	deadline := c.cfg.Clock.Now().Add(c.cfg.BusyWait)
	for {
		parts := ask(ctx, c, f)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i := range parts {
			if err := parts[i].err; err != nil && !errors.Is(err, ErrUnavailable) {
				return nil, err
			}
		}
		lost, whole := c.lost(answers(parts))
		if !whole {
			if err := c.relearn(ctx); err != nil {
				return nil, err
			}
			if err := c.again(ctx, deadline, errElsewhere); err != nil {
				return nil, err
			}
			continue
		}
		rows := joined(parts, slotOf)
		slices.SortStableFunc(rows, order)
		rows = rows[:min(limit, len(rows))]
		if lost != nil {
			return rows, lost
		}
		return rows, nil
	}
}

// answer is a part without its rows.
type answer struct {
	has *possession
	err error
}

func answers[T any](parts []part[T]) []answer {
	out := make([]answer, len(parts))
	for i, p := range parts {
		out[i] = answer{p.has, p.err}
	}
	return out
}

// lost returns what is missing because servers did not answer, nil if nothing is. whole is false when a slot is in no answer
// that should be in one.
func (c *Catalog) lost(as []answer) (lost *PartialError, whole bool) {
	l := c.layout.Load()
	missing := make([]int, len(as))
	for slot, m := range l.server {
		found := slices.ContainsFunc(as, func(a answer) bool { return a.err == nil && a.has.read.has(object.Slot(slot)) })
		if found {
			continue
		}
		if as[m].err == nil {
			return nil, false
		}
		missing[m]++
	}
	for i, a := range as {
		if a.err != nil && missing[i] > 0 {
			if lost == nil {
				lost = &PartialError{}
			}
			lost.Missing = append(lost.Missing, Missing{c.members[i].name, missing[i]})
			lost.Err = errors.Join(lost.Err, a.err)
		}
	}
	return lost, true
}

// joined puts the rows of all parts together. Of a slot that two have, those of the one are left out that may have given it
// away.
func joined[T any](parts []part[T], slotOf func(T) object.Slot) []T {
	if len(parts) == 1 {
		return parts[0].rows
	}
	var out []T
	for i := range parts {
		for _, v := range parts[i].rows {
			slot := slotOf(v)
			if parts[i].has.fenced.has(slot) && slices.ContainsFunc(parts, func(p part[T]) bool {
				return p.err == nil && p.has.read.has(slot) && !p.has.fenced.has(slot)
			}) {
				continue
			}
			out = append(out, v)
		}
	}
	return out
}

// gather asks every server for up to limit rows, in no order, and returns up to limit of them. An error comes with the rows of
// the servers that answered.
func gather[T any](ctx context.Context, c *Catalog, limit int, f func(*server) ([]T, error)) ([]T, error) {
	var out []T
	var errs []error
	for _, p := range ask(ctx, c, func(s *server) ([]T, *possession, error) {
		rows, err := f(s)
		return rows, nil, err
	}) {
		out = append(out, p.rows...)
		errs = append(errs, p.err)
	}
	return out[:min(limit, len(out))], errors.Join(errs...)
}

func byPath(a, b File) int { return cmp.Compare(a.Pointer.Path, b.Pointer.Path) }

func newestFirst(a, b File) int { return cmp.Compare(b.Pointer.Version, a.Pointer.Version) }

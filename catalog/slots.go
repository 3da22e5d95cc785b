package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"perigee/object"
)

// slotState is what a server may do with a slot. Each server keeps the states of its slots itself and looks at them in every
// transaction, so that a request which was sent to it by an old layout is refused and not answered from rows that nobody keeps
// up to date.
//
//	(no row)   the slot is elsewhere
//	coming     a move copies its rows here; nobody reads or writes them
//	owned      they are read and written here
//	leaving    as owned, and what is changed is noted for the move that copies them away
//	fenced     as owned, but nothing is written any more: the move is about to end
type slotState string

const (
	slotComing  slotState = "coming"
	slotOwned   slotState = "owned"
	slotLeaving slotState = "leaving"
	slotFenced  slotState = "fenced"
)

// Why a server does not do what it was asked for. Catalog looks at the layout again, and tries again.
var (
	errElsewhere = errors.New("its slot is on another server")
	errFenced    = errors.New("its slot is being moved to another server")
)

// unit is a set of rows that move together and are changed together: all about a path, an upload or a blob. Every table
// with a column slot belongs to one kind of unit; see movedTables.
type unit struct {
	slot object.Slot
	kind unitKind
	// a and b are the values of the columns that name the unit: site and path, or an id and nothing.
	a, b string
}

type unitKind string

const (
	pathUnit   unitKind = "path"
	uploadUnit unitKind = "upload"
	blobUnit   unitKind = "blob"
)

func unitOfPath(s object.Site, p object.Path) unit {
	return unit{object.SlotOf(s, p), pathUnit, string(s), string(p)}
}

func unitOfUpload(id object.UploadID) unit { return unit{id.Slot(), uploadUnit, string(id), ""} }

func unitOfHash(h object.Hash) unit { return unit{object.SlotOfHash(h), blobUnit, h.String(), ""} }

// changeIn is change for rows that belong to units of one slot, of which f may change all: it is refused with errElsewhere or
// errFenced when the slot is not this server's to write.
func (s *server) changeIn(ctx context.Context, what string, units []unit, f func(*sql.Tx) error) error {
	return s.tryIn(ctx, what, units, false, func(tx *sql.Tx, _ bool) error { return f(tx) })
}

// changeInAgain is changeIn for an f that may be done again after it was done, as with changeAgain.
func (s *server) changeInAgain(ctx context.Context, what string, units []unit, f func(tx *sql.Tx, again bool) error) error {
	return s.tryIn(ctx, what, units, true, f)
}

func (s *server) tryIn(ctx context.Context, what string, units []unit, repeatable bool, f func(*sql.Tx, bool) error) error {
	return s.try(ctx, what, repeatable, func(tx *sql.Tx, again bool) error {
		var state slotState
		err := tx.QueryRowContext(ctx, `SELECT state FROM slots WHERE slot = $1`+s.forShare(), units[0].slot).Scan(&state)
		switch {
		case errors.Is(err, sql.ErrNoRows) || state == slotComing:
			return errElsewhere
		case err != nil:
			return err
		case state == slotFenced:
			return errFenced
		case state == slotLeaving:
			if err := s.noteChange(ctx, tx, units); err != nil {
				return err
			}
		}
		return f(tx, again)
	})
}

// noteChange tells the move of a slot that units of it have changed since they were copied.
func (s *server) noteChange(ctx context.Context, tx *sql.Tx, units []unit) error {
	for _, u := range units {
		if _, err := tx.ExecContext(ctx,
			`INSERT INTO changed (slot, kind, a, b, times) VALUES ($1, $2, $3, $4, 1)
			ON CONFLICT (slot, kind, a, b) DO UPDATE SET times = changed.times + 1`,
			u.slot, u.kind, u.a, u.b); err != nil {
			return fmt.Errorf("note a change for the move of its slot: %w", err)
		}
	}
	return nil
}

// readable returns nil if rows of a slot in that state are to be read here; a state of "" is that of no row.
func (state slotState) readable() error {
	if state == "" || state == slotComing {
		return errElsewhere
	}
	return nil
}

// slotState returns the state of a slot on the server, "" if it has none.
func (s *server) slotState(ctx context.Context, slot object.Slot) (state slotState, err error) {
	err = s.newest().QueryRowContext(ctx, `SELECT state FROM slots WHERE slot = $1`, slot).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return state, err
}

// slotSet is a set of slots.
type slotSet [object.Slots / 64]uint64

func (m *slotSet) add(s object.Slot)      { m[s/64] |= 1 << (s % 64) }
func (m *slotSet) has(s object.Slot) bool { return m[s/64]&(1<<(s%64)) != 0 }

// possession is which slots a server has, as of one moment.
type possession struct {
	read   slotSet // all that may be read
	fenced slotSet // those of them that may be on another server by now
}

// possessionNow reads which slots the server has, by q.
func possessionNow(ctx context.Context, q querier) (*possession, error) {
	rows, err := q.QueryContext(ctx, `SELECT slot, state FROM slots`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	p := &possession{}
	for rows.Next() {
		var slot int64
		var state slotState
		if err := rows.Scan(&slot, &state); err != nil {
			return nil, err
		}
		if slot < 0 || slot >= object.Slots {
			return nil, fmt.Errorf("slot %d is none", slot)
		}
		if state.readable() == nil {
			p.read.add(object.Slot(slot))
		}
		if state == slotFenced {
			p.fenced.add(object.Slot(slot))
		}
	}
	return p, rows.Err()
}

// view runs f on one snapshot of the database, as db has it, and returns which slots the server had in it.
func (s *server) view(ctx context.Context, db database, f func(querier, *possession) error) (*possession, error) {
	tx, err := db.BeginTx(ctx, s.snapshot())
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // it has changed nothing
	var stamp int64
	if err := tx.QueryRowContext(ctx, `SELECT stamp FROM catalogue`).Scan(&stamp); err != nil {
		return nil, err
	}
	p := s.possessionAt(stamp)
	if p == nil {
		if p, err = possessionNow(ctx, tx); err != nil {
			return nil, err
		}
		s.rememberPossession(stamp, p)
	}
	return p, f(tx, p)
}

// possessionAt returns what the server had at a stamp, if that is remembered.
func (s *server) possessionAt(stamp int64) *possession {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.had != nil && s.hadStamp == stamp {
		return s.had
	}
	return nil
}

func (s *server) rememberPossession(stamp int64, p *possession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.had, s.hadStamp = p, stamp
}

// ownedRows reads rows of one slot, $1 of the query, together with its state, in one statement: so an answer is of a moment at
// which the slot was this server's. The query joins the row of the slot with those asked for; its first two columns are the
// state and the slot of the row, NULL where there is no such row; scan gets the others. Where the slot is elsewhere the error
// is errElsewhere; where the state is fenced it may be by now, and only the layout knows.
func ownedRows[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) ([]T, slotState, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, "", err
	}
	var state slotState
	var out []T
	for rows.Next() {
		var there any
		all := []any{&state, &there}
		for range len(columns) - 2 {
			all = append(all, new(any))
		}
		if err := rows.Scan(all...); err != nil {
			return nil, state, err
		}
		if there == nil || state.readable() != nil {
			continue
		}
		v, err := scan(columnsFrom{rows, 2, len(columns)})
		if err != nil {
			return nil, state, err
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, state, err
	}
	return out, state, state.readable()
}

// columnsFrom scans the columns of a row from the one numbered skip on.
type columnsFrom struct {
	rows      *sql.Rows
	skip, all int
}

// Scan implements scanner.
func (c columnsFrom) Scan(dest ...any) error {
	all := make([]any, 0, c.all)
	for range c.skip {
		all = append(all, new(any))
	}
	return c.rows.Scan(append(all, dest...)...)
}

// owned reads up to limit rows of any slots that the server has, in the order of next, and which slots those are. next returns
// up to limit further rows, behind the last ones it returned: as long as a move copies rows here, or has not yet deleted what
// it copied away, some of them are not this server's.
func owned[T any](ctx context.Context, s *server, limit int, slotOf func(T) object.Slot, next func(context.Context, querier, []T) ([]T, error)) ([]T, *possession, error) {
	var out []T
	p, err := look(ctx, s, func(ctx context.Context, db database) (*possession, error) {
		out = nil
		return s.view(ctx, db, func(q querier, p *possession) error {
			var last []T
			for {
				var err error
				if last, err = next(ctx, q, last); err != nil {
					return err
				}
				for _, v := range last {
					if len(out) < limit && p.read.has(slotOf(v)) {
						out = append(out, v)
					}
				}
				if len(out) == limit || len(last) < limit {
					return nil
				}
			}
		})
	})
	if err != nil {
		return nil, nil, err
	}
	return out, p, nil
}

// inSlot is what was read of one slot.
type inSlot[T any] struct {
	rows  []T
	state slotState
}

// rowsIn asks for the rows of one slot, see ownedRows; ask is look or fromPrimary. That there is none is fs.ErrNotExist.
func rowsIn[T any](ctx context.Context, s *server, ask asker[T], scan func(scanner) (T, error), query string, args ...any) ([]T, slotState, error) {
	var state slotState
	v, err := ask(ctx, s, func(ctx context.Context, db database) (inSlot[T], error) {
		rows, st, err := ownedRows(ctx, db, scan, query, args...)
		if state = st; err == nil && len(rows) == 0 {
			err = fs.ErrNotExist
		}
		return inSlot[T]{rows, st}, err
	})
	return v.rows, state, err
}

// asker is look or fromPrimary, of rows of a slot.
type asker[T any] func(context.Context, *server, func(context.Context, database) (inSlot[T], error)) (inSlot[T], error)

// rowIn is rowsIn of one row.
func rowIn[T any](ctx context.Context, s *server, ask asker[T], scan func(scanner) (T, error), query string, args ...any) (T, slotState, error) {
	rows, state, err := rowsIn(ctx, s, ask, scan, query, args...)
	if err != nil {
		var none T
		return none, state, err
	}
	return rows[0], state, nil
}

package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"perigee/object"
)

// layout says which server has which slot. It is kept on the home server and rises in epoch with every move that ends. A copy
// of it may be old: then the server that is asked refuses, and the layout is read again.
type layout struct {
	epoch  int64
	server [object.Slots]uint16 // index in Catalog.members
}

// count returns how many slots each server has.
func (l *layout) count(members int) []int {
	n := make([]int, members)
	for _, m := range l.server {
		n[m]++
	}
	return n
}

const layoutQuery = `SELECT layout.slot, layout.server, catalogue.epoch FROM layout CROSS JOIN catalogue`

// loadLayout reads the layout; nil if there is none yet.
func (c *Catalog) loadLayout(ctx context.Context, q querier) (*layout, error) {
	rows, err := q.QueryContext(ctx, layoutQuery)
	if err != nil {
		return nil, fmt.Errorf("read the layout: %w", err)
	}
	defer rows.Close()
	l, n := &layout{}, 0
	for ; rows.Next(); n++ {
		var slot int
		var name string
		if err := rows.Scan(&slot, &name, &l.epoch); err != nil {
			return nil, fmt.Errorf("read the layout: %w", err)
		}
		m := slices.IndexFunc(c.members, func(m *member) bool { return m.name == name })
		if m < 0 {
			return nil, fmt.Errorf("server %q has rows of the catalogue, but the configuration does not name it: add it, or move its rows away while it is there", name)
		}
		if slot < 0 || slot >= object.Slots {
			return nil, fmt.Errorf("read the layout: slot %d is none", slot)
		}
		l.server[slot] = uint16(m)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the layout: %w", err)
	}
	if n != 0 && n != object.Slots {
		return nil, fmt.Errorf("read the layout: it has %d slots of %d", n, object.Slots)
	}
	if n == 0 {
		return nil, nil
	}
	return l, nil
}

// relearn makes the layout at least as new as the home server's was when it was called.
func (c *Catalog) relearn(ctx context.Context) error {
	home, err := c.home(ctx)
	if err != nil {
		return err
	}
	var epoch int64
	if err := home.newest().QueryRowContext(ctx, `SELECT epoch FROM catalogue`).Scan(&epoch); err != nil {
		return c.members[0].fault(err)
	}
	if have := c.layout.Load(); have != nil && have.epoch == epoch {
		return nil
	}
	l, err := c.loadLayout(ctx, home.newest())
	if err != nil {
		return c.members[0].fault(err)
	}
	for {
		have := c.layout.Load()
		if l == nil || have != nil && have.epoch >= l.epoch || c.layout.CompareAndSwap(have, l) {
			return nil
		}
	}
}

// found makes the first layout, unless there is one: the slots are dealt out evenly, in runs, over all servers.
func (c *Catalog) found(ctx context.Context, home *server) error {
	return home.change(ctx, "make the layout", func(tx *sql.Tx) error {
		l, err := c.loadLayout(ctx, tx)
		if err != nil || l != nil {
			return err
		}
		rows := make([][]any, object.Slots)
		for slot := range rows {
			rows[slot] = []any{slot, c.members[slot*len(c.members)/object.Slots].name}
		}
		if err := insertAll(ctx, tx, `INSERT INTO layout (slot, server) VALUES `, rows); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE catalogue SET epoch = 1`)
		return err
	})
}

// identify reads the ids of the servers, those included that do not answer.
func (c *Catalog) identify(ctx context.Context, home *server) error {
	rows, err := home.newest().QueryContext(ctx, `SELECT name, id FROM servers`)
	if err != nil {
		return fmt.Errorf("read the servers: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, id string
		if err := rows.Scan(&name, &id); err != nil {
			return fmt.Errorf("read the servers: %w", err)
		}
		for _, m := range c.members {
			if m.name == name {
				m.mu.Lock()
				m.id = id
				m.mu.Unlock()
			}
		}
	}
	return rows.Err()
}

// errStranger says that a database is not the one that the catalogue knows by its name.
var errStranger = errors.New("it is another database than the catalogue has under this name; was it restored, or made anew?")

// register makes a server known to the home server, and gives it its slots if it never had any.
func (c *Catalog) register(ctx context.Context, home *server, m *member, s *server) error {
	err := home.change(ctx, "register", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO servers (name, id) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, m.name, s.id); err != nil {
			return err
		}
		var id string
		if err := tx.QueryRowContext(ctx, `SELECT id FROM servers WHERE name = $1`, m.name).Scan(&id); err != nil {
			return err
		}
		if id != s.id {
			return errStranger
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.settleSlots(ctx, c.layout.Load(), m.index)
}

// settleSlots gives a server that never had a slot those that the layout gives it.
func (s *server) settleSlots(ctx context.Context, l *layout, index int) error {
	return s.change(ctx, "take over the first slots", func(tx *sql.Tx) error {
		var stamp int64
		if err := tx.QueryRowContext(ctx, `SELECT stamp FROM catalogue`).Scan(&stamp); err != nil || stamp > 0 {
			return err
		}
		var rows [][]any
		for slot, m := range l.server {
			if int(m) == index {
				rows = append(rows, []any{slot, slotOwned, 0})
			}
		}
		if err := insertAll(ctx, tx, `INSERT INTO slots (slot, state, move) VALUES `, rows); err != nil {
			return err
		}
		return raiseStamp(ctx, tx)
	})
}

// insertAll inserts rows, many with each statement, and not more: SQLite looks each parameter up among all before it.
func insertAll(ctx context.Context, tx *sql.Tx, into string, rows [][]any) error {
	for some := range slices.Chunk(rows, 32) {
		var text strings.Builder
		var args []any
		for i, row := range some {
			if i > 0 {
				text.WriteString(", ")
			}
			text.WriteString("(")
			for j, v := range row {
				args = append(args, v)
				if j > 0 {
					text.WriteString(", ")
				}
				fmt.Fprintf(&text, "$%d", len(args))
			}
			text.WriteString(")")
		}
		if _, err := tx.ExecContext(ctx, into+text.String(), args...); err != nil {
			return err
		}
	}
	return nil
}

// raiseStamp is the last statement of a transaction that changed which slots the server has.
func raiseStamp(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `UPDATE catalogue SET stamp = stamp + 1`)
	return err
}

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

// movedTable is a table whose rows belong to slots and move with them.
type movedTable struct {
	name string
	kind unitKind
	// unit are the columns that name the unit of a row, key those that name the row within its slot, in the order of an index.
	unit, key []string
}

// movedTables are all tables that have rows of slots, but for the outbox, whose rows stay where they were made.
func movedTables() []movedTable {
	path := []string{"site", "path"}
	return []movedTable{
		{"files", pathUnit, path, path},
		{"versions", pathUnit, path, []string{"site", "path", "version"}},
		{"reservations", pathUnit, path, path},
		{"removals", pathUnit, path, []string{"site", "path", "version"}},
		{"uploads", uploadUnit, []string{"id"}, []string{"id"}},
		{"blobs", blobUnit, []string{"hash"}, []string{"hash", "blob"}},
		{"refs", blobUnit, []string{"hash"}, []string{"hash", "site", "path", "version", "blob"}},
		{"claims", blobUnit, []string{"hash"}, []string{"hash", "holder"}},
	}
}

const (
	// copyBatch is how many rows, or changed units, go over in one transaction.
	copyBatch = 500
	// fewChanges is how many changed units may be left when a slot is fenced.
	fewChanges = 50
)

// errOvertaken says that another run has taken the move on.
var errOvertaken = errors.New("the move was taken over")

// one says that a statement had to change one row, else another run has taken the move on.
func one(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return errOvertaken
}

// rowsOf reads whole rows, with the names of their columns.
func rowsOf(ctx context.Context, q querier, query string, args ...any) (columns []string, out [][]any, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	if columns, err = rows.Columns(); err != nil {
		return nil, nil, err
	}
	for rows.Next() {
		row := make([]any, len(columns))
		dest := make([]any, len(columns))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, nil, err
		}
		out = append(out, row)
	}
	return columns, out, rows.Err()
}

// insertRows writes whole rows; those whose key is there already are left alone.
func insertRows(ctx context.Context, tx *sql.Tx, table string, columns []string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	marks := make([]string, len(columns))
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	st, err := tx.PrepareContext(ctx, `INSERT INTO `+table+` (`+strings.Join(columns, ", ")+`) VALUES (`+strings.Join(marks, ", ")+`) ON CONFLICT DO NOTHING`)
	if err != nil {
		return err
	}
	defer st.Close()
	for _, r := range rows {
		if _, err := st.ExecContext(ctx, r...); err != nil {
			return err
		}
	}
	return nil
}

// into runs f in a transaction of the target, if the slot is still coming there by this run of the move.
func (v *moving) into(ctx context.Context, f func(*sql.Tx) error) error {
	return v.target.change(ctx, "copy slot", func(tx *sql.Tx) error {
		var n int64
		err := tx.QueryRowContext(ctx, `SELECT move FROM slots WHERE slot = $1 AND state = $2`+v.target.forShare(), v.slot, slotComing).Scan(&n)
		if errors.Is(err, sql.ErrNoRows) || err == nil && n != v.number {
			return errOvertaken
		}
		if err != nil {
			return err
		}
		return f(tx)
	})
}

// pageQuery reads the next rows of a slot behind those with the key given by last, in the order of the key: $1 is the slot.
func (t movedTable) pageQuery(last int) string {
	q := `SELECT * FROM ` + t.name + ` WHERE slot = $1`
	if last > 0 {
		marks := make([]string, last)
		for i := range marks {
			marks[i] = fmt.Sprintf("$%d", i+2)
		}
		q += ` AND (` + strings.Join(t.key, ", ") + `) > (` + strings.Join(marks, ", ") + `)`
	}
	return q + ` ORDER BY slot, ` + strings.Join(t.key, ", ") + fmt.Sprintf(` LIMIT %d`, copyBatch)
}

// copyTable copies all rows that the slot has in a table. While it does, rows change; what has changed since is copied once
// more by catchUp.
func (v *moving) copyTable(ctx context.Context, t movedTable) error {
	var last []any
	for {
		columns, rows, err := rowsOf(ctx, v.source.newest(), t.pageQuery(len(last)), append([]any{v.slot}, last...)...)
		if err != nil {
			return err
		}
		if err := v.into(ctx, func(tx *sql.Tx) error { return insertRows(ctx, tx, t.name, columns, rows) }); err != nil {
			return err
		}
		if err := v.progress(ctx, int64(len(rows))); err != nil {
			return err
		}
		if len(rows) < copyBatch {
			return nil
		}
		last = last[:0]
		for _, k := range t.key {
			last = append(last, rows[len(rows)-1][slices.Index(columns, k)])
		}
	}
}

// change is a unit that changed, and how often.
type change struct {
	unit
	times int64
}

const changedQuery = `SELECT kind, a, b, times FROM changed WHERE slot = $1 LIMIT $2`

// catchUp copies units that changed since they were copied, until at most enough are left.
func (v *moving) catchUp(ctx context.Context, enough int) error {
	for {
		changes, err := collect(ctx, v.source.newest(), func(s scanner) (change, error) {
			c := change{unit: unit{slot: v.slot}}
			err := s.Scan(&c.kind, &c.a, &c.b, &c.times)
			return c, err
		}, changedQuery, v.slot, copyBatch)
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			return nil
		}
		for _, c := range changes {
			if err := v.copyUnit(ctx, c); err != nil {
				return err
			}
		}
		if err := v.progress(ctx, 0); err != nil {
			return err
		}
		if len(changes) <= enough {
			return nil
		}
	}
}

// copyUnit makes a unit at the target what it is at the source, and forgets that it had changed, unless it has again.
func (v *moving) copyUnit(ctx context.Context, c change) error {
	type table struct {
		columns []string
		rows    [][]any
	}
	names := []any{c.a, c.b}
	found := map[string]table{}
	if _, err := v.source.view(ctx, v.source.newest(), func(q querier, _ *possession) error {
		for _, t := range movedTables() {
			if t.kind != c.kind {
				continue
			}
			columns, rows, err := rowsOf(ctx, q, `SELECT * FROM `+t.name+t.ofUnit(), append([]any{v.slot}, names[:len(t.unit)]...)...)
			if err != nil {
				return err
			}
			found[t.name] = table{columns, rows}
		}
		return nil
	}); err != nil {
		return err
	}
	err := v.into(ctx, func(tx *sql.Tx) error {
		for _, t := range movedTables() {
			if t.kind != c.kind {
				continue
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+t.name+t.ofUnit(), append([]any{v.slot}, names[:len(t.unit)]...)...); err != nil {
				return err
			}
			if err := insertRows(ctx, tx, t.name, found[t.name].columns, found[t.name].rows); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.source.change(ctx, "note a copy", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM changed WHERE slot = $1 AND kind = $2 AND a = $3 AND b = $4 AND times = $5`, v.slot, c.kind, c.a, c.b, c.times)
		return err
	})
}

// ofUnit is the condition that a row is of a unit: $1 is the slot.
func (t movedTable) ofUnit() string {
	q := ` WHERE slot = $1`
	for i, c := range t.unit {
		q += fmt.Sprintf(` AND %s = $%d`, c, i+2)
	}
	return q
}

// compare makes sure that source and target have as many rows of the slot. The source is fenced.
func (v *moving) compare(ctx context.Context) error {
	for _, t := range movedTables() {
		var n [2]int64
		for i, s := range []*server{v.source, v.target} {
			if err := s.newest().QueryRowContext(ctx, t.countQuery(), v.slot).Scan(&n[i]); err != nil {
				return err
			}
		}
		if n[0] != n[1] {
			return fmt.Errorf("%d rows of %s were copied of %d: the copy is begun anew", n[1], t.name, n[0])
		}
	}
	return nil
}

// countQuery counts the rows of a slot, $1, and removeQuery deletes some of them.
func (t movedTable) countQuery() string { return `SELECT COUNT(*) FROM ` + t.name + ` WHERE slot = $1` }

func (t movedTable) removeQuery() string {
	key := strings.Join(t.key, ", ")
	return `DELETE FROM ` + t.name + ` WHERE slot = $1 AND (` + key + `) IN (SELECT ` + key + ` FROM ` + t.name +
		` WHERE slot = $1 ORDER BY slot, ` + key + fmt.Sprintf(` LIMIT %d)`, copyBatch)
}

// removeRows deletes all rows that a slot has on a server, a few at a time. The server must have nothing to do with the slot any
// more, or nothing yet but for the move of that number: each time that is looked at anew.
func (s *server) removeRows(ctx context.Context, slot object.Slot, number int64) error {
	for _, t := range movedTables() {
		for {
			var n int64
			err := s.change(ctx, "delete rows of a slot", func(tx *sql.Tx) error {
				var state slotState
				var move int64
				err := tx.QueryRowContext(ctx, `SELECT state, move FROM slots WHERE slot = $1`+s.forShare(), slot).Scan(&state, &move)
				if err == nil && (state != slotComing || move != number) {
					return errOvertaken
				}
				if err != nil && !errors.Is(err, sql.ErrNoRows) {
					return err
				}
				res, err := tx.ExecContext(ctx, t.removeQuery(), slot)
				if err != nil {
					return err
				}
				n, err = res.RowsAffected()
				return err
			})
			if err != nil {
				return err
			}
			if n < copyBatch {
				break
			}
		}
	}
	return nil
}

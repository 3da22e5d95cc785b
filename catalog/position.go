package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"perigee/purge"
)

// PositionOf returns where the log has the entry of that ID; the zero Position while it is still in the outbox. An ID that is
// not of this catalogue is fs.ErrNotExist.
func (c *Catalog) PositionOf(ctx context.Context, entryID string) (purge.Position, error) {
	number, ok := strings.CutPrefix(entryID, c.id+"-")
	row, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || c.EntryID(row) != entryID {
		return purge.Position{}, fmt.Errorf("log entry %q: %w", entryID, fs.ErrNotExist)
	}
	r, err := c.Row(ctx, row)
	if err != nil {
		return purge.Position{}, err
	}
	return r.Position, nil
}

// LastPosition returns the position of the newest entry that is recorded as appended; the zero Position if there is none.
// A log that ends before it has lost entries.
func (c *Catalog) LastPosition(ctx context.Context) (purge.Position, error) {
	var text string
	err := c.read.QueryRowContext(ctx, `SELECT position FROM outbox WHERE position <> '' ORDER BY id DESC LIMIT 1`).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return purge.Position{}, nil
	}
	if err != nil {
		return purge.Position{}, fmt.Errorf("read outbox: %w", err)
	}
	return purge.ParsePosition(text)
}

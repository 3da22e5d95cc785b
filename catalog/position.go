package catalog

import (
	"context"
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

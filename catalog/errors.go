package catalog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"perigee/object"
)

// What is missing is fs.ErrNotExist and a name or host that is taken is fs.ErrExist, both wrapped.
var (
	// ErrPrecondition says that a Condition was not met. Nothing was changed.
	ErrPrecondition = errors.New("precondition failed")
	// ErrBusy says that another change of the same path is under way; see BusyError.
	ErrBusy = errors.New("another change of this path is under way, try again")
	// ErrLost says that a reservation is no longer held and that the path has moved on since: the change was
	// not recorded.
	ErrLost = errors.New("the reservation was lost")
)

// BusyError is an ErrBusy that tells who holds the path.
type BusyError struct {
	Holder Reservation
	// Stale is set when the holder is not going to finish: its time is over or its process is gone. Settle it
	// and try again.
	Stale bool
}

// Error implements error.
func (e *BusyError) Error() string {
	return fmt.Sprintf("path %s of site %s: %v", e.Holder.Pointer.Path, e.Holder.Pointer.Site, ErrBusy)
}

// Unwrap makes errors.Is(err, ErrBusy) true.
func (e *BusyError) Unwrap() error { return ErrBusy }

// Condition is what the publisher demands of the path's present state: the If-Match and If-None-Match of RFC 9110
// §13.1, with versions as entity tags. The zero Condition demands nothing. A tombstone counts as no file.
type Condition struct {
	// Match, unless nil, lists versions of which one must be the current one. An empty list is never met.
	Match []object.Version `json:"match,omitzero"`
	// MatchAny demands that there is a file ("If-Match: *").
	MatchAny bool `json:"match_any,omitzero"`
	// NoneMatch lists versions of which none may be the current one.
	NoneMatch []object.Version `json:"none_match,omitzero"`
	// NoneMatchAny demands that there is no file ("If-None-Match: *").
	NoneMatchAny bool `json:"none_match_any,omitzero"`
}

// check returns nil or an error that wraps ErrPrecondition. cur is nil when the path was never published.
func (c Condition) check(cur *File) error {
	var have object.Version
	if cur != nil && cur.Pointer.State == object.Live {
		have = cur.Pointer.Version
	}
	switch {
	case c.NoneMatchAny && have != "":
		return fmt.Errorf("%w: the file exists already, its version is %s", ErrPrecondition, have)
	case (c.MatchAny || c.Match != nil) && have == "":
		return fmt.Errorf("%w: there is no file at this path", ErrPrecondition)
	case c.Match != nil && !c.MatchAny && !slices.Contains(c.Match, have):
		return fmt.Errorf("%w: the current version is %s", ErrPrecondition, have)
	case have != "" && slices.Contains(c.NoneMatch, have):
		return fmt.Errorf("%w: the current version is %s", ErrPrecondition, have)
	}
	return nil
}

// unreachable reports whether an error says that a database cannot be worked with at all.
func unreachable(err error) bool {
	if err == nil {
		return false
	}
	var file *sqlite.Error
	if errors.As(err, &file) {
		switch file.Code() & 0xff {
		case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY:
			return true
		}
		return false
	}
	if fateOf(err) == away && !errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var network net.Error
	return errors.As(err, &network) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.ErrUnexpectedEOF) ||
		strings.Contains(err.Error(), "sql: database is closed") // which package sql does not export
}

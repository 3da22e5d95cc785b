package purge

import (
	"context"
	"errors"
	"time"
)

// ErrGap says that the log cannot continue from a position: the stream is another one, was compacted past it, is
// shorter than it, or its chain of hashes is broken. The follower's state is unconfirmed as a whole.
var ErrGap = errors.New("the log does not continue from this position")

// Appender writes the log of one region. One Appender at a time writes a stream; a second one is told so by an error
// of Append, and nothing is written twice.
type Appender interface {
	// Append adds e and returns when it is on stable storage, with the position just behind it. An e.ID that
	// is in the log already is not added again; its position is returned. An error means that the entry may or may
	// not be in the log: append it again with the same ID.
	Append(ctx context.Context, e Entry) (Position, error)
}

// Record is an entry as read from the log.
type Record struct {
	Entry
	// Position is how far a node is that has applied this entry, given that it had applied all before.
	Position Position
}

// Sink takes what a Follower reads. Its methods are called one at a time, in order.
type Sink interface {
	// Apply makes the entry effective before it returns. An error ends Follow with that error.
	Apply(Record) error
	// Reset says that the log does not continue from the sink's position (why wraps ErrGap). Everything known must
	// be confirmed anew; to is where following goes on.
	Reset(to Position, why error) error
	// Confirm says that at time asked (taken before the log was asked) the sink had applied every entry there
	// was: the start of a new lease.
	Confirm(asked time.Time)
}

// Follower reads the log.
type Follower interface {
	// Follow feeds s every entry after from, in order and without gaps, until ctx ends or s fails. It
	// reconnects for ever; while the log cannot be reached it is silent, and s.Confirm is not called.
	Follow(ctx context.Context, from Position, s Sink) error
}

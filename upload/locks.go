package upload

import (
	"context"
	"errors"
	"sync"
	"time"

	"perigee/clock"
	"perigee/object"
)

// errLocked says that whoever works on an upload did not stop in time.
var errLocked = errors.New("the upload is in use")

// lockPatience is how long a request waits for the one before it to store what it has and stop.
const lockPatience = 30 * time.Second

// locks lets one request at a time work on an upload. A newer request ends the older: a client that comes back knows
// that its old connection is dead before the server does.
type locks struct {
	mu   sync.Mutex
	held map[object.UploadID]*lock
}

type lock struct {
	end  func()
	done chan struct{}
}

func newLocks() *locks { return &locks{held: map[object.UploadID]*lock{}} }

// take waits for the upload, asking whoever has it to end. end, which may be called more than once and must not block, is
// how a newer request will ask this one; nil if there is nothing to hurry. The error is errLocked or ctx's.
func (l *locks) take(ctx context.Context, c clock.Clock, id object.UploadID, end func()) (release func(), err error) {
	t := c.NewTimer(lockPatience)
	defer t.Stop()
	for {
		older, release := l.put(id, end)
		if older == nil {
			return release, nil
		}
		if older.end != nil {
			older.end()
		}
		select {
		case <-older.done:
		case <-t.C():
			return nil, errLocked
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// try takes the upload if nobody has it.
func (l *locks) try(id object.UploadID) (release func(), ok bool) {
	older, release := l.put(id, nil)
	return release, older == nil
}

// put returns who has the upload, or makes the caller the one.
func (l *locks) put(id object.UploadID, end func()) (older *lock, release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if older := l.held[id]; older != nil {
		return older, nil
	}
	mine := &lock{end: end, done: make(chan struct{})}
	l.held[id] = mine
	return nil, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, id)
		close(mine.done)
	}
}

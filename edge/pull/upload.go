package pull

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"perigee/clock"
)

// bodyIdle is how long a client may send nothing of a body that it has announced.
const bodyIdle = time.Minute

// uploadBody is the body of a client's request, whose sender is cut off when it stalls: not for being slow.
type uploadBody struct {
	io.Reader
	c     *http.ResponseController
	clock clock.Clock

	mu   sync.Mutex
	over bool // the handler has returned: the connection is not its own any more
}

// finish ends the use of the connection: the origin may have answered while the body was still on its way to it.
func (b *uploadBody) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
}

// patience gives the client its time from now on.
func (b *uploadBody) patience(until time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return http.ErrBodyReadAfterClose
	}
	if err := b.c.SetReadDeadline(until); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Read implements io.Reader.
func (b *uploadBody) Read(p []byte) (int, error) {
	if err := b.patience(b.clock.Now().Add(bodyIdle)); err != nil {
		return 0, err
	}
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		// What is left of the deadline is not for the time after: net/http watches the connection while the answer is made. After any other
		// error it stays: net/http reads what is left of a body, and must not wait for it.
		_ = b.patience(time.Time{})
	}
	return n, err
}

// Close implements io.Closer. net/http closes the real one.
func (b *uploadBody) Close() error { return nil }

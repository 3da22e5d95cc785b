package origin

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// loan is a body whose memory is its caller's again after end. A request that fails may leave its body to a connection that is still writing: the transport says that
// it is done with it by closing it, some time later, and what it reads until then must be nothing that the caller has put there since.
type loan struct {
	mu    sync.Mutex // held while the memory is read, or written to a connection
	body  bytes.Reader
	ended bool
}

var errLoanEnded = errors.New("the request has ended")

func newLoan(body []byte) *loan {
	l := &loan{}
	l.body.Reset(body)
	return l
}

// end waits until nobody reads the memory, and lets nobody read it again.
func (l *loan) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.body.Reset(nil)
	l.ended = true
}

// Read implements io.Reader.
func (l *loan) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, errLoanEnded
	}
	return l.body.Read(p)
}

// Seek implements io.Seeker: a request that is sent again starts anew.
func (l *loan) Seek(offset int64, whence int) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, errLoanEnded
	}
	return l.body.Seek(offset, whence)
}

// WriteTo implements io.WriterTo, so that bytes go to a connection without being copied. One that is closed lets go at once.
func (l *loan) WriteTo(w io.Writer) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, errLoanEnded
	}
	return l.body.WriteTo(w)
}

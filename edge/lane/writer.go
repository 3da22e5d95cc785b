package lane

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// ErrAborted is returned by a Writer after Abort.
var ErrAborted = errors.New("answer aborted")

// Writer sends the answer of Handler.Serve. It is for that goroutine alone, until Serve returns. Each call returns when
// the kernel has taken everything, or with the error of a client that is gone, or that took nothing for Config.WriteIdle
// (os.ErrDeadlineExceeded), or whose time is up at the end of grace. After an error, or Abort, or if nothing was sent, the connection
// is reset when Serve returns.
type Writer struct {
	out    sink
	head   []byte // waits for the first bytes of the body
	close  bool
	failed error
	sent   int64
}

// sink is the connection as a Writer sees it.
type sink interface {
	// send sends a and then b; more says that further bytes follow at once.
	send(a, b []byte, more bool) (int, error)
	// sendFile sends n bytes of f from off. It returns how many the kernel took; io.ErrUnexpectedEOF if f is shorter.
	sendFile(f *os.File, off, n int64) (int64, error)
	// cut tells that there is no use in going on.
	cut()
}

// KeepsAlive reports whether the connection goes on after this answer. If not, the answer must say Connection: close.
func (w *Writer) KeepsAlive() bool { return !w.close }

// Head gives the head of the answer, with the empty line. It is copied, and sent with the first bytes of the body, or when Serve
// returns.
func (w *Writer) Head(b []byte) error {
	if w.failed != nil {
		return w.failed
	}
	w.head = append(w.head, b...)
	return nil
}

// Write sends bytes of the body.
func (w *Writer) Write(p []byte) (int, error) {
	if w.failed != nil {
		return 0, w.failed
	}
	if len(p) == 0 {
		return 0, nil
	}
	head := len(w.head)
	n, err := w.out.send(w.head, p, false)
	w.head = nil
	w.sent += int64(n)
	return max(n-head, 0), w.fail(err)
}

// SendFile sends n bytes of f from off as bytes of the body, without a copy where the kernel can. An error of the file is none of the
// connection: after io.ErrUnexpectedEOF, if f is shorter, or EIO, the answer can go on with bytes from elsewhere, or must be aborted.
func (w *Writer) SendFile(f *os.File, off, n int64) (int64, error) {
	if w.failed != nil || n <= 0 {
		return 0, w.failed
	}
	if err := w.flush(true); err != nil {
		return 0, err
	}
	sent, err := w.out.sendFile(f, off, n)
	w.sent += sent
	if err == nil && sent != n {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EIO) {
		return sent, err
	}
	return sent, w.fail(err)
}

// Abort gives the answer up: its context ends, and when Serve returns the connection is reset, so that the client cannot take what
// it has for a whole answer.
func (w *Writer) Abort() {
	if w.failed == nil {
		w.failed = ErrAborted
	}
	w.head = nil
	w.out.cut()
}

// flush sends a head that still waits.
func (w *Writer) flush(more bool) error {
	if w.failed != nil || len(w.head) == 0 {
		return w.failed
	}
	n, err := w.out.send(w.head, nil, more)
	w.head = nil
	w.sent += int64(n)
	return w.fail(err)
}

func (w *Writer) fail(err error) error {
	if err != nil && w.failed == nil {
		w.failed = fmt.Errorf("send answer: %w", err)
	}
	return w.failed
}

//go:build amd64 || arm64

package lane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"perigee/clock"
)

// service is a connection while a goroutine answers on it. The loop keeps the descriptor open until the goroutine gives it back.
type service struct {
	w      Writer
	fd     int
	base   context.Context // ends when the lane cuts what is left
	ctx    context.Context // ends with the client as well
	cancel context.CancelFunc
	room   chan struct{} // the loop says here that the client may take more, or is gone
	clock  clock.Clock
	idle   time.Duration
	timer  clock.Timer // nil until the client had to be waited for
	vector vector
}

// serve starts the goroutine that answers r.
func (l *loop) serve(c *conn, r *Request) {
	s := &service{base: l.run.base, fd: int(c.fd), room: make(chan struct{}, 1), clock: l.cfg.Clock, idle: l.cfg.WriteIdle}
	s.ctx, s.cancel = context.WithCancel(l.run.base)
	s.w.out, s.w.close = s, r.Close
	c.service, c.phase = s, serving
	l.serving++
	l.run.calls.Go(func() {
		defer l.back(c)
		defer s.end()
		defer func() {
			if p := recover(); p != nil {
				l.panicked(p)
				s.w.Abort()
			}
		}()
		l.cfg.Handler.Serve(s.ctx, r, &s.w)
	})
}

// end sends what Serve has left, and the goroutine's time is over.
func (s *service) end() {
	// An error is kept in the Writer, where served looks for it.
	_ = s.w.flush(false)
	if s.timer != nil {
		s.timer.Stop()
	}
	s.cancel()
}

// served takes a connection back.
func (l *loop) served(c *conn) {
	s := c.service
	c.service, c.phase, c.since = nil, reading, l.since()
	l.serving--
	switch {
	case s.w.failed != nil || s.w.sent == 0 || l.cut:
		l.reset(c)
	case s.w.close || l.drained:
		l.finish(c)
	default:
		l.proceed(c)
	}
}

// gone is called by the loop when there is nobody to answer to.
func (s *service) gone() { s.cancel() }

// writable is called by the loop when the client may take more.
func (s *service) writable() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// wait waits until the client may take more. It does not ask s.ctx: a client that has closed its own side may read on, and one
// that has not makes the next call fail.
func (s *service) wait() error {
	if s.timer == nil {
		s.timer = s.clock.NewTimer(s.idle)
	} else {
		s.timer.Reset(s.idle)
	}
	select {
	case <-s.room:
		return nil
	case <-s.timer.C():
		return os.ErrDeadlineExceeded
	case <-s.base.Done():
		return context.Cause(s.base)
	}
}

func (s *service) send(a, b []byte, more bool) (int, error) {
	sent := 0
	for len(a)+len(b) > 0 {
		s.vector.add(a)
		s.vector.add(b)
		n, e := s.vector.send(s.fd, more)
		if e != 0 && e != syscall.EAGAIN {
			return sent, e
		}
		sent += n
		k := min(n, len(a))
		a, b = a[k:], b[n-k:]
		if e == syscall.EAGAIN {
			if err := s.wait(); err != nil {
				return sent, err
			}
		}
	}
	return sent, nil
}

// filePiece is how much of a file one call sends at most; with 0x7ffff000 the kernel has a limit of its own.
const filePiece = 4 << 20

func (s *service) sendFile(f *os.File, off, n int64) (int64, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	sent := int64(0)
	for sent < n {
		var k int
		var failed error
		// Reading may wait for the disk, so the scheduler must know: this is not a raw call. Control keeps the descriptor open.
		err := raw.Control(func(fd uintptr) {
			at := off + sent
			k, failed = syscall.Sendfile(s.fd, int(fd), &at, int(min(n-sent, filePiece)))
		})
		switch {
		case err != nil:
			return sent, err
		case errors.Is(failed, syscall.EAGAIN):
			if err := s.wait(); err != nil {
				return sent, err
			}
		case errors.Is(failed, syscall.EINTR):
		case errors.Is(failed, syscall.EINVAL) || errors.Is(failed, syscall.ENOSYS):
			// A file system that cannot, such as some in user space.
			m, err := s.copyFile(f, off+sent, n-sent)
			return sent + m, err
		case failed != nil:
			return sent, failed
		case k == 0:
			return sent, io.ErrUnexpectedEOF
		default:
			sent += int64(k)
		}
	}
	return sent, nil
}

// copyFile is sendFile by hand.
func (s *service) copyFile(f *os.File, off, n int64) (int64, error) {
	buf := make([]byte, min(n, 64<<10))
	sent := int64(0)
	for sent < n {
		k, err := f.ReadAt(buf[:min(n-sent, int64(len(buf)))], off+sent)
		m, failed := s.send(buf[:k], nil, false)
		sent += int64(m)
		switch {
		case failed != nil:
			return sent, failed
		case sent < n && errors.Is(err, io.EOF):
			return sent, io.ErrUnexpectedEOF
		case sent < n && err != nil:
			return sent, fmt.Errorf("read body: %w", err)
		}
	}
	return sent, nil
}

// cut tells what works for this answer to stop. The reset is the loop's, which owns the descriptor: see served.
func (s *service) cut() { s.cancel() }

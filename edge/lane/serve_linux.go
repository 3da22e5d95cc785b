//go:build amd64 || arm64

package lane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// sweepEvery is how often deadlines are looked at: all of them are long, and may be late by this.
const sweepEvery = time.Second

// acceptPause is how long to wait when the system has no descriptor or memory for another connection.
const acceptPause = 50 * time.Millisecond

// run is what one Serve has.
type run struct {
	lane  *Lane
	base  context.Context // of all Handler.Serve; ends when the rest is cut
	cut   context.CancelFunc
	loops []*loop
	calls sync.WaitGroup // of Fallback and Handler.Serve; the loops add to it
	room  chan struct{}  // says that a connection is gone, to an acceptor that waits for that
}

func (l *Lane) serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		// Only a descriptor can be watched. Nothing that wraps one is known to mean the same.
		return l.serveFallback(ctx, ln)
	}
	r := &run{lane: l, room: make(chan struct{}, 1)}
	r.base, r.cut = context.WithCancel(context.WithoutCancel(ctx))
	defer r.cut()
	defer r.close()
	for i := range l.cfg.Loops {
		lo, err := newLoop(r, i)
		if err != nil {
			ln.Close()
			return err
		}
		r.loops = append(r.loops, lo)
	}
	var loops, others sync.WaitGroup
	for _, lo := range r.loops {
		loops.Go(lo.work)
	}
	ended, endTicks := context.WithCancel(context.Background())
	defer endTicks()
	others.Go(func() { r.tick(ended) })
	err := r.acceptFrom(ctx, tcp)
	r.drain(&loops, grace)
	endTicks()
	others.Wait()
	r.calls.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// close closes the loops' own descriptors, when nobody is left who could wake them.
func (r *run) close() {
	for _, lo := range r.loops {
		lo.poll.close()
	}
}

// drain ends the loops and waits for them.
func (r *run) drain(loops *sync.WaitGroup, grace time.Duration) {
	for _, lo := range r.loops {
		lo.order(orderDrain)
	}
	done := make(chan struct{})
	go func() {
		loops.Wait()
		close(done)
	}()
	timer := r.lane.cfg.Clock.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C():
	}
	r.cut()
	for _, lo := range r.loops {
		lo.order(orderCut)
	}
	<-done
}

// tick makes the loops look at their deadlines.
func (r *run) tick(ctx context.Context) {
	t := r.lane.cfg.Clock.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C():
			for _, lo := range r.loops {
				lo.order(orderSweep)
			}
		}
	}
}

// acceptFrom accepts from ln until ctx ends or ln fails, and closes it.
func (r *run) acceptFrom(ctx context.Context, ln *net.TCPListener) error {
	// A listener does not let one wait for its descriptor, but a file does, in the same network poller.
	f, err := ln.File()
	if ln.Close(); err != nil {
		return fmt.Errorf("accept connection: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer f.Close()
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("accept connection: %w", err)
	}
	return r.accept(ctx, raw)
}

// accept gives each connection to the loop that has the fewest.
func (r *run) accept(ctx context.Context, raw syscall.RawConn) error {
	for {
		if err := r.waitForRoom(ctx); err != nil {
			return nil
		}
		var fd int
		var from syscall.Sockaddr
		var failed error
		err := raw.Read(func(lfd uintptr) bool {
			fd, from, failed = syscall.Accept4(int(lfd), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			return failed != syscall.EAGAIN
		})
		switch {
		case err != nil:
			return fmt.Errorf("accept connection: %w", err)
		case failed == nil:
			r.admit(fd, from)
		case errors.Is(failed, syscall.EMFILE) || errors.Is(failed, syscall.ENFILE) || errors.Is(failed, syscall.ENOBUFS) || errors.Is(failed, syscall.ENOMEM):
			r.lane.cfg.Log.Warn("no room for a connection", "err", failed)
			r.pause(ctx)
		case errors.Is(failed, syscall.EBADF) || errors.Is(failed, syscall.EINVAL) || errors.Is(failed, syscall.ENOTSOCK):
			return fmt.Errorf("accept connection: %w", failed)
		default:
			// The connection that waited is gone already (accept(2)); the next one may be well.
		}
	}
}

// waitForRoom waits until there are fewer than MaxConns connections, or ctx ends.
func (r *run) waitForRoom(ctx context.Context) error {
	bound := int64(r.lane.cfg.MaxConns)
	for bound > 0 && r.lane.conns.Load() >= bound {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.room:
		}
	}
	return nil
}

func (r *run) pause(ctx context.Context) {
	t := r.lane.cfg.Clock.NewTimer(acceptPause)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C():
	}
}

func (r *run) admit(fd int, from syscall.Sockaddr) {
	// It can only fail for a connection that is gone, which the loop will see.
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	r.lane.conns.Add(1)
	to := r.loops[0]
	for _, lo := range r.loops[1:] {
		if lo.held.Load() < to.held.Load() {
			to = lo
		}
	}
	to.held.Add(1)
	to.give(arrival{fd, addrPort(from)})
}

// left notes that a loop does not hold a connection any more.
func (r *run) left(lo *loop) {
	lo.held.Add(-1)
	r.lane.conns.Add(-1)
	select {
	case r.room <- struct{}{}:
	default:
	}
}

func addrPort(from syscall.Sockaddr) netip.AddrPort {
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

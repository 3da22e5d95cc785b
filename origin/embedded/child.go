package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"perigee/clock"
)

const (
	startWait = 30 * time.Second // from start to ready
	stopWait  = 12 * time.Second // from SIGTERM to SIGKILL; Run itself takes 10 s at most
	// restartFirst and restartMost bound the pause before a child that died is started again.
	restartFirst = 100 * time.Millisecond
	restartMost  = 5 * time.Second
	// settled is how long a child must have lived for the next pause to be the first one again.
	settled = 30 * time.Second
)

// ChildConfig says which process to run.
type ChildConfig struct {
	// Path is the binary, Args its arguments without its name. It must come to call RunChild. Arguments can be read by every
	// user of the machine: secrets do not belong there.
	Path string
	Args []string
	// Env is the child's whole environment, KEY=value, and the way secrets reach it: nothing is inherited.
	Env []string
	// Notify hears of objects that were written or deleted, as Config.Notify; may be nil. It must not block for long: the child waits for it.
	Notify func(Event)
	// Log takes the child's records; default slog.Default().
	Log *slog.Logger
	// Clock defaults to clock.System.
	Clock clock.Clock
}

// Child is a storage process and the goroutine that keeps it running. While it is down, clients see a refused connection and
// retry; nothing that was acknowledged is lost.
type Child struct {
	cfg  ChildConfig
	done chan struct{}

	mu   sync.Mutex
	addr string
	pid  int
}

// StartChild starts the process and returns when it is ready. If it cannot become ready, the error is what the child said. From
// then on it is started again whenever it dies, until ctx ends; then it gets SIGTERM, and SIGKILL when it takes too long. Wait waits
// for that.
//
// The child does not outlive this process, however that ends: its standard input is a pipe that breaks, and on Linux
// the kernel kills it at once. It is in a process group of its own, so that a Ctrl-C on the terminal reaches this process only, which
// may need the storage to end in order.
func StartChild(ctx context.Context, cfg ChildConfig) (*Child, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	c := &Child{cfg: cfg, done: make(chan struct{})}
	first := make(chan error, 1)
	go c.keepRunning(ctx, first)
	if err := <-first; err != nil {
		<-c.done
		return nil, err
	}
	return c, nil
}

// Addr is where the child listens, host:port. It changes only if the child was told to take any free port and was restarted.
func (c *Child) Addr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addr
}

// PID is the process id, 0 while there is no process.
func (c *Child) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// Wait returns when the context of StartChild has ended and the process is gone.
func (c *Child) Wait() { <-c.done }

// keepRunning sends one value to first: nil when the child is ready, or why it is not, and then it ends.
func (c *Child) keepRunning(ctx context.Context, first chan<- error) {
	defer close(c.done)
	// The kernel kills a child when the thread that started it ends, so this goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pause := restartFirst
	for started := false; ; started = true {
		began := c.cfg.Clock.Now()
		err := c.runOnce(ctx, func() {
			if !started {
				first <- nil
			}
		})
		if !started && err != nil && !errors.Is(err, errDied) {
			first <- err
			return
		}
		if ctx.Err() != nil {
			return
		}
		if c.cfg.Clock.Now().Sub(began) > settled {
			pause = restartFirst
		}
		c.cfg.Log.Error("storage process died, starting it again", "err", err, "pause", pause)
		wait(ctx, c.cfg.Clock, pause)
		pause = min(2*pause, restartMost)
	}
}

// errDied marks the end of a child that had been ready.
var errDied = errors.New("the storage process ended")

// runOnce starts a child and returns when it is gone. The error wraps errDied if it had been ready.
func (c *Child) runOnce(ctx context.Context, ready func()) error {
	p, err := startProcess(c.cfg)
	if err != nil {
		return fmt.Errorf("start storage process %s: %w", c.cfg.Path, err)
	}
	c.set("", p.pid())
	defer c.set("", 0)
	limit := c.cfg.Clock.NewTimer(startWait)
	defer limit.Stop()
	select {
	case said := <-p.said:
		if said.err != nil {
			p.stop(c.cfg.Clock)
			return said.err
		}
		c.set(said.addr, p.pid())
	case <-p.exited:
		return p.failure()
	case <-limit.C():
		p.stop(c.cfg.Clock)
		return fmt.Errorf("storage process: not ready after %s", startWait)
	case <-ctx.Done():
		p.stop(c.cfg.Clock)
		return fmt.Errorf("start storage process: %w", context.Cause(ctx))
	}
	ready()
	select {
	case <-p.exited:
		return fmt.Errorf("%w: %w", errDied, p.failure())
	case <-ctx.Done():
		p.stop(c.cfg.Clock)
		return nil
	}
}

// set notes the process's address, if it is not empty, and its id.
func (c *Child) set(addr string, pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if addr != "" {
		c.addr = addr
	}
	c.pid = pid
}

// wait waits for d or the end of ctx.
func wait(ctx context.Context, c clock.Clock, d time.Duration) {
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
	case <-ctx.Done():
	}
}

// announcement is what a child said about itself on standard output.
type announcement struct {
	addr string
	err  error
}

// parseAnnouncement reads a line of a child's standard output; ok is false if it is something else.
func parseAnnouncement(line string) (a announcement, ok bool) {
	switch {
	case len(line) > len(sayReady) && line[:len(sayReady)] == sayReady:
		addr, err := netip.ParseAddrPort(line[len(sayReady):])
		if err != nil {
			return announcement{err: fmt.Errorf("storage process: it announced %q: %w", line, err)}, true
		}
		return announcement{addr: addr.String()}, true
	case len(line) > len(sayFailed) && line[:len(sayFailed)] == sayFailed:
		return announcement{err: errors.New(line[len(sayFailed):])}, true
	}
	return announcement{}, false
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// parts runs what a role is made of. Parts are started in order and stopped in the reverse order, each fully before the
// next, so that a part can rely on the ones below it until its own end. The first part that fails stops all.
type parts struct {
	log     *slog.Logger
	failed  context.Context // ends when a part has failed
	fail    context.CancelCauseFunc
	running []*part
}

type part struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

func newParts(log *slog.Logger) *parts {
	p := &parts{log: log}
	p.failed, p.fail = context.WithCancelCause(context.Background())
	return p
}

// start runs a part until stop, which waits for it.
func (p *parts) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &part{name: name, cancel: cancel, done: make(chan struct{})}
	p.running = append(p.running, t)
	go func() {
		defer close(t.done)
		t.err = run(ctx)
		if ctx.Err() == nil {
			if t.err == nil {
				t.err = errors.New("ended by itself")
			}
			p.fail(fmt.Errorf("%s: %w", name, t.err))
		}
	}()
}

// onStop adds something to be closed when its turn comes.
func (p *parts) onStop(name string, f func() error) {
	done := make(chan struct{})
	t := &part{name: name, done: done}
	t.cancel = func() {
		t.err = f()
		close(done)
	}
	p.running = append(p.running, t)
}

// wait returns when ctx ends (nil) or a part has failed (why).
func (p *parts) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.failed.Done():
		return context.Cause(p.failed)
	}
}

// stop ends all parts and returns what they had to say.
func (p *parts) stop() error {
	var all error
	for i := len(p.running) - 1; i >= 0; i-- {
		t := p.running[i]
		p.log.Debug("stopping", "part", t.name)
		t.cancel()
		<-t.done
		if t.err != nil && !errors.Is(t.err, context.Canceled) {
			all = errors.Join(all, fmt.Errorf("%s: %w", t.name, t.err))
		}
	}
	p.running = nil
	return all
}

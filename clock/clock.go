// Package clock is the one door to time. Every package that asks what time it is or waits for time to pass
// takes a Clock, so that a whole fleet can run in a simulator or in testing/synctest without waiting.
//
// It is not a scheduler: it starts no goroutine, and a Timer must be stopped by whoever made it.
package clock

import (
	"context"
	"time"
)

// Clock tells the time and makes timers. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns the current time. Two calls of one Clock can be subtracted: the result follows the
	// monotonic clock, never a step of the wall clock.
	Now() time.Time
	// NewTimer returns a timer that fires once after d.
	NewTimer(d time.Duration) Timer
	// NewTicker returns a ticker that fires every d; d must be positive.
	NewTicker(d time.Duration) Ticker
}

// Timer fires once on C.
type Timer interface {
	// C is the channel the time is sent on.
	C() <-chan time.Time
	// Stop ends the timer; it reports whether the timer had not fired yet.
	Stop() bool
	// Reset makes the timer fire after d from now, as time.Timer.Reset does since Go 1.23: no stale value
	// is left in C.
	Reset(d time.Duration) bool
}

// Ticker fires again and again on C, dropping ticks for a slow receiver.
type Ticker interface {
	// C is the channel the ticks are sent on.
	C() <-chan time.Time
	// Stop ends the ticker.
	Stop()
}

// Sleep waits for d by c. It returns ctx.Err() if ctx ends before.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// System is the machine's own clock.
var System Clock = system{}

type system struct{}

func (system) Now() time.Time                   { return time.Now() }
func (system) NewTimer(d time.Duration) Timer   { return systemTimer{time.NewTimer(d)} }
func (system) NewTicker(d time.Duration) Ticker { return systemTicker{time.NewTicker(d)} }

type systemTimer struct{ *time.Timer }

func (t systemTimer) C() <-chan time.Time { return t.Timer.C }

type systemTicker struct{ *time.Ticker }

func (t systemTicker) C() <-chan time.Time { return t.Ticker.C }

package store

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"perigee/clock"
)

// health says whether the disk takes records, and when to try again.
type health struct {
	clock clock.Clock

	mu    sync.Mutex
	cause error // nil while the disk is well
	pause time.Duration
	until time.Time
}

const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// ready returns nil if a write may be tried.
func (h *health) ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cause == nil || !h.clock.Now().Before(h.until) {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrFailing, h.cause)
}

// fail notes that a write failed, and returns ErrFailing with the cause.
func (h *health) fail(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.clock.Now(); h.cause == nil || !now.Before(h.until) { // those that were under way together count once
		h.pause = min(max(2*h.pause, firstPause), maxPause)
		h.until = now.Add(h.pause)
	}
	h.cause = err
	return fmt.Errorf("%w: %w", ErrFailing, err)
}

// well notes that a write succeeded.
func (h *health) well() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cause, h.pause = nil, 0
}

func (h *health) failing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cause != nil
}

// full reports whether err says that there is no room, which a reclaim may help.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

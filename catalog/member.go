package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"perigee/clock"
)

// ErrUnavailable says that a server of the catalogue does not answer. What is on other servers can be asked for.
var ErrUnavailable = errors.New("a server of the catalogue does not answer")

// member is a server as the catalogue knows it: by name, open or not yet.
type member struct {
	name  string
	index int // in Catalog.members
	clock clock.Clock
	open  func(context.Context) (*server, error)

	mu     sync.Mutex
	id     string // of the server, as the home server knows it; "" before it was registered
	server *server
	failed time.Time // when it could not be opened last
	err    error     // and why
}

// openAgain is how long a server that could not be opened is left alone.
const openAgain = time.Second

// get returns the server, opening it if need be; the error wraps ErrUnavailable.
func (m *member) get(ctx context.Context) (*server, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server != nil {
		return m.server, nil
	}
	now := m.clock.Now()
	if m.err != nil && now.Sub(m.failed) < openAgain && !now.Before(m.failed) {
		return nil, m.err
	}
	s, err := m.open(ctx)
	if err != nil {
		err = fmt.Errorf("%w: server %s: %w", ErrUnavailable, m.name, err)
		if ctx.Err() == nil {
			m.failed, m.err = now, err
		}
		return nil, err
	}
	m.server, m.err = s, nil
	return s, nil
}

// identity returns the id of the server, which begins those of its log entries.
func (m *member) identity() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server != nil {
		return m.server.id
	}
	return m.id
}

// opened returns the server if it is open, else nil.
func (m *member) opened() *server {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.server
}

// fault makes an error of the server one that wraps ErrUnavailable, if it says that the server cannot work and not that it will
// not.
func (m *member) fault(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) || !unreachable(err) {
		return err
	}
	return fmt.Errorf("%w: server %s: %w", ErrUnavailable, m.name, err)
}

// Missing names a server whose part of an answer is missing.
type Missing struct {
	Server string `json:"server"`
	// Slots is how many of the object.Slots it has: about that share of all paths is missing.
	Slots int `json:"slots"`
}

// PartialError says that an answer lacks the parts of servers that do not answer. It wraps ErrUnavailable. What came with it is
// true as far as it goes.
type PartialError struct {
	Missing []Missing
	Err     error // what the servers said
}

// Error implements error.
func (e *PartialError) Error() string {
	var names []string
	slots := 0
	for _, m := range e.Missing {
		names = append(names, m.Server)
		slots += m.Slots
	}
	return fmt.Sprintf("the part of %s is missing, about %d %% of all paths: %v", strings.Join(names, ", "), (100*slots+2048)/4096, e.Err)
}

// Unwrap returns what the servers said.
func (e *PartialError) Unwrap() error { return e.Err }

package tap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"perigee/clock"
)

const (
	// patience bounds each wait on the collector: for the connection, for its part of the handshake, until it takes a buffer.
	patience = 2 * time.Second
	// How long a collector that failed is left alone; twice as long each time, up to the last, and up to a half more at random so that many servers do not come at once.
	firstPause, lastPause = time.Second, time.Minute
)

// socket is a connection to a collector as a spool.Sink. One goroutine uses it.
type socket struct {
	network, address string
	dial             func(ctx context.Context, network, address string) (net.Conn, error) // net.Dialer's, but for tests
	clock            clock.Clock
	log              *slog.Logger

	conn    net.Conn // nil while there is none
	next    time.Time
	pause   time.Duration
	failing bool // the logger has been told

	connected atomic.Bool
	made      atomic.Int64
}

func newSocket(network, address string, c clock.Clock, log *slog.Logger) *socket {
	return &socket{network: network, address: address, dial: (&net.Dialer{Timeout: patience}).DialContext, clock: c, log: log, pause: firstPause}
}

// Tick connects when it is time to.
func (s *socket) Tick(ctx context.Context) {
	now := s.clock.Now()
	if s.conn != nil || ctx.Err() != nil || now.Before(s.next) {
		return
	}
	conn, err := s.open(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.failed(err)
		}
		return
	}
	s.conn, s.pause = conn, firstPause
	s.made.Add(1)
	s.connected.Store(true)
	if s.failing {
		s.log.Info("the dnstap collector is connected again", "addr", s.address)
	}
	s.failing = false
}

// failed notes that there is no connection, and when to try again.
func (s *socket) failed(err error) {
	if !s.failing {
		s.log.Warn("the dnstap collector cannot be reached; messages are dropped until it can", "addr", s.address, "err", err)
	}
	s.failing = true
	s.next = s.clock.Now().Add(s.pause + rand.N(s.pause/2))
	s.pause = min(2*s.pause, lastPause)
}

// open connects and shakes hands.
func (s *socket) open(ctx context.Context) (net.Conn, error) {
	conn, err := s.dial(ctx, s.network, s.address)
	if err != nil {
		return nil, err
	}
	if err := s.shake(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// shake is the beginning of a stream in bidirectional mode.
func (s *socket) shake(conn net.Conn) error {
	if err := conn.SetDeadline(s.clock.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write(appendControl(nil, controlReady, contentType)); err != nil {
		return fmt.Errorf("say READY: %w", err)
	}
	fields, err := readControl(conn, controlAccept)
	if err == nil {
		err = accepts(fields)
	}
	if err != nil {
		return fmt.Errorf("wait for ACCEPT: %w", err)
	}
	if _, err := conn.Write(appendControl(nil, controlStart, contentType)); err != nil {
		return fmt.Errorf("say START: %w", err)
	}
	return nil
}

// Write sends whole frames.
func (s *socket) Write(ctx context.Context, b []byte) bool {
	if s.conn == nil {
		s.Tick(ctx)
	}
	if s.conn == nil {
		return false
	}
	err := s.conn.SetWriteDeadline(s.clock.Now().Add(patience))
	if err == nil {
		_, err = s.conn.Write(b)
	}
	if err == nil {
		return true
	}
	// Where in a frame it ended nobody knows: the stream is over.
	s.connected.Store(false)
	s.failed(errors.Join(err, s.conn.Close()))
	s.conn = nil
	return false
}

// Close ends the stream, so that the collector knows that nothing is missing. One that is gone by then is told to the logger and is no error.
func (s *socket) Close() error {
	if s.conn == nil {
		return nil
	}
	s.connected.Store(false)
	err := s.conn.SetDeadline(s.clock.Now().Add(patience))
	if err == nil {
		_, err = s.conn.Write(appendControl(nil, controlStop, ""))
	}
	if err == nil {
		_, err = readControl(s.conn, controlFinish)
	}
	if err = errors.Join(err, s.conn.Close()); err != nil {
		s.log.Warn("the dnstap collector did not confirm the end; it may miss the last messages", "addr", s.address, "err", err)
	}
	s.conn = nil
	return nil
}

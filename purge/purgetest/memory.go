// Package purgetest has the contract suite that every implementation of the purge log must pass (Suite), and a log in
// memory (Memory) for the tests of everything that appends to a log or follows one.
//
// Memory is no log for production: it ends with its process. It starts no goroutine; Follow runs in its caller's.
package purgetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/purge"
)

// ErrUnreachable is what Append of a Memory returns after SetReachable(false).
var ErrUnreachable = errors.New("the log cannot be reached")

// Memory is a log in memory, with a switch for everything that can go wrong with one. Its methods are safe for
// concurrent use.
type Memory struct {
	// Clock and AskEvery (how often a follower confirms) may be set before the first use; they are clock.System and
	// 20 ms.
	Clock    clock.Clock
	AskEvery time.Duration

	region string

	mu      sync.Mutex
	stream  string
	gone    uint64   // entries 1 to gone have been dropped
	raw     [][]byte // entry gone+1 is raw[0]
	ids     map[string]uint64
	down    bool
	changed chan struct{} // closed and replaced by each change
}

var (
	_ purge.Appender = (*Memory)(nil)
	_ purge.Follower = (*Memory)(nil)
)

// NewMemory returns an empty log of a region.
func NewMemory(region string) *Memory {
	return &Memory{
		Clock: clock.System, AskEvery: 20 * time.Millisecond, region: region,
		stream: rand.Text(), ids: map[string]uint64{}, changed: make(chan struct{}),
	}
}

// Append implements purge.Appender.
func (m *Memory) Append(ctx context.Context, e purge.Entry) (purge.Position, error) {
	e.Prev = object.Hash{}
	if err := e.Validate(); err != nil {
		return purge.Position{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return purge.Position{}, fmt.Errorf("append entry %s: %w", e.ID, err)
	}
	if m.down {
		return purge.Position{}, fmt.Errorf("append entry %s: %w", e.ID, ErrUnreachable)
	}
	seq, there := m.ids[e.ID]
	if !there {
		if len(m.raw) > 0 {
			e.Prev = object.HashOf(m.raw[len(m.raw)-1])
		}
		m.raw = append(m.raw, e.Encode())
		seq = m.gone + uint64(len(m.raw))
		m.ids[e.ID] = seq
		m.wake()
	}
	return purge.At(m.region, purge.Mark{Stream: m.stream, Seq: seq, Hash: object.HashOf(m.raw[seq-m.gone-1])}), nil
}

// wake makes followers look again.
func (m *Memory) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// SetReachable makes the log answer, or not: Append fails and followers are silent.
func (m *Memory) SetReachable(up bool) { m.change(func() { m.down = !up }) }

// Compact drops all but the last keep entries.
func (m *Memory) Compact(keep int) {
	m.change(func() {
		n := len(m.raw) - min(keep, len(m.raw))
		m.gone, m.raw = m.gone+uint64(n), slices.Clone(m.raw[n:])
	})
}

// Remake replaces the log by an empty one with another identity.
func (m *Memory) Remake() { m.change(func() { m.stream, m.gone, m.raw = rand.Text(), 0, nil }) }

// Truncate drops all but the first keep entries that are there, as if an old copy of the log had been put back.
func (m *Memory) Truncate(keep int) {
	m.change(func() { m.raw = slices.Clone(m.raw[:min(keep, len(m.raw))]) })
}

// Rewrite replaces the entries by as many others, with the same identity and numbers.
func (m *Memory) Rewrite(with []purge.Entry) {
	m.change(func() { m.gone, m.raw = 0, Chain(with) })
}

// Inject puts bytes at the end that need not be an entry.
func (m *Memory) Inject(b []byte) { m.change(func() { m.raw = append(m.raw, bytes.Clone(b)) }) }

func (m *Memory) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	clear(m.ids)
	for i, b := range m.raw {
		if e, err := purge.DecodeEntry(b); err == nil {
			m.ids[e.ID] = m.gone + uint64(i) + 1
		}
	}
	m.wake()
}

// Chain encodes entries as a log that begins with them stores them.
func Chain(entries []purge.Entry) [][]byte {
	var raw [][]byte
	var prev object.Hash
	for _, e := range entries {
		e.Prev = prev
		b := e.Encode()
		raw, prev = append(raw, b), object.HashOf(b)
	}
	return raw
}

// view is the log as one look at it sees it.
type view struct {
	stream  string
	gone    uint64
	raw     [][]byte
	down    bool
	changed chan struct{}
}

func (m *Memory) look() view {
	m.mu.Lock()
	defer m.mu.Unlock()
	return view{m.stream, m.gone, m.raw, m.down, m.changed} // raw is only ever appended to or replaced
}

// Follow implements purge.Follower. After a Reset it goes on before the oldest entry there is.
func (m *Memory) Follow(ctx context.Context, from purge.Position, s purge.Sink) error {
	f := memoryFollower{region: m.region, sink: s, pos: from}
	f.mark, _ = from.Mark(m.region)
	ticker := m.Clock.NewTicker(m.AskEvery)
	defer ticker.Stop()
	for {
		asked := m.Clock.Now()
		v := m.look()
		if !v.down {
			if err := f.step(ctx, v); err != nil {
				return err
			}
			s.Confirm(asked)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-v.changed:
		case <-ticker.C():
		}
	}
}

type memoryFollower struct {
	region string
	sink   purge.Sink
	pos    purge.Position
	mark   purge.Mark
}

// step brings the sink to the end of v.
func (f *memoryFollower) step(ctx context.Context, v view) error {
	if why := f.gap(v); why != "" {
		if err := f.reset(purge.Mark{Stream: v.stream, Seq: v.gone}, why); err != nil {
			return err
		}
	}
	f.moveTo(purge.Mark{Stream: v.stream, Seq: f.mark.Seq, Hash: f.mark.Hash})
	for _, b := range v.raw[f.mark.Seq-v.gone:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.take(b); err != nil {
			return err
		}
	}
	return nil
}

// gap says why v does not continue from f.mark, or "".
func (f *memoryFollower) gap(v view) string {
	end := v.gone + uint64(len(v.raw))
	switch {
	case f.mark.Stream != "" && f.mark.Stream != v.stream:
		return "the stream was made anew"
	case f.mark.Seq < v.gone:
		return fmt.Sprintf("the log begins after %d, and we are at %d", v.gone, f.mark.Seq)
	case f.mark.Seq > end:
		return fmt.Sprintf("the log ends at %d, before %d", end, f.mark.Seq)
	case f.mark.Seq > v.gone && !f.mark.Hash.IsZero() && object.HashOf(v.raw[f.mark.Seq-v.gone-1]) != f.mark.Hash:
		return fmt.Sprintf("entry %d is not the one we applied", f.mark.Seq)
	}
	return ""
}

// take handles the bytes that follow f.mark.
func (f *memoryFollower) take(b []byte) error {
	next := purge.Mark{Stream: f.mark.Stream, Seq: f.mark.Seq + 1, Hash: object.HashOf(b)}
	e, err := purge.DecodeEntry(b)
	if err != nil {
		return f.reset(next, fmt.Sprintf("message %d is no entry: %v", next.Seq, err))
	}
	if known := !f.mark.Hash.IsZero() || f.mark.Seq == 0; known && e.Prev != f.mark.Hash {
		before := purge.Mark{Stream: f.mark.Stream, Seq: f.mark.Seq, Hash: e.Prev}
		if err := f.reset(before, fmt.Sprintf("entry %d follows another entry than the one we applied", next.Seq)); err != nil {
			return err
		}
	}
	f.moveTo(next)
	return f.sink.Apply(purge.Record{Entry: *e, Position: f.pos})
}

func (f *memoryFollower) reset(to purge.Mark, why string) error {
	f.moveTo(to)
	return f.sink.Reset(f.pos, fmt.Errorf("%w: %s", purge.ErrGap, why))
}

func (f *memoryFollower) moveTo(m purge.Mark) {
	f.mark = m
	f.pos = f.pos.With(f.region, m)
}

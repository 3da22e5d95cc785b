package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"perigee/clock"
	"perigee/durable"
)

// MaxNodes is how many nodes a Board keeps; reports of further ones are refused.
const MaxNodes = 10_000

// ErrFull says that a Board has MaxNodes nodes.
var ErrFull = errors.New("the board has no room for another node: forget one that is gone")

// Board collects reports. Its methods are safe for concurrent use.
type Board struct {
	clock clock.Clock
	snap  atomic.Pointer[Snapshot]

	log  *slog.Logger
	self string

	mu     sync.Mutex
	nodes  map[string]*Node
	flaps  map[string]*flaps
	frozen freezing
	gen    uint64
	dirty  bool // nodes or frozen have changed since the last Snapshot
	steers bool // in a way that steering reads
	// changed is closed and replaced with each new Snapshot.
	changed chan struct{}
}

// BoardConfig says what a Board works with.
type BoardConfig struct {
	// Self is the name of the node whose view this is: that it hears itself is no news. "" when it does not report.
	Self  string
	Clock clock.Clock
	Log   *slog.Logger // tells of freezes; nil for none
}

// NewBoard returns an empty Board of nobody in particular. It starts nothing: Run ages the nodes.
func NewBoard(c clock.Clock) *Board { return NewBoardOf(BoardConfig{Clock: c}) }

// NewBoardOf returns an empty Board. It starts nothing: Run ages the nodes.
func NewBoardOf(cfg BoardConfig) *Board {
	b := &Board{clock: cfg.Clock, log: cfg.Log, self: cfg.Self, nodes: map[string]*Node{}, flaps: map[string]*flaps{}, changed: make(chan struct{})}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.snap.Store(&Snapshot{})
	return b
}

// Snapshot returns the fleet as it is now. The caller must not change it.
func (b *Board) Snapshot() *Snapshot { return b.snap.Load() }

// Changed returns a channel that is closed at the next change of the Snapshot. Take the channel first, then the
// Snapshot: a change in between then closes the channel at once.
func (b *Board) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// Receive takes in a report. A report older than the last one of the same boot is dropped. Round trips are not kept: they are for who adds them up,
// and prefixes of clients must not get into files and consoles. The error is ErrFull or nil.
func (b *Board) Receive(r *Report) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.nodes[r.Node]
	if old == nil && len(b.nodes) >= MaxNodes {
		return fmt.Errorf("report of %s: %w", r.Node, ErrFull)
	}
	if old != nil && old.Boot == r.Boot && r.Seq <= old.Seq {
		return nil
	}
	n := &Node{Report: *r, Down: r.State == Stopping, Heard: b.clock.Now()}
	n.RTT = nil
	if old != nil {
		n.Unreachable, n.Seen, n.Held = old.Unreachable, old.Seen, old.Held
	}
	thawed := false
	if r.Node != b.self {
		b.frozen.heard = n.Heard
		thawed = b.freeze(func(f *freezing) { f.deaf = false })
	}
	b.set(n)
	if thawed || old == nil || !sameVote(old, n) {
		b.recount()
	}
	b.publish()
	return nil
}

// set replaces a node by what it has become, which is nobody else's yet; b.mu is held.
func (b *Board) set(n *Node) {
	old := b.nodes[n.Node]
	if old != nil && lost(old, n) {
		f := b.flaps[n.Node]
		if f == nil {
			f = &flaps{}
			b.flaps[n.Node] = f
		}
		if f.lost(n, b.clock.Now()); n.Held != nil {
			b.log.Warn("an edge comes and goes and is kept out for a while", "edge", n.Node, "until", n.Held.Until, "why", string(n.fault()))
		}
	}
	b.dirty = true
	b.steers = b.steers || old == nil || steeringDiffers(old, n)
	b.nodes[n.Node] = n
}

// steeringDiffers reports whether a and b would be steered to differently.
func steeringDiffers(a, b *Node) bool {
	return a.Down != b.Down || a.Why() != b.Why() || a.State != b.State || a.Place != b.Place || a.Role != b.Role ||
		!slices.EqualFunc(a.Addrs, b.Addrs, func(x, y netip.AddrPort) bool { return x == y })
}

// Forget removes a node that will not come back, so that proofs no longer wait for it. Unknown names wrap
// fs.ErrNotExist; a node that still reports is refused.
func (b *Board) Forget(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.nodes[name]
	switch {
	case n == nil:
		return fmt.Errorf("forget node %q: %w", name, fs.ErrNotExist)
	case !n.Down:
		return fmt.Errorf("forget node %q: it is still reporting; stop it first", name)
	}
	delete(b.nodes, name)
	delete(b.flaps, name)
	b.dirty, b.steers = true, true
	b.recount()
	b.publish()
	return nil
}

// publish makes a new Snapshot if there is something new; b.mu is held.
func (b *Board) publish() {
	if !b.dirty {
		return
	}
	if b.steers {
		b.gen++
	}
	b.dirty, b.steers = false, false
	s := &Snapshot{Gen: b.gen, Nodes: make([]Node, 0, len(b.nodes))}
	if why := b.frozen.why(); why != "" {
		s.Frozen = &Frozen{Why: why, Since: b.frozen.since}
	}
	for _, name := range slices.Sorted(maps.Keys(b.nodes)) {
		s.Nodes = append(s.Nodes, *b.nodes[name])
	}
	b.snap.Store(s)
	close(b.changed)
	b.changed = make(chan struct{})
}

// Run marks silent nodes as down, and ends holds, until ctx ends.
func (b *Board) Run(ctx context.Context) error {
	t := b.clock.NewTicker(ReportEvery / 5)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
			b.age()
		}
	}
}

// Save writes what the board knows to a file, atomically.
func (b *Board) Save(path string) error {
	data, err := json.Marshal(b.Snapshot())
	if err != nil {
		return fmt.Errorf("save fleet: %w", err)
	}
	if err := durable.ReplaceBytes(path, 0o600, data); err != nil {
		return fmt.Errorf("save fleet: %w", err)
	}
	return nil
}

// Load fills an empty board from a saved file: the nodes are as they were then, and age from now. A missing file
// wraps fs.ErrNotExist; a broken one leaves the board empty.
func (b *Board) Load(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("load fleet: %w", err)
	}
	var s Snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("load fleet from %s: %w", path, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	for i := range s.Nodes {
		n := s.Nodes[i]
		if n.Validate() != nil || len(b.nodes) >= MaxNodes {
			continue
		}
		n.Heard = now
		n.RTT = nil
		b.nodes[n.Node] = &n
	}
	b.gen = max(b.gen, s.Gen)
	b.dirty, b.steers = true, true
	b.publish()
	return nil
}

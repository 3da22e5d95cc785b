package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/durable"
)

// Node is a node as others see it.
type Node struct {
	Report
	// Down is set when the node was silent for DeadAfter or said that it is stopping.
	Down bool `json:"down"`
	// Heard is when its last report arrived, by the board's clock.
	Heard time.Time `json:"heard"`
}

// Fit reports whether new clients may be sent to the node.
func (n *Node) Fit() bool { return !n.Down && n.State == Ready }

// Snapshot is the fleet at one moment, sorted by name. It is immutable.
type Snapshot struct {
	// Gen rises when something that steering reads has changed: membership, fitness, place or addresses.
	Gen   uint64 `json:"gen"`
	Nodes []Node `json:"nodes"`
}

// Edges yields the nodes of RoleEdge, fit or not.
func (s *Snapshot) Edges(yield func(*Node) bool) {
	for i := range s.Nodes {
		if s.Nodes[i].Role == RoleEdge && !yield(&s.Nodes[i]) {
			return
		}
	}
}

// Find returns the node of that name, or nil.
func (s *Snapshot) Find(name string) *Node {
	i, ok := slices.BinarySearchFunc(s.Nodes, name, func(n Node, name string) int { return cmpString(n.Node, name) })
	if !ok {
		return nil
	}
	return &s.Nodes[i]
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// MaxNodes is how many nodes a Board keeps; reports of further ones are refused.
const MaxNodes = 10_000

// ErrFull says that a Board has MaxNodes nodes.
var ErrFull = errors.New("the board has no room for another node: forget one that is gone")

// Board collects reports. Its methods are safe for concurrent use.
type Board struct {
	clock clock.Clock
	snap  atomic.Pointer[Snapshot]

	mu     sync.Mutex
	nodes  map[string]*Node
	frozen bool
	gen    uint64
	// changed is closed and replaced with each new Snapshot.
	changed chan struct{}
}

// NewBoard returns an empty Board. It starts nothing: Run ages the nodes.
func NewBoard(c clock.Clock) *Board {
	b := &Board{clock: c, nodes: map[string]*Node{}, changed: make(chan struct{})}
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

// Receive takes in a report. A report older than the last one of the same boot is dropped. The error is ErrFull or nil.
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
	b.nodes[r.Node] = n
	b.publish(old == nil || steeringDiffers(old, n))
	return nil
}

// steeringDiffers reports whether a and b would be steered to differently.
func steeringDiffers(a, b *Node) bool {
	return a.Down != b.Down || a.State != b.State || a.Place != b.Place || a.Role != b.Role ||
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
	b.publish(true)
	return nil
}

// Freeze stops (true) or resumes ageing. While the board has no bus, silence says nothing about the nodes. After
// it has the bus again every node gets DeadAfter to be heard.
func (b *Board) Freeze(frozen bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.frozen && !frozen {
		now := b.clock.Now()
		for name, n := range b.nodes {
			if !n.Down {
				m := *n
				m.Heard = now
				b.nodes[name] = &m
			}
		}
	}
	b.frozen = frozen
}

// publish makes a new Snapshot; b.mu is held.
func (b *Board) publish(steering bool) {
	if steering {
		b.gen++
	}
	s := &Snapshot{Gen: b.gen, Nodes: make([]Node, 0, len(b.nodes))}
	for _, name := range slices.Sorted(maps.Keys(b.nodes)) {
		s.Nodes = append(s.Nodes, *b.nodes[name])
	}
	b.snap.Store(s)
	close(b.changed)
	b.changed = make(chan struct{})
}

// Run marks silent nodes as down until ctx ends.
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

func (b *Board) age() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.frozen {
		return
	}
	now, died := b.clock.Now(), false
	for name, n := range b.nodes {
		if !n.Down && now.Sub(n.Heard) > DeadAfter {
			m := *n
			m.Down = true
			b.nodes[name] = &m
			died = true
		}
	}
	if died {
		b.publish(true)
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
		b.nodes[n.Node] = &n
	}
	b.gen = max(b.gen, s.Gen)
	b.publish(true)
	return nil
}

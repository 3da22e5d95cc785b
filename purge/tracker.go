package purge

import (
	"sync"
	"time"

	"perigee/clock"
)

// Tracker turns nodes' positions into proofs. The API tells it of every append and of every report; it remembers,
// for a bounded number of recent appends, when each node was first known to have applied it. Times are the
// tracker's own: from the moment the entry was on stable storage to the arrival of the report, so they include the
// report's way and never flatter. It starts nothing; its methods are safe for concurrent use.
type Tracker struct {
	clock clock.Clock
	limit int

	mu      sync.Mutex
	nodes   map[string]Position
	items   map[string]*tracked
	order   []string // ids, oldest first
	changed chan struct{}
}

type tracked struct {
	position Position
	appended time.Time
	applied  map[string]time.Duration
}

// NodeProof says how one node stands to one entry.
type NodeProof struct {
	Node    string
	Applied bool
	// After is the time from the append to the report; zero when unknown, because the node had applied the entry
	// before this tracker heard of it.
	After time.Duration
}

// NewTracker returns a Tracker that remembers the last limit appends.
func NewTracker(c clock.Clock, limit int) *Tracker {
	return &Tracker{clock: c, limit: limit, nodes: map[string]Position{}, items: map[string]*tracked{}, changed: make(chan struct{})}
}

// Appended says that the entry id is in the log just before position, since when.
func (t *Tracker) Appended(id string, position Position, when time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.items[id] != nil {
		return
	}
	it := &tracked{position: position, appended: when, applied: map[string]time.Duration{}}
	for node, p := range t.nodes {
		// A report can overtake the call of Appended: the node applied the entry before we came here.
		if p.Covers(position) {
			it.applied[node] = t.clock.Now().Sub(when)
		}
	}
	t.items[id] = it
	t.order = append(t.order, id)
	if len(t.order) > t.limit {
		delete(t.items, t.order[0])
		t.order = t.order[1:]
	}
	t.wake()
}

// Applied says that node has reported position.
func (t *Tracker) Applied(node string, position Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.nodes[node]; ok && old.Covers(position) && position.Covers(old) {
		return
	}
	t.nodes[node] = position
	now := t.clock.Now()
	for _, it := range t.items {
		if _, done := it.applied[node]; !done && position.Covers(it.position) {
			it.applied[node] = now.Sub(it.appended)
		}
	}
	t.wake()
}

// wake tells those who wait in Changed; t.mu is held.
func (t *Tracker) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Changed returns a channel that is closed when a proof may have changed.
func (t *Tracker) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Proof says for each of nodes whether it has applied everything up to position. id, if the tracker remembers it,
// gives the times. A node never heard of has not applied.
func (t *Tracker) Proof(id string, position Position, nodes []string) []NodeProof {
	t.mu.Lock()
	defer t.mu.Unlock()
	it := t.items[id]
	out := make([]NodeProof, 0, len(nodes))
	for _, n := range nodes {
		p := NodeProof{Node: n}
		at, known := t.nodes[n]
		p.Applied = known && at.Covers(position)
		if it != nil && p.Applied {
			p.After = it.applied[n]
		}
		out = append(out, p)
	}
	return out
}

// Effective reports whether every one of proofs has applied; of none it is false, for nothing is proved.
func Effective(proofs []NodeProof) bool {
	for _, p := range proofs {
		if !p.Applied {
			return false
		}
	}
	return len(proofs) > 0
}

// Position returns where the log has the entry id, if the tracker remembers it.
func (t *Tracker) Position(id string) (Position, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if it := t.items[id]; it != nil {
		return it.position, true
	}
	return Position{}, false
}

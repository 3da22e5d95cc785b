package fleet

import (
	"slices"
	"time"
)

// Unfit is why new clients are not sent to a node: one word, the same in answers, logs, metrics and explain.
type Unfit string

// The reasons, in the order in which they are looked for.
const (
	UnfitDown        Unfit = "down"        // silent for DeadAfter, or gone on purpose
	UnfitDraining    Unfit = "draining"    // serves, but asks for no new clients
	UnfitStarting    Unfit = "starting"    // does not serve yet
	UnfitUnreachable Unfit = "unreachable" // says that it serves, but most probers do not reach it
	UnfitFlapping    Unfit = "flapping"    // serves, but was lost so often that it is kept out for a while
)

// Votes is how many probers reach an edge and how many do not.
type Votes struct {
	Up   int `json:"up"`
	Down int `json:"down"`
}

// Hold says how long an edge that comes and goes is kept out.
type Hold struct {
	Until  time.Time `json:"until"`  // by the board's clock
	Losses int       `json:"losses"` // in the last FlapWindow
	Times  int       `json:"times"`  // holds in a row; each is twice as long as the one before
}

// Node is a node as others see it.
type Node struct {
	Report
	// Down is set when the node was silent for DeadAfter or said that it is stopping.
	Down bool `json:"down"`
	// Heard is when its last report arrived, by the board's clock.
	Heard time.Time `json:"heard"`
	// Unreachable is set when a majority of the probers that have a verdict do not reach the node.
	Unreachable bool `json:"unreachable,omitempty"`
	// Seen is the verdicts behind Unreachable.
	Seen Votes `json:"seen,omitzero"`
	// Held is set while the node is kept out for flapping.
	Held *Hold `json:"held,omitempty"`
}

// Fit reports whether new clients may be sent to the node.
func (n *Node) Fit() bool { return n.Why() == "" }

// Why returns why the node is not fit; "" when it is.
func (n *Node) Why() Unfit {
	w := n.fault()
	if w == "" && n.Held != nil {
		return UnfitFlapping
	}
	return w
}

// fault is Why without what a hold adds.
func (n *Node) fault() Unfit {
	switch {
	case n.Down || n.State == Stopping:
		return UnfitDown
	case n.State == Draining:
		return UnfitDraining
	case n.State != Ready:
		return UnfitStarting
	case n.Unreachable:
		return UnfitUnreachable
	}
	return ""
}

// Snapshot is the fleet at one moment, sorted by name. It is immutable.
type Snapshot struct {
	// Gen rises when something that steering reads has changed: membership, fitness, place or addresses.
	Gen   uint64 `json:"gen"`
	Nodes []Node `json:"nodes"`
	// Frozen is set while the board does not trust what it hears, or does not hear, and keeps its last good view.
	Frozen *Frozen `json:"frozen,omitempty"`
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

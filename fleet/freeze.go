package fleet

import "time"

// FreezeReason says why a board keeps its last good view.
type FreezeReason string

// The reasons. When there are several, the first of this order is shown.
const (
	FrozenNoBus FreezeReason = "no-bus" // there is no connection to the bus
	FrozenDeaf  FreezeReason = "deaf"   // there is one, and nobody else is heard
	FrozenBlind FreezeReason = "blind"  // the node's own probes of all edges failed at once
)

// Frozen says that the view is kept, and since when.
type Frozen struct {
	Why   FreezeReason `json:"why"`
	Since time.Time    `json:"since"` // by the board's clock
}

// quietAfter is how long nobody may be heard when the first node has been silent for DeadAfter: longer, and it is the board that is deaf. Nodes report every
// ReportEvery. When one falls silent, some other was heard within that time; when all do at once, the last one was heard at least DeadAfter - ReportEvery
// before the first is due. This is in the middle of the two.
const quietAfter = DeadAfter / 2

// regret is how far back a board that finds itself blind takes silences back: probes take longer to fail than reports to stay out, so the
// silences that the same fault has caused were judged already.
const regret = 5 * time.Second

// freezing is what keeps a view; see the table in the package comment.
type freezing struct {
	noBus, deaf, blind bool
	since              time.Time // of the first of them
	thawed             time.Time // when the last of them ended
	heard              time.Time // when the last report of another node arrived
}

func (f *freezing) why() FreezeReason {
	switch {
	case f.noBus:
		return FrozenNoBus
	case f.deaf:
		return FrozenDeaf
	case f.blind:
		return FrozenBlind
	}
	return ""
}

// silence is how long a node has had a chance to be heard and was not.
func (f *freezing) silence(n *Node, now time.Time) time.Duration {
	if n.Heard.Before(f.thawed) {
		return now.Sub(f.thawed)
	}
	return now.Sub(n.Heard)
}

// Freeze tells the board that it has lost the bus (true) or has it again. While it has none, silence says nothing about the nodes. After
// it has the bus again every node gets DeadAfter to be heard.
func (b *Board) Freeze(noBus bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.freeze(func(f *freezing) { f.noBus = noBus })
	b.recount()
	b.publish()
}

// Blind tells the board that all probes of this node fail (true) or that one has got through again.
func (b *Board) Blind(blind bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.freeze(func(f *freezing) { f.blind = blind })
	if blind {
		b.takeBack()
	}
	b.recount()
	b.publish()
}

// freeze changes a cause and reports whether the view has begun or ceased to be frozen, or is so for another reason; b.mu is held.
func (b *Board) freeze(change func(*freezing)) bool {
	was, now := b.frozen.why(), b.clock.Now()
	change(&b.frozen)
	is := b.frozen.why()
	if was == is {
		return false
	}
	b.dirty = true
	quiet := b.frozen.heard.IsZero() // at the start, which is frozen until the bus is there
	switch {
	case is == "":
		b.frozen.thawed = now
		if !quiet {
			b.log.Info("the view of the fleet follows the reports again", "frozen_for", now.Sub(b.frozen.since).Round(time.Millisecond))
		}
		return true
	case was == "":
		b.frozen.since = now
	}
	if !quiet {
		b.log.Warn("the view of the fleet is frozen: it stays as it was last known to be", "why", string(is), "since", b.frozen.since)
	}
	return true
}

// takeBack forgives the silences that began with the fault that made the node blind; b.mu is held.
func (b *Board) takeBack() {
	now := b.clock.Now()
	for name, n := range b.nodes {
		if !n.Down || n.State == Stopping || now.Sub(n.Heard) > DeadAfter+regret {
			continue
		}
		m := *n
		m.Down = false
		if f := b.flaps[name]; f != nil && len(f.losses) > 0 && f.losses[len(f.losses)-1].After(n.Heard) {
			f.forgive(&m)
		}
		b.set(&m)
	}
}

// age marks silent nodes as down and ends holds.
func (b *Board) age() {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.publish()
	now := b.clock.Now()
	for _, n := range b.nodes {
		if n.Held != nil && !now.Before(n.Held.Until) {
			m := *n
			m.Held = nil
			b.set(&m)
		}
	}
	if b.frozen.why() != "" {
		return
	}
	var silent []*Node
	others := false
	for _, n := range b.nodes {
		if !n.Down && b.frozen.silence(n, now) > DeadAfter {
			silent = append(silent, n)
			others = others || n.Node != b.self
		}
	}
	if others && now.Sub(b.frozen.heard) > quietAfter {
		b.freeze(func(f *freezing) { f.deaf = true })
		return
	}
	for _, n := range silent {
		m := *n
		m.Down = true
		b.set(&m)
	}
	if len(silent) > 0 {
		b.recount()
	}
}

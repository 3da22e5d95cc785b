package dnsgeo

import (
	"maps"
	"sync/atomic"
	"time"

	"perigee/dnsgeo/steer"
	"perigee/fleet"
)

// steadyAfter is how long nothing may have happened to an edge for it to count as steady, and steadyRoom the share of its capacity that must be free: an edge that is nearly
// full will soon give clients away.
const (
	steadyAfter = 10 * time.Minute
	steadyRoom  = 0.15
)

// steadiness knows which edges are steady: answers with nothing else live longer, so that resolvers ask less often. What has just come, gone or changed, or is about to, is told with the
// shorter TTL, so that clients leave it soon.
type steadiness struct {
	short, long uint32 // TTLs in seconds
	since       map[string]edgeSince
	steady      atomic.Pointer[map[string]bool]
}

// edgeSince is what an edge is, and since when.
type edgeSince struct {
	why  fleet.Unfit
	addr string
	at   time.Time
}

func newSteadiness(short, long uint32) *steadiness {
	s := &steadiness{short: short, long: max(short, long), since: make(map[string]edgeSince)}
	s.steady.Store(&map[string]bool{})
	return s
}

// look takes the fleet of a moment into account. One goroutine calls it.
func (s *steadiness) look(snapshot *fleet.Snapshot, now time.Time) {
	if snapshot == nil || s.long == s.short {
		return
	}
	next, steady := make(map[string]edgeSince, len(snapshot.Nodes)), make(map[string]bool)
	for n := range snapshot.Edges {
		e := edgeSince{why: n.Why(), at: now}
		for _, a := range n.Addrs {
			e.addr += a.String() + " "
		}
		if was, ok := s.since[n.Node]; ok && was.why == e.why && was.addr == e.addr {
			e.at = was.at
		}
		next[n.Node] = e
		if e.why == "" && now.Sub(e.at) >= steadyAfter && (n.Load.Capacity == 0 || n.Load.Headroom >= steadyRoom) {
			steady[n.Node] = true
		}
	}
	s.since = next
	if !maps.Equal(steady, *s.steady.Load()) {
		s.steady.Store(&steady)
	}
}

// ttl returns the TTL in seconds of an answer with these edges.
func (s *steadiness) ttl(edges []*steer.Candidate) uint32 {
	if s.long == s.short {
		return s.short
	}
	steady := *s.steady.Load()
	for _, e := range edges {
		if !steady[e.Name] {
			return s.short
		}
	}
	return s.long
}

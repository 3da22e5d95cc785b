package fleet

// recount judges every edge by the verdicts of the probers; b.mu is held.
//
// A verdict counts while its prober reports, is ready or draining, and is not blind. An edge is unreachable when more probers miss it than reach it, so
// one prober alone decides only where it is the only one. An edge without a verdict is what it says of itself; while the view is frozen it
// stays as it was.
func (b *Board) recount() {
	seen := map[string]Votes{}
	for _, p := range b.nodes {
		if p.Down || p.State != Ready && p.State != Draining || p.Blind || p.Node == b.self && b.frozen.blind {
			continue
		}
		for edge, v := range p.Probes {
			s := seen[edge]
			switch {
			case edge == p.Node: // nobody is a witness of oneself
			case v.Up:
				s.Up++
			default:
				s.Down++
			}
			seen[edge] = s
		}
	}
	frozen := b.frozen.why() != ""
	for name, n := range b.nodes {
		if n.Role != RoleEdge {
			continue
		}
		votes := seen[name]
		unreachable := votes.Down > votes.Up
		if votes == (Votes{}) && frozen {
			continue
		}
		if n.Unreachable != unreachable || n.Seen != votes {
			m := *n
			m.Unreachable, m.Seen = unreachable, votes
			b.set(&m)
		}
	}
}

// sameVote reports whether a and b, two reports of one node, say the same of others.
func sameVote(a, b *Node) bool {
	if a.Down != b.Down || a.State != b.State || a.Blind != b.Blind || len(a.Probes) != len(b.Probes) {
		return false
	}
	for edge, v := range b.Probes {
		if w, ok := a.Probes[edge]; !ok || w.Up != v.Up {
			return false
		}
	}
	return true
}

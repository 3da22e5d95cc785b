package fleet

import (
	"slices"
	"time"
)

// An edge that was lost FlapLosses times within FlapWindow is held: kept out for HoldFirst, and with each further loss for twice as long as before, up to
// HoldMax. After HoldForget without a hold it begins anew. A loss is a change from fit to unfit that the edge did not announce: silence, being
// unreachable, a crash. Draining and stopping in good order are not.
const (
	FlapLosses = 3
	FlapWindow = 5 * time.Minute
	HoldFirst  = 30 * time.Second
	HoldMax    = 10 * time.Minute
	HoldForget = 30 * time.Minute
)

// flaps is the past of one edge.
type flaps struct {
	losses []time.Time // at most FlapLosses, oldest first
	until  time.Time   // end of the last hold
	times  int         // holds in a row
}

// lost notes that n became unfit, and holds it if that happens too often.
func (f *flaps) lost(n *Node, now time.Time) {
	f.losses = append(slices.DeleteFunc(f.losses, func(t time.Time) bool { return now.Sub(t) > FlapWindow }), now)
	if len(f.losses) < FlapLosses {
		return
	}
	f.losses = f.losses[len(f.losses)-FlapLosses:]
	if now.Sub(f.until) > HoldForget {
		f.times = 0
	}
	f.times++
	f.until = now.Add(min(HoldFirst<<min(f.times-1, 10), HoldMax))
	n.Held = &Hold{Until: f.until, Losses: len(f.losses), Times: f.times}
}

// forgive takes the last loss of n back, of which there is one, and the hold that it brought.
func (f *flaps) forgive(n *Node) {
	if len(f.losses) == FlapLosses && n.Held != nil {
		n.Held = nil
		f.times--
		f.until = time.Time{}
	}
	f.losses = f.losses[:len(f.losses)-1]
}

// lost reports whether b is what a, the same node before, should not have become.
func lost(a, b *Node) bool {
	return a.Role == RoleEdge && a.fault() == "" && b.fault() != "" && b.State != Draining && b.State != Stopping
}

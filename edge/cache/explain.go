package cache

import (
	"time"

	"perigee/object"
)

// Vouched returns how long ago the log or the bucket last vouched for a name, and how long that holds. If nobody has since
// the start, ago is the time since then: it is at least as long.
func (e *Engine) Vouched(site *object.SiteRecord, path object.Path, version object.Version) (ago, left time.Duration) {
	k := nameKey{site.Site, path, version}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock.Now()
	if l := e.leaseLeft(now); l > 0 {
		return now.Sub(e.confirmed), l
	}
	last := e.started
	if e.confirmed.After(last) {
		last = e.confirmed
	}
	n, ok := e.table.names.peek(k)
	if !ok {
		n, ok = e.table.absent.peek(k)
	}
	if ok && !n.confirmed.IsZero() {
		left = max(0, e.jittered(k)-now.Sub(n.confirmed))
		if n.confirmed.After(last) {
			last = n.confirmed
		}
	}
	return now.Sub(last), left
}

// Explanation says what an engine holds for a name and what the next request would be.
type Explanation struct {
	Outcome string          `json:"outcome"` // "hit" or the Forward of a miss
	Reason  Reason          `json:"reason"`
	Pointer *object.Pointer `json:"pointer,omitempty"`
	Blob    string          `json:"blob"` // "ram", "disk", "partly-held", "filling" or "absent"
	Lease   int64           `json:"lease_ms"`
}

// Explain looks without touching: it changes no order, starts no fetch.
func (e *Engine) Explain(site object.Site, path object.Path) Explanation {
	k := nameKey{site: site, path: path}
	e.mu.Lock()
	x := Explanation{Lease: e.leaseLeft(e.clock.Now()).Milliseconds(), Blob: "absent"}
	n := e.glance(k)
	st := good
	if n != nil {
		x.Pointer = n.pointer
		st = e.judge(k, n)
	}
	e.mu.Unlock()
	x.Outcome = "hit"
	switch {
	case n == nil:
		x.Outcome, x.Reason = string(FwdURIMiss), ReasonNotHeld
	case st == hard || st == soft:
		x.Outcome, x.Reason = string(FwdStale), ReasonPurged
	case st == expired:
		x.Outcome, x.Reason = string(FwdStale), ReasonLeaseExpired
	case x.Pointer == nil:
		x.Reason = ReasonAbsent
	case x.Pointer.State == object.Gone:
		x.Reason = ReasonDeleted
	}
	if x.Pointer == nil || x.Pointer.State != object.Live {
		return x
	}
	held := e.Held(x.Pointer)
	if held.Reason != ReasonNotHeld {
		x.Blob = string(held.Reason)
	}
	if x.Reason == "" {
		x.Reason = held.Reason
		if !held.Hit() {
			x.Outcome = string(held.Fwd)
		}
	}
	return x
}

// glance is recall that leaves no trace. e.mu is held.
func (e *Engine) glance(k nameKey) *name {
	if n, ok := e.table.names.peek(k); ok {
		return n
	}
	if n, ok := e.table.absent.peek(k); ok {
		return n
	}
	key := e.storeKey(k)
	ref, ok := e.store.Find(key)
	if !ok {
		return nil
	}
	s, err := e.readName(key, ref, k)
	if err != nil {
		return nil
	}
	return &name{pointer: s.pointer, checked: s.checked, purged: s.purged}
}

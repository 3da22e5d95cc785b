package purgetest

import (
	"testing"

	"perigee/purge"
)

// testResets checks that a follower is told when the log does not continue from its position, and that it goes on
// with what is appended afterwards.
func testResets(t *testing.T, fresh func(*testing.T) *Harness, live bool) {
	for _, c := range []struct {
		name string
		harm func(h *Harness)
	}{
		{name: "made anew", harm: func(h *Harness) { h.Remake() }},
		{name: "shorter", harm: func(h *Harness) { h.Truncate(4) }},
		{name: "empty", harm: func(h *Harness) { h.Truncate(0) }},
		{name: "rewritten", harm: func(h *Harness) { h.Rewrite(entries("other", 10)) }},
		{name: "rewritten and longer", harm: func(h *Harness) { h.Rewrite(entries("other", 15)) }},
		{name: "foreign bytes", harm: func(h *Harness) { h.Inject([]byte("not an entry")) }},
		{name: "broken chain", harm: func(h *Harness) { e := NewEntry("unchained"); h.Inject(e.Encode()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fresh(t)
			pos := h.mustAppend(t, entries("a", 10)...)
			r := newRecorder(t, h)
			if live {
				r.follow(purge.Position{})
				r.waitFor(pos[9])
				r.wait("a Confirm", func() bool { return len(r.confirms) > 0 })
				c.harm(h)
			} else {
				c.harm(h)
				r.follow(pos[9])
			}
			r.wait("Reset", func() bool { return len(r.resets) > 0 })
			now := h.Clock.Now()
			last := h.appendAfter(t, NewEntry("after"))
			r.waitFor(last)
			r.wait("a Confirm", func() bool { return r.confirms[len(r.confirms)-1].After(now) })
			if got := r.ids(0); got[len(got)-1] != "after" {
				t.Errorf("applied %v, want the new entry last", got)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			// A writer that notices the loss of what it wrote may give the log a new identity on top.
			if len(r.resets) > 2 {
				t.Errorf("%d resets: %v", len(r.resets), r.resets)
			}
		})
	}
}

// testCompactedPast: entry 5 were dropped before the follower came back.
func testCompactedPast(t *testing.T, h *Harness) {
	pos := h.mustAppend(t, entries("a", 10)...)
	h.Compact(4)
	r := newRecorder(t, h)
	r.follow(pos[4])
	r.waitFor(pos[9])
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.resets) != 1 || r.resets[0].at != 0 {
		t.Errorf("resets %v, want one before everything", r.resets)
	}
}

// testHarmlessCompaction: what was dropped had been applied.
func testHarmlessCompaction(t *testing.T, h *Harness) {
	pos := h.mustAppend(t, entries("a", 10)...)
	live := newRecorder(t, h)
	live.follow(pos[9])
	live.wait("a Confirm", func() bool { return len(live.confirms) > 0 })
	h.Compact(4) // leaves 6 to 9
	edge := newRecorder(t, h)
	edge.follow(pos[5])
	edge.waitFor(pos[9])
	edge.noReset()
	last := h.mustAppend(t, NewEntry("b"))[0]
	for _, r := range []*Recorder{live, edge} {
		r.waitFor(last)
		r.noReset()
	}
}

// testCompactedStart: a follower that has seen nothing cannot have seen what was dropped.
func testCompactedStart(t *testing.T, h *Harness) {
	pos := h.mustAppend(t, entries("a", 10)...)
	h.Compact(3)
	r := newRecorder(t, h)
	r.follow(purge.Position{})
	r.waitFor(pos[9])
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.resets) != 1 || r.resets[0].at != 0 {
		t.Errorf("resets %v, want one before everything", r.resets)
	}
}

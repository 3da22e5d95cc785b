package purgetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"perigee/object"
	"perigee/purge"
)

// Suite checks everything that package purge promises of a log. fresh returns an unused, empty log for each test, and uses
// t.Cleanup to take it down.
func Suite(t *testing.T, fresh func(t *testing.T) *Harness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *Harness)
	}{
		{"Order", testOrder},
		{"Live", testLive},
		{"Resume", testResume},
		{"Regions", testRegions},
		{"Chain", testChain},
		{"AppendAgain", testAppendAgain},
		{"AppendBad", testAppendBad},
		{"TwoAppenders", testTwoAppenders},
		{"Concurrent", testConcurrent},
		{"Confirm", testConfirm},
		{"Interrupted", testInterrupted},
		{"StartsUnreachable", testStartsUnreachable},
		{"SinkFails", testSinkFails},
		{"ContextEnds", testContextEnds},
		{"NoResetAfterCompaction", testHarmlessCompaction},
		{"CompactedStart", testCompactedStart},
		{"CompactedPast", testCompactedPast},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, fresh(t)) })
	}
	t.Run("ResetAtStart", func(t *testing.T) { testResets(t, fresh, false) })
	t.Run("ResetLive", func(t *testing.T) { testResets(t, fresh, true) })
}

func testOrder(t *testing.T, h *Harness) {
	list := entries("a", 300)
	last := h.mustAppend(t, list...)[299]
	r := newRecorder(t, h)
	r.follow(purge.Position{})
	r.waitFor(last)
	r.noReset()
	var want []string
	for _, e := range list {
		want = append(want, e.ID)
	}
	if got := r.ids(0); !slices.Equal(got, want) {
		t.Errorf("applied %v", got)
	}
}

func testLive(t *testing.T, h *Harness) {
	var followers []*Recorder
	for range 3 {
		r := newRecorder(t, h)
		r.follow(purge.Position{})
		followers = append(followers, r)
	}
	for _, r := range followers {
		r.wait("a Confirm of the empty log", func() bool { return len(r.confirms) > 0 })
	}
	pos := h.mustAppend(t, entries("a", 50)...)
	for _, r := range followers {
		r.waitFor(pos[49])
		r.noReset()
		if n := len(r.ids(0)); n != 50 {
			t.Errorf("applied %d entries, want 50", n)
		}
	}
}

func testResume(t *testing.T, h *Harness) {
	pos := h.mustAppend(t, entries("a", 20)...)
	for _, at := range []int{0, 9, 19} {
		r := newRecorder(t, h)
		stop := r.follow(pos[at])
		r.waitFor(pos[19])
		r.wait("a Confirm", func() bool { return len(r.confirms) > 0 })
		stop()
		r.noReset()
		if got := len(r.ids(0)); got != 19-at {
			t.Errorf("from entry %d: applied %d entries, want %d", at, got, 19-at)
		}
	}
	// A position goes through a file as text.
	p, err := purge.ParsePosition(pos[5].String())
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder(t, h)
	r.follow(p)
	r.waitFor(pos[19])
	r.noReset()
	if got := r.ids(0); len(got) == 0 || got[0] != "a-6" {
		t.Errorf("applied %v, want a-6 first", got)
	}
}

func testRegions(t *testing.T, h *Harness) {
	pos := h.mustAppend(t, entries("a", 2)...)
	other := purge.Mark{Stream: "elsewhere", Seq: 7}
	r := newRecorder(t, h)
	r.follow(pos[0].With("other-region", other))
	r.waitFor(pos[1])
	r.noReset()
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, _ := r.pos.Mark("other-region"); m != other {
		t.Errorf("the mark of another region became %+v, want %+v", m, other)
	}
	if !r.pos.Covers(pos[1]) {
		t.Error("having applied an entry does not cover the position that Append returned")
	}
}

func testChain(t *testing.T, h *Harness) {
	list := entries("a", 5)
	list[2].Prev = object.HashOf([]byte("an appender's caller cannot choose this"))
	pos := h.mustAppend(t, list...)
	r := newRecorder(t, h) // checks the chain and each mark
	r.follow(purge.Position{})
	r.waitFor(pos[4])
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, rec := range r.records {
		if rec.Position.String() != pos[i].String() {
			t.Errorf("entry %s: applied at %s, appended at %s", rec.ID, rec.Position, pos[i])
		}
		if m := h.mark(t, pos[i]); m.Seq != uint64(i)+1 {
			t.Errorf("entry %s: sequence %d, want %d", rec.ID, m.Seq, i+1)
		}
	}
}

func testAppendAgain(t *testing.T, h *Harness) {
	list := entries("a", 10)
	list[4].ID = "row 4/with.dots>and*ünusual = characters"
	pos := h.mustAppend(t, list...)
	for _, i := range []int{9, 0, 4} {
		e := list[i]
		e.Soft = !e.Soft // the entry that is in the log stays as it is
		for name, a := range map[string]purge.Appender{"the same": h.Appender, "another": h.Second} {
			p, err := a.Append(t.Context(), e)
			if err != nil || p.String() != pos[i].String() {
				t.Errorf("Append(%s) again by %s appender: %s, %v, want %s", e.ID, name, p, err, pos[i])
			}
		}
	}
	last := h.mustAppend(t, NewEntry("b"))[0]
	if m := h.mark(t, last); m.Seq != 11 {
		t.Errorf("the next entry has sequence %d, want 11", m.Seq)
	}
	r := newRecorder(t, h)
	r.follow(purge.Position{})
	r.waitFor(last)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, rec := range r.records {
		if rec.Soft || i < 10 && rec.ID != list[i].ID {
			t.Errorf("entry %d is %s, soft %v", i, rec.ID, rec.Soft)
		}
	}
}

func testAppendBad(t *testing.T, h *Harness) {
	for name, e := range map[string]purge.Entry{
		"empty": {},
		"no ID": func() purge.Entry { e := NewEntry("x"); e.ID = ""; return e }(),
		"kind":  func() purge.Entry { e := NewEntry("x"); e.Kind = "unheard-of"; return e }(),
	} {
		if p, err := h.Appender.Append(t.Context(), e); !errors.Is(err, object.ErrInvalid) || !p.IsZero() {
			t.Errorf("%s: %s, %v, want ErrInvalid", name, p, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Appender.Append(ctx, NewEntry("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	if m := h.mark(t, h.mustAppend(t, NewEntry("good"))[0]); m.Seq != 1 {
		t.Errorf("the first good entry has sequence %d, want 1", m.Seq)
	}
}

func testTwoAppenders(t *testing.T, h *Harness) {
	for i := range 5 {
		for j, a := range []purge.Appender{h.Appender, h.Second} {
			id := fmt.Sprintf("%d-%d", i, j)
			p, err := a.Append(t.Context(), NewEntry(id))
			if err != nil {
				t.Logf("appender %d was told: %v", j, err) // allowed, if nothing is lost or doubled
				p = h.appendAfter(t, NewEntry(id))
			}
			if m := h.mark(t, p); m.Seq != uint64(2*i+j+1) {
				t.Errorf("entry %s has sequence %d, want %d", id, m.Seq, 2*i+j+1)
			}
		}
	}
	last := h.mustAppend(t, NewEntry("last"))[0]
	r := newRecorder(t, h)
	r.follow(purge.Position{})
	r.waitFor(last)
	r.noReset()
}

func testConcurrent(t *testing.T, h *Harness) {
	r := newRecorder(t, h)
	r.follow(purge.Position{})
	const writers, each = 8, 15
	var mu sync.Mutex
	acked := map[string]purge.Position{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			a := h.Appender
			if w%2 == 1 {
				a = h.Second
			}
			for i := range each {
				id := fmt.Sprintf("%d-%d", w/2, i) // every ID is appended by two goroutines, one of each appender
				p, err := a.Append(t.Context(), NewEntry(id))
				if err != nil {
					continue
				}
				r.ack(id)
				mu.Lock()
				if had, ok := acked[id]; ok && had.String() != p.String() {
					t.Errorf("entry %s is at %s and at %s", id, had, p)
				}
				acked[id] = p
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(acked) < writers/2*each/2 {
		t.Errorf("only %d of %d entries were acknowledged", len(acked), writers/2*each)
	}
	r.waitFor(h.appendAfter(t, NewEntry("last")))
	r.noReset()
	at := map[string]purge.Position{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.records {
		if _, twice := at[rec.ID]; twice {
			t.Errorf("entry %s is in the log twice", rec.ID)
		}
		at[rec.ID] = rec.Position
	}
	for id, p := range acked {
		if at[id].String() != p.String() {
			t.Errorf("entry %s was acknowledged at %s and is at %s", id, p, at[id])
		}
	}
}

func testConfirm(t *testing.T, h *Harness) {
	r := newRecorder(t, h)
	r.follow(purge.Position{})
	// What a Confirm promises is checked by the recorder, against what ack says; here, that it comes again and again.
	for i := range 5 {
		id := fmt.Sprintf("a-%d", i)
		h.mustAppend(t, NewEntry(id))
		r.ack(id)
		now := h.Clock.Now()
		r.wait("a Confirm asked for after the entry", func() bool {
			return len(r.confirms) > 0 && r.confirms[len(r.confirms)-1].After(now)
		})
	}
	r.noReset()
}

func testInterrupted(t *testing.T, h *Harness) {
	r := newRecorder(t, h)
	r.follow(purge.Position{})
	before := h.mustAppend(t, entries("before", 10)...)
	r.waitFor(before[9])
	r.wait("a Confirm", func() bool { return len(r.confirms) > 0 })

	restore := h.Interrupt()
	from := h.Clock.Now()
	ctx, cancel := context.WithTimeout(t.Context(), h.Watch)
	if _, err := h.Appender.Append(ctx, NewEntry("during")); err == nil {
		t.Error("Append to a log that cannot be reached: no error")
	}
	<-ctx.Done() // nothing must happen for this long
	cancel()
	to := h.Clock.Now()
	restore()

	p := h.appendAfter(t, NewEntry("during"))
	last := h.mustAppend(t, entries("after", 10)...)[9]
	r.waitFor(last)
	r.wait("a Confirm after the log came back", func() bool { return r.confirms[len(r.confirms)-1].After(to) })
	r.noReset()
	if m := h.mark(t, p); m.Seq != 11 {
		t.Errorf("the entry whose first Append failed has sequence %d, want 11", m.Seq)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, asked := range r.confirms {
		if asked.After(from) && asked.Before(to) {
			t.Errorf("confirmed at %v; the log could not be reached from %v to %v", asked, from, to)
		}
	}
}

func testStartsUnreachable(t *testing.T, h *Harness) {
	pos := h.mustAppend(t, entries("a", 3)...)
	restore := h.Interrupt()
	r := newRecorder(t, h)
	r.follow(pos[0])
	time.Sleep(h.Watch)
	r.mu.Lock()
	if len(r.records)+len(r.resets)+len(r.confirms) > 0 {
		t.Errorf("not silent: %d applied, %d resets, %d confirms", len(r.records), len(r.resets), len(r.confirms))
	}
	r.mu.Unlock()
	restore()
	r.waitFor(pos[2])
	r.noReset()
}

func testSinkFails(t *testing.T, h *Harness) {
	pos := h.mustAppend(t, entries("a", 5)...)
	broken := errors.New("the disk is full")
	r := newRecorder(t, h)
	r.onApply = func(rec purge.Record) error {
		if rec.ID == "a-2" {
			return broken
		}
		return nil
	}
	if err := h.Follower.Follow(t.Context(), purge.Position{}, r); !errors.Is(err, broken) {
		t.Errorf("Apply fails: Follow returns %v", err)
	}
	if got := r.ids(0); len(got) != 3 {
		t.Errorf("applied %v, want nothing after a-2", got)
	}
	r = newRecorder(t, h)
	r.onReset = func() error { return broken }
	m := h.mark(t, pos[4])
	m.Seq += 100
	if err := h.Follower.Follow(t.Context(), purge.At(h.Region, m), r); !errors.Is(err, broken) {
		t.Errorf("Reset fails: Follow returns %v", err)
	}
}

func testContextEnds(t *testing.T, h *Harness) {
	for _, interrupted := range []bool{false, true} {
		r := newRecorder(t, h)
		if interrupted {
			defer h.Interrupt()()
		}
		stop := r.follow(purge.Position{})
		if !interrupted {
			r.wait("a Confirm", func() bool { return len(r.confirms) > 0 })
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted %v: Follow returns %v", interrupted, err)
		}
		n := len(r.confirms)
		time.Sleep(h.Watch / 4)
		if r.mu.Lock(); len(r.confirms) != n {
			t.Errorf("interrupted %v: the sink is called after Follow returned", interrupted)
		}
		r.mu.Unlock()
	}
}

package purgetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/purge"
)

// Harness is an empty log under test, and the means to hurt it. Its functions fail the test themselves and return when
// the damage is done; all of it must be possible while followers run.
type Harness struct {
	Region string
	// Appender is the log's writer, Second another one that has the same right to write, as if in another process.
	Appender, Second purge.Appender
	Follower         purge.Follower
	Clock            clock.Clock
	// Watch is how long the suite looks on to see that nothing happens: several times as long as a follower takes
	// from one Confirm to the next.
	Watch time.Duration

	Interrupt func() (restore func())     // makes the log unreachable, and reachable again
	Compact   func(keep int)              // drops all but the last keep entries
	Remake    func()                      // replaces the log by an empty one
	Truncate  func(keep int)              // drops all but the first keep entries; the log's identity stays
	Rewrite   func(entries []purge.Entry) // replaces all entries by these; the log's identity stays
	Inject    func(b []byte)              // puts bytes at the end that need not be an entry
}

// patience is how long an event that must happen is waited for. It never decides a test that passes.
const patience = 30 * time.Second

// NewEntry returns a valid entry with this ID.
func NewEntry(id string) purge.Entry {
	return purge.Entry{
		Format: 1, ID: id, Kind: purge.KindURL, Site: "www", Path: object.Path("/file/" + object.HashOf([]byte(id)).String()),
		At: time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC),
	}
}

// entries returns n entries with IDs made of a name and a number from 0.
func entries(name string, n int) []purge.Entry {
	var out []purge.Entry
	for i := range n {
		out = append(out, NewEntry(fmt.Sprintf("%s-%d", name, i)))
	}
	return out
}

// mustAppend appends and returns the positions.
func (h *Harness) mustAppend(t *testing.T, list ...purge.Entry) []purge.Position {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out []purge.Position
	for _, e := range list {
		p, err := h.Appender.Append(ctx, e)
		if err != nil {
			t.Fatalf("Append(%s): %v", e.ID, err)
		}
		out = append(out, p)
	}
	return out
}

// appendAfter appends e to a log that was unreachable a moment ago: errors are allowed for some time.
func (h *Harness) appendAfter(t *testing.T, e purge.Entry) purge.Position {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		p, err := h.Appender.Append(t.Context(), e)
		if err == nil {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("Append(%s) long after the log came back: %v", e.ID, err)
		}
	}
}

// mark returns the mark of p in the harness's region, which must be there.
func (h *Harness) mark(t *testing.T, p purge.Position) purge.Mark {
	t.Helper()
	m, ok := p.Mark(h.Region)
	if !ok || m.Stream == "" {
		t.Fatalf("position %q has no mark of region %s", p, h.Region)
	}
	return m
}

// reset is a call of Reset.
type reset struct {
	to  purge.Position
	why error
	at  int // how many records had been applied
}

// Recorder is a sink that writes everything down and checks what holds of every follower: calls one at a time,
// sequences without gaps and an unbroken chain between resets.
type Recorder struct {
	t *testing.T
	h *Harness

	// onApply and onReset, if set, say what those calls return.
	onApply func(purge.Record) error
	onReset func() error

	inside atomic.Bool

	mu       sync.Mutex
	pos      purge.Position
	records  []purge.Record
	resets   []reset
	confirms []time.Time
	acked    map[string]time.Time // entries that were appended, and when that was known
}

func newRecorder(t *testing.T, h *Harness) *Recorder {
	return &Recorder{t: t, h: h, acked: map[string]time.Time{}}
}

func (r *Recorder) enter() (leave func()) {
	if !r.inside.CompareAndSwap(false, true) {
		r.t.Error("the sink was called while a call was under way")
	}
	r.mu.Lock()
	return func() { r.mu.Unlock(); r.inside.Store(false) }
}

// Apply implements purge.Sink.
func (r *Recorder) Apply(rec purge.Record) error {
	defer r.enter()()
	was, _ := r.pos.Mark(r.h.Region)
	is, ok := rec.Position.Mark(r.h.Region)
	switch {
	case !ok || is.Stream == "" || is.Hash != object.HashOf(rec.Entry.Encode()):
		r.t.Errorf("entry %s: mark %+v is not its own", rec.ID, is)
	case was.Stream != "" && is.Stream != was.Stream:
		r.t.Errorf("entry %s: stream %s after %s without Reset", rec.ID, is.Stream, was.Stream)
	case is.Seq != was.Seq+1:
		r.t.Errorf("entry %s: sequence %d after %d", rec.ID, is.Seq, was.Seq)
	case rec.Prev != was.Hash && (was.Seq == 0 || !was.Hash.IsZero()):
		r.t.Errorf("entry %s: it follows %s, the one before is %s", rec.ID, rec.Prev, was.Hash)
	}
	r.pos = rec.Position
	r.records = append(r.records, rec)
	if r.onApply != nil {
		return r.onApply(rec)
	}
	return nil
}

// Reset implements purge.Sink.
func (r *Recorder) Reset(to purge.Position, why error) error {
	defer r.enter()()
	if !errors.Is(why, purge.ErrGap) {
		r.t.Errorf("Reset with %v, which is no ErrGap", why)
	}
	r.pos = to
	r.resets = append(r.resets, reset{to, why, len(r.records)})
	if r.onReset != nil {
		return r.onReset()
	}
	return nil
}

// Confirm implements purge.Sink.
func (r *Recorder) Confirm(asked time.Time) {
	defer r.enter()()
	if now := r.h.Clock.Now(); asked.After(now) {
		r.t.Errorf("Confirm says %v, and it is %v", asked, now)
	}
	if n := len(r.confirms); n > 0 && asked.Before(r.confirms[n-1]) {
		r.t.Errorf("Confirm says %v after %v", asked, r.confirms[n-1])
	}
	if len(r.resets) == 0 {
		applied := map[string]bool{}
		for _, rec := range r.records {
			applied[rec.ID] = true
		}
		for id, at := range r.acked {
			if at.Before(asked) && !applied[id] {
				r.t.Errorf("Confirm says %v, and entry %s, in the log since %v, has not been applied", asked, id, at)
			}
		}
	}
	r.confirms = append(r.confirms, asked)
}

// ack notes that an entry is in the log as of now.
func (r *Recorder) ack(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked[id] = r.h.Clock.Now()
}

// follow runs Follow from a position. stop ends it and returns its error.
func (r *Recorder) follow(from purge.Position) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	r.mu.Lock()
	r.pos = from
	r.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- r.h.Follower.Follow(ctx, from, r) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.New("Follow does not return")
		}
	})
	r.t.Cleanup(func() { stop() })
	return stop
}

// wait waits until ok, which is called with the recorder locked.
func (r *Recorder) wait(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		done := ok()
		state := fmt.Sprintf("%d applied, %d resets, %d confirms", len(r.records), len(r.resets), len(r.confirms))
		r.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain for %s: %s", what, state)
		}
	}
}

// waitFor waits until the sink stands where p says.
func (r *Recorder) waitFor(p purge.Position) {
	r.t.Helper()
	m := r.h.mark(r.t, p)
	r.wait("position "+fmt.Sprint(m.Seq), func() bool {
		at, _ := r.pos.Mark(r.h.Region)
		return at.Stream == m.Stream && at.Seq == m.Seq
	})
}

// ids returns the IDs applied so far, from the n-th on.
func (r *Recorder) ids(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, rec := range r.records[n:] {
		out = append(out, rec.ID)
	}
	return out
}

func (r *Recorder) noReset() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.resets {
		r.t.Errorf("Reset for no reason: %v", x.why)
	}
}

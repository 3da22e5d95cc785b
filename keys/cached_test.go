package keys

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// moody is a store that answers, fails or hangs as the test says.
type moody struct {
	*FileStore
	fails   atomic.Bool
	loading atomic.Bool // only Load fails
	hangs   atomic.Pointer[chan struct{}]
	asked   atomic.Int32
}

func (m *moody) Stamp(ctx context.Context) (string, error) {
	m.asked.Add(1)
	if m.fails.Load() {
		return "", errors.New("the database is away")
	}
	if ch := m.hangs.Load(); ch != nil {
		<-*ch
	}
	return m.FileStore.Stamp(ctx)
}

func (m *moody) Load(ctx context.Context) ([]json.RawMessage, error) {
	if m.loading.Load() {
		return nil, errors.New("the database is away")
	}
	return m.FileStore.Load(ctx)
}

func moodyRing(t *testing.T, stale time.Duration) (*moody, *Ring, *handClock) {
	t.Helper()
	m, c := &moody{FileStore: NewFileStore(filepath.Join(t.TempDir(), "k"))}, newHandClock()
	return m, openRing(t, Config{Store: m, Clock: c, Stale: stale}), c
}

// TestKeysEndWithTheirStore: who cannot ask whether a key was revoked lets it in for Stale and no longer, and again when the store is back.
func TestKeysEndWithTheirStore(t *testing.T) {
	m, r, c := moodyRing(t, time.Minute)
	key, k := create(t, r, ScopeRead)
	check := func(want error) {
		t.Helper()
		if _, err := r.Check(key); !errors.Is(err, want) {
			t.Errorf("Check: %v, want %v", err, want)
		}
		if _, err := r.find(k.ID); !errors.Is(err, want) {
			t.Errorf("find: %v, want %v", err, want)
		}
		if r.Empty() {
			t.Error("the ring emptied itself")
		}
	}
	check(nil)
	for _, broken := range []*atomic.Bool{&m.fails, &m.loading} {
		broken.Store(true)
		if err := NewFileStore(m.file).Add(t.Context(), "x", json.RawMessage(`{"id":"x"}`), 10); err != nil { // so that it has to be loaded
			t.Fatal(err)
		}
		for range 60 {
			c.advance(time.Second)
			check(nil)
		}
		c.advance(time.Second)
		check(ErrUnsure)
		if err := NewFileStore(m.file).Remove(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		broken.Store(false)
		c.advance(time.Second)
		check(nil)
	}
}

// TestUnsureInMidRequest: a request that takes long is told that its key cannot be checked now, and not that it was refused.
func TestUnsureInMidRequest(t *testing.T) {
	m, r, c := moodyRing(t, time.Minute)
	key, k := create(t, r, ScopePublish)
	console := newConsole(t, consoleAddr, "", r, c)
	during := func(what func()) *http.Response {
		console.handler = console.Wrap(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			what()
			if err := Check(req.Context(), ScopePublish); err != nil {
				WriteProblem(w, err.(*Denied))
			}
		}))
		return console.ask("PUT", "/x", "", "Authorization", "Bearer "+key)
	}
	res := during(func() {
		m.fails.Store(true)
		for range 62 {
			c.advance(time.Second)
			r.Sure()
		}
	})
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("while the store is away: %s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
	}
	m.fails.Store(false)
	c.advance(time.Second)
	if res := during(func() {}); res.StatusCode != 200 {
		t.Errorf("when it is back: %s", res.Status)
	}
	res = during(func() {
		if err := r.Revoke(t.Context(), k.ID); err != nil {
			t.Error(err)
		}
	})
	if res.StatusCode != 401 {
		t.Errorf("revoked meanwhile: %s", res.Status)
	}
}

// TestNobodyWaitsForAnotherLook: while one request waits for a slow store the others go on with what is known, but not with what is old.
func TestNobodyWaitsForAnotherLook(t *testing.T) {
	m, r, c := moodyRing(t, 0)
	key, _ := create(t, r, ScopeRead)
	r.Empty()
	ch := make(chan struct{})
	m.hangs.Store(&ch)
	before := m.asked.Load()
	c.advance(lookEvery)
	first := make(chan error)
	go func() { _, err := r.Check(key); first <- err }()
	for m.asked.Load() == before {
		time.Sleep(time.Millisecond)
	}
	if _, err := r.Check(key); err != nil { // does not wait
		t.Error(err)
	}
	c.advance(lookEvery + loadTime)
	late := make(chan error, 1)
	go func() { _, err := r.Check(key); late <- err }()
	if err := NewFileStore(m.file).Remove(t.Context(), key[3:13]); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-late:
		t.Errorf("let in by what is old: %v", err)
	case <-time.After(50 * time.Millisecond): // only a broken ring needs it
	}
	close(ch)
	if err := <-first; !errors.Is(err, ErrUnknown) {
		t.Errorf("the first: %v", err)
	}
	if err := <-late; !errors.Is(err, ErrUnknown) {
		t.Errorf("the late one: %v", err)
	}
}

// TestALookDoesNotUndoOnesOwnChange: a look that began before a key was revoked here must not bring it back.
func TestALookDoesNotUndoOnesOwnChange(t *testing.T) {
	m, r, c := moodyRing(t, 0)
	key, k := create(t, r, ScopeRead)
	c.advance(lookEvery)
	began := r.cached
	r.looking = make(chan struct{})
	old, _, err := read(t.Context(), m)
	if err != nil || len(old.list) != 1 {
		t.Fatal(err)
	}
	began.seen = "another one"
	done := make(chan struct{})
	ch := make(chan struct{})
	m.hangs.Store(&ch)
	go func() { r.look(began); close(done) }()
	if err := r.Revoke(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	close(ch)
	<-done
	if _, err := r.Check(key); !errors.Is(err, ErrUnknown) {
		t.Errorf("revoked, and back: %v", err)
	}
}

func TestUsesAreTaken(t *testing.T) {
	_, r, c := moodyRing(t, 0)
	key, k := create(t, r, ScopeRead)
	if len(r.TakeUses()) != 0 {
		t.Error("used before it was")
	}
	if _, err := r.Check(key); err != nil {
		t.Fatal(err)
	}
	r.Check("pk_wrong")
	used := r.TakeUses()
	if at, ok := used[k.ID]; len(used) != 1 || !ok || !at.Equal(c.Now()) {
		t.Errorf("%v", used)
	}
	if len(r.TakeUses()) != 0 {
		t.Error("taken twice")
	}
}

// TestNotesGoWithTheirChange: what is noted of a change is in the file with it, and stays until it is dropped.
func TestNotesGoWithTheirChange(t *testing.T) {
	s := NewFileStore(filepath.Join(t.TempDir(), "k"))
	s.Note = func(_ context.Context, id string, added bool) json.RawMessage {
		b, _ := json.Marshal(map[string]any{"id": id, "added": added})
		return b
	}
	r := openRing(t, Config{Store: s})
	_, k := create(t, r, ScopeRead)
	if err := r.Revoke(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Revoke(t.Context(), k.ID); err == nil {
		t.Error("revoked twice")
	}
	again := NewFileStore(s.file)
	notes, err := again.Notes()
	if err != nil || len(notes) != 2 {
		t.Fatalf("%s, %v", notes, err)
	}
	var n struct {
		ID    string
		Added bool
	}
	if err := json.Unmarshal(notes[1], &n); err != nil || n.ID != k.ID || n.Added {
		t.Errorf("%s", notes[1])
	}
	if err := again.DropNotes(1); err != nil {
		t.Fatal(err)
	}
	if notes, err = s.Notes(); err != nil || len(notes) != 1 {
		t.Errorf("%s, %v", notes, err)
	}
}

func TestImport(t *testing.T) {
	_, from, _ := moodyRing(t, 0)
	key, k := create(t, from, ScopeAdmin)
	_, to, _ := moodyRing(t, 0)
	for _, want := range []int{1, 0} { // the second time it is there
		added, err := to.Import(t.Context(), from.store)
		if err != nil || len(added) != want {
			t.Errorf("%v, %v", added, err)
		}
	}
	if id, err := to.Check(key); err != nil || id.ID != k.ID || !id.May(ScopeAdmin) {
		t.Errorf("%+v, %v", id, err)
	}
}

// Package keystest is the contract of keys.Store as a suite that every place for API keys must pass.
package keystest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"perigee/clock"
	"perigee/keys"
	"perigee/object"
)

// Run runs the suite. open returns a store in a new, empty place, and another one in the same place, as a second
// process has it.
func Run(t *testing.T, open func(t *testing.T) (keys.Store, keys.Store)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, a, b keys.Store)
	}{{"records", testRecords}, {"limits", testLimits}, {"concurrent", testConcurrent}, {"rings", testRings}} {
		t.Run(c.name, func(t *testing.T) {
			a, b := open(t)
			c.test(t, a, b)
		})
	}
}

func record(id string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"id":%q,"name":"ü < %s"}`, id, id))
}

// ids returns the ids of the records, in their order.
func ids(t *testing.T, s keys.Store) (list []string) {
	t.Helper()
	records, err := s.Load(t.Context())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, r := range records {
		var k struct{ ID, Name string }
		if err := json.Unmarshal(r, &k); err != nil || k.Name != "ü < "+k.ID {
			t.Fatalf("record %s: %v", r, err)
		}
		list = append(list, k.ID)
	}
	return list
}

func stamp(t *testing.T, s keys.Store) string {
	t.Helper()
	st, err := s.Stamp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func testRecords(t *testing.T, a, b keys.Store) {
	if got := ids(t, a); len(got) != 0 {
		t.Fatalf("an empty store has %v", got)
	}
	seen := map[string]bool{stamp(t, b): true}
	changed := func(what string) {
		t.Helper()
		if st := stamp(t, b); seen[st] {
			t.Errorf("%s: the stamp is an old one", what)
		} else {
			seen[st] = true
		}
		if stamp(t, a) != stamp(t, b) {
			t.Errorf("%s: two processes see different stamps", what)
		}
	}
	for _, id := range []string{"zz", "aa", "mm"} {
		if err := a.Add(t.Context(), id, record(id), 10); err != nil {
			t.Fatal(err)
		}
		changed("add")
	}
	if got := fmt.Sprint(ids(t, b)); got != "[zz aa mm]" {
		t.Errorf("the other process sees %s", got)
	}
	if err := b.Add(t.Context(), "aa", record("aa"), 10); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an id twice: %v", err)
	}
	if err := b.Remove(t.Context(), "aa"); err != nil {
		t.Fatal(err)
	}
	changed("remove")
	if err := a.Remove(t.Context(), "aa"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	if got := fmt.Sprint(ids(t, a)); got != "[zz mm]" {
		t.Errorf("after the removal %s", got)
	}
}

func testLimits(t *testing.T, a, _ keys.Store) {
	for i := range 3 {
		if err := a.Add(t.Context(), fmt.Sprint(i), record(fmt.Sprint(i)), 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Add(t.Context(), "3", record("3"), 3); err == nil || len(ids(t, a)) != 3 {
		t.Errorf("one too many: %v", err)
	}
}

func testConcurrent(t *testing.T, a, b keys.Store) {
	var wg sync.WaitGroup
	for i, s := range []keys.Store{a, b, a, b} {
		wg.Go(func() {
			for j := range 5 {
				id := fmt.Sprint(i, j)
				if err := s.Add(t.Context(), id, record(id), 100); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(ids(t, b)); n != 20 {
		t.Errorf("%d records, want 20", n)
	}
}

// testRings: what one node makes or revokes, the others know after a second.
func testRings(t *testing.T, a, b keys.Store) {
	now := &hands{Clock: clock.System, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	var rings [2]*keys.Ring
	for i, s := range []keys.Store{a, b} {
		var err error
		if rings[i], err = keys.Open(keys.Config{Store: s, Clock: now}); err != nil {
			t.Fatal(err)
		}
	}
	want := keys.Limits{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/img/"}, MaxFile: 7}
	secret, k, err := rings[0].Create(t.Context(), keys.NewKey{Name: "n", Limits: want})
	if err != nil {
		t.Fatal(err)
	}
	now.advance(time.Second)
	id, err := rings[1].Check(secret)
	if err != nil || id.ID != k.ID || fmt.Sprint(id.Limits) != fmt.Sprint(want) || id.May(keys.ScopePublish) {
		t.Fatalf("the other node knows %+v, %v", id, err)
	}
	if err := rings[0].Revoke(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := rings[0].Check(secret); !errors.Is(err, keys.ErrUnknown) {
		t.Errorf("revoked, and still good here: %v", err)
	}
	now.advance(time.Second)
	if _, err := rings[1].Check(secret); !errors.Is(err, keys.ErrUnknown) {
		t.Errorf("revoked, and still good elsewhere after a second: %v", err)
	}
}

// hands is a clock that a test moves.
type hands struct {
	clock.Clock

	mu  sync.Mutex
	now time.Time
}

// Now implements clock.Clock.
func (h *hands) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hands) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

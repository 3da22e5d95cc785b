package idempotency

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/clock"
	"perigee/keys"
	"perigee/object"
)

// rig is a keeper on a real catalogue, before a handler that counts.
type rig struct {
	*testing.T
	file   string
	cat    *catalog.Catalog
	server http.Handler
	calls  int
	// do is what the handler does; it may be nil.
	do func(w http.ResponseWriter, r *http.Request)
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, file: filepath.Join(t.TempDir(), "c.db")}
	r.open()
	t.Cleanup(func() { r.cat.Close() })
	return r
}

// open is a run of the program.
func (r *rig) open() {
	r.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if r.cat, err = catalog.OpenSQLite(r.Context(), catalog.Config{File: r.file, Clock: clock.System, Log: quiet}); err != nil {
		r.Fatal(err)
	}
	k, err := New(Config{Store: r.cat, Clock: clock.System, Log: quiet})
	if err != nil {
		r.Fatal(err)
	}
	r.server = k.Wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.calls++
		if r.do != nil {
			r.do(w, q)
			return
		}
		body, err := io.ReadAll(q.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "call %d: %s", r.calls, body)
	}))
}

// restart is a crash: what runs is never told the end of it.
func (r *rig) restart() {
	r.Helper()
	if err := r.cat.Close(); err != nil {
		r.Fatal(err)
	}
	r.open()
}

// ask sends a request with an idempotency key, unless that is "", as an API key does.
func (r *rig) ask(method, url, body, key, as string) *httptest.ResponseRecorder {
	q := httptest.NewRequest(method, url, strings.NewReader(body))
	if key != "" {
		q.Header.Set(field, key)
	}
	ctx := keys.NewContext(q.Context(), keys.Identity{ID: as, Scopes: []keys.Scope{keys.ScopeAdmin}})
	w := httptest.NewRecorder()
	r.server.ServeHTTP(w, q.WithContext(ctx))
	return w
}

// TestRepetitions: what comes after a PUT of "one" with a key, and whether it is carried out.
func TestRepetitions(t *testing.T) {
	for name, c := range map[string]struct {
		method, url, body, key, as string
		status                     int
		carried                    bool
	}{
		"the same again":     {"PUT", "/a", "one", `"k"`, "me", 201, false},
		"without quotation":  {"PUT", "/a", "one", "k", "me", 201, false},
		"another body":       {"PUT", "/a", "two", `"k"`, "me", 422, false},
		"a longer body":      {"PUT", "/a", "one and more", `"k"`, "me", 422, false},
		"another address":    {"PUT", "/b", "one", `"k"`, "me", 422, false},
		"another method":     {"POST", "/a", "one", `"k"`, "me", 422, false},
		"another key":        {"PUT", "/a", "one", `"l"`, "me", 201, true},
		"somebody else":      {"PUT", "/a", "one", `"k"`, "you", 201, true},
		"no key":             {"PUT", "/a", "one", "", "me", 201, true},
		"a key without text": {"PUT", "/a", "one", `""`, "me", 400, false},
		"a key too long":     {"PUT", "/a", "one", strings.Repeat("k", 256), "me", 400, false},
		"a question":         {"GET", "/a", "", `"k"`, "me", 201, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			first := r.ask("PUT", "/a", "one", `"k"`, "me")
			if first.Code != 201 || first.Body.String() != "call 1: one" {
				t.Fatal(first.Code, first.Body)
			}
			for range 2 { // a restart changes nothing
				before := r.calls
				w := r.ask(c.method, c.url, c.body, c.key, c.as)
				if carried := r.calls > before; w.Code != c.status || before == 1 && carried != c.carried {
					t.Errorf("%d, carried out %v: %s", w.Code, carried, w.Body)
				}
				if c.status == 201 && !c.carried && (w.Body.String() != first.Body.String() || w.Header().Get("ETag") != `"1"` || w.Header().Get(replayed) != "true") {
					t.Errorf("not the first answer: %v %s", w.Header(), w.Body)
				}
				r.restart()
			}
		})
	}
}

// TestFailuresAreNotKept: what may go better the next time is carried out again.
func TestFailuresAreNotKept(t *testing.T) {
	for _, status := range []int{500, 503, 409, 423, 429, 401, 403} {
		r := newRig(t)
		r.do = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
		r.ask("POST", "/a", "x", "k", "me")
		r.do = nil
		if w := r.ask("POST", "/a", "x", "k", "me"); w.Code != 201 || r.calls != 2 {
			t.Errorf("after %d: %d, %d calls", status, w.Code, r.calls)
		}
	}
}

// TestSecretsAreNotKept: a repetition gets what the handler gives in place of a secret.
func TestSecretsAreNotKept(t *testing.T) {
	r := newRig(t)
	r.do = func(w http.ResponseWriter, q *http.Request) {
		if err := Instead(q.Context(), map[string]string{"key": ""}); err != nil {
			t.Error(err)
		}
		w.WriteHeader(201)
		io.WriteString(w, "the secret")
	}
	if w := r.ask("POST", "/keys", "x", "k", "me"); w.Body.String() != "the secret" {
		t.Error(w.Body)
	}
	if w := r.ask("POST", "/keys", "x", "k", "me"); w.Body.String() != "{\"key\":\"\"}\n" || r.calls != 1 {
		t.Errorf("%q, %d calls", w.Body, r.calls)
	}
}

// TestOneAtATime: a repetition that comes too early is told so.
func TestOneAtATime(t *testing.T) {
	r := newRig(t)
	r.do = func(w http.ResponseWriter, q *http.Request) {
		if again := r.ask("POST", "/a", "x", "k", "me"); again.Code != 409 || again.Header().Get("Retry-After") == "" || !strings.Contains(again.Body.String(), "in-progress") {
			t.Errorf("%d %s", again.Code, again.Body)
		}
		w.WriteHeader(201)
	}
	if w := r.ask("POST", "/a", "x", "k", "me"); w.Code != 201 || r.calls != 1 {
		t.Error(w.Code, r.calls)
	}
}

// TestCrashes: a request whose process died is carried out again if it had changed nothing, and else never.
func TestCrashes(t *testing.T) {
	for _, changed := range []bool{false, true} {
		r := newRig(t)
		r.do = func(_ http.ResponseWriter, q *http.Request) {
			if changed {
				if _, err := r.cat.CreateSite(q.Context(), object.SiteRecord{Format: 1, Site: "new", Kind: object.Published}); err != nil {
					t.Error(err)
				}
			}
			r.cat.Close() // nothing more is written by this process
		}
		r.ask("POST", "/sites", "x", "k", "me")
		r.do = nil
		r.open()
		for range 2 {
			w := r.ask("POST", "/sites", "x", "k", "me")
			lost := w.Code == 409 && strings.Contains(w.Body.String(), "answer-lost") && strings.Contains(w.Body.String(), "site.create new")
			if again := w.Code == 201 && r.calls == 2; changed != lost || changed == again {
				t.Errorf("changed %v: %d %s, %d calls", changed, w.Code, w.Body, r.calls)
			}
		}
	}
}

// TestPanicsLeaveNoRecord: the next request is carried out.
func TestPanicsLeaveNoRecord(t *testing.T) {
	r := newRig(t)
	r.do = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	func() {
		defer func() { _ = recover() }()
		r.ask("POST", "/a", "x", "k", "me")
	}()
	r.do = nil
	if w := r.ask("POST", "/a", "x", "k", "me"); w.Code != 201 {
		t.Error(w.Code, w.Body)
	}
}

// TestRepetitionThatBreaksOff: a body that does not come whole gets no answer of another one.
func TestRepetitionThatBreaksOff(t *testing.T) {
	r := newRig(t)
	r.ask("PUT", "/a", "one", "k", "me")
	q := httptest.NewRequest("PUT", "/a", io.MultiReader(strings.NewReader("o"), brokenBody{}))
	q.ContentLength = 3
	q.Header.Set(field, "k")
	w := httptest.NewRecorder()
	ctx, cancel := context.WithTimeout(keys.NewContext(q.Context(), keys.Identity{ID: "me"}), time.Minute)
	defer cancel()
	r.server.ServeHTTP(w, q.WithContext(ctx))
	if w.Code != 400 || r.calls != 1 {
		t.Error(w.Code, w.Body, r.calls)
	}
}

// TestAFirstRequestThatBreaksOffIsNotKept: what was refused because its body broke off is carried out when it comes whole. It used to get the
// refusal again, for a day.
func TestAFirstRequestThatBreaksOffIsNotKept(t *testing.T) {
	r := newRig(t)
	q := httptest.NewRequest("PUT", "/a", io.MultiReader(strings.NewReader("o"), brokenBody{}))
	q.ContentLength = 3
	q.Header.Set(field, "k")
	w := httptest.NewRecorder()
	r.server.ServeHTTP(w, q.WithContext(keys.NewContext(q.Context(), keys.Identity{ID: "me"})))
	if w.Code != 400 || r.calls != 1 {
		t.Fatal(w.Code, w.Body, r.calls)
	}
	for _, want := range []string{"", "true"} {
		if w := r.ask("PUT", "/a", "one", "k", "me"); w.Code != 201 || w.Body.String() != "call 2: one" || w.Header().Get(replayed) != want {
			t.Error(w.Code, w.Body, w.Header())
		}
	}
}

// TestConsistencyIsGivenAgain: who lost the answer to a change reads the change all the same.
func TestConsistencyIsGivenAgain(t *testing.T) {
	r := newRig(t)
	r.do = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Perigee-Consistency", "token")
		w.WriteHeader(http.StatusNoContent)
	}
	for range 2 {
		if w := r.ask("POST", "/a", "x", "k", "me"); w.Header().Get("Perigee-Consistency") != "token" || r.calls != 1 {
			t.Error(w.Header(), r.calls)
		}
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

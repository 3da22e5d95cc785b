package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"perigee/client"
	"perigee/problem"
)

// losing is a server that answers the first tries of each request with what lose does, and then with {}. It notes the idempotency keys and bodies.
type losing struct {
	lose   []func(http.ResponseWriter)
	keys   []string
	bodies []string
}

func (l *losing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	n := len(l.keys)
	l.keys, l.bodies = append(l.keys, r.Header.Get("Idempotency-Key")), append(l.bodies, string(b))
	if n < len(l.lose) {
		l.lose[n](w)
		return
	}
	io.WriteString(w, `{"files":[],"key":"pk_x"}`)
}

func cut(http.ResponseWriter) { panic(http.ErrAbortHandler) }

func refusing(status int, kind problem.Kind) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", problem.MediaType)
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type":%q,"title":"x"}`, kind.Type())
	}
}

// onlyReader hides that a body can be read again.
type onlyReader struct{ io.Reader }

// TestChangesAreSentAgainWithTheirKey: whatever was lost, the same request comes again with the same key, and other requests have others.
func TestChangesAreSentAgainWithTheirKey(t *testing.T) {
	form := []client.FormFile{{Name: "a", Body: strings.NewReader("one")}, {Name: "b", Body: strings.NewReader("two")}}
	used := map[string]bool{}
	for name, call := range map[string]func(*client.Client) error{
		"put": func(c *client.Client) error {
			_, _, err := c.Put(t.Context(), "www", "/a", bytes.NewReader([]byte("hello")), client.PutOptions{Size: 5})
			return err
		},
		"form": func(c *client.Client) error {
			_, err := c.PutForm(t.Context(), "www", client.FormOptions{}, form)
			return err
		},
		"delete": func(c *client.Client) error { _, err := c.Delete(t.Context(), "www", "/a", ""); return err },
		"purge": func(c *client.Client) error {
			_, err := c.Purge(t.Context(), "www", client.PurgeOrder{All: true}, 0)
			return err
		},
		"key": func(c *client.Client) error {
			_, _, err := c.CreateKey(t.Context(), client.NewKey{Name: "k"})
			return err
		},
		"drain": func(c *client.Client) error { return c.Drain(t.Context(), "fra") },
	} {
		l := &losing{lose: []func(http.ResponseWriter){cut, refusing(409, "in-progress"), refusing(503, "timeout")}}
		h := httptest.NewServer(l)
		if err := call(connect(t, client.Config{BaseURL: h.URL, Retry: client.Retry{Tries: 3}})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		h.Close()
		// The first try was lost, the second found it under way, the third failed, the fourth is the third that counts.
		if len(l.keys) != 4 || l.keys[0] == "" || used[l.keys[0]] {
			t.Errorf("%s: sent with %q", name, l.keys)
		}
		for i := range l.keys {
			if l.keys[i] != l.keys[0] || l.bodies[i] != l.bodies[0] {
				t.Errorf("%s: the try %d has key %s and body %q, the first %s and %q", name, i, l.keys[i], l.bodies[i], l.keys[0], l.bodies[0])
			}
		}
		used[l.keys[0]] = true
	}
}

// TestWhatIsNotSentAgain: a body that is gone, a change that may have been made, and what was refused for good.
func TestWhatIsNotSentAgain(t *testing.T) {
	put := func(c *client.Client, body io.Reader) error {
		_, _, err := c.Put(t.Context(), "www", "/a", body, client.PutOptions{Size: 5})
		return err
	}
	for name, tc := range map[string]struct {
		lose func(http.ResponseWriter)
		body io.Reader
		is   error
	}{
		"gone body": {cut, onlyReader{strings.NewReader("hello")}, nil},
		"unsettled": {refusing(503, "unsettled"), strings.NewReader("hello"), problem.Kind("unsettled")},
		"refused":   {refusing(412, "precondition-failed"), strings.NewReader("hello"), client.ErrPrecondition},
		"lost":      {refusing(409, "answer-lost"), strings.NewReader("hello"), problem.Kind("answer-lost")},
	} {
		l := &losing{lose: []func(http.ResponseWriter){tc.lose}}
		h := httptest.NewServer(l)
		err := put(connect(t, client.Config{BaseURL: h.URL}), tc.body)
		h.Close()
		if err == nil || tc.is != nil && !errors.Is(err, tc.is) || len(l.keys) != 1 || l.keys[0] == "" {
			t.Errorf("%s: %v after %d tries", name, err, len(l.keys))
		}
	}
}

// TestASecretThatWasLostIsToldOf: the repetition of a new key's request has no secret.
func TestASecretThatWasLostIsToldOf(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"id":"k1","key":""}`) }))
	defer h.Close()
	made, secret, err := connect(t, client.Config{BaseURL: h.URL}).CreateKey(t.Context(), client.NewKey{Name: "x"})
	if !errors.Is(err, client.ErrSecretLost) || made.ID != "k1" || secret != "" || !strings.Contains(err.Error(), "k1") {
		t.Error(made, secret, err)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/client/clienttest"
)

// telling is a server that gives a new token with each answer to a change, and notes those that it is sent.
func telling(t *testing.T) (*clienttest.Server, func() []string) {
	s := clienttest.New(t)
	var mu sync.Mutex
	var got []string
	n := 0
	s.Header = func(h http.Header, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Header.Get("Perigee-Consistency"))
		if r.Method == http.MethodPut {
			n++
			h.Set("Perigee-Consistency", fmt.Sprintf("t%d", n))
		}
	}
	return s, func() []string {
		mu.Lock()
		defer mu.Unlock()
		all := got
		got = nil
		return all
	}
}

// TestARunHasSeenWhatTheOneBeforeHas: ls is sent what put was told; for a while, and of the same server alone.
func TestARunHasSeenWhatTheOneBeforeHas(t *testing.T) {
	s, got := telling(t)
	other, gotByOther := telling(t)
	state := filepath.Join(t.TempDir(), "state")
	env := append(contact(s), "XDG_STATE_HOME="+state)
	file := filepath.Join(t.TempDir(), "f")
	writeFile(t, file, "x")
	perigee(t, env, "ls").want(t, 0)
	kept := filepath.Join(state, "perigee", seenFile)
	if _, err := os.Stat(kept); !os.IsNotExist(err) {
		t.Errorf("a run that saw nothing keeps something: %v", err)
	}
	perigee(t, env, "put", file).want(t, 0)
	info, err := os.Stat(kept)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	got()
	perigee(t, env, "ls").want(t, 0)
	perigee(t, append(contact(other), "XDG_STATE_HOME="+state), "ls").want(t, 0)
	if sent := got(); !slices.Equal(sent, []string{"t1"}) || !slices.Equal(gotByOther(), []string{""}) {
		t.Errorf("ls after put sends %q", sent)
	}
	old := map[string]seenTokens{s.URL: {time.Now().Add(-2 * seenFor), []string{"t1"}}, "http://x": {time.Now(), []string{"a b"}}}
	b, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(b), "nonsense", `{"` + s.URL + `":{"at":"` + time.Now().Format(time.RFC3339) + `","tokens":["a\r\nb"]}}`} {
		writeFile(t, kept, text)
		perigee(t, env, "ls").want(t, 0)
		if sent := got(); !slices.Equal(sent, []string{""}) {
			t.Errorf("with %s ls sends %q", text, sent)
		}
	}
}

// TestRunsAtTheSameTimeAllKeepWhatTheySaw: none takes what another has learned.
func TestRunsAtTheSameTimeAllKeepWhatTheySaw(t *testing.T) {
	s, got := telling(t)
	env := append(contact(s), "HOME="+t.TempDir())
	var all sync.WaitGroup
	for i := range 5 {
		file := filepath.Join(t.TempDir(), fmt.Sprint(i))
		writeFile(t, file, "x")
		all.Go(func() { perigee(t, env, "put", file) })
	}
	all.Wait()
	got()
	perigee(t, env, "ls").want(t, 0)
	// What a later run learned covers what it had sent, so fewer than five may be left; each of the five is sent, or was sent by one that is.
	if sent := got(); len(sent) != 1 || !strings.Contains(sent[0], "t5") {
		t.Errorf("after five runs ls sends %q", sent)
	}
}

// TestAStateThatCannotBeKeptIsTold: the command has done what it was for.
func TestAStateThatCannotBeKeptIsTold(t *testing.T) {
	s, _ := telling(t)
	file := filepath.Join(t.TempDir(), "f")
	writeFile(t, file, "x")
	r := perigee(t, append(contact(s), "XDG_STATE_HOME="+file), "put", file).want(t, 0) // below a file there is no directory
	if !strings.Contains(r.errOut, "replica") {
		t.Error(r.errOut)
	}
}

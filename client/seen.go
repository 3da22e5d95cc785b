package client

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// consistencyHeader carries what this client has seen of the catalogue, so that no node answers it from an older state.
const consistencyHeader = "Perigee-Consistency"

// seen is what the answers have told of that. Calls run in parallel, each learning of its own change: what one of them
// learned takes the place only of what it had sent. So there are never more tokens than calls were under way at a time.
type seen struct {
	mu     sync.Mutex
	tokens []string
}

// tell puts all tokens into a request and returns them.
func (s *seen) tell(h http.Header) (sent []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tokens) == 0 {
		return nil
	}
	h.Set(consistencyHeader, strings.Join(s.tokens, ", "))
	return slices.Clone(s.tokens)
}

// all returns all tokens.
func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tokens)
}

// learn takes the token of an answer to a request that had sent those. It covers them.
func (s *seen) learn(sent []string, h http.Header) {
	token := h.Get(consistencyHeader)
	if token == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = slices.DeleteFunc(s.tokens, func(t string) bool { return t == token || slices.Contains(sent, t) })
	s.tokens = append(s.tokens, token)
}

package catalog

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"perigee/object"
)

// Session is what one client of the API, or one request of it, has to see of the catalogue: at least everything that it has
// written itself. It is also the consent to read from a replica: reads without a session in their context go to the
// primary.
//
// In and Deciding put it into a context. Writes with that context are added to what it asks for; reads are answered by a
// replica that has what it asks for, else by the primary. Its methods are safe for concurrent use.
type Session struct {
	mu sync.Mutex
	// seen is, by the id of a server's catalogue, the position in its write-ahead log that a replica must have replayed.
	seen map[string]lsn
}

// lsn is a position in the write-ahead log of a PostgreSQL server.
type lsn uint64

// parseLSN reads the form in which PostgreSQL shows one: two hexadecimal numbers with '/' between.
func parseLSN(s string) (lsn, error) {
	high, low, ok := strings.Cut(s, "/")
	h, herr := strconv.ParseUint(high, 16, 32)
	l, lerr := strconv.ParseUint(low, 16, 32)
	if !ok || herr != nil || lerr != nil {
		return 0, fmt.Errorf("%q is no position of a write-ahead log", s)
	}
	return lsn(h<<32 | l), nil
}

// String returns the form that parseLSN reads.
func (l lsn) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// Limits of a token, so that nobody can make us remember much.
const (
	maxTokens      = 64
	maxTokenLen    = 4 << 10
	maxTokenParts  = 64
	maxTokenServer = 64 // characters of an id
)

// NewSession returns a session that has seen what the tokens of earlier ones say, each as Token gave it; empty ones are
// skipped. Anything else wraps object.ErrInvalid.
func NewSession(tokens ...string) (*Session, error) {
	s := &Session{seen: map[string]lsn{}}
	if len(tokens) > maxTokens {
		return nil, fmt.Errorf("consistency token: %w: %d of them, the limit is %d", object.ErrInvalid, len(tokens), maxTokens)
	}
	for _, t := range tokens {
		if err := s.read(t); err != nil {
			return nil, fmt.Errorf("consistency token: %w: %v; send one that an answer carried, or none", object.ErrInvalid, err)
		}
	}
	return s, nil
}

// read adds one token: base64url of "id:hexadecimal,id:hexadecimal…".
func (s *Session) read(token string) error {
	if token == "" {
		return nil
	}
	if len(token) > maxTokenLen {
		return fmt.Errorf("it is longer than %d characters", maxTokenLen)
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return fmt.Errorf("it was not copied whole")
	}
	parts := strings.Split(string(text), ",")
	if len(parts) > maxTokenParts {
		return fmt.Errorf("it names more than %d servers", maxTokenParts)
	}
	for _, part := range parts {
		id, at, ok := strings.Cut(part, ":")
		n, err := strconv.ParseUint(at, 16, 64)
		if !ok || err != nil || id == "" || len(id) > maxTokenServer || strings.Trim(id, "0123456789abcdef") != "" {
			return fmt.Errorf("it was not copied whole")
		}
		s.wrote(id, lsn(n))
	}
	return nil
}

// Token returns what the session has seen, for NewSession: opaque, of letters, digits, '-' and '_'; "" if that is nothing.
func (s *Session) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return ""
	}
	parts := make([]string, 0, len(s.seen))
	for _, id := range slices.Sorted(maps.Keys(s.seen)) {
		parts = append(parts, id+":"+strconv.FormatUint(uint64(s.seen[id]), 16))
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, ",")))
}

// wrote says that the catalogue id must have been replayed up to at.
func (s *Session) wrote(id string, at lsn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[id] = max(s.seen[id], at)
}

// since returns how far a replica of the catalogue id must be.
func (s *Session) since(id string) lsn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[id]
}

type sessionKey struct{}

// visit is a session in a context.
type visit struct {
	session  *Session
	deciding bool
}

// In returns ctx with the session in it, for requests that read.
func (s *Session) In(ctx context.Context) context.Context {
	return context.WithValue(ctx, sessionKey{}, visit{session: s})
}

// Deciding is In for requests that change something: what they read, they decide on, so they read the primary.
func (s *Session) Deciding(ctx context.Context) context.Context {
	return context.WithValue(ctx, sessionKey{}, visit{session: s, deciding: true})
}

// sessionOf returns the session of a context, nil if there is none, and whether it only notes what is written.
func sessionOf(ctx context.Context) (s *Session, deciding bool) {
	v, _ := ctx.Value(sessionKey{}).(visit)
	return v.session, v.deciding
}

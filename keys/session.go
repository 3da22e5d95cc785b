package keys

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"perigee/clock"
)

// SessionKeyLen is the length in bytes of the key that signs sessions.
const SessionKeyLen = 32

// sessions issues and checks session cookies. A cookie is a signed ticket, "<payload>.<mac>", so that sessions outlive a restart and
// an upload that a browser resumes is not thrown out. The MAC covers the hash of the API key as well: when the key
// is revoked, or its id is given to another one, its sessions are over. A logged-out ticket is remembered until it
// would have expired; that memory does not outlive the process.
type sessions struct {
	key   []byte
	last  time.Duration
	clock clock.Clock

	mu    sync.Mutex
	ended map[string]time.Time // nonce -> expiry
}

// ticket is the payload of a cookie.
type ticket struct {
	KeyID   string `json:"k"`
	Nonce   string `json:"n"`
	Expires int64  `json:"x"` // Unix seconds
}

// maxEnded bounds the logged-out tickets that are remembered. Only who has a key can add to them.
const maxEnded = 10_000

var b64 = base64.RawURLEncoding

// issue returns the cookie value of a new session of k.
func (s *sessions) issue(k Key) (value string, t ticket) {
	var nonce [16]byte
	rand.Read(nonce[:])
	t = ticket{KeyID: k.ID, Nonce: b64.EncodeToString(nonce[:]), Expires: s.clock.Now().Add(s.last).Unix()}
	b, err := json.Marshal(t)
	if err != nil {
		panic("keys: a ticket always marshals: " + err.Error())
	}
	payload := b64.EncodeToString(b)
	return payload + "." + s.mac("session", payload, k.Hash), t
}

// open checks a cookie value against the ring and returns its ticket and key. Errors are ErrUnknown and ErrUnsure.
func (s *sessions) open(value string, r *Ring) (ticket, Key, error) {
	payload, mac, ok := strings.Cut(value, ".")
	if !ok || len(value) > 1024 {
		return ticket{}, Key{}, ErrUnknown
	}
	b, err := b64.DecodeString(payload)
	var t ticket
	if err != nil || json.Unmarshal(b, &t) != nil {
		return ticket{}, Key{}, ErrUnknown
	}
	k, err := r.find(t.KeyID)
	if err != nil {
		return ticket{}, Key{}, err
	}
	if !hmac.Equal([]byte(mac), []byte(s.mac("session", payload, k.Hash))) {
		return ticket{}, Key{}, ErrUnknown
	}
	now := s.clock.Now()
	if now.Unix() >= t.Expires || k.Expired(now) || s.isEnded(t.Nonce) {
		return ticket{}, Key{}, ErrUnknown
	}
	r.note(k.ID)
	return t, k, nil
}

// csrf returns the token of a session. It is derived, so there is nothing to store, and it cannot be had from another session.
func (s *sessions) csrf(t ticket) string { return s.mac("csrf", t.Nonce, "") }

func (s *sessions) mac(purpose, a, b string) string {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte("perigee " + purpose + "\x00" + a + "\x00" + b))
	return b64.EncodeToString(m.Sum(nil))
}

// end makes a session invalid from now on.
func (s *sessions) end(t ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if len(s.ended) >= maxEnded {
		var first string
		for n, x := range s.ended {
			if !now.Before(x) {
				delete(s.ended, n)
			} else if first == "" || x.Before(s.ended[first]) {
				first = n
			}
		}
		if len(s.ended) >= maxEnded {
			delete(s.ended, first)
		}
	}
	s.ended[t.Nonce] = time.Unix(t.Expires, 0)
}

func (s *sessions) isEnded(nonce string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.ended[nonce]
	return ok
}

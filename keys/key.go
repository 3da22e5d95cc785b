package keys

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scope is something a key allows.
type Scope string

// The scopes of a key. Every key may read.
const (
	ScopeRead    Scope = "read"    // list, look at, explain
	ScopePublish Scope = "publish" // upload, delete, roll back
	ScopePurge   Scope = "purge"   // purge caches
	ScopeAdmin   Scope = "admin"   // everything: sites, fleet and keys too
)

var allScopes = []Scope{ScopeRead, ScopePublish, ScopePurge, ScopeAdmin}

// ParseScopes reads a comma-separated list of scopes, dropping repetitions. An empty list is an error.
func ParseScopes(s string) ([]Scope, error) {
	var scopes []Scope
	for f := range strings.SplitSeq(s, ",") {
		sc := Scope(strings.TrimSpace(f))
		if !slices.Contains(allScopes, sc) {
			return nil, fmt.Errorf("scope %q is none of read, publish, purge, admin", string(sc))
		}
		if !slices.Contains(scopes, sc) {
			scopes = append(scopes, sc)
		}
	}
	return scopes, nil
}

// Key is what is known of an API key: everything but the key itself.
type Key struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Hash    string    `json:"hash"` // SHA-256 of the whole key, 64 hexadecimal digits
	Scopes  []Scope   `json:"scopes"`
	Created time.Time `json:"created"`
	// Expires is when the key ends; zero for never.
	Expires time.Time `json:"expires,omitzero"`
	Limits
}

// Expired reports whether the key has ended at time now.
func (k *Key) Expired(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }

// validate checks what was read from a file.
func (k *Key) validate() error {
	if !isKeyID(k.ID) {
		return fmt.Errorf("key %q: an id is %d characters of 0-9 and a-v", k.ID, idDigits)
	}
	if b, err := hex.DecodeString(k.Hash); err != nil || len(b) != sha256.Size {
		return fmt.Errorf("key %s: hash is not a SHA-256", k.ID)
	}
	if len(k.Scopes) == 0 {
		return fmt.Errorf("key %s: it has no scope", k.ID)
	}
	for _, s := range k.Scopes {
		if !slices.Contains(allScopes, s) {
			return fmt.Errorf("key %s: scope %q is none of read, publish, purge, admin", k.ID, string(s))
		}
	}
	if err := k.Limits.Validate(); err != nil {
		return fmt.Errorf("key %s: %w", k.ID, err)
	}
	return nil
}

// identity is who sends a request with this key.
func (k *Key) identity() Identity {
	return Identity{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Limits: k.Limits}
}

// Identity is who sends a request.
type Identity struct {
	ID     string // of the key; "local" in keyless mode
	Name   string
	Scopes []Scope
	Limits
	// Session reports that a browser session, not the key itself, was sent.
	Session bool
}

// May reports whether the identity has scope s. Admin has every scope, and every key may read.
func (i *Identity) May(s Scope) bool {
	return s == ScopeRead || slices.Contains(i.Scopes, s) || slices.Contains(i.Scopes, ScopeAdmin)
}

// ErrUnknown says that a key is not, or no longer, in the ring.
var ErrUnknown = errors.New("the API key is not known here, or was revoked")

// ErrExpired says that a key has ended.
var ErrExpired = errors.New("the API key has expired")

// ErrUnsure says that the store of the keys has not answered for so long that a key may have been revoked meanwhile.
var ErrUnsure = errors.New("the place where API keys are kept has not answered for too long, so nobody knows whether a key is still good; try again in a moment")

const (
	keyPrefix    = "pk_"
	idDigits     = 10
	secretDigits = 52 // 256 bits, 5 a digit
	digits32     = "0123456789abcdefghijklmnopqrstuv"
)

// newKey returns a random key: "pk_<id>_<secret>", the secret of 256 bits. All of it is one word to a double click.
func newKey() (id, key string) {
	id = randomDigits(idDigits)
	return id, keyPrefix + id + "_" + randomDigits(secretDigits)
}

func randomDigits(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	for i := range b {
		b[i] = digits32[b[i]&31]
	}
	return string(b)
}

// idOf returns the id of a well-formed key.
func idOf(key string) (string, bool) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if !ok || len(rest) != idDigits+1+secretDigits || rest[idDigits] != '_' || !isKeyID(rest[:idDigits]) {
		return "", false
	}
	return rest[:idDigits], true
}

func isKeyID(s string) bool {
	if len(s) != idDigits {
		return false
	}
	for i := range len(s) {
		if strings.IndexByte(digits32, s[i]) < 0 {
			return false
		}
	}
	return true
}

func hashOf(key string) string {
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:])
}

package keys

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"perigee/clock"
	"perigee/object"
)

// MinEnvKey is the least length in characters of a key given by the environment: such a key is made by hand, and
// nothing else stands between a guess and the API.
const MinEnvKey = 32

// Config is what a Ring is made from.
type Config struct {
	// Store is where the keys are kept; nil is the file of File.
	Store Store
	// File is where the keys are kept if there is no Store. It need not exist; "" keeps none.
	File string
	// Env are keys given by the environment, for containers: any text of MinEnvKey characters or more. They have every scope
	// and cannot be revoked while the process runs.
	Env []string
	// Stale is how long the keys stay good when the store does not say whether they have changed; then requests are refused with
	// ErrUnsure until it does. Zero is for ever.
	Stale time.Duration
	// Clock is clock.System when nil.
	Clock clock.Clock
	// Log hears of a store that became unreadable; nil is silent. It never hears a key.
	Log *slog.Logger
}

// Ring is the set of keys. Its methods are safe for concurrent use, and several processes may share one store.
type Ring struct {
	store Store          // nil keeps none
	env   map[string]Key // by id
	stale time.Duration  // 0 is for ever
	clock clock.Clock
	log   *slog.Logger

	mu sync.Mutex
	cached
	used map[string]time.Time // when a key last let a request in, by id, since TakeUses
}

// Open returns the ring of c. A store that is not there yet is an empty ring; a broken one is an error.
func Open(c Config) (*Ring, error) {
	r := &Ring{store: c.Store, env: map[string]Key{}, stale: c.Stale, clock: c.Clock, log: c.Log}
	if r.store == nil && c.File != "" {
		r.store = NewFileStore(c.File)
	}
	if r.clock == nil {
		r.clock = clock.System
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	for _, k := range c.Env {
		if len(k) < MinEnvKey {
			return nil, fmt.Errorf("an API key given by the environment has %d characters; give it at least %d, for example the output of `openssl rand -hex 32`", len(k), MinEnvKey)
		}
		h := hashOf(k)
		id, ok := idOf(k)
		if !ok {
			id = "env-" + h[:8]
		}
		r.env[id] = Key{ID: id, Name: "from the environment", Hash: h, Scopes: []Scope{ScopeAdmin}}
	}
	if r.store == nil {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	now := r.clock.Now()
	set, seen, err := read(ctx, r.store)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r.cached = cached{known: set, seen: seen, looked: now, sure: now}
	return r, nil
}

// openTime is how long Open waits for the store.
const openTime = 20 * time.Second

// Check returns the identity of key. Errors are ErrUnknown, ErrExpired and ErrUnsure.
func (r *Ring) Check(key string) (Identity, error) {
	k, err := r.check(key)
	if err != nil {
		return Identity{}, err
	}
	return k.identity(), nil
}

func (r *Ring) check(key string) (Key, error) {
	h := hashOf(key)
	id, ok := idOf(key)
	if !ok {
		id = "env-" + h[:8]
	}
	k, err := r.find(id)
	switch {
	case err != nil:
		return Key{}, err
	case subtle.ConstantTimeCompare([]byte(k.Hash), []byte(h)) != 1:
		return Key{}, ErrUnknown
	case k.Expired(r.clock.Now()):
		return Key{}, ErrExpired
	}
	r.note(id)
	return k, nil
}

// find returns the key with that id. Errors are ErrUnknown and ErrUnsure.
func (r *Ring) find(id string) (Key, error) {
	if k, ok := r.env[id]; ok {
		return k, nil
	}
	set, err := r.current()
	if err != nil {
		return Key{}, err
	}
	k, ok := set.byID[id]
	if !ok {
		return Key{}, ErrUnknown
	}
	return k, nil
}

// Sure returns ErrUnsure while the store has not said for longer than Config.Stale whether the keys have changed.
func (r *Ring) Sure() error {
	_, err := r.current()
	return err
}

// Empty reports whether there is no key at all, not even an expired one: a key that ran out must not open the door. Where Sure
// returns an error it goes by what was known last.
func (r *Ring) Empty() bool {
	if len(r.env) > 0 {
		return false
	}
	set, _ := r.current() // it comes with what was known last
	return len(set.list) == 0
}

// List returns every key, those of the environment first, then by age. Where Sure returns an error it is what was known last.
func (r *Ring) List() []Key {
	var list []Key
	for _, k := range r.env {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b Key) int { return strings.Compare(a.ID, b.ID) })
	set, _ := r.current() // it comes with what was known last
	return append(list, set.list...)
}

// note remembers that a key has let a request in.
func (r *Ring) note(id string) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used == nil {
		r.used = map[string]time.Time{}
	}
	r.used[id] = now
}

// TakeUses returns when keys were last used, by id, of those that were since the call before. It is for whoever keeps these times.
func (r *Ring) TakeUses() map[string]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	used := r.used
	r.used = nil
	return used
}

// MaxKeys is how many keys a store holds.
const MaxKeys = 10_000

// NewKey is what Create is asked for.
type NewKey struct {
	Name string // who uses it: 1 to 200 characters
	// Scopes are what it allows; ScopeRead alone when there are none.
	Scopes []Scope
	// Expires is when it ends; zero is never.
	Expires time.Time
	Limits
}

// Create makes a key and returns it. This is the only time it is seen. A request that breaks a rule wraps object.ErrInvalid.
func (r *Ring) Create(ctx context.Context, n NewKey) (string, Key, error) {
	name := strings.TrimSpace(n.Name)
	if name == "" || len(name) > 200 || strings.ContainsFunc(name, isControl) {
		return "", Key{}, fmt.Errorf("create API key: %w: give it a name of 1 to 200 characters that says who uses it", object.ErrInvalid)
	}
	now := r.clock.Now().UTC().Truncate(time.Second)
	if !n.Expires.IsZero() && !n.Expires.After(now) {
		return "", Key{}, fmt.Errorf("create API key %q: %w: it would have expired at %s", name, object.ErrInvalid, n.Expires.UTC().Format(time.RFC3339))
	}
	if len(n.Scopes) == 0 {
		n.Scopes = []Scope{ScopeRead}
	}
	id, key := newKey()
	k := Key{ID: id, Name: name, Hash: hashOf(key), Scopes: slices.Clone(n.Scopes), Created: now, Limits: n.Limits}
	if !n.Expires.IsZero() {
		k.Expires = n.Expires.UTC().Truncate(time.Second)
	}
	if err := k.validate(); err != nil {
		return "", Key{}, fmt.Errorf("create API key: %w: %w", object.ErrInvalid, err)
	}
	if err := r.create(ctx, k); err != nil {
		return "", Key{}, fmt.Errorf("create API key: %w", err)
	}
	return key, k, nil
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }

// Revoke removes the key with that id; it and its sessions end at once in this process, and within a second
// in others. An unknown id wraps fs.ErrNotExist; a key of the environment fs.ErrPermission.
func (r *Ring) Revoke(ctx context.Context, id string) error {
	if _, ok := r.env[id]; ok {
		return fmt.Errorf("revoke API key %s: it comes from the environment (PERIGEE_API_KEY); take it out there and restart: %w", id, fs.ErrPermission)
	}
	if err := r.remove(ctx, id); err != nil {
		return fmt.Errorf("revoke API key %q: %w", id, err)
	}
	return nil
}

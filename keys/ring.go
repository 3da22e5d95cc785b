package keys

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"perigee/clock"
)

// MinEnvKey is the least length in characters of a key given by the environment: such a key is made by hand, and
// nothing else stands between a guess and the API.
const MinEnvKey = 32

// Config is what a Ring is made from.
type Config struct {
	// File is where the keys are kept. It need not exist; "" keeps none.
	File string
	// Env are keys given by the environment, for containers: any text of MinEnvKey characters or more. They have every scope
	// and cannot be revoked while the process runs.
	Env []string
	// Clock is clock.System when nil.
	Clock clock.Clock
	// Log hears of a file that became unreadable; nil is silent. It never hears a key.
	Log *slog.Logger
}

// Ring is the set of keys. Its methods are safe for concurrent use, and several processes may share one file.
type Ring struct {
	file  string
	env   map[string]Key // by id
	clock clock.Clock
	log   *slog.Logger

	mu     sync.Mutex
	stored []Key
	seen   stamp     // of the file that stored was read from
	looked time.Time // when the file was last looked at
}

// stamp tells one state of the file from another; the zero stamp is no file.
type stamp struct {
	info fs.FileInfo
}

// same compares the file's identity too: it is replaced as a whole, perhaps twice within one tick of its time.
func (s stamp) same(t stamp) bool {
	if s.info == nil || t.info == nil {
		return s.info == nil && t.info == nil
	}
	return os.SameFile(s.info, t.info) && s.info.Size() == t.info.Size() && s.info.ModTime().Equal(t.info.ModTime())
}

// lookEvery is how often a ring in use looks at its file.
const lookEvery = time.Second

// Open returns the ring of c. A missing file is an empty ring; a broken one is an error.
func Open(c Config) (*Ring, error) {
	r := &Ring{file: c.File, env: map[string]Key{}, clock: c.Clock, log: c.Log}
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
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

// Check returns the identity of key. Errors are ErrUnknown and ErrExpired.
func (r *Ring) Check(key string) (Identity, error) {
	h := hashOf(key)
	id, ok := idOf(key)
	if !ok {
		id = "env-" + h[:8]
	}
	k, ok := r.find(id)
	if !ok || subtle.ConstantTimeCompare([]byte(k.Hash), []byte(h)) != 1 {
		return Identity{}, ErrUnknown
	}
	if k.Expired(r.clock.Now()) {
		return Identity{}, ErrExpired
	}
	return Identity{ID: k.ID, Name: k.Name, Scopes: k.Scopes}, nil
}

// find returns the key with that id.
func (r *Ring) find(id string) (Key, bool) {
	if k, ok := r.env[id]; ok {
		return k, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	i := slices.IndexFunc(r.stored, func(k Key) bool { return k.ID == id })
	if i < 0 {
		return Key{}, false
	}
	return r.stored[i], true
}

// Empty reports whether there is no key at all, not even an expired one: a key that ran out must not open the door.
func (r *Ring) Empty() bool {
	if len(r.env) > 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	return len(r.stored) == 0
}

// List returns every key, those of the environment first, then by age.
func (r *Ring) List() []Key {
	var list []Key
	for _, k := range r.env {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b Key) int { return strings.Compare(a.ID, b.ID) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	return append(list, r.stored...)
}

// MaxKeys is how many keys a file holds.
const MaxKeys = 10_000

// Create makes a key that ends at expires (zero: never) and returns it. This is the only time it is seen.
func (r *Ring) Create(name string, scopes []Scope, expires time.Time) (string, Key, error) {
	if name = strings.TrimSpace(name); name == "" || len(name) > 200 || strings.ContainsFunc(name, isControl) {
		return "", Key{}, errors.New("create API key: give it a name of 1 to 200 characters that says who uses it")
	}
	now := r.clock.Now().UTC().Truncate(time.Second)
	if !expires.IsZero() && !expires.After(now) {
		return "", Key{}, fmt.Errorf("create API key %q: it would have expired at %s", name, expires.UTC().Format(time.RFC3339))
	}
	id, key := newKey()
	k := Key{ID: id, Name: name, Hash: hashOf(key), Scopes: slices.Clone(scopes), Created: now, Expires: expires.UTC().Truncate(time.Second)}
	if expires.IsZero() {
		k.Expires = time.Time{}
	}
	if err := k.validate(); err != nil {
		return "", Key{}, fmt.Errorf("create API key: %w", err)
	}
	err := r.change(func(stored []Key) ([]Key, error) {
		if len(stored) >= MaxKeys {
			return nil, fmt.Errorf("there are %d keys already; revoke some", len(stored))
		}
		return append(stored, k), nil
	})
	if err != nil {
		return "", Key{}, fmt.Errorf("create API key: %w", err)
	}
	return key, k, nil
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }

// Revoke removes the key with that id; it and its sessions end at once in this process, and within a second
// in others. An unknown id wraps fs.ErrNotExist.
func (r *Ring) Revoke(id string) error {
	if _, ok := r.env[id]; ok {
		return fmt.Errorf("revoke API key %s: it comes from the environment (PERIGEE_API_KEY); take it out there and restart", id)
	}
	err := r.change(func(stored []Key) ([]Key, error) {
		i := slices.IndexFunc(stored, func(k Key) bool { return k.ID == id })
		if i < 0 {
			return nil, fs.ErrNotExist
		}
		return slices.Delete(stored, i, i+1), nil
	})
	if err != nil {
		return fmt.Errorf("revoke API key %q: %w", id, err)
	}
	return nil
}

// refresh reads the file again if it changed. A file that cannot be read leaves the keys as they are: a mistake
// made while editing must neither lock everybody out nor, by emptying the ring, let everybody in. r.mu is held.
func (r *Ring) refresh() {
	now := r.clock.Now()
	if r.file == "" || now.Sub(r.looked) < lookEvery {
		return
	}
	r.looked = now
	st, err := r.stat()
	if err == nil && st.same(r.seen) {
		return
	}
	if err == nil && st.info == nil {
		err = errors.New("it is gone; its keys stay good until the next start")
		r.seen = st
	} else if err == nil {
		err = r.load()
		r.seen = st // also of a broken file: it is reported once, not every second
	}
	if err != nil {
		r.log.Warn("API key file not read again", "file", r.file, "err", err)
	}
}

func (r *Ring) stat() (stamp, error) {
	fi, err := os.Stat(r.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stamp{}, nil
	case err != nil:
		return stamp{}, err
	}
	return stamp{fi}, nil
}

package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// Store is where keys are kept: records that only this package reads, by id. Several processes may use one store. Its
// methods are safe for concurrent use.
type Store interface {
	// Stamp returns a text that is another one after each change of the keys. It is cheap: a ring in use asks every second.
	Stamp(ctx context.Context) (string, error)
	// Load returns every record in the order in which they were added. A store that is not there yet is fs.ErrNotExist.
	Load(ctx context.Context) ([]json.RawMessage, error)
	// Add keeps a record durably under a new id. An id that is taken is fs.ErrExist; a store that has most records already
	// refuses in words that a person understands.
	Add(ctx context.Context, id string, record json.RawMessage, most int) error
	// Remove removes the record durably. An unknown id is fs.ErrNotExist.
	Remove(ctx context.Context, id string) error
}

var errFull = errors.New("there are too many API keys; revoke some")

// loadTime is how long a ring waits for its store.
const loadTime = 2 * time.Second

// load reads the store; r.mu is held.
func (r *Ring) load(ctx context.Context) error {
	// The stamp is taken before the records: a change in between is then seen at the next look.
	stamp, err := r.store.Stamp(ctx)
	if err != nil {
		return fmt.Errorf("read API keys: %w", err)
	}
	r.seen, r.looked = stamp, r.clock.Now()
	records, err := r.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("read API keys: %w", err)
	}
	stored, err := parseRecords(records)
	if err != nil {
		return fmt.Errorf("read API keys: %w", err)
	}
	r.stored = stored
	return nil
}

func parseRecords(records []json.RawMessage) ([]Key, error) {
	var keys []Key
	ids := make(map[string]bool, len(records))
	for _, b := range records {
		var k Key
		if err := json.Unmarshal(b, &k); err != nil {
			return nil, err
		}
		if err := k.validate(); err != nil {
			return nil, err
		}
		if ids[k.ID] {
			return nil, fmt.Errorf("key %s is there twice", k.ID)
		}
		ids[k.ID] = true
		keys = append(keys, k)
	}
	return keys, nil
}

// refresh reads the store again if it changed. A store that cannot be read leaves the keys as they are: a mistake
// made while editing, or a database that is away, must neither lock everybody out nor, by emptying the ring, let
// everybody in. r.mu is held.
func (r *Ring) refresh() {
	now := r.clock.Now()
	if r.store == nil || now.Sub(r.looked) < lookEvery {
		return
	}
	r.looked = now
	ctx, cancel := context.WithTimeout(context.Background(), loadTime)
	defer cancel()
	stamp, err := r.store.Stamp(ctx)
	if err == nil && stamp == r.seen {
		return
	}
	if err == nil { // what is broken is reported once, not every second: its stamp has been seen
		if err = r.load(ctx); errors.Is(err, fs.ErrNotExist) {
			err = errors.New("they are gone; the keys stay good until the next start")
		}
	}
	if err != nil {
		r.log.Warn("API keys not read again", "err", err)
	}
}

// create adds k to the store and to what this ring knows.
func (r *Ring) create(ctx context.Context, k Key) error {
	if r.store == nil {
		return errNoStore
	}
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.store.Add(ctx, k.ID, b, MaxKeys); err != nil {
		return err
	}
	r.stored = append(slices.Clone(r.stored), k)
	r.looked = time.Time{} // others may have added theirs
	return nil
}

// remove takes a key out of the store and of what this ring knows.
func (r *Ring) remove(ctx context.Context, id string) error {
	if r.store == nil {
		return errNoStore
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.store.Remove(ctx, id); err != nil {
		return err
	}
	r.stored = slices.DeleteFunc(slices.Clone(r.stored), func(k Key) bool { return k.ID == id })
	r.looked = time.Time{}
	return nil
}

var errNoStore = errors.New("no place for API keys is configured")

package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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

// create adds k to the store and to what this ring knows.
func (r *Ring) create(ctx context.Context, k Key) error {
	if r.store == nil {
		return errNoStore
	}
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := r.store.Add(ctx, k.ID, b, MaxKeys); err != nil {
		return err
	}
	r.changed(func(list []Key) []Key { return append(list, k) })
	return nil
}

// remove takes a key out of the store and of what this ring knows.
func (r *Ring) remove(ctx context.Context, id string) error {
	if r.store == nil {
		return errNoStore
	}
	if err := r.store.Remove(ctx, id); err != nil {
		return err
	}
	r.changed(func(list []Key) []Key { return slices.DeleteFunc(list, func(k Key) bool { return k.ID == id }) })
	return nil
}

var errNoStore = errors.New("no place for API keys is configured")

// Import adds the keys of another store to this one, with their ids and secrets; those that it has already are left as they are. It
// returns the ids of those that were added, also with an error.
func (r *Ring) Import(ctx context.Context, from Store) (added []string, err error) {
	set, _, err := read(ctx, from)
	if err != nil {
		return nil, err
	}
	for _, k := range set.list {
		switch err := r.create(ctx, k); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return added, fmt.Errorf("import key %s: %w", k.ID, err)
		default:
			added = append(added, k.ID)
		}
	}
	return added, nil
}

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

// What a ring knows of its store is at most lookEvery old while the store answers: whoever needs a key later than that looks first, and
// Run looks without being asked. One looks at a time:
//
//	the others   go on with what is known if that is not older than a look takes, or if the store has not answered lately; else they wait
//	a failure    leaves the keys as they are. A mistake made while editing, or a database that is away, must neither lock everybody
//	             out nor, by emptying the ring, let everybody in. It is tried again after lookEvery
//	Stale        bounds that: who has not heard from the store for so long does not know whether a key was revoked, and says so
//
// So a key that was revoked elsewhere is refused after lookEvery, after lookEvery and loadTime if the store is slow to answer, and after
// Stale if it does not answer at all.

const (
	// lookEvery is how often a ring looks whether its store has changed.
	lookEvery = time.Second
	// loadTime is how long a ring waits for its store.
	loadTime = 2 * time.Second
)

// keySet is the keys of a store at a moment. It is never changed.
type keySet struct {
	list []Key // in the order in which they were added
	byID map[string]Key
}

func newKeySet(list []Key) keySet {
	s := keySet{list, make(map[string]Key, len(list))}
	for _, k := range list {
		s.byID[k.ID] = k
	}
	return s
}

// cached is what a ring knows of its store. The ring's mu guards it.
type cached struct {
	known   keySet
	seen    string        // stamp of the store that known was read from
	looked  time.Time     // when the last look began
	sure    time.Time     // when the last look began that the store answered
	failing bool          // it did not answer the last one
	looking chan struct{} // closed at the end of the look under way; nil if there is none
	own     uint64        // counts changes by this ring: a look that began before one of them does not know it
}

// current returns the keys as the store had them at most lookEvery ago, or what was known last and ErrUnsure.
func (r *Ring) current() (keySet, error) {
	for {
		r.mu.Lock()
		if r.store == nil {
			defer r.mu.Unlock()
			return r.known, nil
		}
		now := r.clock.Now()
		age := now.Sub(r.sure)
		fresh := now.Sub(r.looked) < lookEvery
		if fresh || r.looking != nil && (r.failing || age < lookEvery+loadTime) {
			defer r.mu.Unlock()
			if r.stale > 0 && age > r.stale {
				return r.known, ErrUnsure
			}
			return r.known, nil
		}
		wait := r.looking
		if wait == nil {
			r.looked, r.looking = now, make(chan struct{})
			began := r.cached
			r.mu.Unlock()
			r.look(began)
			continue
		}
		r.mu.Unlock()
		<-wait
	}
}

// look asks the store whether it has changed, and reads it if so. began is what was known when it was decided to look.
func (r *Ring) look(began cached) {
	ctx, cancel := context.WithTimeout(context.Background(), loadTime)
	defer cancel()
	set := began.known
	seen, err := r.store.Stamp(ctx)
	if err == nil && seen != began.seen {
		if set, seen, err = read(ctx, r.store); errors.Is(err, fs.ErrNotExist) {
			err = errors.New("they are gone; the keys stay good until the next start")
		}
	}
	switch {
	case err != nil && !began.failing: // once, not every second
		r.log.Warn("API keys not read again", "err", err)
	case err == nil && began.failing:
		r.log.Info("API keys are read again")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.looking)
	r.looking = nil
	r.failing = err != nil
	switch {
	case r.own != began.own:
		r.looked = time.Time{} // what was read may lack it
	case err != nil:
		r.looked = r.clock.Now() // it may have taken long, and the next one is not to follow at once
	default:
		r.known, r.seen, r.sure = set, seen, began.looked
	}
}

// changed makes known what this ring has changed in the store.
func (r *Ring) changed(f func([]Key) []Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = newKeySet(f(slices.Clone(r.known.list)))
	r.own++
	r.looked = time.Time{} // others may have changed something, too
}

// read reads a store. The stamp is taken before the records: a change in between is then seen at the next look.
func read(ctx context.Context, s Store) (keySet, string, error) {
	stamp, err := s.Stamp(ctx)
	if err != nil {
		return keySet{}, "", fmt.Errorf("read API keys: %w", err)
	}
	records, err := s.Load(ctx)
	if err != nil {
		return keySet{}, stamp, fmt.Errorf("read API keys: %w", err)
	}
	list, err := parseRecords(records)
	if err != nil {
		return keySet{}, stamp, fmt.Errorf("read API keys: %w", err)
	}
	return newKeySet(list), stamp, nil
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

// Run looks at the store every lookEvery until ctx ends, so that no request has to wait for it and what is under way is told in time.
func (r *Ring) Run(ctx context.Context) error {
	t := r.clock.NewTicker(lookEvery)
	defer t.Stop()
	for {
		r.Sure() // every request that is refused for it says so
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}

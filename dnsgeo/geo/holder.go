package geo

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// Holder keeps the DB in use, and the one before for Rollback. Readers take Current and never wait; a DB that was replaced
// lives on for those who still hold it and is then garbage, so that there is nothing to close too early.
type Holder struct {
	current atomic.Pointer[DB]
	count   Counters

	swap     sync.Mutex // one at a time: compiling a large file takes seconds and memory
	previous *DB        // what Rollback returns to; nil when there is nothing
	rejected string     // identity of the DB that was rolled back
}

// Counters count since the start. Each is safe to read at any time.
type Counters struct {
	Swaps     atomic.Uint64 // databases put into use
	Refused   atomic.Uint64 // databases not put into use
	Rollbacks atomic.Uint64
}

// NewHolder returns a Holder of db.
func NewHolder(db *DB) *Holder {
	h := new(Holder)
	h.current.Store(db)
	return h
}

// Current returns the DB in use.
func (h *Holder) Current() *DB { return h.current.Load() }

// Counters returns the counters.
func (h *Holder) Counters() *Counters { return &h.count }

// Swap opens the files as Open does, checks the result against the DB in use and puts it into use. On an error the DB in use
// stays; where it is the comparison that found fault, the error is a *Refusal.
func (h *Holder) Swap(paths ...string) error {
	h.swap.Lock()
	defer h.swap.Unlock()
	db, err := h.check(paths, false)
	if err != nil {
		return err
	}
	h.put(db)
	return nil
}

// Force is Swap without the comparison: for the operator who means it. Files that cannot be read are still refused.
func (h *Holder) Force(paths ...string) error {
	h.swap.Lock()
	defer h.swap.Unlock()
	db, err := h.check(paths, true)
	if err != nil {
		return err
	}
	h.put(db)
	return nil
}

// Check opens the files and says what Swap would say, without putting anything into use. Use does that.
func (h *Holder) Check(paths ...string) (*DB, error) {
	h.swap.Lock()
	defer h.swap.Unlock()
	return h.check(paths, false)
}

// Use puts a DB that Check returned into use.
func (h *Holder) Use(db *DB) {
	h.swap.Lock()
	defer h.swap.Unlock()
	h.put(db)
}

// Rollback puts the DB that was in use before back into use. The one that it replaces is not taken again by Swap or Check.
func (h *Holder) Rollback() error {
	h.swap.Lock()
	defer h.swap.Unlock()
	if h.previous == nil {
		return errors.New("roll geo data back: there is none from before")
	}
	h.rejected = h.Current().Identity()
	h.current.Store(h.previous)
	h.previous = nil
	h.count.Rollbacks.Add(1)
	return nil
}

// restore rolls back if the DB from before is that of the identity, and reports whether it was.
func (h *Holder) restore(identity string) bool {
	h.swap.Lock()
	was := h.previous != nil && h.previous.Identity() == identity
	h.swap.Unlock()
	return was && h.Rollback() == nil
}

func (h *Holder) check(paths []string, force bool) (*DB, error) {
	db, err := Open(paths...)
	if err == nil {
		err = selfTest(db)
	}
	if err == nil && !force {
		err = compare(h.Current(), db)
		if id := db.Identity(); err == nil && id != "" && id == h.rejected {
			err = refuse(RolledBack, "it was rolled back; put another file in place, or force it")
		}
		if err != nil {
			err = fmt.Errorf("geo data %s is not put into use: %w", strings.Join(paths, ", "), err)
		}
	}
	if err != nil {
		h.count.Refused.Add(1)
		return nil, err
	}
	return db, nil
}

func (h *Holder) put(db *DB) {
	if db.Identity() == h.rejected {
		h.rejected = "" // the operator has forced it
	}
	h.previous = h.Current()
	h.current.Store(db)
	h.count.Swaps.Add(1)
}

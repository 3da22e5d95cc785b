package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"
	"time"

	"perigee/catalog"
	"perigee/clock"
	"perigee/keys"
)

// keyNote is what the file of keys has of a change until the audit log has it.
type keyNote struct {
	catalog.AuditEntry
	Once string `json:"once,omitempty"` // not part of an entry that is shown
}

// newKeyFile returns the store in a file, which notes each change for the audit log in the write that makes it: the command line changes the file
// while nothing runs that has the catalogue open.
func newKeyFile(file string, c clock.Clock) *keys.FileStore {
	s := keys.NewFileStore(file)
	s.Note = func(ctx context.Context, id string, added bool) json.RawMessage {
		now := c.Now().UTC().Truncate(time.Microsecond)
		e := catalog.AuditEntry{ID: catalog.NewAuditID(now), At: now, Actor: catalog.ActorOf(ctx), Action: catalog.KeyRevoked, Object: id, Outcome: catalog.OutcomeDone}
		if added {
			e.Action = catalog.KeyCreated
		}
		b, err := json.Marshal(keyNote{e, e.Once})
		if err != nil {
			panic("perigee: an audit entry always marshals: " + err.Error())
		}
		return b
	}
	return s
}

// noted is the key file of a server: what it notes is put into the audit log before anybody is told of the change, and what the command line has
// noted soon after.
type noted struct {
	*keys.FileStore
	log  *catalog.Catalog
	role *role

	mu    sync.Mutex
	stamp string // of the file when nothing was left to do
}

// Add implements keys.Store.
func (n *noted) Add(ctx context.Context, id string, record json.RawMessage, most int) error {
	err := n.FileStore.Add(ctx, id, record, most)
	if err == nil {
		n.take(ctx)
	}
	return err
}

// Remove implements keys.Store.
func (n *noted) Remove(ctx context.Context, id string) error {
	err := n.FileStore.Remove(ctx, id)
	if err == nil {
		n.take(ctx)
	}
	return err
}

// take puts the notes of the file into the audit log. What cannot be put there now stays in the file, and is not lost.
func (n *noted) take(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	stamp, err := n.Stamp(ctx)
	if err != nil || stamp == n.stamp {
		return
	}
	notes, err := n.Notes()
	for _, b := range notes {
		var note keyNote
		if jerr := json.Unmarshal(b, &note); jerr != nil || note.ID == "" {
			n.role.log.Error("a note in the file of API keys is no entry of the audit log; it is dropped", "note", string(b), "err", jerr)
			continue
		}
		note.AuditEntry.Once = note.Once
		err = errors.Join(err, n.log.NoteOnce(context.WithoutCancel(ctx), note.AuditEntry))
	}
	if err == nil && len(notes) > 0 {
		if err = n.DropNotes(len(notes)); err == nil {
			stamp, err = n.Stamp(ctx) // another change may have come first: its note is taken then
		}
		if rest, rerr := n.Notes(); rerr != nil || len(rest) > 0 {
			stamp = ""
		}
	}
	if err != nil {
		n.role.log.Warn("changes of API keys are not in the audit log yet; trying on", "err", err)
		return
	}
	n.stamp = stamp
}

// noteEvery is how often a server looks for notes of the command line.
const noteEvery = 2 * time.Second

func (n *noted) run(ctx context.Context) error {
	t := n.role.clock.NewTicker(noteEvery)
	defer t.Stop()
	for {
		n.take(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}

// openKeys opens the place of the API keys; the catalogue is open.
func (a *api) openKeys(ctx context.Context) error {
	c := a.r.cfg
	kc := keys.Config{Env: c.API.EnvKeys(), Clock: a.r.clock, Log: a.r.log}
	if c.KeysInCatalogue() {
		kc.Store, kc.Stale = a.catalog.KeyStore(), c.API.KeysStale.Std()
	} else {
		n := &noted{FileStore: newKeyFile(c.API.KeysFile, a.r.clock), log: a.catalog, role: a.r}
		n.take(ctx)
		a.r.start("notes of API keys", n.run)
		kc.Store = n
	}
	ring, err := keys.Open(kc)
	if err != nil {
		return err
	}
	if err := leftBehind(ctx, c.KeysInCatalogue(), c.API.KeysFile, ring); err != nil {
		return err
	}
	a.ring = &keyring{Ring: ring, log: a.catalog, pending: map[string]time.Time{}}
	a.r.start("API keys", ring.Run)
	a.r.start("uses of API keys", func(ctx context.Context) error { return a.ring.run(ctx, a.r) })
	return nil
}

// leftBehind refuses to go on without the keys of a file that was in use before keys were kept in the catalogue: the door would be open, or closed to
// everybody, without anyone having said so.
func leftBehind(ctx context.Context, inCatalogue bool, file string, ring *keys.Ring) error {
	if !inCatalogue || !ring.Empty() {
		return nil
	}
	left, err := keys.NewFileStore(file).Load(ctx)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(left) == 0 {
		return nil
	}
	return errors.Join(err, fmt.Errorf("API keys are kept in the catalogue, which has none, and the file %s has %s: take them over with `perigee keys import %s`, or set api.keys to file, or move that file away",
		file, plural(len(left), "key"), file))
}

// keyring is the keys of a server with when they were used, which the catalogue keeps.
type keyring struct {
	*keys.Ring
	log *catalog.Catalog

	mu      sync.Mutex
	pending map[string]time.Time // not in the catalogue yet
}

// useEvery is how often uses are put into the catalogue.
const useEvery = 30 * time.Second

func (k *keyring) run(ctx context.Context, r *role) error {
	t := r.clock.NewTicker(useEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			k.keep(last) // what it does not keep is half a minute of last uses
			return nil
		case <-t.C():
		}
		if err := k.keep(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("when API keys were used could not be kept; trying on", "err", err)
		}
	}
}

// keep puts into the catalogue when keys were used.
func (k *keyring) keep(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.Copy(k.pending, k.TakeUses())
	if len(k.pending) == 0 {
		return nil
	}
	err := k.log.NoteKeyUses(ctx, k.pending)
	if err == nil {
		clear(k.pending)
	}
	return err
}

// Uses implements web.Keys.
func (k *keyring) Uses(ctx context.Context) (map[string]time.Time, error) {
	if err := k.keep(ctx); err != nil {
		return nil, away(err)
	}
	used, err := k.log.KeyUses(ctx)
	return used, away(err)
}

package cache

import (
	"fmt"

	"perigee/object"
	"perigee/purge"
)

// record is one entry of the journal; exactly one of its fields is set.
type record struct {
	// Name is a pointer that came from the bucket.
	Name *nameRecord `json:"name,omitempty"`
	// Applied is an entry of the log, applied; replaying it gives the state back, position and all.
	Applied *appliedRecord `json:"applied,omitempty"`
	// State is the head of a rewritten journal: what is not a name.
	State *stateRecord `json:"state,omitempty"`
	// Site is a site record that came from the bucket.
	Site *object.SiteRecord `json:"site,omitempty"`
	// Reset is a break in the log: everything before it is to be confirmed.
	Reset *purge.Position `json:"reset,omitempty"`
}

type nameRecord struct {
	Pointer *object.Pointer `json:"p"`
	Version bool            `json:"v,omitempty"` // an immutable name
	Checked tick            `json:"c"`
	Purged  marks           `json:"m,omitzero"`
}

type appliedRecord struct {
	Entry    purge.Entry    `json:"e"`
	Position purge.Position `json:"p"`
}

type stateRecord struct {
	Now      tick           `json:"now"`
	All      marks          `json:"all,omitzero"`
	Epochs   []epochRecord  `json:"epochs,omitempty"`
	Position purge.Position `json:"position,omitzero"`
}

type epochRecord struct {
	epochKey
	Marks marks `json:"m"`
}

func (r *nameRecord) key() nameKey {
	k := nameKey{site: r.Pointer.Site, path: r.Pointer.Path}
	if r.Version {
		k.version = r.Pointer.Version
	}
	return k
}

// replay applies a journal record to the engine's tables at start.
func (e *Engine) replay(r record) error {
	switch {
	case r.Name != nil && r.Name.Pointer != nil:
		if err := r.Name.Pointer.Validate(); err != nil {
			return err
		}
		k := r.Name.key()
		e.table.set(k, r.Name.Pointer, r.Name.Checked, e.never)
		if n, ok := e.table.names.peek(k); ok {
			n.purged = n.purged.max(r.Name.Purged)
		}
	case r.Applied != nil:
		if err := r.Applied.Entry.Validate(); err != nil {
			return err
		}
		e.applyToTables(&r.Applied.Entry)
		e.position = r.Applied.Position
	case r.State != nil:
		e.table.now, e.table.all, e.position = r.State.Now, r.State.All, r.State.Position
		for _, ep := range r.State.Epochs {
			e.table.epochs[ep.epochKey] = ep.Marks
		}
	case r.Site != nil:
		if err := r.Site.Validate(); err != nil {
			return err
		}
		e.sites.Learn(r.Site)
	case r.Reset != nil:
		e.resetTables(*r.Reset)
	default:
		return fmt.Errorf("journal: record of no known kind")
	}
	return nil
}

// epochsPerRecord keeps a state record within maxRecord: the name of an epoch is a prefix of at most object.MaxPath+1 bytes,
// each of which JSON may escape to six.
const epochsPerRecord = 64

// records yields the whole state as journal records, oldest names first, for a rewrite. e.mu is held.
func (e *Engine) records(yield func(*record) bool) {
	st := &stateRecord{Now: e.table.now, All: e.table.all, Position: e.position}
	for k, m := range e.table.epochs {
		st.Epochs = append(st.Epochs, epochRecord{k, m})
		if len(st.Epochs) == epochsPerRecord { // further records repeat the head
			if !yield(&record{State: st}) {
				return
			}
			st = &stateRecord{Now: st.Now, All: st.All, Position: st.Position}
		}
	}
	if !yield(&record{State: st}) {
		return
	}
	for _, s := range e.sites.Records() {
		if !yield(&record{Site: s}) {
			return
		}
	}
	for k, n := range e.table.names.each {
		r := &nameRecord{Pointer: n.pointer, Version: k.version != "", Checked: n.checked, Purged: n.purged}
		if !yield(&record{Name: r}) {
			return
		}
	}
}

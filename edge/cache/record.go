package cache

import (
	"fmt"

	"perigee/object"
	"perigee/purge"
)

// record is one entry of the journal; exactly one of its fields is set. Names are not in the journal: the store has them.
type record struct {
	// Applied is an entry of the log, applied; replaying it gives the state back, position and all.
	Applied *appliedRecord `json:"applied,omitempty"`
	// State is the head of a journal: what is known beside names.
	State *stateRecord `json:"state,omitempty"`
	// Site is a site record that came from the bucket.
	Site *object.SiteRecord `json:"site,omitempty"`
	// Reset is a break in the log: everything before it is to be confirmed.
	Reset *purge.Position `json:"reset,omitempty"`
}

type appliedRecord struct {
	Entry    purge.Entry    `json:"e"`
	Position purge.Position `json:"p"`
}

type stateRecord struct {
	// Seed keys the hash of names: the store's records of names are found with it, or not at all.
	Seed     [2]uint64      `json:"seed"`
	Now      tick           `json:"now"`
	All      marks          `json:"all,omitzero"`
	Epochs   []epochRecord  `json:"epochs,omitempty"`
	Position purge.Position `json:"position,omitzero"`
}

type epochRecord struct {
	epochKey
	Marks marks `json:"m"`
}

// replay applies a journal record to the engine at start. The first record of a journal is its State.
func (e *Engine) replay(r record) error {
	if e.seed == [2]uint64{} && r.State == nil {
		return fmt.Errorf("journal: it does not begin with the state")
	}
	switch {
	case r.State != nil:
		if r.State.Seed == [2]uint64{} {
			return fmt.Errorf("journal: state without seed")
		}
		e.seed, e.table.now, e.table.all, e.position = r.State.Seed, r.State.Now, r.State.All, r.State.Position
		for _, ep := range r.State.Epochs {
			e.table.restore(ep.epochKey, ep.Marks)
		}
	case r.Applied != nil:
		if err := r.Applied.Entry.Validate(); err != nil {
			return err
		}
		e.applyToTables(&r.Applied.Entry)
		e.position = r.Applied.Position
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

// records returns the whole state as journal records, in the form they have in the journal. e.mu is held.
func (e *Engine) records() (out []byte, n int) {
	add := func(r *record) { out, n = appendRecord(out, r), n+1 }
	head := stateRecord{Seed: e.seed, Now: e.table.now, All: e.table.all, Position: e.position}
	st := head
	for k, m := range e.table.epochs {
		st.Epochs = append(st.Epochs, epochRecord{k, m})
		if len(st.Epochs) == epochsPerRecord { // further records repeat the head
			add(&record{State: &st})
			st = head
		}
	}
	add(&record{State: &st})
	for _, s := range e.sites.Records() {
		add(&record{Site: s})
	}
	return out, n
}

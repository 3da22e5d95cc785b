package cache

import (
	"errors"
	"math/rand/v2"
	"time"
)

// journalPause is how long a journal that failed is left alone before it is tried again.
const journalPause = 10 * time.Second

// tickLeap is how far the ticks of a new run lie beyond those that the journal gives back. The names in the store may be newer than the end of the
// journal, after a power cut that took the one and not the other; a purge of the new run must count against them all the
// same. A journal is rewritten, and the store synced, before it has that many records.
const tickLeap = 1 << 20

// writeJournal appends to the journal. A journal that cannot be written is given up until it can be rewritten whole: with
// a hole in it a purge could be forgotten that a later position includes. e.mu is held.
func (e *Engine) writeJournal(r *record) {
	if e.closed { // the directory may be another engine's by now
		return
	}
	if e.journalFailed {
		if e.clock.Now().Sub(e.journalTried) >= journalPause {
			e.rewriteJournal()
		}
		return
	}
	if err := e.journal.append(r); err != nil {
		e.log.Error("the cache journal cannot be written; trying to rewrite it", "err", err)
		e.rewriteJournal()
		return
	}
	if e.journal.size > e.journalRoom/2 || e.journal.records > tickLeap/2 { // nobody has rewritten it in time
		e.rewriteJournal()
	}
}

// rewriteJournal puts a new journal in place while e.mu is held: at the start, and when the other way did not come in time.
func (e *Engine) rewriteJournal() {
	e.journalTried = e.clock.Now()
	err := e.store.Sync() // the entries that leave the journal may have changed names
	if err == nil {
		state, records := e.records()
		tmp, e2 := e.journal.begin(state)
		if err = e2; err == nil {
			err = e.journal.replace(tmp, records, e.journal.size, 0)
		}
	}
	e.journalFailed = err != nil
	if err != nil {
		e.log.Error("the cache journal cannot be rewritten; the position in the log will not survive a restart", "err", err)
		return
	}
	e.volatile = false
}

// compactDue reports whether the journal is worth rewriting in the background.
func (e *Engine) compactDue() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	j := e.journal
	return !e.closed && !e.journalFailed && (j.size > e.journalRoom/8 && j.size > 2*j.first || j.records > tickLeap/4)
}

// compact rewrites the journal without holding e.mu while the disk works. The state is taken first; what is appended
// meanwhile is copied behind it.
func (e *Engine) compact() error {
	e.mu.Lock()
	state, records := e.records()
	from, had := e.journal.size, e.journal.records
	j := e.journal.file
	e.mu.Unlock()
	if err := e.store.Sync(); err != nil {
		return err
	}
	tmp, err := e.journal.begin(state)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.journalFailed || e.journal.file != j { // rewritten meanwhile, or with a hole
		discard(tmp)
		return nil
	}
	err = e.journal.replace(tmp, records, from, e.journal.records-had)
	e.journalFailed = err != nil
	return err
}

// keepJournal compacts the journal whenever that is due.
func (e *Engine) keepJournal() {
	if !e.compactDue() {
		return
	}
	if err := e.compact(); err != nil {
		e.log.Error("the cache journal cannot be rewritten", "err", err)
	}
}

// begin makes what the journal gave back the state of a new run. Names can be kept only if the new run's first tick is on stable storage.
func (e *Engine) begin() {
	if e.seed == [2]uint64{} {
		e.seed = [2]uint64{rand.Uint64(), rand.Uint64() | 1}
	}
	e.table.now += tickLeap
	e.tick.Store(uint64(e.table.now))
	e.volatile = true
	e.rewriteJournal()
}

// end writes the journal out.
func (e *Engine) end() error {
	var err error
	if !e.journalFailed {
		err = errors.Join(e.store.Sync(), e.journal.file.Sync())
	}
	return errors.Join(err, e.journal.close())
}

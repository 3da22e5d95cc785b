package store

import (
	"errors"
	"fmt"
	"sync"
)

// debts are changes of records of names that the disk has refused. Until they are made Sync must not succeed: what was forgotten, or never was
// stored, could come back.
type debts struct {
	mu   sync.Mutex
	list []debt
	lost error // there were too many
}

// debt is a record to be killed or, if n is not 0, n bytes to be made void.
type debt struct {
	seg    *segment
	off, n int64
}

const maxDebts = 1 << 16

func (d *debts) owe(x debt, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) == maxDebts {
		if d.lost == nil {
			d.lost = fmt.Errorf("too many names could not be forgotten: %w", err)
		}
		return
	}
	d.list = append(d.list, x)
}

// settle makes the changes that are owed.
func (s *Store) settle() error {
	d := &s.debts
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.lost
	left := d.list[:0]
	for i, x := range d.list {
		if !x.seg.pin() {
			continue // the segment has gone, and the record with it
		}
		var e error
		if x.n == 0 {
			e = kill(x.seg, x.off)
		} else {
			e = s.void(x.seg, x.off, x.n, true)
		}
		x.seg.unpin()
		if e != nil {
			err = errors.Join(err, e)
			left = append(left, d.list[i:]...) // the disk fails still
			break
		}
	}
	clear(d.list[len(left):])
	d.list = left
	return err
}

// Sync puts all names on stable storage whose Put has returned, and their Drops. After an error the next Sync tries to make good what was not written.
func (s *Store) Sync() error {
	if s.closed.Load() {
		return fmt.Errorf("sync store: %w", errClosed)
	}
	s.evacuateSuspects()
	if err := s.syncNames(nil); err != nil {
		return fmt.Errorf("sync store: %w", err)
	}
	return nil
}

// syncNames syncs all segments of names but one. Only one caller is at it at a time: who finds a segment clean because another one is syncing it right
// now would return too early.
func (s *Store) syncNames(except *segment) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	err := s.settle()
	for i := range s.slots {
		seg := s.slots[i].Load()
		if seg == nil || seg == except || seg.log != logNames || !seg.pin() {
			continue
		}
		if seg.suspect.Load() {
			err = errors.Join(err, fmt.Errorf("segment %s could not be synced", seg.name))
		} else if seg.dirty.Swap(false) {
			err = errors.Join(err, s.syncSegment(seg))
		}
		seg.unpin()
	}
	s.space.Lock()
	fresh := s.dirNew
	s.dirNew = false
	s.space.Unlock()
	if fresh {
		if e := s.files.SyncDir(s.segDir()); e != nil {
			s.space.Lock()
			s.dirNew = true
			s.space.Unlock()
			err = errors.Join(err, e)
		}
	}
	return err
}

// evacuateSuspects writes the names of segments again whose sync failed, elsewhere.
func (s *Store) evacuateSuspects() {
	for i := range s.slots {
		if seg := s.slots[i].Load(); seg != nil && seg.suspect.Load() {
			s.grow.Lock()
			if !s.closed.Load() && s.slots[i].Load() == seg {
				s.evacuate(seg)
			}
			s.grow.Unlock()
		}
	}
}

// evacuate writes all names of a segment again and removes it, if that works; grow is held.
func (s *Store) evacuate(g *segment) {
	sl := &s.logs[g.log]
	sl.mu.Lock()
	active := sl.active == g
	if active {
		sl.active = nil
	}
	sl.mu.Unlock()
	if active {
		s.retire(g)
	}
	list, whole := s.listOf(g)
	if s.relocate(g, s.live(g, list)) && s.syncNames(g) == nil {
		s.discard(g, list, whole)
	}
}

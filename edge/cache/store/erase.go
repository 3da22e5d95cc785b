package store

import (
	"errors"
	"fmt"
	"slices"
)

// Erase overwrites every record of these keys, old ones too, with zeros, syncs what it wrote, and forgets them. The caller sees to it that they are not put again.
// Who has one of them open would read zeros, and learns that from Record.Intact. An error means that some of it may remain. It is one pass over the lists of all segments.
func (s *Store) Erase(keys ...Key) error {
	wanted := map[Key]bool{}
	tags := map[uint64]bool{}
	var stripes [256]bool
	for _, k := range keys {
		wanted[k], tags[k.tag()], stripes[k[0]] = true, true, true
	}
	// Stripes come before grow, as in Put.
	for i, on := range stripes {
		if on {
			s.stripes[i].Lock()
			defer s.stripes[i].Unlock()
		}
	}
	s.grow.Lock()
	defer s.grow.Unlock()
	if s.closed.Load() {
		return fmt.Errorf("erase: %w", errClosed)
	}
	var errs []error
	for i := range s.slots {
		if seg := s.slots[i].Load(); seg != nil {
			errs = append(errs, s.eraseIn(seg, wanted, tags))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	return nil
}

// eraseIn erases what a segment has of some keys; grow is held.
func (s *Store) eraseIn(seg *segment, keys map[Key]bool, tags map[uint64]bool) error {
	list, _ := s.listOf(seg)
	var gone []uint32
	var err error
	for _, e := range list {
		if e.fate == erased || !tags[e.tag] {
			continue
		}
		off, n := int64(e.off)*unit, int64(e.length)*unit
		// A head that cannot be read may be of one of the keys.
		if h, _, err := s.readHead(seg, off, nil); err == nil && !keys[h.key] {
			continue
		}
		seg.harms.Add(1)
		s.index.remove(e.tag, makeWord(seg.slot, off, n, e.class).ref())
		if e := s.void(seg, off, n, true); e != nil {
			err = errors.Join(err, e)
			continue
		}
		gone = append(gone, e.off)
	}
	if len(gone) == 0 {
		return err
	}
	// A crash before the footer is written leaves voids that are listed: they are found damaged, no more.
	err = errors.Join(err, s.unlist(seg, list, gone))
	if e := seg.file.Sync(); e != nil {
		seg.suspect.Store(seg.log == logNames)
		err = errors.Join(err, e)
	}
	return err
}

// unlist notes in the list of a segment, and in its footer if it has one, that records are erased.
func (s *Store) unlist(seg *segment, list []listed, gone []uint32) error {
	slices.Sort(gone)
	note := func(list []listed) {
		for i := range list {
			if _, ok := slices.BinarySearch(gone, list[i].off); ok {
				list[i].fate = erased
			}
		}
	}
	sl := &s.logs[seg.log]
	sl.mu.Lock()
	note(seg.list)
	inMemory := seg.list != nil || !seg.sealed
	sl.mu.Unlock()
	if inMemory {
		return nil
	}
	note(list)
	size, err := seg.file.Size()
	if err != nil || s.footerOf(seg.file, seg.id, size) != int64(len(list)) {
		return err
	}
	// The same number of records makes a footer of the same length, in the same place.
	b := appendFooter(nil, list, size-trailerSize-int64(len(list))*listedSize, s.id, seg.id)
	_, err = seg.file.WriteAt(b, size-int64(len(b)))
	return err
}

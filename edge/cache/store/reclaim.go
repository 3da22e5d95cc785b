package store

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"

	"perigee/edge/cache/policy"
)

const (
	// namesShare is the part of the space beyond which names give way to names.
	namesShare = 0.25
	// keptShare is the part of a segment that a reclaim writes again at the most: it must make room.
	keptShare = 0.75
)

// spareSlots are kept free for what reclaims write again.
const spareSlots = 8

// reclaimFor makes room for bytes of segments, and slots; grow is held.
func (s *Store) reclaimFor(bytes int64) error {
	for {
		s.space.Lock()
		fits := s.used+bytes <= s.limit
		segments := int(logCount)
		for i := range s.logs {
			segments += len(s.logs[i].sealed)
		}
		s.space.Unlock()
		fits = fits && segments <= maxSlots-spareSlots
		if fits {
			return nil
		}
		if !s.reclaimOne() {
			return errNoRoom
		}
	}
}

// giveWay removes a segment because the disk says that it is full. Nothing can be written again before that.
func (s *Store) giveWay() {
	s.grow.Lock()
	defer s.grow.Unlock()
	if s.closed.Load() {
		return
	}
	if g := s.victim(); g != nil {
		list, whole := s.listOf(g)
		s.discard(g, list, whole)
		s.counters.reclaims.Add(1)
	}
}

// wantRoom tells reclaimAhead that the room may get scarce.
func (s *Store) wantRoom() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// reclaimAhead keeps room for one segment more than is needed, so that who puts seldom waits for a reclaim.
func (s *Store) reclaimAhead(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		}
		s.grow.Lock()
		if !s.closed.Load() && s.limit >= 32*s.segSize { // a small store needs its room for records
			_ = s.reclaimFor(3 * s.segSize)
		}
		s.grow.Unlock()
	}
}

// reclaimOne reclaims the oldest segment of the log that is to give way; false if there is none. grow is held.
func (s *Store) reclaimOne() bool {
	g := s.victim()
	if g == nil {
		if !s.retireAny() {
			return false
		}
		if g = s.victim(); g == nil {
			return false
		}
	}
	list, whole := s.listOf(g)
	before := s.counters.relocated.Load()
	s.relocate(g, s.choose(g, list))
	if g.log == logNames && s.counters.relocated.Load() > before {
		// The copies must not be less durable than what is unlinked.
		if err := s.syncNames(g); err != nil {
			s.cfg.Log.Warn("names that were written again could not be synced", "err", err)
		}
	}
	if !s.discard(g, list, whole) {
		return false
	}
	s.counters.reclaims.Add(1)
	return true
}

// victim chooses the segment to reclaim.
func (s *Store) victim() *segment {
	s.space.Lock()
	defer s.space.Unlock()
	var bytes [logCount]float64
	for i := range s.logs {
		for _, g := range s.logs[i].sealed {
			bytes[i] += float64(g.size)
		}
	}
	total := float64(s.limit)
	order := []logID{logMain, logProbation, logNames}
	switch {
	case bytes[logNames] > namesShare*total:
		order = []logID{logNames, logProbation, logMain}
	case bytes[logProbation] > s.policy.ProbationShare()*(total-bytes[logNames]):
		order = []logID{logProbation, logMain, logNames}
	}
	for _, l := range order {
		if sealed := s.logs[l].sealed; len(sealed) > 0 {
			return sealed[0]
		}
	}
	return nil
}

// retireAny seals the fullest active segment, so that there is something to reclaim; grow is held.
func (s *Store) retireAny() bool {
	var most *segment
	for _, l := range []logID{logProbation, logMain, logNames} {
		sl := &s.logs[l]
		sl.mu.Lock()
		if a := sl.active; a != nil && (most == nil || a.end > most.end) {
			most = a
		}
		sl.mu.Unlock()
	}
	if most == nil {
		return false
	}
	sl := &s.logs[most.log]
	sl.mu.Lock()
	sl.active = nil
	sl.mu.Unlock()
	s.retire(most)
	return true
}

// alive is a record of a segment that the index knows.
type alive struct {
	listed
	word word
}

// live returns the records of g that the index knows.
func (s *Store) live(g *segment, list []listed) []alive {
	var live []alive
	for _, e := range list {
		if w := s.index.get(e.tag); w.is(makeWord(g.slot, int64(e.off)*unit, int64(e.length)*unit, e.class).ref()) {
			live = append(live, alive{e, w})
		}
	}
	return live
}

// choose returns the records of g that are worth writing again.
func (s *Store) choose(g *segment, list []listed) []alive {
	live := s.live(g, list)
	room := int64(keptShare * float64(min(g.size, s.segSize)))
	if g.log == logNames {
		return warmest(live, room)
	}
	l := policy.Probation
	if g.log == logMain {
		l = policy.Main
	}
	cands := make([]policy.Candidate, len(live))
	for i, a := range live {
		cands[i] = policy.Candidate{Tag: a.tag, Size: a.word.length(), Heat: a.word.heat()}
	}
	s.deciding.Lock()
	s.policy.Reclaim(l, cands)
	s.deciding.Unlock()
	kept := live[:0]
	for i, c := range cands {
		if c.Keep && c.Size <= room {
			room -= c.Size
			a := live[i]
			a.word = a.word.with(c.Heat)
			kept = append(kept, a)
		}
	}
	return kept
}

// warmest returns the names that were asked for most, as many as have room; their heat is halved.
func warmest(live []alive, room int64) []alive {
	slices.SortStableFunc(live, func(a, b alive) int { return cmp.Compare(b.word.heat(), a.word.heat()) })
	for i := range live {
		if room -= live[i].word.length(); room < 0 {
			return live[:i]
		}
		live[i].word = live[i].word.with(live[i].word.heat() / 2)
	}
	return live
}

// relocate writes records again: names in the names log, bodies in main. One that is damaged is not kept; false means that the disk did not take them all. grow is held.
//
// The races: (1) the record is put anew, or dropped, while it is being copied: then the index does not say any more that it is at the old place, the copy does not count, and a
// copy of a name is killed so that it never will. (2) A reader found the old place: it has the segment pinned, or finds it gone and looks again.
func (s *Store) relocate(g *segment, keep []alive) bool {
	var buf []byte
	for _, a := range keep {
		n := a.word.length()
		if int64(cap(buf)) < n {
			buf = make([]byte, n+n/4)
		}
		h, err := s.readCopy(g, a, buf)
		if err != nil {
			continue // discard forgets it
		}
		p := buf[:n]
		l := logMain
		if h.class == Names {
			l = logNames
		}
		end := headSize + h.metaLen
		at, err := s.append(l, &h, p[headSize:end], p[end:end+h.bodyLen], true)
		if err != nil {
			if !errors.Is(err, errNoRoom) { // segments that were sealed early have made little room: then less is kept
				s.counters.failures.Add(1)
				_ = s.health.fail(err)
			}
			return false
		}
		w := makeWord(at.seg.slot, at.off, n, h.class).with(a.word.heat())
		if !s.index.swap(a.tag, a.word.ref(), w) && h.class == Names {
			s.kill(at.seg, at.off)
		}
		at.seg.unpin()
		s.counters.relocated.Add(n)
	}
	return true
}

// readCopy reads a record that is to be written again.
func (s *Store) readCopy(g *segment, a alive, buf []byte) (head, error) {
	var k Key
	n := a.word.length()
	if got, err := g.file.ReadAt(buf[:n], a.word.offset()); int64(got) < n {
		return head{}, readError(err)
	}
	copy(k[:], buf[8:24])
	h, _, err := s.verify(g, a.word, k, buf[:n])
	if err != nil && !h.dead {
		s.counters.damaged.Add(1)
	}
	return h, err
}

// discard forgets what is left in a segment and unlinks it. If its list is not whole, all of the index is searched for its records. A segment whose file cannot be
// removed stays, as an empty one, the oldest of its log: after a restart its names may count again, so no younger segment may go before it. grow is held.
func (s *Store) discard(g *segment, list []listed, whole bool) bool {
	for _, e := range list {
		s.index.remove(e.tag, makeWord(g.slot, int64(e.off)*unit, int64(e.length)*unit, e.class).ref())
	}
	if !whole {
		s.index.removeSlot(g.slot)
	}
	if err := s.files.Remove(g.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.counters.failures.Add(1)
		s.cfg.Log.Warn("a segment of the cache cannot be removed", "err", err)
		return false
	}
	s.slots[g.slot].CompareAndSwap(g, nil)
	g.unpin()
	s.space.Lock()
	defer s.space.Unlock()
	sealed := &s.logs[g.log].sealed
	if i := slices.Index(*sealed, g); i >= 0 {
		*sealed = slices.Delete(*sealed, i, i+1)
	}
	s.used -= g.size
	s.dirNew = s.dirNew || g.log == logNames // it must not come back when younger ones have gone
	return true
}

// listOf returns the records of a segment, those that are dead, too. whole is false if some may be missing, because the list was lost.
func (s *Store) listOf(g *segment) (list []listed, whole bool) {
	sl := &s.logs[g.log]
	sl.mu.Lock()
	if g.list != nil || !g.sealed {
		defer sl.mu.Unlock()
		return slices.Clone(g.list), true
	}
	sl.mu.Unlock()
	size, err := g.file.Size()
	if err != nil {
		return nil, false
	}
	if n := s.footerOf(g.file, g.id, size); n >= 0 {
		if list, err := readFooter(g, size, n); err == nil {
			return list, true
		}
	}
	return s.scan(g, size).list, false
}

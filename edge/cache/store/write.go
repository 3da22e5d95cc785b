package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"perigee/edge/cache/policy"
)

// segLog is one log: a segment that is appended to and, guarded by Store.space, those that are sealed, oldest first.
type segLog struct {
	mu     sync.Mutex
	active *segment
	sealed []*segment
}

// span is room reserved in a segment, which is pinned.
type span struct {
	seg *segment
	off int64
}

// Put stores a record under k and returns where it is. meta and body are not kept. On an error nothing is stored and what was there before is still there.
func (s *Store) Put(c Class, k Key, meta, body []byte) (Ref, error) {
	switch {
	case len(meta) > MaxMeta || len(body) > MaxBody:
		return 0, fmt.Errorf("put a record of %d and %d bytes: %w", len(meta), len(body), ErrTooLarge)
	case s.closed.Load():
		return 0, fmt.Errorf("%w: %w", ErrFailing, errClosed)
	}
	if err := s.health.ready(); err != nil {
		return 0, err
	}
	n := length(len(meta), len(body))
	l := logNames
	if c == Bodies {
		switch s.policy.Admit(k.tag(), n) {
		case policy.ToMain:
			l = logMain
		case policy.ToProbation:
			l = logProbation
		default:
			return 0, ErrNotAdmitted
		}
	}
	// Of two Puts of one key the one that gets the higher number must be the one that the index has in the end.
	stripe := &s.stripes[k[0]]
	stripe.Lock()
	defer stripe.Unlock()
	h := head{key: k, seq: s.seq.Add(1), class: c}
	at, err := s.append(l, &h, meta, body, false)
	if full(err) {
		s.giveWay()
		at, err = s.append(l, &h, meta, body, false)
	}
	if err != nil {
		if errors.Is(err, errClosed) {
			return 0, fmt.Errorf("%w: %w", ErrFailing, err)
		}
		s.counters.failures.Add(1)
		return 0, s.health.fail(err)
	}
	s.health.well()
	defer at.seg.unpin()
	w := makeWord(at.seg.slot, at.off, n, c)
	s.index.put(k.tag(), w)
	return w.ref(), nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// append writes a record behind the others of a log. The caller unpins the segment. relocating says that grow is held, by a reclaim.
func (s *Store) append(l logID, h *head, meta, body []byte, relocating bool) (span, error) {
	at, err := s.reserve(l, length(len(meta), len(body)), h, relocating)
	if err != nil {
		return span{}, err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = appendRecord((*buf)[:0], h, meta, body, spot{s.id, at.seg.id, at.off})
	at.seg.watch()
	_, err = at.seg.file.WriteAt(*buf, at.off)
	at.seg.dirty.Store(true)
	if err != nil {
		s.undo(at, int64(len(*buf)), err)
		return span{}, fmt.Errorf("write record: %w", err)
	}
	if len(body) > alwaysChecked {
		at.seg.reach(at.off + int64(len(*buf)))
	}
	s.wrote(at, true)
	s.counters.written.Add(int64(len(*buf)))
	return at, nil
}

// wrote ends the reservation of a span.
func (s *Store) wrote(at span, ok bool) {
	sl := &s.logs[at.seg.log]
	sl.mu.Lock()
	defer sl.mu.Unlock()
	at.seg.wrote(at.off, ok)
}

// undo makes sure that a record whose write failed does not count after a restart: all of it may have reached the disk. For a body that would do no harm.
func (s *Store) undo(at span, n int64, cause error) {
	if s.void(at.seg, at.off, n, true) != nil && at.seg.log == logNames {
		s.debts.owe(debt{at.seg, at.off, n}, cause)
	}
	s.wrote(at, false)
	at.seg.unpin()
}

// reserve takes room in the active segment of a log, which it replaces if it is full.
func (s *Store) reserve(l logID, n int64, h *head, relocating bool) (span, error) {
	sl := &s.logs[l]
	for {
		sl.mu.Lock()
		was := sl.active
		if was != nil {
			if off, ok := was.take(n, h.key.tag(), h.seq, h.class); ok {
				ok = was.pin()
				sl.mu.Unlock()
				if !ok {
					s.wrote(span{was, off}, false)
					return span{}, errClosed
				}
				return span{was, off}, nil
			}
		}
		sl.mu.Unlock()
		if err := s.rotate(l, was, relocating); err != nil {
			return span{}, err
		}
	}
}

// rotate gives a log another active segment in place of was.
func (s *Store) rotate(l logID, was *segment, relocating bool) error {
	if !relocating {
		s.grow.Lock()
		defer s.grow.Unlock()
	}
	if s.closed.Load() {
		return errClosed
	}
	sl := &s.logs[l]
	sl.mu.Lock()
	changed := sl.active != was
	sl.mu.Unlock()
	if changed {
		return nil
	}
	if !relocating {
		if err := s.reclaimFor(2 * s.segSize); err != nil {
			return err
		}
		// The reclaim may have given this log another segment.
		sl.mu.Lock()
		changed = sl.active != was
		sl.mu.Unlock()
		if changed {
			return nil
		}
	}
	seg, err := s.newSegment(l)
	if err != nil {
		return err
	}
	sl.mu.Lock()
	sl.active = seg
	sl.mu.Unlock()
	if was != nil {
		s.retire(was)
	}
	s.wantRoom()
	return nil
}

// retire seals a segment that was active; grow is held.
func (s *Store) retire(g *segment) {
	size := s.close(g)
	s.space.Lock()
	s.used += size - g.size
	g.size = size
	s.logs[g.log].sealed = append(s.logs[g.log].sealed, g)
	s.space.Unlock()
}

// close seals a segment and returns what it takes on disk, in whole blocks.
func (s *Store) close(g *segment) int64 {
	err := s.seal(g)
	sl := &s.logs[g.log]
	sl.mu.Lock()
	g.sealed = true
	if err == nil {
		g.list = nil
	}
	sl.mu.Unlock()
	if err != nil {
		s.counters.failures.Add(1)
		s.cfg.Log.Warn("a segment of the cache is left without its list", "err", err)
	}
	n, err := g.file.Size()
	if err != nil {
		return max(g.size, s.segSize)
	}
	return blocks(n)
}

// newSegment makes a segment, which counts as full; grow is held.
func (s *Store) newSegment(l logID) (*segment, error) {
	slot := s.freeSlot()
	s.space.Lock()
	fits := s.used+s.segSize <= s.limit
	s.space.Unlock()
	if slot < 0 || !fits {
		return nil, errNoRoom
	}
	id := s.nextID
	g := &segment{slot: slot, id: id, log: l, name: filepath.Join(s.segDir(), segName(id, l)), end: headerSize, limit: s.segSize, maxList: s.maxList, size: s.segSize}
	if err := s.createFile(g); err != nil {
		return nil, fmt.Errorf("make segment: %w", err)
	}
	s.nextID++
	s.nextSlot = slot + 1
	g.refs.Store(1)
	s.space.Lock()
	s.used += g.size
	s.space.Unlock()
	s.slots[slot].Store(g)
	return g, nil
}

// freeSlot returns a slot that has no segment, -1 if there is none; grow is held. They are taken in turn: a slot that is used again at once could make
// a Ref of before point to another segment.
func (s *Store) freeSlot() int {
	for i := range maxSlots {
		if slot := (s.nextSlot + i) % maxSlots; s.slots[slot].Load() == nil {
			return slot
		}
	}
	return -1
}

// createFile makes the file of a segment.
func (s *Store) createFile(g *segment) error {
	err := s.tryFile(g)
	if errors.Is(err, fs.ErrNotExist) { // somebody took the directory away
		if err = s.makeDirs(); err == nil {
			err = s.tryFile(g)
		}
	}
	return err
}

// tryFile makes the file of a segment. One of names has its header, and is on stable storage, before it has its name: one that is less is damaged.
func (s *Store) tryFile(g *segment) error {
	name := g.name
	if g.log == logNames {
		name += ".new"
	}
	file, err := s.files.Open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(header(origin{s.id, g.id, g.log}), 0)
	if g.log == logNames {
		if err == nil {
			err = file.Sync()
		}
		err = errors.Join(err, file.Close())
		if err == nil {
			err = s.files.Rename(name, g.name)
		}
		if err == nil {
			name = g.name
			err = s.files.SyncDir(s.segDir())
		}
		if err == nil { // by its own name, which os.File remembers
			file, err = s.files.Open(g.name, os.O_RDWR)
		}
	} else if err != nil {
		file.Close()
	}
	if err != nil {
		s.files.Remove(name)
		return err
	}
	g.file = file
	return nil
}

// makeDirs makes the directories, durably, and the file with the store's id if it is missing.
func (s *Store) makeDirs() error {
	if err := s.files.MkdirAll(s.segDir()); err != nil {
		return err
	}
	if _, err := s.readFile(s.idFile(), blockSize); err != nil && s.id != 0 {
		if err := s.saveID(); err != nil {
			return err
		}
	}
	if err := s.files.SyncDir(s.cfg.Dir); err != nil {
		return err
	}
	if err := s.files.SyncDir(filepath.Dir(s.cfg.Dir)); err != nil && !errors.Is(err, fs.ErrPermission) { // it may be somebody else's
		return err
	}
	return nil
}

// errNoRoom says that nothing can be reclaimed to make room.
var errNoRoom = errors.New("no room for another segment")

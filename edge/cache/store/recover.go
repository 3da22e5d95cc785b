package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// found is a segment on its way through recovery.
type found struct {
	*segment
	bytes   int64 // of the file
	sealed  int64 // records in its footer; -1 if there is none
	list    []listed
	holes   []hole
	maxSeq  uint64
	ours    bool // the header says so
	foreign bool // the header says that it is of another store, or belongs elsewhere
	broken  bool // of names: some are missing, and not because they were never synced
}

// recover makes the index out of what is on disk.
func (s *Store) recover() error {
	if err := s.makeDirs(); err != nil {
		return err
	}
	if err := s.loadID(); err != nil {
		return err
	}
	if err := s.removeForeign(); err != nil {
		return err
	}
	all, err := s.findSegments()
	if err != nil {
		return err
	}
	entries := 0
	for _, f := range all {
		entries += int(max(f.sealed, int64(len(f.list))))
	}
	s.index.beginRecovery(entries)
	losers := s.restoreAll(all)
	s.index.endRecovery()
	for _, w := range losers {
		if seg := s.slots[w.slot()].Load(); seg != nil {
			s.kill(seg, w.offset())
		}
	}
	for _, f := range all {
		s.takeIn(f)
	}
	s.fit()
	s.loadState()
	return nil
}

func (s *Store) idFile() string { return filepath.Join(s.cfg.Dir, "id") }

func (s *Store) saveID() error {
	return s.writeFile(s.idFile(), binary.LittleEndian.AppendUint64(nil, s.id))
}

// loadID reads what tells this store's records from others'. If it is missing or damaged, the segments know it; if there are none, it is made.
func (s *Store) loadID() error {
	b, err := s.readFile(s.idFile(), blockSize)
	if err == nil && len(b) == 8 {
		s.id = binary.LittleEndian.Uint64(b)
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errTorn) {
		return err
	}
	if s.id, err = s.idOfSegments(); err != nil {
		return err
	}
	for s.id == 0 {
		var b [8]byte
		rand.Read(b[:])
		s.id = binary.LittleEndian.Uint64(b[:])
	}
	return s.saveID()
}

// idOfSegments returns the id in the first header that can be read, 0 if there is none.
func (s *Store) idOfSegments() (uint64, error) {
	files, err := s.files.ReadDir(s.segDir())
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		file, err := s.files.Open(filepath.Join(s.segDir(), f.Name()), os.O_RDONLY)
		if err != nil {
			continue
		}
		var b [headerSize]byte
		n, _ := file.ReadAt(b[:], 0)
		file.Close()
		if o, ok := parseHeader(b[:n]); ok && segName(o.segment, o.log) == f.Name() {
			return o.store, nil
		}
	}
	return 0, nil
}

// removeForeign removes files that are not the store's, and what a save left that was killed. Directories are left alone: the root of a file system has some.
func (s *Store) removeForeign() error {
	own := map[string]bool{"id": true, "segments": true, "heat": true, "policy": true}
	files, err := s.files.ReadDir(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !own[f.Name()] && !f.IsDir() {
			s.counters.removed.Add(1)
			err = errors.Join(err, s.files.Remove(filepath.Join(s.cfg.Dir, f.Name())))
		}
	}
	return err
}

// parseSegName is the reverse of segName.
func parseSegName(name string) (id uint64, l logID, ok bool) {
	for l, suffix := range logSuffixes {
		if hex, ok := strings.CutSuffix(name, suffix); ok {
			id, err := strconv.ParseUint(hex, 16, 64)
			return id, logID(l), err == nil && segName(id, logID(l)) == name
		}
	}
	return 0, 0, false
}

// findSegments opens all segments, the oldest first. Those that are none, have no records to give, or must not be trusted, are removed.
func (s *Store) findSegments() ([]*found, error) {
	files, err := s.files.ReadDir(s.segDir())
	if err != nil {
		return nil, err
	}
	var all []*found
	for _, f := range files {
		name := filepath.Join(s.segDir(), f.Name())
		id, l, ok := parseSegName(f.Name())
		if !ok || !f.Type().IsRegular() {
			s.counters.removed.Add(1)
			if err := s.files.Remove(name); err != nil {
				s.cfg.Log.Warn("something that is not the cache's cannot be removed", "err", err)
			}
			continue
		}
		s.nextID = max(s.nextID, id+1)
		all = append(all, &found{segment: &segment{id: id, log: l, name: name}, sealed: -1})
	}
	slices.SortFunc(all, func(a, b *found) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	var mu sync.Mutex
	each(all, func(f *found) {
		if e := s.openSegment(f); e != nil {
			mu.Lock()
			err = errors.Join(err, e)
			mu.Unlock()
		}
	})
	if err == nil {
		all, err = s.sift(all)
	}
	if err != nil {
		for _, f := range all {
			if f.file != nil {
				f.file.Close()
			}
		}
		return nil, err
	}
	for i, f := range all {
		f.slot = i
		f.refs.Store(1)
		s.slots[i].Store(f.segment)
	}
	return all, nil
}

// sift removes the segments that are not to be used and returns the others.
func (s *Store) sift(all []*found) ([]*found, error) {
	trusted := s.trustedFrom(all)
	var kept []*found
	surplus := len(all) - (maxSlots - int(logCount)) // there must be some slots for new ones
	for i, f := range all {
		distrusted := f.log == logNames && f.id < trusted
		if f.file != nil && !f.foreign && !distrusted && (f.ours || f.sealed > 0 || len(f.list) > 0) && i >= surplus {
			kept = append(kept, f)
			continue
		}
		s.counters.removed.Add(1)
		s.cfg.Log.Warn("a segment of the cache is removed", "segment", f.name, "foreign", f.foreign, "distrusted", distrusted)
		if f.file != nil {
			f.file.Close()
			f.file = nil
		}
		if err := s.files.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return append(kept, all[i:]...), err
		}
	}
	return kept, nil
}

// trustedFrom returns the id from which on segments of names are to be trusted. Where names were lost that had been synced, an older record of the same key could pass for the
// newest one: so a segment of names that was damaged takes those before it along. What that costs is a look at the origin for each name.
func (s *Store) trustedFrom(all []*found) (id uint64) {
	for _, f := range all {
		if f.log == logNames && f.broken {
			id = f.id + 1
		}
	}
	return id
}

// each calls do for all elements, on all cores.
func each[T any](all []T, do func(T)) {
	next := make(chan T, len(all))
	for _, x := range all {
		next <- x
	}
	close(next)
	var work sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for x := range next {
				do(x)
			}
		})
	}
	work.Wait()
}

// openSegment opens a file, reads header and trailer, and scans it if it is not sealed. One that cannot be opened or measured has no records to give, unless the reason is
// that of the process and not of the file: then the store must not open without it.
func (s *Store) openSegment(f *found) error {
	file, err := s.files.Open(f.name, os.O_RDWR)
	if err == nil {
		if f.bytes, err = file.Size(); err != nil {
			file.Close()
		}
	}
	if err != nil {
		for _, own := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, fs.ErrPermission, syscall.EROFS} {
			if errors.Is(err, own) {
				return err
			}
		}
		s.cfg.Log.Warn("a segment of the cache cannot be opened", "err", err)
		f.broken = true
		return nil
	}
	f.file = file
	var head [headerSize]byte
	n, _ := file.ReadAt(head[:], 0)
	o, ok := parseHeader(head[:n])
	f.ours = ok && o == origin{s.id, f.id, f.log}
	f.foreign = ok && !f.ours
	mark, ok := parseMark(head[:n], origin{store: s.id, segment: f.id})
	f.broken = !f.ours || !ok
	if f.foreign {
		return nil
	}
	f.sealed = s.footerOf(file, f.id, f.bytes)
	if f.sealed >= 0 && f.log == logNames && !s.footerIsWhole(f.segment, f.bytes, f.sealed) {
		f.sealed = -1
	}
	if f.sealed < 0 {
		s.scanFound(f, mark)
	}
	return nil
}

// scanFound takes what a scan of f found.
func (s *Store) scanFound(f *found, mark int64) {
	r := s.scan(f.segment, f.bytes)
	f.list, f.holes, f.end, f.sealed = r.list, r.holes, r.end, -1
	f.broken = f.broken || r.end < mark
	for _, h := range r.holes {
		f.broken = f.broken || h.off < mark || h.dirty
	}
}

// restoreAll puts the records of all segments into the index. It returns those that do not count though they lie in a newer segment than the one that does: they must be
// killed, or they would come back when that one has gone.
func (s *Store) restoreAll(all []*found) (losers []word) {
	var mu sync.Mutex
	each(all, func(f *found) {
		list := f.list
		if f.sealed >= 0 {
			var err error
			if list, err = readFooter(f.segment, f.bytes, f.sealed); err != nil {
				s.scanFound(f, 0)
				list = f.list
			}
		}
		for _, e := range list {
			f.maxSeq = max(f.maxSeq, e.seq)
			if e.fate != stored {
				continue
			}
			w := makeWord(f.slot, int64(e.off)*unit, int64(e.length)*unit, e.class)
			if won, lost := s.index.restore(e.tag, w, e.seq); lost != 0 && lost.class() == Names && lost.slot() > won.slot() {
				mu.Lock()
				losers = append(losers, lost)
				mu.Unlock()
			}
		}
	})
	return losers
}

// takeIn makes a segment part of its log: the active one, if it has room and the log has none yet, or a sealed one.
func (s *Store) takeIn(f *found) {
	g, sl := f.segment, &s.logs[f.log]
	s.seq.Store(max(s.seq.Load(), f.maxSeq))
	g.size = blocks(f.bytes)
	s.used += g.size
	if f.sealed >= 0 {
		if !f.ours {
			s.mend(g)
		}
		g.sealed = true
		sl.sealed = append(sl.sealed, g)
		return
	}
	// Of what writers left that were killed nothing may stay: an erase would not know of it.
	for _, h := range f.holes {
		if err := s.void(g, h.off, h.n, h.dirty); err != nil {
			s.cfg.Log.Warn("what was left of a record cannot be overwritten", "err", err)
		}
	}
	g.limit, g.maxList = s.segSize, s.maxList
	g.list = f.list
	if !f.ours {
		s.mend(g)
	}
	if f.ours && g.end+maxRecord+int64(len(f.list)+1)*listedSize+trailerSize <= g.limit && g.file.Truncate(g.end) == nil {
		if old := sl.active; old != nil {
			s.retire(old)
		}
		s.used += s.segSize - g.size
		sl.active, g.size = g, s.segSize
		return
	}
	s.retire(g)
}

// mend writes the header of a segment again that is damaged.
func (s *Store) mend(g *segment) {
	if _, err := g.file.WriteAt(header(origin{s.id, g.id, g.log}), 0); err != nil {
		s.cfg.Log.Warn("a segment of the cache keeps a damaged header", "err", err)
	}
}

// fit removes the oldest segments if the size was made smaller.
func (s *Store) fit() {
	for s.used+s.segSize > s.limit {
		var oldest *segment
		for i := range s.logs {
			if l := s.logs[i].sealed; len(l) > 0 && (oldest == nil || l[0].id < oldest.id) {
				oldest = l[0]
			}
		}
		if oldest == nil {
			if !s.retireAny() {
				return
			}
			continue
		}
		list, whole := s.listOf(oldest)
		if !s.discard(oldest, list, whole) {
			return
		}
	}
}

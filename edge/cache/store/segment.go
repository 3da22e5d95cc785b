package store

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	blockSize = 4096
	// A segment has room for two of the largest bodies at least, or half of it would be lost on them.
	minSegment = 2<<20 + 128<<10
	maxSegment = 8 << 30 // what a word can address
	// The list of an active segment is in memory: 6 MiB at most. With all slots full of lists the index has a thousand million entries.
	maxListed = 1 << 18
)

// logID names one of the logs.
type logID uint8

const (
	logNames logID = iota
	logProbation
	logMain
	logCount
)

// logSuffixes are in the names of the files, so that a segment that lost its header is still known to have had names.
var logSuffixes = [logCount]string{"-names.seg", "-probation.seg", "-main.seg"}

// segment is one file. Its life: active (records are appended), sealed (a footer stands behind them), removed (unlinked; open until the last pin is gone).
type segment struct {
	slot int
	id   uint64
	log  logID
	name string
	file File

	refs atomic.Int32 // one of the store, one for each pin; 0 closes the file

	// What may have changed bytes that somebody is reading:
	reached atomic.Int64  // up to where records were written that are not checked at each read; the file was that long
	harms   atomic.Uint32 // grows before an erasure, and when the file is found cut
	cut     atomic.Bool   // it was found shorter than it had been: what was checked once may be a hole now

	// Of segments of names alone:
	dirty   atomic.Bool // written since it was last synced
	suspect atomic.Bool // a sync failed: the system may have forgotten what it did not write, so that no later sync of this file means anything

	// While active, guarded by the log's lock:
	end     int64
	limit   int64
	list    []listed
	maxList int
	sealed  bool
	pending []int64        // offsets of reservations that are being written
	writers sync.WaitGroup // as many

	size int64 // bytes in whole blocks that it counts for; Store.space
}

func (s *Store) segDir() string { return filepath.Join(s.cfg.Dir, "segments") }

func segName(id uint64, l logID) string { return fmt.Sprintf("%016x%s", id, logSuffixes[l]) }

// pin keeps the file open; false if it is closed already.
func (g *segment) pin() bool {
	for {
		n := g.refs.Load()
		if n == 0 {
			return false
		}
		if g.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// watch notices that somebody has cut the file, which the next write beyond its end would cover with a hole of zeros. A cut between the two
// stays unnoticed.
func (g *segment) watch() {
	if g.reached.Load() == 0 {
		return
	}
	if size, err := g.file.Size(); err == nil && size < g.reached.Load() {
		g.harmed()
	}
}

// harmed notes that the file was found cut.
func (g *segment) harmed() {
	g.cut.Store(true)
	g.harms.Add(1)
}

// reach notes that a record of a large body was written up to end.
func (g *segment) reach(end int64) {
	for {
		was := g.reached.Load()
		if end <= was || g.reached.CompareAndSwap(was, end) {
			return
		}
	}
}

func (g *segment) unpin() {
	if g.refs.Add(-1) == 0 {
		g.file.Close()
	}
}

// take reserves n bytes for a record; the log's lock is held. The footer that will list the record has its room, too.
func (g *segment) take(n int64, tag, seq uint64, c Class) (off int64, ok bool) {
	if g.sealed || len(g.list) >= g.maxList || g.end+n+int64(len(g.list)+1)*listedSize+trailerSize > g.limit {
		return 0, false
	}
	off = g.end
	g.end += n
	g.list = append(g.list, listed{tag: tag, seq: seq, off: uint32(off / unit), length: uint16(n / unit), class: c})
	g.pending = append(g.pending, off)
	g.writers.Add(1)
	return off, true
}

// wrote ends a reservation. A record whose write failed must not count after a restart, although the list has it; the log's lock is held.
func (g *segment) wrote(off int64, ok bool) {
	if i := slices.Index(g.pending, off); i >= 0 {
		g.pending = slices.Delete(g.pending, i, i+1)
	}
	if !ok {
		at := func(e listed, off int64) int { return int(int64(e.off)*unit - off) }
		if i, found := slices.BinarySearchFunc(g.list, off, at); found {
			g.list[i].fate = failed
		}
	}
	g.writers.Done()
}

// written returns up to where every reservation has been written; the log's lock is held.
func (g *segment) written() int64 {
	if len(g.pending) > 0 {
		return slices.Min(g.pending)
	}
	return g.end
}

// seal writes the footer. The segment is no log's active one any more, so nobody takes room in it; those who did are waited for. Without a
// footer, because the disk failed, the segment is scanned when its list is needed. Names are synced before: a footer of names says that they are all there.
func (s *Store) seal(g *segment) error {
	g.writers.Wait()
	if g.log == logNames {
		if err := s.syncSegment(g); err != nil {
			return err
		}
		g.dirty.Store(true)
	}
	b := appendFooter(nil, g.list, g.end, s.id, g.id)
	g.watch()
	_, err := g.file.WriteAt(b, g.end)
	if err == nil {
		err = g.file.Truncate(g.end + int64(len(b)))
	}
	if err != nil {
		return fmt.Errorf("seal segment %s: %w", g.name, err)
	}
	return nil
}

// syncSegment syncs a segment of names and moves its mark. The mark is written when what it speaks of is on the disk; it is synced the next time.
func (s *Store) syncSegment(g *segment) error {
	sl := &s.logs[g.log]
	sl.mu.Lock()
	mark := g.written()
	sl.mu.Unlock()
	err := g.file.Sync()
	if err != nil {
		g.suspect.Store(true)
		return fmt.Errorf("sync segment %s: %w", g.name, err)
	}
	if mark == 0 { // sealed before the start, and so is its mark
		return nil
	}
	// Without the mark less damage is noticed, no more.
	_, _ = g.file.WriteAt(appendMark(nil, mark, origin{store: s.id, segment: g.id}), markAt)
	return nil
}

// kill marks the record at off as dead, in place: it stays known that there was one, so that no older record of its key comes back.
func (s *Store) kill(g *segment, off int64) {
	if err := kill(g, off); err != nil {
		s.debts.owe(debt{g, off, 0}, err)
	}
}

func kill(g *segment, off int64) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], magicDead)
	_, err := g.file.WriteAt(b[:], off)
	g.dirty.Store(true)
	return err
}

// void makes n bytes at off a void. dirty says that they are not zero yet.
func (s *Store) void(g *segment, off, n int64, dirty bool) error {
	b := appendVoid(make([]byte, 0, voidSize), n, spot{s.id, g.id, off})
	if dirty {
		b = append(b, make([]byte, min(n, 1<<20)-voidSize)...)
	}
	g.dirty.Store(true)
	for end := off + n; off < end; {
		if _, err := g.file.WriteAt(b[:min(int64(len(b)), end-off)], off); err != nil {
			return fmt.Errorf("overwrite part of %s: %w", g.name, err)
		}
		if !dirty {
			return nil
		}
		off += int64(len(b))
		clear(b[:voidSize])
	}
	return nil
}

func blocks(n int64) int64 { return (n + blockSize - 1) / blockSize * blockSize }

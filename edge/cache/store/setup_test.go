package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"perigee/clock"
	"perigee/edge/cache/policy"
)

// fifo is a policy that takes everything and keeps what was hit, most of the time.
type fifo struct {
	mu    sync.Mutex
	state []byte
}

func (*fifo) Hit(h uint8, _ int64) uint8           { return min(h+1, 63) }
func (*fifo) Admit(uint64, int64) policy.Admission { return policy.ToProbation }
func (*fifo) ProbationShare() float64              { return 0.5 }
func (f *fifo) Save() iter.Seq[[]byte]             { return slices.Values([][]byte{[]byte("sta"), []byte("te")}) }
func (f *fifo) SavedSize() int                     { return len("state") }
func (f *fifo) Reclaim(_ policy.Log, c []policy.Candidate) {
	for i := range c {
		c[i].Keep = c[i].Heat > 0
		c[i].Heat /= 2
	}
}

func (f *fifo) Load(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = bytes.Clone(b)
	return nil
}

// rig is a store in a directory of its own.
type rig struct {
	t   testing.TB
	cfg Config
	*Store
}

func newRig(t testing.TB, edit func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, cfg: Config{Dir: filepath.Join(t.TempDir(), "store"), Size: 64 << 20, Clock: clock.System, Log: slog.New(slog.DiscardHandler), Policy: &fifo{}}}
	if edit != nil {
		edit(&r.cfg)
	}
	r.open()
	t.Cleanup(func() { r.Store.Close() })
	return r
}

func (r *rig) open() {
	r.t.Helper()
	s, err := Open(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Store = s
}

func (r *rig) restart() {
	r.t.Helper()
	if err := r.Store.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

// kill makes the store as it is after kill -9: nothing is saved.
func (r *rig) kill() {
	r.t.Helper()
	r.Store.closed.Store(true)
	r.Store.closeFiles()
	r.open()
}

// key returns a key, uniform in all bits.
func key(n uint64) Key {
	var k Key
	rng := rand.New(rand.NewPCG(n, 7))
	binary.LittleEndian.PutUint64(k[:8], rng.Uint64())
	binary.LittleEndian.PutUint64(k[8:], rng.Uint64())
	return k
}

// content returns the bytes that record n has.
func content(n uint64, size int) []byte {
	b := make([]byte, size)
	rng := rand.New(rand.NewPCG(n, 8))
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	for i := size &^ 7; i < size; i++ {
		b[i] = byte(n) + byte(i)
	}
	return b
}

func (r *rig) mustPut(c Class, n uint64, meta string, body []byte) {
	r.t.Helper()
	if _, err := r.Put(c, key(n), []byte(meta), body); err != nil {
		r.t.Fatalf("put %d: %v", n, err)
	}
}

// get reads a record, nil if there is none.
func (r *rig) get(n uint64) *Whole {
	r.t.Helper()
	ref, ok := r.Find(key(n))
	if !ok {
		return nil
	}
	w, err := r.Read(key(n), ref, nil)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrDamaged) {
			r.t.Errorf("read %d: %v", n, err)
		}
		return nil
	}
	return &w
}

// expect fails unless record n is what it should be. absent says that it may be missing.
func (r *rig) expect(n uint64, meta string, body []byte, absent bool) bool {
	r.t.Helper()
	w := r.get(n)
	if w == nil {
		if !absent {
			r.t.Errorf("record %d is missing", n)
		}
		return false
	}
	if string(w.Meta) != meta || !bytes.Equal(w.Body, body) {
		r.t.Fatalf("record %d has wrong bytes: meta %q, want %q", n, w.Meta, meta)
	}
	return true
}

// onDisk adds up the blocks of all files.
func (r *rig) onDisk() (sum int64) {
	r.t.Helper()
	err := filepath.WalkDir(r.cfg.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				sum += blocks(info.Size())
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return sum
}

func (r *rig) bounds() {
	r.t.Helper()
	if n := r.onDisk(); n > r.cfg.Size {
		r.t.Errorf("%d bytes on disk, %d are allowed: %+v", n, r.cfg.Size, r.Stats())
	}
}

// segments returns the paths of the segments.
func (r *rig) segments() []string {
	r.t.Helper()
	all, err := filepath.Glob(filepath.Join(r.segDir(), "*.seg"))
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// faulty is a file system that fails on demand.
type faulty struct {
	osFiles
	mu    sync.Mutex
	read  error
	write error
	open  error
	sync  error
	gone  error // of Remove
	half  bool  // a failing write writes half
	late  bool  // a failing write writes everything
	room  int64 // bytes that may still be written; negative means any number
}

func newFaulty() *faulty { return &faulty{room: -1} }

func (f *faulty) set(edit func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f)
}

func (f *faulty) Open(name string, flag int) (File, error) {
	f.mu.Lock()
	err := f.open
	f.mu.Unlock()
	if err != nil && flag&os.O_CREATE != 0 {
		return nil, err
	}
	file, err := f.osFiles.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return faultyFile{file, f}, nil
}

func (f *faulty) Remove(name string) error {
	f.mu.Lock()
	err := f.gone
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.osFiles.Remove(name)
}

func (f faultyFile) Sync() error {
	f.f.mu.Lock()
	err := f.f.sync
	f.f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.File.Sync()
}

type faultyFile struct {
	File
	f *faulty
}

func (f faultyFile) ReadAt(p []byte, off int64) (int, error) {
	f.f.mu.Lock()
	err := f.f.read
	f.f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f faultyFile) WriteAt(p []byte, off int64) (int, error) {
	f.f.mu.Lock()
	err, half, late := f.f.write, f.f.half, f.f.late
	if f.f.room >= 0 {
		if f.f.room -= int64(len(p)); f.f.room < 0 {
			f.f.room, err = 0, fmt.Errorf("write: %w", errNoSpace)
		}
	}
	f.f.mu.Unlock()
	if err != nil {
		if late {
			n, _ := f.File.WriteAt(p, off)
			return n, err
		}
		if half {
			n, _ := f.File.WriteAt(p[:len(p)/2], off)
			return n, err
		}
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

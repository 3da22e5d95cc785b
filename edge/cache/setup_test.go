package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"perigee/clock"
	"perigee/edge/cache/cachetest"
	"perigee/edge/cache/store"
	"perigee/object"
	"perigee/purge"
)

const mib = object.ChunkSize

// patience is how long an event that must happen is waited for. It never decides a test that passes.
const patience = 30 * time.Second

// rig is an engine on a directory of its own before an origin in memory.
type rig struct {
	t    *testing.T
	o    *cachetest.Origin
	cfg  Config
	e    *Engine
	site *object.SiteRecord
	seq  uint64
}

// newRig opens an engine that has heard from the log a moment ago. edit, if not nil, changes its configuration first.
func newRig(t *testing.T, edit func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, o: cachetest.NewOrigin(), site: cachetest.Site("www", "www.example")}
	r.cfg = Config{
		Dir: t.TempDir(), Size: 256 << 20, RAM: 16 << 20, Origin: r.o, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(&r.cfg)
	}
	r.open()
	r.e.Confirm(r.cfg.Clock.Now())
	t.Cleanup(func() { r.e.Close() })
	return r
}

func (r *rig) open() {
	r.t.Helper()
	e, err := Open(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.e = e
}

// stop closes the engine.
func (r *rig) stop() {
	r.t.Helper()
	if err := r.e.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// restart closes the engine and opens another one on the same directory, which has not heard from the log.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.open()
}

// resolve finds the pointer of a path.
func (r *rig) resolve(path object.Path) (*object.Pointer, Outcome, error) {
	return r.e.Resolve(r.t.Context(), r.site, path, "")
}

// read reads a range of a blob.
func (r *rig) read(p *object.Pointer, rng object.Range) ([]byte, Outcome, error) {
	b, o, err := r.e.Locate(r.t.Context(), p, rng)
	if err != nil {
		return nil, o, err
	}
	defer b.Close()
	if whole, ok := b.Whole(); ok && rng.Length == p.Size { // as the face does
		r.e.Prepare(p.Site, []byte(p.Path.Escape()), "", p, []byte("head"), whole)
	}
	var out bytes.Buffer
	out.Grow(int(rng.Length))
	n, err := b.Copy(r.t.Context(), &out)
	if n != int64(out.Len()) {
		r.t.Errorf("Copy says %d bytes and wrote %d", n, out.Len())
	}
	return out.Bytes(), o, err
}

func (r *rig) readAll(p *object.Pointer) ([]byte, Outcome, error) {
	return r.read(p, object.Range{Start: 0, Length: p.Size})
}

// get does what a request for a whole file does.
func (r *rig) get(path object.Path) ([]byte, Outcome, error) {
	p, o, err := r.resolve(path)
	if err != nil {
		return nil, o, err
	}
	data, body, err := r.readAll(p)
	return data, o.And(body), err
}

// check does what get does, but keeps nothing of a file that must be want.
func (r *rig) check(path object.Path, want []byte) (Outcome, error) {
	p, o, err := r.resolve(path)
	if err != nil {
		return o, err
	}
	b, body, err := r.e.Locate(r.t.Context(), p, object.Range{Start: 0, Length: p.Size})
	if err != nil {
		return o.And(body), err
	}
	defer b.Close()
	out := compare{want: want}
	n, err := b.Copy(r.t.Context(), &out)
	if err == nil && n != int64(len(want)) {
		err = fmt.Errorf("%d bytes, want %d", n, len(want))
	}
	return o.And(body), err
}

// compare is a writer of bytes that must be want.
type compare struct {
	want []byte
	at   int
}

func (c *compare) Write(p []byte) (int, error) {
	if c.at+len(p) > len(c.want) || !bytes.Equal(p, c.want[c.at:c.at+len(p)]) {
		return 0, fmt.Errorf("wrong bytes behind %d", c.at)
	}
	c.at += len(p)
	return len(p), nil
}

// mustGet is get of a file that must be want; it returns the outcome as words.
func (r *rig) mustGet(path object.Path, want []byte) string {
	r.t.Helper()
	data, o, err := r.get(path)
	if err != nil {
		r.t.Fatalf("get %s: %v (%s)", path, err, words(o))
	}
	if !bytes.Equal(data, want) {
		r.t.Fatalf("get %s: %d wrong bytes (%s)", path, len(data), words(o))
	}
	return words(o)
}

// words writes an outcome down for comparison.
func words(o Outcome) string {
	s := "hit"
	if !o.Hit() {
		s = string(o.Fwd)
	}
	s += " " + string(o.Reason)
	for _, f := range []struct {
		on   bool
		word string
	}{{o.Stored, "stored"}, {o.Collapsed, "collapsed"}, {o.Stale, "stale"}} {
		if f.on {
			s += " " + f.word
		}
	}
	return s
}

// expect compares outcomes.
func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("outcome %q, want %q", got, want)
	}
}

// apply applies the next entry of the log.
func (r *rig) apply(e purge.Entry) {
	r.t.Helper()
	r.seq++
	e.Format, e.Site, e.At = 1, "www", time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	e.ID = fmt.Sprintf("entry-%d", r.seq)
	if err := e.Validate(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.e.Apply(purge.Record{Entry: e, Position: at(r.seq)}); err != nil {
		r.t.Fatal(err)
	}
}

// at is the position behind entry n.
func at(n uint64) purge.Position { return purge.At("one", purge.Mark{Stream: "s", Seq: n}) }

func pointerEntry(p *object.Pointer) purge.Entry {
	return purge.Entry{Kind: purge.KindPointer, Pointer: p}
}

func purgeURL(path object.Path) purge.Entry { return purge.Entry{Kind: purge.KindURL, Path: path} }

func softly(e purge.Entry) purge.Entry { e.Soft = true; return e }

// idle waits until no fetch and no fill is under way, and checks that they have given back what they had.
func (r *rig) idle() {
	r.t.Helper()
	r.e.work.Wait()
	r.e.flightsMu.Lock()
	defer r.e.flightsMu.Unlock()
	if n := len(r.e.flights); n != 0 {
		r.t.Errorf("%d fills are over and still there", n)
	}
	if !r.e.fillRoom.TryAcquire(fillMemory) {
		r.t.Error("fills are over and have kept memory")
	} else {
		r.e.fillRoom.Release(fillMemory)
	}
}

// place is where the store has a chunk: a section of a file.
type place struct {
	path   string
	off, n int64
}

// place returns where chunk i of a blob is, which must be held.
func (r *rig) place(p *object.Pointer, i int64) place {
	r.t.Helper()
	return r.placeOf(idOf(p).key(uint64(i)))
}

func (r *rig) placeOf(key store.Key) place {
	r.t.Helper()
	ref, ok := r.e.store.Find(key)
	if !ok {
		r.t.Fatal("the record is not held")
	}
	rec, err := r.e.store.Open(key, ref)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rec.Close()
	return place{rec.File().Name(), rec.Offset(), rec.Size()}
}

// held returns how many chunks of a blob the store has.
func (r *rig) held(p *object.Pointer) int64 {
	n := int64(0)
	for i := range object.Chunks(p.Size) {
		if _, ok := r.e.store.Find(idOf(p).key(uint64(i))); ok {
			n++
		}
	}
	return n
}

// onDisk adds up the sizes of all files in the engine's directory.
func (r *rig) onDisk() int64 {
	r.t.Helper()
	var sum int64
	err := filepath.WalkDir(r.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				sum += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // gone between being listed and being looked at
			return nil
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return sum
}

// filesWith counts the files that contain text.
func (r *rig) filesWith(text string) int {
	r.t.Helper()
	n := 0
	err := filepath.WalkDir(r.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			n++
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func benchConfig(b *testing.B, o Origin) Config {
	return Config{
		Dir: b.TempDir(), Size: 256 << 20, RAM: 16 << 20, Origin: o, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
	}
}

// checkBounds compares what the engine has with what it was given.
func (r *rig) checkBounds() {
	r.t.Helper()
	s := r.e.Stats()
	if n := r.onDisk(); n > r.cfg.Size {
		r.t.Errorf("%d bytes on disk, %d are allowed (%+v)", n, r.cfg.Size, s.Store)
	}
	if s.RAM.Bytes > r.cfg.RAM {
		r.t.Errorf("%d bytes in memory, %d are allowed", s.RAM.Bytes, r.cfg.RAM)
	}
}

// openFiles counts this process's descriptors for files below dir.
func openFiles(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(name, dir) {
			n++
		}
	}
	return n
}

// noGoroutines fails the test if a goroutine still runs code of this package's engine.
func noGoroutines(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		buf := make([]byte, 4<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "cache.(*Engine).fetch(") && !strings.Contains(stacks, "cache.(*flight).fly(") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines left:\n%s", stacks)
		}
	}
}

// gate is a writer that lets a reader be watched: it reports how much it has, and can be told to wait.
type gate struct {
	buf     bytes.Buffer
	reached chan int64 // gets the total after each write
}

func newGate() *gate { return &gate{reached: make(chan int64, 1<<16)} }

func (g *gate) Write(p []byte) (int, error) {
	g.buf.Write(p)
	g.reached <- int64(g.buf.Len())
	return len(p), nil
}

// await returns when n bytes have been written.
func (g *gate) await(t *testing.T, n int64) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case got := <-g.reached:
			if got >= n {
				return
			}
		case <-late.C:
			t.Fatalf("waited in vain for %d bytes", n)
		}
	}
}

// reader reads p in the background.
type reader struct {
	out  *gate
	done chan error
	o    Outcome
}

// follow starts to read all of p and returns when the first chunk is at hand.
func (r *rig) follow(ctx context.Context, p *object.Pointer) *reader {
	r.t.Helper()
	b, o, err := r.e.Locate(ctx, p, object.Range{Start: 0, Length: p.Size})
	if err != nil {
		r.t.Fatalf("locate: %v", err)
	}
	f := &reader{out: newGate(), done: make(chan error, 1), o: o}
	go func() {
		_, err := b.Copy(ctx, f.out)
		b.Close() // before anybody looks whether all is given back
		f.done <- err
	}()
	return f
}

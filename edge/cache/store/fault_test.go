package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var errNoSpace error = syscall.ENOSPC

var errUnwell = errors.New("input/output error")

// A disk that fails is left alone for a while, reads go on, and then it is used again.
func TestDiskThatFails(t *testing.T) {
	for what, fault := range map[string]func(*faulty){
		"write":      func(f *faulty) { f.write = errUnwell },
		"half write": func(f *faulty) { f.write, f.half = errUnwell, true },
		"no room":    func(f *faulty) { f.room = 100 },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newFaulty()
				r := newRig(t, func(c *Config) { c.Files = disk })
				r.mustPut(Bodies, 1, "", content(1, 5000))
				r.mustPut(Names, 2, "old", nil)
				disk.set(fault)
				for range 3 {
					if _, err := r.Put(Bodies, key(3), nil, content(3, 5000)); !errors.Is(err, ErrFailing) {
						t.Fatalf("%v", err)
					}
				}
				if s := r.Stats(); !s.Failing || s.Failures == 0 {
					t.Errorf("%+v", s)
				}
				if _, ok := r.Find(key(3)); ok {
					t.Error("found what was not stored")
				}
				if what != "no room" { // that reclaims
					r.expect(1, "", content(1, 5000), false)
				}
				r.expect(2, "old", nil, false)
				disk.set(func(f *faulty) { f.write, f.room = nil, -1 })
				if _, err := r.Put(Bodies, key(3), nil, content(3, 5000)); !errors.Is(err, ErrFailing) {
					t.Errorf("it should have been left alone: %v", err)
				}
				time.Sleep(maxPause)
				r.mustPut(Bodies, 3, "", content(3, 5000))
				if r.Stats().Failing {
					t.Error("still failing")
				}
				r.kill()
				r.expect(3, "", content(3, 5000), false)
				r.expect(2, "old", nil, false)
			})
		})
	}
}

// Pauses double, up to a bound, and end with the first success.
func TestPausesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newFaulty()
		r := newRig(t, func(c *Config) { c.Files = disk })
		disk.set(func(f *faulty) { f.write = errUnwell })
		for _, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			pause *= time.Second
			before := r.Stats().Failures
			r.Put(Bodies, key(1), nil, nil)
			if n := r.Stats().Failures; n != before+1 {
				t.Fatalf("%d failures counted, want %d", n, before+1)
			}
			time.Sleep(pause - time.Nanosecond)
			r.Put(Bodies, key(1), nil, nil)
			if n := r.Stats().Failures; n != before+1 {
				t.Fatalf("tried again within %v", pause)
			}
			time.Sleep(time.Nanosecond)
		}
	})
}

func TestReadErrorDropsTheRecord(t *testing.T) {
	disk := newFaulty()
	r := newRig(t, func(c *Config) { c.Files = disk })
	for n := range uint64(2) {
		r.mustPut(Bodies, n, "", content(n, 5000))
	}
	disk.set(func(f *faulty) { f.read = errUnwell })
	ref, _ := r.Find(key(0))
	if _, err := r.Read(key(0), ref, nil); !errors.Is(err, errUnwell) {
		t.Errorf("%v", err)
	}
	ref, _ = r.Find(key(1))
	if _, err := r.Open(key(1), ref); !errors.Is(err, errUnwell) {
		t.Errorf("%v", err)
	}
	if s := r.Stats(); s.Entries != 0 || s.Damaged != 2 {
		t.Errorf("%+v", s)
	}
}

// A name that cannot be forgotten for good makes Sync fail until it can.
func TestDropThatFailsIsNotSynced(t *testing.T) {
	disk := newFaulty()
	r := newRig(t, func(c *Config) { c.Files = disk })
	r.mustPut(Names, 1, "name", nil)
	disk.set(func(f *faulty) { f.write = errUnwell })
	ref, _ := r.Find(key(1))
	r.Drop(key(1), ref)
	if err := r.Sync(); !errors.Is(err, errUnwell) {
		t.Errorf("%v", err)
	}
	disk.set(func(f *faulty) { f.write = nil })
	if err := r.Sync(); err != nil {
		t.Errorf("%v", err)
	}
	r.kill()
	if r.get(1) != nil {
		t.Error("it is back")
	}
}

func TestDirectoryTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Size = MinSize })
		put := func(from, to uint64) (failed int) {
			for n := from; n < to; n++ {
				if _, err := r.Put(Bodies, key(n), nil, content(n, 500_000)); err != nil {
					failed++
				}
				time.Sleep(time.Second)
			}
			return failed
		}
		put(0, 5)
		if err := os.RemoveAll(r.cfg.Dir); err != nil {
			t.Fatal(err)
		}
		put(5, 100)
		for n := range uint64(100) {
			r.expect(n, "", content(n, 500_000), true)
		}
		r.expect(99, "", content(99, 500_000), false) // it made the directory anew
		r.bounds()
	})
}

// copyDir copies a store's directory, as it is at this moment.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// The power goes at any byte: the active segments are cut there, or are zero from there on. What is found is right, and what was written before that is found.
func TestCutAtEveryByte(t *testing.T) {
	r := newRig(t, nil)
	type rec struct {
		class Class
		meta  string
		body  []byte
		end   int64
		path  string
	}
	all := map[uint64]rec{}
	for n := range uint64(24) {
		c := Class(n % 2)
		var body []byte
		if c == Bodies {
			body = content(n, int(n*13))
		}
		meta := fmt.Sprint("meta of ", n)
		ref, err := r.Put(c, key(n), []byte(meta), body)
		if err != nil {
			t.Fatal(err)
		}
		w := ref.word()
		all[n] = rec{c, meta, body, w.offset() + w.length(), r.slots[w.slot()].Load().name}
	}
	base := t.TempDir()
	for _, path := range r.segments() {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for cut := range len(whole) {
			for _, zeros := range []bool{false, true} {
				if zeros && cut%7 != 0 || !zeros && cut%3 != 0 && cut > 500 {
					continue
				}
				dir := filepath.Join(base, fmt.Sprint(filepath.Base(path), cut, zeros))
				copyDir(t, r.cfg.Dir, dir)
				b := bytes.Clone(whole[:cut])
				if zeros {
					b = append(b, make([]byte, len(whole)-cut)...)
				}
				if err := os.WriteFile(filepath.Join(dir, "segments", filepath.Base(path)), b, 0o600); err != nil {
					t.Fatal(err)
				}
				r2 := &rig{t: t, cfg: r.cfg}
				r2.cfg.Dir = dir
				r2.open()
				for n, x := range all {
					found := r2.expect(n, x.meta, x.body, true)
					if whole := x.path != path || int64(cut) >= x.end; found != whole && !(found && int64(cut) > x.end-unit) {
						t.Fatalf("%s cut at %d: record %d, which ends at %d: found %v", filepath.Base(path), cut, n, x.end, found)
					}
				}
				r2.mustPut(Names, 1000, "goes on", nil)
				r2.kill()
				r2.expect(1000, "goes on", nil, false)
				r2.Store.Close()
				os.RemoveAll(dir)
			}
		}
	}
}

// Bits are flipped and files cut anywhere while the store is stopped: not one wrong byte is read, large bodies included.
func TestDamageIsNeverRead(t *testing.T) {
	r := newRig(t, nil)
	rng := rand.New(rand.NewPCG(5, 5))
	sizes := map[uint64]int{}
	for n := range uint64(120) {
		sizes[n] = 1 + rng.IntN(1<<(1+rng.IntN(20)))
		r.mustPut(Bodies, n, fmt.Sprint("meta ", n), content(n, sizes[n]))
		r.mustPut(Names, 1000+n, fmt.Sprint("name ", n), nil)
	}
	r.Store.Close()
	for round := range 60 {
		dir := filepath.Join(t.TempDir(), "copy")
		copyDir(t, r.cfg.Dir, dir)
		r2 := &rig{t: t, cfg: r.cfg}
		r2.cfg.Dir = dir
		for range 1 + rng.IntN(20) {
			files, err := filepath.Glob(filepath.Join(dir, "*", "*.seg"))
			if err != nil {
				t.Fatal(err)
			}
			path := files[rng.IntN(len(files))]
			b, err := os.ReadFile(path)
			if err != nil || len(b) == 0 {
				continue
			}
			if rng.IntN(10) == 0 {
				b = b[:rng.IntN(len(b))]
			} else {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r2.open()
		held := 0
		for n, size := range sizes {
			if r2.expect(n, fmt.Sprint("meta ", n), content(n, size), true) {
				held++
			}
			r2.expect(1000+n, fmt.Sprint("name ", n), nil, true)
			ref, ok := r2.Find(key(n))
			if !ok {
				continue
			}
			rec, err := r2.Open(key(n), ref)
			if err != nil {
				continue
			}
			b, err := io.ReadAll(io.NewSectionReader(rec, 0, rec.Size()))
			if err != nil || !bytes.Equal(b, content(n, size)) {
				t.Fatalf("round %d: an open record has wrong bytes (%v)", round, err)
			}
			rec.Close()
		}
		if held < 20 {
			t.Errorf("round %d: only %d records are left", round, held)
		}
		r2.Store.Close()
	}
}

// A segment is cut off while the store runs: reads fail, are counted, and nothing is read that is not there.
func TestTruncationWhileRunning(t *testing.T) {
	r := newRig(t, nil)
	for n := range uint64(30) {
		r.mustPut(Bodies, n, "", content(n, 400_000))
	}
	ref, _ := r.Find(key(3))
	rec, err := r.Open(key(3), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	for _, path := range r.segments() {
		if err := os.Truncate(path, 100); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rec.ReadAt(make([]byte, 10), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	for n := range uint64(30) {
		ref, _ := r.Find(key(n))
		if _, err := r.Open(key(n), ref); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d: %v", n, err)
		}
		if _, err := r.Read(key(n), ref, nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d: %v", n, err)
		}
	}
	for n := range uint64(200) { // and it goes on, over reclaims of what was cut
		r.mustPut(Bodies, n, "", content(n, 400_000))
	}
	r.bounds()
	r.expect(199, "", content(199, 400_000), false)
}

// The scrubber finds what was damaged in a large body that nobody reads.
func TestScrubberFindsDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for n := range uint64(10) {
			r.mustPut(Bodies, n, "", content(n, 300_000))
		}
		ref, _ := r.Find(key(4))
		w := ref.word()
		path := r.slots[w.slot()].Load().name
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, flipped(b, int(w.offset())+200_000), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(10 * time.Second) // 3 MB at 8 MiB a second
		if _, ok := r.Find(key(4)); ok {
			t.Error("still there")
		}
		if s := r.Stats(); s.Damaged != 1 || s.Scrubbed != 9*300_000 || s.Entries != 9 {
			t.Errorf("%+v", s)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A segment that was cut and then appended to used to give zeros, as a checked record, to whoever had it open or opened it later.
func TestOpenRecordLearnsOfHarm(t *testing.T) {
	for what, harm := range map[string]func(r *rig, path string) error{
		"cut": func(_ *rig, path string) error { return os.Truncate(path, 5000) },
		"cut and appended to": func(r *rig, path string) error {
			err := os.Truncate(path, 5000)
			r.mustPut(Bodies, 2, "other", content(2, 400<<10))
			return err
		},
		"erased": func(r *rig, _ string) error { return r.Erase(key(1)) },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, nil)
			r.mustPut(Bodies, 1, "meta", content(1, 400<<10))
			ref, _ := r.Find(key(1))
			rec, err := r.Open(key(1), ref)
			if err != nil {
				t.Fatal(err)
			}
			defer rec.Close()
			if !rec.Intact() {
				t.Fatal("harmed before anything happened")
			}
			if err := harm(r, r.segments()[0]); err != nil {
				t.Fatal(err)
			}
			if rec.Intact() {
				t.Error("the reader does not learn of it")
			}
			if again, err := r.Open(key(1), ref); err == nil {
				again.Close()
				t.Error("opened again without a check")
			}
		})
	}
}

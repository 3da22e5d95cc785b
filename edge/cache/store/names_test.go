package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// namesRig is a store with several segments of names in which the names 0 to 9 have many versions; it returns the last one.
func namesRig(t *testing.T, r *rig) (last int) {
	t.Helper()
	pad := strings.Repeat("p", 20_000)
	for v := range 40 {
		for n := range uint64(10) {
			if n%2 == 0 || v < 5 { // the odd ones are old
				r.mustPut(Names, n, fmt.Sprint("version ", v, pad), nil)
			}
		}
		last = v
	}
	return last
}

func namesFiles(r *rig) (all []string) {
	for _, path := range r.segments() {
		if strings.HasSuffix(path, logSuffixes[logNames]) {
			all = append(all, path)
		}
	}
	return all
}

// newestOrNone fails if a name is older than what was put last, and counts those there are.
func newestOrNone(t *testing.T, r *rig, last int, what string) (found int) {
	t.Helper()
	for n := range uint64(10) {
		w := r.get(n)
		want := last
		if n%2 == 1 {
			want = 4
		}
		if w == nil {
			continue
		}
		found++
		if got, _, _ := strings.Cut(string(w.Meta), "p"); got != fmt.Sprint("version ", want) {
			t.Fatalf("%s: name %d is at %s of %d", what, n, got, want)
		}
	}
	return found
}

// Whatever is done to a segment of names while the store is stopped, no older version of a name comes back.
func TestNamesNeverGoBack(t *testing.T) {
	for _, stop := range []string{"closed", "synced and killed"} {
		r := newRig(t, nil)
		last := namesRig(t, r)
		if stop == "closed" {
			r.Store.Close()
		} else {
			if err := r.Sync(); err != nil {
				t.Fatal(err)
			}
			r.Store.closed.Store(true)
			r.Store.closeFiles()
		}
		files := namesFiles(r)
		if len(files) < 2 {
			t.Fatalf("%d segments", len(files))
		}
		copies := t.TempDir()
		all := 0
		for _, path := range files {
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			size := len(whole)
			offsets := []int{0, 3, 20, 33, 41, 63, 64, 66, 100, size / 3, size / 2, size - 1, size - 40, size - 100, size - 20_000, size - 25_000, size - 45_000}
			for _, off := range offsets {
				for how, b := range map[string][]byte{
					"cut":    whole[:off],
					"flip":   flipped(whole, off),
					"zeroed": append(bytes.Clone(whole[:off]), make([]byte, size-off)...),
					"block":  append(append(bytes.Clone(whole[:off]), make([]byte, min(40_000, size-off))...), whole[off+min(40_000, size-off):]...),
				} {
					what := fmt.Sprint(stop, ", ", filepath.Base(path), " ", how, " at ", off, " of ", size)
					dir := filepath.Join(copies, fmt.Sprint(filepath.Base(path), how, off))
					copyDir(t, r.cfg.Dir, dir)
					if err := os.WriteFile(filepath.Join(dir, "segments", filepath.Base(path)), b, 0o600); err != nil {
						t.Fatal(err)
					}
					r2 := &rig{t: t, cfg: r.cfg}
					r2.cfg.Dir = dir
					r2.open()
					n := newestOrNone(t, r2, last, what)
					if how == "flip" && off > size-1000 && path != files[len(files)-1] && n < 10 {
						t.Errorf("%s: %d names are left though only the footer is damaged", what, n)
					}
					all += n
					r2.mustPut(Names, 100, "goes on", nil)
					r2.kill()
					newestOrNone(t, r2, last, what+", again")
					r2.expect(100, "goes on", nil, false)
					r2.Store.Close()
					os.RemoveAll(dir)
				}
			}
		}
		if all == 0 {
			t.Error("nothing is ever left")
		}
	}
}

// After a crash names are as they were at the last Sync or newer, wherever the segment ends.
func TestCrashAfterSync(t *testing.T) {
	r := newRig(t, nil)
	for n := range uint64(20) {
		r.mustPut(Names, n, "one", nil)
	}
	if err := r.Sync(); err != nil {
		t.Fatal(err)
	}
	path := namesFiles(r)[0]
	synced, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(20) {
		r.mustPut(Names, n, "two", nil)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copies := t.TempDir()
	for cut := int(synced.Size()); cut <= len(whole); cut += 5 {
		for _, zeros := range []bool{false, true} {
			dir := filepath.Join(copies, fmt.Sprint(cut, zeros))
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
			for n := range uint64(20) {
				w := r2.get(n)
				if w == nil || string(w.Meta) != "one" && string(w.Meta) != "two" {
					t.Fatalf("cut at %d: name %d: %v", cut, n, w)
				}
			}
			r2.Store.Close()
			os.RemoveAll(dir)
		}
	}
}

// A sync that failed is not made good by the next one alone: what it was about is written again.
func TestSyncThatFailed(t *testing.T) {
	disk := newFaulty()
	r := newRig(t, func(c *Config) { c.Files = disk })
	for n := range uint64(10) {
		r.mustPut(Names, n, "name", nil)
	}
	was := namesFiles(r)
	disk.set(func(f *faulty) { f.sync = errUnwell })
	for range 2 {
		if err := r.Sync(); !errors.Is(err, errUnwell) && err == nil {
			t.Fatal("no error")
		}
	}
	disk.set(func(f *faulty) { f.sync = nil })
	if err := r.Sync(); err != nil {
		t.Fatal(err)
	}
	if now := namesFiles(r); len(now) != 1 || now[0] == was[0] {
		t.Errorf("segments are %v, were %v", now, was)
	}
	r.kill()
	for n := range uint64(10) {
		r.expect(n, "name", nil, false)
	}
}

// A Put that failed leaves no trace that counts after a restart, even if all of it reached the disk.
func TestFailedPutDoesNotComeBack(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disk := newFaulty()
			r := newRig(t, func(c *Config) { c.Files = disk })
			r.mustPut(Names, 1, "old", nil)
			disk.set(func(f *faulty) { f.write, f.late = errUnwell, true })
			if _, err := r.Put(Names, key(1), []byte("failed"), nil); !errors.Is(err, ErrFailing) {
				t.Fatal(err)
			}
			r.expect(1, "old", nil, false)
			disk.set(func(f *faulty) { f.write, f.late = nil, false })
			time.Sleep(maxPause)
			if err := r.Sync(); err != nil {
				t.Fatal(err)
			}
			for n := uint64(10); sealed && len(namesFiles(r)) < 2; n++ {
				r.mustPut(Names, n, strings.Repeat("x", 30_000), nil)
			}
			r.kill()
			r.expect(1, "old", nil, false)
		})
	}
}

// A segment that cannot be removed takes room, and nothing that was forgotten comes back from it.
func TestSegmentThatCannotBeRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newFaulty()
		r := newRig(t, func(c *Config) { c.Files, c.Size = disk, MinSize })
		disk.set(func(f *faulty) { f.gone = errUnwell })
		failed := 0
		for n := range uint64(60) {
			if _, err := r.Put(Bodies, key(n), nil, content(n, 500_000)); err != nil {
				failed++
			}
			r.bounds()
		}
		if failed == 0 {
			t.Error("there was room for everything")
		}
		disk.set(func(f *faulty) { f.gone = nil })
		time.Sleep(maxPause)
		for n := range uint64(60) {
			r.mustPut(Bodies, 100+n, "", content(n, 500_000))
			r.bounds()
		}
		r.kill()
		r.bounds()
		for n := range uint64(160) {
			r.expect(n, "", content(n%100, 500_000), true)
		}
	})
}

// The id is found in the segments if its file is lost, and written again with the directory.
func TestLostID(t *testing.T) {
	r := newRig(t, nil)
	r.mustPut(Bodies, 1, "", []byte("body"))
	for _, b := range [][]byte{nil, {}, []byte("short"), bytes.Repeat([]byte{7}, 16)} {
		r.Store.Close()
		path := r.idFile()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if b != nil {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r.open()
		r.expect(1, "", []byte("body"), false)
	}
	if err := os.RemoveAll(r.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(10) { // until a new segment is made
		r.mustPut(Bodies, n, "", content(n, 900_000))
	}
	r.kill()
	r.expect(9, "", content(9, 900_000), false)
}

// A large body that is damaged between Put and its first use is not given out, whether the scrubber has seen it or not.
func TestDamageBeforeTheFirstUse(t *testing.T) {
	for _, scrubbed := range []bool{false, true} {
		r := newRig(t, nil)
		r.mustPut(Bodies, 1, "", content(1, 700_000))
		ref, _ := r.Find(key(1))
		w := ref.word()
		seg := r.slots[w.slot()].Load()
		if scrubbed {
			list, _ := r.listOf(seg)
			if r.scrubRecord(seg, list[0]); r.Stats().Scrubbed != 700_000 {
				t.Fatal("it was not scrubbed")
			}
		}
		b, err := os.ReadFile(seg.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(seg.name, flipped(b, int(w.offset())+500_000), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Open(key(1), ref); !errors.Is(err, ErrDamaged) {
			t.Errorf("scrubbed %v: %v", scrubbed, err)
		}
	}
}

// What a write left that failed or was killed is not there any more after an erase or a start.
func TestRemainsAreOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newFaulty()
		r := newRig(t, func(c *Config) { c.Files = disk })
		secret := bytes.Repeat([]byte("secret thing "), 10_000)
		r.mustPut(Bodies, 1, "", []byte("before"))
		ref, err := r.Put(Bodies, key(2), nil, secret)
		if err != nil {
			t.Fatal(err)
		}
		r.mustPut(Bodies, 3, "", []byte("after"))
		r.Store.closed.Store(true)
		r.Store.closeFiles()
		for _, path := range r.segments() { // the head is lost, the body is not
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			clear(b[ref.word().offset():][:headSize])
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r.open()
		holds := func() bool {
			for _, path := range r.segments() {
				if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, []byte("secret")) {
					return true
				}
			}
			return false
		}
		if holds() {
			t.Error("the start has left it")
		}
		disk.set(func(f *faulty) { f.write, f.late = errUnwell, true })
		if _, err := r.Put(Bodies, key(4), nil, secret); err == nil {
			t.Fatal("no error")
		}
		disk.set(func(f *faulty) { f.write, f.late = nil, false })
		if err := r.Erase(key(4)); err != nil || holds() {
			t.Errorf("the erase has left it (%v)", err)
		}
		r.expect(1, "", []byte("before"), false)
		r.expect(3, "", []byte("after"), false)
	})
}

// A name was written again, its old segment removed, and the copy dropped; then the power went, and the removal had not reached the disk.
func TestCopyThatWasDroppedStaysDropped(t *testing.T) {
	r := newRig(t, nil)
	r.mustPut(Names, 1, "name", nil)
	r.mustPut(Names, 2, "other", nil)
	path := namesFiles(r)[0]
	r.grow.Lock()
	if !r.retireAny() {
		t.Fatal("nothing to retire")
	}
	old, err := os.ReadFile(path)
	if err != nil || !r.reclaimOne() {
		t.Fatalf("not reclaimed: %v", err)
	}
	r.grow.Unlock()
	if _, err := os.Stat(path); err == nil {
		t.Fatal("the segment is still there")
	}
	ref, ok := r.Find(key(1))
	if !ok {
		t.Fatal("it was not written again")
	}
	r.Drop(key(1), ref)
	if err := r.Sync(); err != nil {
		t.Fatal(err)
	}
	r.Store.Close()
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	r.open()
	if r.get(1) != nil {
		t.Error("it is back")
	}
	r.expect(2, "other", nil, false)
}

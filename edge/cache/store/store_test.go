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
	"runtime"
	"sync"
	"testing"
	"time"

	"perigee/edge/cache/policy"
)

func TestPutIsFound(t *testing.T) {
	r := newRig(t, nil)
	sizes := []int{0, 1, 31, 32, 33, 4096, alwaysChecked, alwaysChecked + 1, MaxBody}
	for _, how := range []string{"now", "restarted", "killed"} {
		for i, size := range sizes {
			n := uint64(i)
			if how == "now" {
				r.mustPut(Bodies, n, fmt.Sprint("meta ", n), content(n, size))
			}
			r.expect(n, fmt.Sprint("meta ", n), content(n, size), false)
			ref, _ := r.Find(key(n))
			rec, err := r.Open(key(n), ref)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(io.NewSectionReader(rec, 0, rec.Size()))
			if err != nil || !bytes.Equal(got, content(n, size)) || string(rec.Meta()) != fmt.Sprint("meta ", n) {
				t.Fatalf("%s, %d bytes: %v", how, size, err)
			}
			file := make([]byte, size)
			if _, err := rec.File().ReadAt(file, rec.Offset()); err != nil && size > 0 || !bytes.Equal(file, content(n, size)) {
				t.Fatalf("%s, %d bytes in the file: %v", how, size, err)
			}
			rec.Close()
		}
		if s := r.Stats(); s.Bodies != int64(len(sizes)) || s.Names != 0 || s.Damaged != 0 {
			t.Errorf("%s: %+v", how, s)
		}
		if how == "now" {
			r.restart()
		} else {
			r.kill()
		}
	}
	if _, ok := r.Find(key(99)); ok {
		t.Error("found what was never put")
	}
}

func TestTheNewestNameWins(t *testing.T) {
	r := newRig(t, nil)
	for v := range 100 {
		for n := range uint64(5) {
			r.mustPut(Names, n, fmt.Sprint(n, " version ", v), nil)
		}
	}
	for range 3 {
		for n := range uint64(5) {
			r.expect(n, fmt.Sprint(n, " version 99"), nil, false)
		}
		r.kill()
	}
	if s := r.Stats(); s.Names != 5 || s.Bodies != 0 {
		t.Errorf("%+v", s)
	}
}

// A name that was dropped does not come back, nor does an older one in its place.
func TestDroppedNameStaysDropped(t *testing.T) {
	r := newRig(t, nil)
	r.mustPut(Names, 1, "old", nil)
	r.mustPut(Names, 1, "young", nil)
	ref, _ := r.Find(key(1))
	r.Drop(key(1), ref+1<<24) // another place
	r.expect(1, "young", nil, false)
	r.Drop(key(1), ref)
	for range 2 {
		if r.get(1) != nil {
			t.Fatal("it is back")
		}
		r.kill()
	}
	r.mustPut(Names, 1, "new", nil)
	r.kill()
	r.expect(1, "new", nil, false)
	if s := r.Stats(); s.Damaged != 0 {
		t.Errorf("%+v", s)
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t, nil)
	if _, err := r.Put(Bodies, key(1), nil, make([]byte, MaxBody+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if _, err := r.Put(Names, key(1), make([]byte, MaxMeta+1), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if _, err := r.Put(Bodies, key(1), make([]byte, MaxMeta), make([]byte, MaxBody)); err != nil {
		t.Error(err)
	}
	cfg := r.cfg
	cfg.Size = MinSize - 1
	if _, err := Open(cfg); err == nil {
		t.Error("too small a size was taken")
	}
}

type refusing struct{ fifo }

func (*refusing) Admit(uint64, int64) policy.Admission { return policy.Refuse }

func TestRefusedByThePolicy(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy = &refusing{} })
	if _, err := r.Put(Bodies, key(1), nil, []byte("body")); !errors.Is(err, ErrNotAdmitted) {
		t.Errorf("%v", err)
	}
	r.mustPut(Names, 2, "a name is always taken", nil)
}

// The bound holds at every moment, and what is still found is right, whatever goes through.
func TestSpaceIsBounded(t *testing.T) {
	for _, size := range []int64{MinSize, 40 << 20} {
		r := newRig(t, func(c *Config) { c.Size = size; c.Policy = policy.New(policy.Config{Size: size}) })
		rng := rand.New(rand.NewPCG(1, 2))
		sizes := map[uint64]int{}
		versions := map[uint64]int{}
		for i := range 3000 {
			n := rng.Uint64N(400)
			switch {
			case n >= 300:
				versions[n]++
				r.mustPut(Names, n, fmt.Sprint(n, " version ", versions[n], string(make([]byte, 3000))), nil)
			case r.get(n) == nil:
				if sizes[n] == 0 {
					sizes[n] = 1 + rng.IntN(1<<(4+rng.IntN(17)))
				}
				if _, err := r.Put(Bodies, key(n), nil, content(n, sizes[n])); err != nil && !errors.Is(err, ErrNotAdmitted) {
					t.Fatal(err)
				}
			default:
				r.Touch(key(n))
			}
			if i%50 == 0 {
				r.bounds()
			}
			if i%1000 == 999 {
				r.restart()
				r.bounds()
			}
		}
		held := 0
		for n, size := range sizes {
			if r.expect(n, "", content(n, size), true) {
				held++
			}
		}
		for n, v := range versions {
			r.expect(n, fmt.Sprint(n, " version ", v, string(make([]byte, 3000))), nil, true)
		}
		s := r.Stats()
		if held == 0 || s.Damaged != 0 || s.Failures != 0 || s.Bytes > s.Limit {
			t.Errorf("%d records held; %+v", held, s)
		}
		used := r.onDisk()
		r.Store.Close()
		if n := len(r.segments()); n == 0 {
			t.Error("no segments")
		}
		r.cfg.Size = MinSize
		r.open()
		r.bounds()
		t.Logf("%d of %d bytes in use, %d after it was made smaller", used, size, r.onDisk())
	}
}

// What is hot outlives what is not.
func TestHotRecordsSurviveReclaims(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = MinSize })
	for n := range uint64(10) {
		r.mustPut(Bodies, n, "", content(n, 50_000))
		r.mustPut(Names, 1000+n, "hot name", nil)
	}
	for n := uint64(10); n < 900; n++ {
		for hot := range uint64(10) {
			r.Touch(key(hot))
		}
		r.mustPut(Bodies, n, "", content(n, 50_000))
	}
	if s := r.Stats(); s.Reclaims < 5 || s.Relocated == 0 {
		t.Fatalf("%+v", s)
	}
	for n := range uint64(10) {
		r.expect(n, "", content(n, 50_000), false)
		r.expect(1000+n, "hot name", nil, false)
	}
	if r.get(20) != nil {
		t.Error("a cold record is still there")
	}
}

// Names give way to names once they have more than their share, the hot ones last, and what is found is never an old one.
func TestManyNames(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = MinSize })
	pad := string(make([]byte, 500))
	for i := range 60_000 {
		n := uint64(i % 20_000)
		r.mustPut(Names, n, fmt.Sprint(i/20_000, pad), nil)
		r.Touch(key(5))
	}
	r.bounds()
	found := 0
	for n := range uint64(20_000) {
		if r.expect(n, fmt.Sprint(2, pad), nil, true) {
			found++
		}
	}
	if found == 0 || found == 20_000 {
		t.Errorf("%d names found", found)
	}
	r.kill()
	for n := range uint64(20_000) {
		r.expect(n, fmt.Sprint(2, pad), nil, true)
	}
	r.expect(5, fmt.Sprint(2, pad), nil, false)
}

// Two keys of one tag: the last one put is found, the other is missing and never taken for it.
func TestTagCollision(t *testing.T) {
	r := newRig(t, nil)
	a, b := key(1), key(1)
	b[15] ^= 1
	if _, err := r.Put(Bodies, a, nil, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(Bodies, b, nil, []byte("second")); err != nil {
		t.Fatal(err)
	}
	ref, ok := r.Find(a)
	if !ok {
		t.Fatal("not found")
	}
	if _, err := r.Read(a, ref, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := r.Open(a, ref); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if w, err := r.Read(b, ref, nil); err != nil || string(w.Body) != "second" {
		t.Errorf("%v", err)
	}
}

func TestHeatAndPolicySurviveARestart(t *testing.T) {
	p := &fifo{}
	r := newRig(t, func(c *Config) { c.Policy = p })
	for n := range uint64(1000) {
		r.mustPut(Bodies, n, "", []byte("x"))
		for range n % 50 {
			r.Touch(key(n))
		}
	}
	r.restart()
	for n := range uint64(1000) {
		if h := r.index.get(key(n).tag()).heat(); h != uint8(n%50) {
			t.Fatalf("record %d has heat %d", n, h)
		}
	}
	if string(p.state) != "state" {
		t.Errorf("the policy got %q", p.state)
	}
	// Damaged files cost the heat and nothing else.
	for _, name := range []string{"heat", "policy"} {
		path := filepath.Join(r.cfg.Dir, name)
		r.Store.Close()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range [][]byte{nil, b[:5], append(bytes.Clone(b), 1), flipped(b, len(b)-1)} {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			r.open()
			r.expect(7, "", []byte("x"), false)
			r.closed.Store(true)
			r.closeFiles()
		}
		r.open()
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x40
	return b
}

// Erased bytes are in no file, and other records are where they were.
func TestErase(t *testing.T) {
	r := newRig(t, nil)
	secret := bytes.Repeat([]byte("secret thing "), 20_000)
	for n := range uint64(40) { // several segments
		r.mustPut(Bodies, n, "", content(n, 300_000))
		if n%10 == 3 {
			r.mustPut(Bodies, 1000+n, "secret meta", secret)
			r.mustPut(Names, 500, fmt.Sprint("secret name ", n), nil)
		}
	}
	keys := []Key{key(500), key(777)}
	for n := uint64(3); n < 40; n += 10 {
		keys = append(keys, key(1000+n))
	}
	if err := r.Erase(keys...); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, path := range r.segments() {
			if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, []byte("secret")) {
				t.Errorf("%s has it still (%v)", path, err)
			}
		}
		for _, k := range keys {
			if _, ok := r.Find(k); ok {
				t.Error("it is still in the index")
			}
		}
		for n := range uint64(40) {
			r.expect(n, "", content(n, 300_000), false)
		}
		if s := r.Stats(); s.Damaged != 0 {
			t.Errorf("%+v", s)
		}
		r.kill()
	}
}

func TestAfterClose(t *testing.T) {
	r := newRig(t, nil)
	r.mustPut(Bodies, 1, "", content(1, 300_000))
	ref, _ := r.Find(key(1))
	rec, err := r.Open(key(1), ref)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := r.Find(key(1)); ok {
		t.Error("found")
	}
	if _, err := r.Read(key(1), ref, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := r.Open(key(1), ref); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := r.Put(Names, key(1), nil, nil); !errors.Is(err, ErrFailing) {
		t.Errorf("%v", err)
	}
	r.Touch(key(1))
	r.Drop(key(1), ref)
	if r.Erase(key(1)) == nil || r.Sync() == nil {
		t.Error("no error")
	}
	r.Stats()
	b := make([]byte, 300_000) // who has it open reads on
	if _, err := rec.ReadAt(b, 0); err != nil || !bytes.Equal(b, content(1, 300_000)) {
		t.Errorf("%v", err)
	}
	rec.Close()
}

func TestForeignFilesAreRemoved(t *testing.T) {
	r := newRig(t, nil)
	r.mustPut(Bodies, 1, "", []byte("mine"))
	other := newRig(t, nil)
	other.mustPut(Bodies, 2, "", []byte("theirs"))
	other.Store.Close()
	r.Store.Close()
	b, err := os.ReadFile(other.segments()[0])
	if err != nil {
		t.Fatal(err)
	}
	mine, err := os.ReadFile(r.segments()[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"segments/00000000000000aa-main.seg": b,    // another store's
		"segments/00000000000000ab-main.seg": mine, // ours, in another place
		"segments/00000000000000ac-main.seg": nil, "segments/README": []byte("hi"), "segments/1-main.seg": mine, "heat.new": []byte("half"),
	} {
		if err := os.WriteFile(filepath.Join(r.cfg.Dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
	r.expect(1, "", []byte("mine"), false)
	if _, ok := r.Find(key(2)); ok {
		t.Error("another store's record is found")
	}
	if s := r.Stats(); s.Entries != 1 {
		t.Errorf("%+v", s)
	}
	for _, name := range []string{"segments/README", "segments/1-main.seg", "heat.new"} {
		if _, err := os.Stat(filepath.Join(r.cfg.Dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	r.bounds()
}

// Everything at once, for the race detector; what is read is always right.
func TestConcurrency(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Size, c.ScrubRate, c.SaveEvery = MinSize, 1<<40, 5*time.Millisecond
		c.Policy = policy.New(policy.Config{Size: c.Size})
	})
	ctx := t.Context()
	stop, done := make(chan struct{}), make(chan error)
	run, cancel := context.WithCancel(ctx)
	go func() { done <- r.Run(run) }()
	var wg sync.WaitGroup
	for w := range uint64(6) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(w, 3))
			var buf []byte
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := rng.Uint64N(200)
				size := int(n*n*20) + 1
				k := key(n)
				ref, ok := r.Find(k)
				if !ok {
					if _, err := r.Put(Bodies, k, nil, content(n, size)); err != nil && !errors.Is(err, ErrNotAdmitted) {
						t.Error(err)
						return
					}
					continue
				}
				r.Touch(k)
				switch rng.IntN(20) {
				case 0:
					r.Drop(k, ref)
				case 1:
					if err := r.Erase(k); err != nil {
						t.Error(err)
					}
				case 2:
					r.Stats()
					if err := r.Sync(); err != nil {
						t.Error(err)
					}
				case 3, 4, 5:
					rec, err := r.Open(k, ref)
					if err != nil {
						if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrDamaged) {
							t.Error(err)
						}
						continue
					}
					rec.Close()
				default:
					whole, err := r.Read(k, ref, buf)
					if err == nil && !bytes.Equal(whole.Body, content(n, size)) {
						t.Error("wrong bytes")
					}
					if err == nil {
						buf = whole.Buf
					}
				}
			}
		})
	}
	wg.Go(func() {
		for v := range 3000 {
			for n := range uint64(10) {
				r.mustPutAny(Names, 1000+n, fmt.Sprint("version ", v))
			}
			if v%10 == 0 {
				runtime.Gosched()
			}
		}
		close(stop)
	})
	wg.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.bounds()
	for range 2 {
		for n := range uint64(10) {
			r.expect(1000+n, "version 2999", nil, false)
		}
		r.kill()
	}
}

func (r *rig) mustPutAny(c Class, n uint64, meta string) {
	if _, err := r.Put(c, key(n), []byte(meta), nil); err != nil {
		r.t.Error(err)
	}
}

// Segments of many small records are sealed before they are full, so that their lists stay small; when every slot is taken the oldest give way.
func TestListsAreBounded(t *testing.T) {
	r := newRig(t, nil)
	r.maxList = 3
	const n = 4 * maxSlots
	for i := range uint64(n) {
		r.mustPut(Bodies, i, "", content(i, 10))
	}
	for i := range r.slots {
		if g := r.slots[i].Load(); g != nil && len(g.list) > r.maxList {
			t.Errorf("%d records are listed", len(g.list))
		}
	}
	if e := r.Stats().Entries; e < 2*maxSlots || e > 3*maxSlots {
		t.Errorf("%d entries in %d segments of 3", e, maxSlots)
	}
	r.restart()
	r.expect(n-1, "", content(n-1, 10), false)
	r.bounds()
}

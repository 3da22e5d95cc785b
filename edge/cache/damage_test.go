package cache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// hurtFile damages a file and makes sure that its stamp changes: clocks of file systems tick coarsely.
func hurtFile(t *testing.T, path string, hurt func(f *os.File) error) {
	t.Helper()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(hurt(f), f.Close(), os.Chtimes(path, time.Time{}, before.ModTime().Add(time.Second)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flipAt(off int64) func(f *os.File) error {
	return func(f *os.File) error {
		var b [1]byte
		if _, err := f.ReadAt(b[:], off); err != nil {
			return err
		}
		b[0] ^= 1
		_, err := f.WriteAt(b[:], off)
		return err
	}
}

func truncateTo(n int64) func(f *os.File) error {
	return func(f *os.File) error { return f.Truncate(n) }
}

// Whatever happens to a file, while the engine is stopped or while it runs, its readers get the right bytes.
func TestDamageOnDiskIsNeverServed(t *testing.T) {
	for _, size := range []int64{1, maxRAMBlob + 1, 2*mib + 300} {
		whole := size + object.TreeSize(size)
		damages := map[string]func(f *os.File) error{
			"first bit":   flipAt(0),
			"middle":      flipAt(size / 2),
			"last bit":    flipAt(size - 1),
			"cut to 0":    truncateTo(0),
			"cut by 1":    truncateTo(whole - 1),
			"cut in half": truncateTo(size / 2),
			"longer":      truncateTo(whole + 1),
			"zeroed": func(f *os.File) error {
				_, err := f.WriteAt(make([]byte, size), 0)
				return err
			},
		}
		if whole > size {
			damages["tree"] = flipAt(size + 5)
			damages["end of tree"] = flipAt(whole - 1)
			damages["cut off tree"] = truncateTo(size)
		}
		for what, hurt := range damages {
			for _, stopped := range []bool{true, false} {
				t.Run(fmt.Sprintf("%d/%s/stopped=%v", size, what, stopped), func(t *testing.T) {
					r := newRig(t, func(c *Config) { c.RAM = 0 }) // so that the disk is read
					data := cachetest.Bytes(size, 1)
					p := r.o.Publish("www", "/file", 1, data)
					r.mustGet("/file", data)
					r.idle()
					if stopped {
						r.stop()
					}
					hurtFile(t, r.blobFile(p), hurt)
					if stopped {
						r.open()
						r.e.Confirm(r.cfg.Clock.Now())
					}
					for range 2 { // the second time it is whole again
						r.mustGet("/file", data)
						r.idle()
					}
					expect(t, r.mustGet("/file", data), "hit disk")
					if n := r.o.Reads(p.Blob); n > 3 {
						t.Errorf("%d origin reads to heal one file", n)
					}
					r.checkDisk()
				})
			}
		}
	}
}

func TestFileTakenAway(t *testing.T) {
	for _, size := range []int64{1000, mib + 5} {
		r := newRig(t, func(c *Config) { c.RAM = 0 })
		data := cachetest.Bytes(size, 2)
		p := r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		r.idle()
		if err := os.Remove(r.blobFile(p)); err != nil {
			t.Fatal(err)
		}
		expect(t, r.mustGet("/file", data), "miss not-held stored")
		r.idle()
		expect(t, r.mustGet("/file", data), "hit disk")
		r.stop()
		if err := os.Remove(r.blobFile(p)); err != nil {
			t.Fatal(err)
		}
		r.open()
		r.mustGet("/file", data)
		r.idle()
		r.checkDisk()
	}
}

// Damage is met in the middle of an answer: what was sent is right, the rest comes from the origin.
func TestDamageUnderAReader(t *testing.T) {
	data := cachetest.Bytes(4*mib, 3)
	for what, hurt := range map[string]func(f *os.File) error{
		"bit":      flipAt(2*mib + 7),
		"cut":      truncateTo(mib + 100),
		"cut to 0": truncateTo(0),
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, nil)
			p := r.o.Publish("www", "/file", 1, data)
			r.mustGet("/file", data)
			r.idle()
			b, o, err := r.e.Locate(t.Context(), p, object.Range{Length: p.Size})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			expect(t, words(o), "hit disk")
			var out bytes.Buffer
			w := &tripwire{w: &out, at: mib, then: func() { hurtFile(t, r.blobFile(p), hurt) }}
			if _, err := b.Copy(t.Context(), w); err != nil || !bytes.Equal(out.Bytes(), data) {
				t.Fatalf("wrong bytes or error %v", err)
			}
			if s := r.e.Stats(); s.Healed != 1 {
				t.Errorf("healed %d", s.Healed)
			}
			expect(t, r.mustGet("/file", data), "miss not-held stored")
		})
	}
}

// tripwire does something once, when at bytes have been written.
type tripwire struct {
	w    *bytes.Buffer
	at   int
	then func()
}

func (t *tripwire) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	if t.then != nil && t.w.Len() >= t.at {
		t.then()
		t.then = nil
	}
	return n, err
}

// Both the disk's bytes and the origin are lost: an error, and not one wrong byte.
func TestDamageAndNoOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(2*mib, 4)
		p := r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		r.idle()
		hurtFile(t, r.blobFile(p), flipAt(mib+1))
		r.o.SetDown(errors.New("unplugged"))
		got, _, err := r.get("/file")
		if err == nil || !bytes.Equal(got, data[:mib]) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		r.o.SetDown(nil)
		r.mustGet("/file", data)
	})
}

// Too many open files is no reason to forget what is on disk: it used to be, and the file stayed, counted by nobody.
func TestFileThatCannotBeOpenedNowIsNotForgotten(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RAM = 0 })
	data := cachetest.Bytes(2*mib, 5)
	p := r.o.Publish("www", "/file", 1, data)
	r.mustGet("/file", data)
	r.idle()
	// A symbolic link to itself fails to open with ELOOP: not with fs.ErrNotExist.
	file := r.blobFile(p)
	if err := errors.Join(os.Rename(file, file+"~"), os.Symlink(file, file)); err != nil {
		t.Fatal(err)
	}
	expect(t, r.mustGet("/file", data), "miss disk-failed")
	if err := os.Rename(file+"~", file); err != nil {
		t.Fatal(err)
	}
	expect(t, r.mustGet("/file", data), "hit disk")
	if s := r.e.Stats(); s.DiskFailures != 1 {
		t.Errorf("%d disk failures counted", s.DiskFailures)
	}
}

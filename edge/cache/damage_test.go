package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// hurt damages a file behind the engine's back.
func hurt(t *testing.T, path string, how func(f *os.File) error) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(how(f), f.Close())
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

func zero(off, n int64) func(f *os.File) error {
	return func(f *os.File) error {
		_, err := f.WriteAt(make([]byte, n), off)
		return err
	}
}

// Whatever happens to a segment, its readers get the right bytes: while the engine is stopped for all records, while it runs for those that are checked
// at each read, and for a truncation.
func TestDamageOnDiskIsNeverServed(t *testing.T) {
	for _, size := range []int64{1, 5000, checkedRead, checkedRead + 1, 2*mib + 300} {
		for what, how := range map[string]func(place) func(f *os.File) error{
			"first bit":   func(c place) func(f *os.File) error { return flipAt(c.off) },
			"middle":      func(c place) func(f *os.File) error { return flipAt(c.off + c.n/2) },
			"last bit":    func(c place) func(f *os.File) error { return flipAt(c.off + c.n - 1) },
			"label":       func(c place) func(f *os.File) error { return flipAt(c.off - 1) },
			"head":        func(c place) func(f *os.File) error { return flipAt(c.off - 90) },
			"cut to 0":    func(place) func(f *os.File) error { return truncateTo(0) },
			"cut by 1":    func(c place) func(f *os.File) error { return truncateTo(c.off + c.n - 1) },
			"cut in half": func(c place) func(f *os.File) error { return truncateTo(c.off + c.n/2) },
			"zeroed":      func(c place) func(f *os.File) error { return zero(c.off, c.n) },
		} {
			for _, stopped := range []bool{true, false} {
				cut := what[:3] == "cut"
				if !stopped && !cut && size > checkedRead {
					continue
				}
				t.Run(fmt.Sprintf("%d/%s/stopped=%v", size, what, stopped), func(t *testing.T) {
					r := newRig(t, func(c *Config) { c.RAM = 0 }) // so that the disk is read
					data := cachetest.Bytes(size, 1)
					p := r.o.Publish("www", "/file", 1, data)
					r.mustGet("/file", data)
					r.idle()
					where := r.place(p, 0)
					if stopped {
						r.stop()
					}
					hurt(t, where.path, how(where))
					if stopped {
						r.open()
						r.e.Confirm(r.cfg.Clock.Now())
					}
					for range 2 { // the second time it is whole again
						r.mustGet("/file", data)
						r.idle()
					}
					expect(t, r.mustGet("/file", data), "hit disk")
					if n := r.o.Reads(p.Blob); n < 2 && size < mib || n > 4 {
						t.Errorf("%d origin reads to heal one file", n)
					}
					r.checkBounds()
				})
			}
		}
	}
}

// A node of a hash tree that is damaged on disk is fetched again, and vouches for nothing.
func TestDamagedTreeNode(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(3*mib, 2)
	p := r.o.Publish("www", "/file", 1, data)
	rng := object.Range{Length: 10}
	if _, _, err := r.read(p, rng); err != nil {
		t.Fatal(err)
	}
	r.idle()
	where := r.placeOf(idOf(p).key(nodeNumber(object.LeafNode(0))))
	hurt(t, where.path, flipAt(where.off+40))
	for range 2 {
		if got, _, err := r.read(p, object.Range{Start: 2 * mib, Length: 10}); err != nil || !bytes.Equal(got, data[2*mib:2*mib+10]) {
			t.Fatalf("wrong bytes or error %v", err)
		}
		r.idle()
	}
	if n := r.o.Reads(object.TreeKey(p.Blob)); n != 2 {
		t.Errorf("%d reads of the tree, want one to begin with and one to heal it", n)
	}
}

// A segment is cut off in the middle of an answer: what was sent is right, the rest comes from the origin.
func TestTruncationUnderAReader(t *testing.T) {
	data := cachetest.Bytes(4*mib, 3)
	for what, how := range map[string]func(place) func(f *os.File) error{
		"in the middle": func(c place) func(f *os.File) error { return truncateTo(c.off + 100) },
		"cut to 0":      func(place) func(f *os.File) error { return truncateTo(0) },
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
			expect(t, words(o), "hit disk")
			where := r.place(p, 2)
			var out bytes.Buffer
			w := &tripwire{w: &out, at: 2*mib + 64<<10, then: func() { hurt(t, where.path, how(where)) }}
			if _, err := b.Copy(t.Context(), w); err != nil || !bytes.Equal(out.Bytes(), data) {
				t.Fatalf("wrong bytes or error %v", err)
			}
			if s := r.e.Stats(); s.Healed+s.DiskFailures == 0 {
				t.Errorf("nobody has noticed: %+v", s)
			}
			b.Close()
			r.idle()
			r.mustGet("/file", data)
		})
	}
}

// lender is a SendFiler that hurts a segment when it has sent at bytes of files.
type lender struct {
	bytes.Buffer
	at   int
	then func()
}

func (l *lender) SendFile(f *os.File, off, n int64) (int64, error) {
	sent, err := io.Copy(&l.Buffer, io.NewSectionReader(f, off, n))
	if l.then != nil && l.Len() >= l.at {
		l.then()
		l.then = nil
	}
	if err == nil && sent < n {
		err = io.ErrUnexpectedEOF
	}
	return sent, err
}

// sendfile(2) lends pages of the file to the kernel: after a cut nobody knows what the client gets of them, and a whole answer used to end with zeros in it.
func TestHarmWhileAFileIsSentEndsTheAnswer(t *testing.T) {
	data := cachetest.Bytes(4*mib, 3)
	for what, how := range map[string]func(r *rig, p *object.Pointer){
		"cut long after it was sent, in another segment": func(r *rig, p *object.Pointer) { c := r.place(p, 0); hurt(r.t, c.path, truncateTo(c.off+mib/2)) },
		"cut after it was sent":                          func(r *rig, p *object.Pointer) { c := r.place(p, 1); hurt(r.t, c.path, truncateTo(c.off+mib-1)) },
		"cut before it is sent":                          func(r *rig, p *object.Pointer) { c := r.place(p, 2); hurt(r.t, c.path, truncateTo(c.off+100)) },
		"erased": func(r *rig, p *object.Pointer) {
			if err := r.e.Erase(p); err != nil {
				r.t.Error(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.RAM = 0 })
			p := r.o.Publish("www", "/file", 1, data)
			r.mustGet("/file", data)
			r.idle()
			b, _, err := r.e.Locate(t.Context(), p, object.Range{Length: p.Size})
			if err != nil {
				t.Fatal(err)
			}
			at := 2 * mib
			if strings.Contains(what, "another") {
				at = 3 * mib
			}
			w := &lender{at: at, then: func() { how(r, p) }}
			if n, err := b.Copy(t.Context(), w); !errors.Is(err, errHarmed) || n == p.Size || !bytes.HasPrefix(data, w.Bytes()) {
				t.Errorf("%d bytes, %v; right: %v", n, err, bytes.HasPrefix(data, w.Bytes()))
			}
			b.Close()
			r.idle()
			r.mustGet("/file", data)
		})
	}
}

// failingFiles is a SendFiler to which every file is too short.
type failingFiles struct{ bytes.Buffer }

func (f *failingFiles) SendFile(*os.File, int64, int64) (int64, error) { return 0, io.ErrUnexpectedEOF }

// A disk whose files all fail while they are sent used to be read, and the origin asked, for ever.
func TestFilesThatAlwaysFailEndTheAnswer(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RAM = 0 })
	data := cachetest.Bytes(2*mib, 3)
	p := r.o.Publish("www", "/file", 1, data)
	r.mustGet("/file", data)
	r.idle()
	b, _, err := r.e.Locate(t.Context(), p, object.Range{Length: p.Size})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if n, err := b.Copy(t.Context(), &failingFiles{}); n != 0 || !errors.Is(err, errStuck) {
		t.Errorf("%d bytes, %v", n, err)
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
		where := r.place(p, 1)
		r.stop()
		hurt(t, where.path, flipAt(where.off+5))
		r.open()
		r.e.Confirm(r.cfg.Clock.Now())
		r.o.SetDown(errors.New("unplugged"))
		got, _, err := r.get("/file")
		if err == nil || !bytes.Equal(got, data[:mib]) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		r.o.SetDown(nil)
		r.mustGet("/file", data)
	})
}

package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"
	"testing/synctest"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// errSilent is what an origin says that did not answer in time.
var errSilent = fmt.Errorf("no answer: %w", context.DeadlineExceeded)

// What the origin sends wrong is neither stored nor served, and the same request succeeds when the origin is well again.
func TestDamagedOriginIsNeitherStoredNorServed(t *testing.T) {
	data := cachetest.Bytes(3*mib+500, 1)
	good := cachetest.Pointer("www", "/file", 1, data)
	tree := object.TreeKey(good.Blob)
	head := object.HeadKey("www", "/file")
	for _, c := range []struct {
		name   string
		key    object.Key
		fault  cachetest.Fault
		reason Reason
		served int64 // bytes that are right before the damage
	}{
		{"first chunk is another", good.Blob, cachetest.Fault{Flip: true, At: 7}, ReasonOriginBad, 0},
		{"third chunk is another", good.Blob, cachetest.Fault{Flip: true, At: 2*mib + 1}, ReasonOriginBad, 2 * mib},
		{"last byte is another", good.Blob, cachetest.Fault{Flip: true, At: good.Size - 1}, ReasonOriginBad, 3 * mib},
		{"empty body", good.Blob, cachetest.Fault{Short: true, At: 0}, ReasonOriginBad, 0},
		{"short body", good.Blob, cachetest.Fault{Short: true, At: good.Size - 1}, ReasonOriginBad, 3 * mib},
		{"body ends at a chunk", good.Blob, cachetest.Fault{Short: true, At: mib}, ReasonOriginBad, mib},
		{"body is cut each time", good.Blob, cachetest.Fault{Cut: true, At: mib + 1}, ReasonOriginDown, mib},
		{"blob is missing", good.Blob, cachetest.Fault{Err: fs.ErrNotExist}, ReasonOriginBad, 0},
		{"blob is denied", good.Blob, cachetest.Fault{Err: fs.ErrPermission}, ReasonOriginDown, 0},
		{"blob is late", good.Blob, cachetest.Fault{Err: errSilent}, ReasonOriginTimeout, 0},
		{"tree is another", tree, cachetest.Fault{Flip: true, At: 40}, ReasonOriginBad, 0},
		{"tree is short", tree, cachetest.Fault{Short: true, At: 64}, ReasonOriginBad, 0},
		{"tree is cut", tree, cachetest.Fault{Cut: true, At: 64}, ReasonOriginDown, 0},
		{"tree is missing", tree, cachetest.Fault{Err: fs.ErrNotExist}, ReasonOriginBad, 0},
		{"pointer is another", head, cachetest.Fault{Flip: true, At: 1}, ReasonOriginBad, 0},
		{"pointer is short", head, cachetest.Fault{Short: true, At: 20}, ReasonOriginBad, 0},
		{"pointer is cut", head, cachetest.Fault{Cut: true, At: 20}, ReasonOriginDown, 0},
		{"pointer is late", head, cachetest.Fault{Err: errSilent}, ReasonOriginTimeout, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.o.Publish("www", "/file", 1, data)
				r.o.Break(c.key, c.fault)
				got, o, err := r.get("/file")
				if err == nil {
					t.Fatal("no error")
				}
				if !bytes.HasPrefix(data, got) || int64(len(got)) != c.served {
					t.Errorf("%d bytes served, want the first %d", len(got), c.served)
				}
				if reason := originReason(err); reason != c.reason {
					t.Errorf("reason %s (%v), want %s", reason, err, c.reason)
				}
				if o.Hit() || c.served == 0 && (o.Stored || o.Reason != c.reason) {
					t.Errorf("outcome %q", words(o))
				}
				r.idle()
				r.o.AwaitClosed(t)
				if n, want := r.held(good), c.served/mib; n != want {
					t.Errorf("%d chunks are held, %d were right", n, want)
				}
				if s := r.e.Stats(); s.RAM.Entries != 0 {
					t.Errorf("held: %+v", s)
				}
				r.o.Heal(c.key)
				r.mustGet("/file", data)
			})
		})
	}
}

func TestForeignPointerRecord(t *testing.T) {
	data := cachetest.Bytes(10, 2)
	for name, foreign := range map[string]*object.Pointer{
		"other path": cachetest.Pointer("www", "/other", 1, data),
		"other site": cachetest.Pointer("evil", "/file", 1, data),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.o.PutBlob(data)
			r.o.Put(object.HeadKey("www", "/file"), object.MarshalPointer(foreign))
			_, o, err := r.resolve("/file")
			if err == nil || o.Reason != ReasonOriginBad {
				t.Fatalf("%v, %s", err, words(o))
			}
			if s := r.e.Stats(); s.Names != 0 || s.Absent != 0 {
				t.Errorf("remembered: %+v", s)
			}
		})
	}
	t.Run("other version", func(t *testing.T) {
		r := newRig(t, nil)
		r.o.Put(object.VersionKey("www", "/file", cachetest.Version(2)), object.MarshalPointer(cachetest.Pointer("www", "/file", 1, data)))
		if _, o, err := r.e.Resolve(t.Context(), r.site, "/file", cachetest.Version(2)); err == nil || o.Reason != ReasonOriginBad {
			t.Fatalf("%v, %s", err, words(o))
		}
	})
	t.Run("too long", func(t *testing.T) {
		r := newRig(t, nil)
		r.o.Put(object.HeadKey("www", "/file"), bytes.Repeat([]byte(" "), maxPointer+1))
		if _, o, err := r.resolve("/file"); err == nil || o.Reason != ReasonOriginBad {
			t.Fatalf("%v, %s", err, words(o))
		}
	})
}

func TestCutBodyIsResumedAtItsChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(4*mib, 3)
		p := r.o.Publish("www", "/file", 1, data)
		r.o.Break(p.Blob, cachetest.Fault{Cut: true, At: 2*mib + 1000, Times: 2})
		r.mustGet("/file", data)
		r.idle()
		if n := r.o.Reads(p.Blob); n != 3 {
			t.Errorf("%d reads, want one and two that go on", n)
		}
		// What was verified is not read again: each try costs no more than the chunk it stands in.
		if n := r.e.Stats().OriginBytes; n > p.Size+object.TreeSize(p.Size)+2*1000 {
			t.Errorf("%d bytes read for %d", n, p.Size)
		}
		if n := r.o.Reads(object.TreeKey(p.Blob)); n != 1 {
			t.Errorf("%d reads of the tree", n)
		}
		expect(t, r.mustGet("/file", data), "hit disk")
	})
}

func TestPassThroughIsResumedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.e.store.Close() // from here on it takes nothing
		data := cachetest.Bytes(4*mib, 4)
		p := r.o.Publish("www", "/file", 1, data)
		r.o.Break(p.Blob, cachetest.Fault{Cut: true, At: 2*mib + 1000, Times: 2})
		r.mustGet("/file", data)
		r.idle()
		r.o.AwaitClosed(t)
	})
}

func TestSilentPointerTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.o.Publish("www", "/file", 1, nil)
		r.o.Break(object.HeadKey("www", "/file"), cachetest.Fault{Hold: make(chan struct{})})
		began := r.cfg.Clock.Now()
		_, o, err := r.resolve("/file")
		if took := r.cfg.Clock.Now().Sub(began); took != pointerTimeout {
			t.Errorf("took %v", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || o.Reason != ReasonOriginTimeout {
			t.Fatalf("%v, %s", err, words(o))
		}
	})
}

// A pointer that says another root of a blob that is held used to be served the blob of the first one, unchecked.
func TestPointerWithAnotherRootIsNotServedTheFirstOnesBytes(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			data, forged := cachetest.Bytes(2*mib+9, 5), cachetest.Bytes(2*mib+9, 6)
			good := r.o.Publish("www", "/good", 1, data)
			lie := cachetest.Pointer("www", "/lie", 1, forged)
			r.o.PutBlob(forged)
			lie.Hash = good.Hash
			h := object.NewHasher()
			h.Write(forged)
			_, tree := h.Sum()
			r.o.Put(object.TreeKey(good.Blob), tree.Encode())
			if got, _, err := r.readAll(lie); err != nil || !bytes.Equal(got, forged) {
				t.Fatalf("%v", err)
			}
			r.idle()
			if restart {
				r.restart()
			}
			r.o.PutBlob(data) // the tree is the right one again
			for range 2 {
				if got, o, err := r.readAll(good); err != nil || !bytes.Equal(got, data) {
					t.Fatalf("%s: wrong bytes or error %v", words(o), err)
				}
				r.idle()
			}
		})
	}
}

// Two pointers that disagree about the size of a blob are two blobs.
func TestPointerWithAnotherSizeIsAnotherBlob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(2*mib+9, 7)
		good := r.o.Publish("www", "/good", 1, data)
		if _, _, err := r.readAll(good); err != nil {
			t.Fatal(err)
		}
		r.idle()
		longer := append(bytes.Clone(data), 1, 2, 3)
		lie := cachetest.Pointer("www", "/lie", 1, longer)
		lie.Hash = good.Hash
		r.o.PutBlob(longer)
		h := object.NewHasher()
		h.Write(longer)
		_, tree := h.Sum()
		r.o.Put(object.TreeKey(good.Blob), tree.Encode())
		if got, _, err := r.readAll(lie); err != nil || !bytes.Equal(got, longer) {
			t.Fatalf("%v", err)
		}
		r.idle()
		for range 2 {
			for p, want := range map[*object.Pointer][]byte{good: data, lie: longer} {
				if got, o, err := r.readAll(p); err != nil || !bytes.Equal(got, want) || !o.Hit() {
					t.Fatalf("%s, %v", words(o), err)
				}
			}
			r.restart()
		}
	})
}

func TestReadFullTellsShortFromCut(t *testing.T) {
	buf := make([]byte, 10)
	for _, c := range []struct {
		r    io.Reader
		n    int
		want error
	}{
		{bytes.NewReader(make([]byte, 10)), 10, nil},
		{bytes.NewReader(make([]byte, 11)), 10, nil},
		{bytes.NewReader(make([]byte, 9)), 9, io.EOF},
		{bytes.NewReader(nil), 0, io.EOF},
		{io.MultiReader(bytes.NewReader(make([]byte, 4)), failing{io.ErrUnexpectedEOF}), 4, io.ErrUnexpectedEOF},
	} {
		if n, err := readFull(c.r, buf); n != c.n || err != c.want {
			t.Errorf("got %d, %v; want %d, %v", n, err, c.n, c.want)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

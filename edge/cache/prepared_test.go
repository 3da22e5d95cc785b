package cache

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/edge/cache/cachetest"
	"perigee/purge"
)

// prepared returns the body of the answer kept for a path, or nil.
func (r *rig) prepared(path string) []byte {
	p, ok := r.e.Prepared(r.site, []byte(path))
	if !ok {
		return nil
	}
	defer p.Release()
	if string(p.Head()) != "head" {
		r.t.Errorf("head %q", p.Head())
	}
	return bytes.Clone(p.Body())
}

func TestPreparedIsGoodAsLongAsTheNameIs(t *testing.T) {
	data, young := cachetest.Bytes(100, 1), cachetest.Bytes(100, 2)
	for name, e := range purges() {
		for _, softness := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/soft=%v", name, softness), func(t *testing.T) {
				r := newRig(t, nil)
				r.publishTagged(1, data)
				if r.prepared("/dir/file") != nil {
					t.Fatal("there from the start")
				}
				r.mustGet("/dir/file", data)
				if !bytes.Equal(r.prepared("/dir/file"), data) {
					t.Fatal("not kept")
				}
				r.apply(purge.Entry{Kind: purge.KindURL, Path: "/other"})
				if !bytes.Equal(r.prepared("/dir/file"), data) {
					t.Fatal("a purge of another file took it")
				}
				e.Soft = softness
				r.apply(e)
				if r.prepared("/dir/file") != nil {
					t.Fatal("served though it was purged")
				}
				r.mustGet("/dir/file", data)
				if !bytes.Equal(r.prepared("/dir/file"), data) {
					t.Fatal("confirmed, and not served")
				}
				r.apply(pointerEntry(r.publishTagged(2, young)))
				if r.prepared("/dir/file") != nil {
					t.Fatal("served though there is a newer one")
				}
				r.mustGet("/dir/file", young)
				if !bytes.Equal(r.prepared("/dir/file"), young) {
					t.Fatal("the new one is not kept")
				}
				r.apply(pointerEntry(cachetest.Tombstone("www", "/dir/file", 3)))
				if r.prepared("/dir/file") != nil {
					t.Fatal("served though it was deleted")
				}
			})
		}
	}
}

// A change that kept the bytes used to be answered with the head of before.
func TestPreparedHeadGoesWithItsVersion(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(100, 1)
	r.publishTagged(1, data)
	r.mustGet("/dir/file", data)
	if r.prepared("/dir/file") == nil {
		t.Fatal("not kept")
	}
	r.apply(pointerEntry(r.publishTagged(2, data)))
	if r.prepared("/dir/file") != nil {
		t.Error("served with the head of the version before")
	}
}

func TestPreparedNeedsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(100, 1)
		r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		time.Sleep(DefaultLease - 1)
		if _, left := r.e.Lease(); left != 1 || r.prepared("/file") == nil {
			t.Errorf("within the lease: %v left", left)
		}
		time.Sleep(time.Nanosecond)
		if _, left := r.e.Lease(); left != 0 || r.prepared("/file") != nil {
			t.Errorf("beyond the lease: %v left", left)
		}
		r.e.Confirm(r.cfg.Clock.Now())
		if ago, left := r.e.Lease(); ago != 0 || left != DefaultLease || r.prepared("/file") == nil {
			t.Errorf("confirmed: %v ago, %v left", ago, left)
		}
		r.restart()
		if _, left := r.e.Lease(); left != 0 {
			t.Errorf("a lease of %v after a restart", left)
		}
	})
}

// Nobody is served the old file after Apply has returned, however the requests fall.
func TestPreparedAndPurgeAtOnce(t *testing.T) {
	r := newRig(t, nil)
	r.o.Publish("www", "/file", 1, []byte("0"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.prepared("/file")
					r.get("/file")
				}
			}
		})
	}
	for n := 2; n < 400; n++ {
		want := []byte(fmt.Sprint(n))
		r.apply(pointerEntry(r.o.Publish("www", "/file", n, want)))
		if got := r.prepared("/file"); got != nil && !bytes.Equal(got, want) {
			t.Errorf("%s after change %s", got, want)
		}
		r.mustGet("/file", want)
	}
	close(stop)
	wg.Wait()
}

func TestWhatIsNotPrepared(t *testing.T) {
	r := newRig(t, nil)
	data, big := cachetest.Bytes(100, 1), cachetest.Bytes(maxPrepared+1, 2)
	p := r.o.Publish("www", "/file", 1, data)
	huge := r.o.Publish("www", "/big", 1, big)
	unknown := cachetest.Pointer("www", "/unknown", 1, data)
	r.mustGet("/big", big)
	r.mustGet("/file", data)
	r.e.Prepare("www", []byte("/big"), "", huge, []byte("head"), big)
	r.e.Prepare("www", []byte("/part"), "", p, []byte("head"), data[:5])
	r.e.Prepare("www", []byte("/unknown"), "", unknown, []byte("head"), data)
	long := "/" + string(bytes.Repeat([]byte("x"), 600))
	r.e.Prepare("www", []byte(long), "", p, []byte("head"), data)
	for _, path := range []string{"/big", "/part", "/unknown", long} {
		if r.prepared(path) != nil {
			t.Errorf("%.20s is kept", path)
		}
	}
	// Other ways to write a path have entries of their own, which go with it.
	r.e.Prepare("www", []byte("/%66ile"), "", p, []byte("head"), data)
	if r.prepared("/%66ile") == nil {
		t.Error("not kept")
	}
	r.apply(purgeURL("/file"))
	if r.prepared("/%66ile") != nil || r.prepared("/file") != nil {
		t.Error("served though it was purged")
	}
}

func TestPreparedDoesNotAllocate(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(1000, 1)
	r.o.Publish("www", "/file", 1, data)
	r.mustGet("/file", data)
	path := []byte("/file")
	if n := testing.AllocsPerRun(1000, func() {
		p, ok := r.e.Prepared(r.site, path)
		if !ok {
			t.Fatal("not kept")
		}
		p.Release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPrepared(b *testing.B) {
	r := &rig{o: cachetest.NewOrigin(), site: cachetest.Site("www", "www.example")}
	r.cfg = benchConfig(b, r.o)
	e, err := Open(r.cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	e.Confirm(r.cfg.Clock.Now())
	data := cachetest.Bytes(1000, 1)
	p := r.o.Publish("www", "/file", 1, data)
	if _, _, err := e.Resolve(b.Context(), r.site, "/file", ""); err != nil {
		b.Fatal(err)
	}
	e.Prepare("www", []byte("/file"), "", p, []byte("head"), data)
	path := []byte("/file")
	for b.Loop() {
		v, ok := e.Prepared(r.site, path)
		if !ok {
			b.Fatal("not kept")
		}
		v.Release()
	}
}

// What is erased is in no file any more, and is fetched again if somebody asks for it.
func TestErase(t *testing.T) {
	r := newRig(t, nil)
	secret := bytes.Repeat([]byte("do not keep this "), 200_000)
	p := r.o.Publish("www", "/secret", 1, secret)
	other := cachetest.Bytes(100, 1)
	r.o.Publish("www", "/other", 1, other)
	r.mustGet("/secret", secret)
	r.mustGet("/other", other)
	r.idle()
	if n := r.filesWith("do not keep this"); n == 0 {
		t.Fatal("it was never on disk")
	}
	if err := r.e.Erase(p); err != nil {
		t.Fatal(err)
	}
	if n := r.filesWith("do not keep this") + r.filesWith("/secret"); n != 0 {
		t.Errorf("%d files have it still", n)
	}
	if n := r.held(p); n != 0 {
		t.Errorf("%d chunks are held", n)
	}
	r.restart()
	r.e.Confirm(r.cfg.Clock.Now())
	expect(t, r.mustGet("/other", other), "hit disk")
	expect(t, r.mustGet("/secret", secret), "uri-miss not-held stored")
}

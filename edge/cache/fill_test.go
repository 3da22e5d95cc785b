package cache

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

func TestConcurrentMissesMakeOneRead(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(2*mib+77, 1)
	p := r.o.Publish("www", "/file", 1, data)
	head := object.HeadKey("www", "/file")
	heads, blobs := make(chan struct{}), make(chan struct{})
	r.o.Break(head, cachetest.Fault{Hold: heads})
	r.o.Break(p.Blob, cachetest.Fault{Hold: blobs, At: mib + 10})
	const clients = 200
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for range clients {
		wg.Go(func() {
			o, err := r.check("/file", data)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[words(o)]++
		})
	}
	r.o.Await(t, head, 1)
	close(heads)
	r.o.Await(t, p.Blob, 1)
	close(blobs)
	wg.Wait()
	r.idle()
	if n := r.o.Reads(head); n != 1 {
		t.Errorf("%d reads of the pointer", n)
	}
	for _, key := range []object.Key{p.Blob, object.TreeKey(p.Blob)} {
		if n := r.o.Reads(key); n != 1 {
			t.Errorf("%d reads of %s", n, key)
		}
	}
	led := seen["uri-miss not-held stored"] + seen["miss not-held stored"]
	if led != 1 {
		t.Errorf("%d clients say that they caused the read: %v", led, seen)
	}
	if s := r.e.Stats(); s.OriginReads != 1 || s.PointerReads != 1 || s.OriginBytes != p.Size+object.TreeSize(p.Size) {
		t.Errorf("%+v", s)
	}
}

func TestFollowersReadBehindTheFill(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(3*mib+5, 2)
	p := r.o.Publish("www", "/file", 1, data)
	release := make(chan struct{})
	r.o.Break(p.Blob, cachetest.Fault{Hold: release, At: 2*mib + 100})
	leader := r.follow(t.Context(), p)
	leader.out.await(t, 2*mib)
	late := r.follow(t.Context(), p)
	late.out.await(t, 2*mib) // all that is verified, while the origin says nothing
	expect(t, words(late.o), "miss filling collapsed")
	close(release)
	for _, f := range []*reader{leader, late} {
		if err := <-f.done; err != nil || !bytes.Equal(f.out.buf.Bytes(), data) {
			t.Fatalf("wrong bytes (%d) or error %v", f.out.buf.Len(), err)
		}
	}
	if n := r.o.Reads(p.Blob); n != 1 {
		t.Errorf("%d origin reads", n)
	}
	r.idle()
}

func TestLeaderLeavesFollowersStay(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(3*mib, 3)
	p := r.o.Publish("www", "/file", 1, data)
	release := make(chan struct{})
	r.o.Break(p.Blob, cachetest.Fault{Hold: release, At: mib + 100})
	ctx, leave := context.WithCancel(t.Context())
	leader := r.follow(ctx, p)
	other := r.follow(t.Context(), p)
	leave()
	if err := <-leader.done; !errors.Is(err, context.Canceled) {
		t.Fatalf("leader: %v", err)
	}
	close(release)
	if err := <-other.done; err != nil || !bytes.Equal(other.out.buf.Bytes(), data) {
		t.Fatalf("wrong bytes or error %v", err)
	}
	r.idle()
	if n := r.o.Reads(p.Blob); n != 1 {
		t.Errorf("%d origin reads", n)
	}
	expect(t, r.mustGet("/file", data), "uri-miss blob-held")
}

func TestEverybodyLeavesAndTheFillIsKept(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(2*mib, 4)
	p := r.o.Publish("www", "/file", 1, data)
	release := make(chan struct{})
	r.o.Break(p.Blob, cachetest.Fault{Hold: release, At: 10})
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, o, err := r.e.Locate(ctx, p, object.Range{Length: p.Size})
		if o.Stored {
			t.Errorf("%q of a reader that got nothing", words(o))
		}
		done <- err
	}()
	r.o.Await(t, p.Blob, 1)
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	close(release)
	r.idle()
	expect(t, r.mustGet("/file", data), "uri-miss blob-held")
	if n := r.o.Reads(p.Blob); n != 1 {
		t.Errorf("%d origin reads", n)
	}
}

func TestPointerReaderLeaves(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(10, 5)
	r.o.Publish("www", "/file", 1, data)
	head := object.HeadKey("www", "/file")
	release := make(chan struct{})
	r.o.Break(head, cachetest.Fault{Hold: release})
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := r.e.Resolve(ctx, r.site, "/file", "")
		done <- err
	}()
	r.o.Await(t, head, 1)
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	close(release)
	r.idle()
	expect(t, r.mustGet("/file", data), "miss not-held stored")
}

// A reader keeps the place that it reads from, whatever becomes of the record: what was dropped under it is not read again.
func TestDropUnderAReader(t *testing.T) {
	for _, size := range []int64{1000, checkedRead + 1, 2*mib + 1} {
		r := newRig(t, func(c *Config) { c.RAM = 0 })
		data := cachetest.Bytes(size, 6)
		p := r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		r.idle()
		b, o, err := r.e.Locate(t.Context(), p, object.Range{Length: size})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, words(o), "hit disk")
		key := idOf(p).key(0)
		ref, _ := r.e.store.Find(key)
		r.e.store.Drop(key, ref)
		var out bytes.Buffer
		if _, err := b.Copy(t.Context(), &out); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("%d bytes: wrong bytes or error %v", size, err)
		}
		b.Close()
		if n := r.o.Reads(p.Blob); n != 1 {
			t.Errorf("%d bytes: %d origin reads: a dropped record is as good as before for who has it open", size, n)
		}
		if s := r.e.Stats(); s.Healed != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestManyObjectsInASmallCache(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = MinSize; c.RAM = 1 << 20 })
	var files [12][]byte
	for i := range files {
		files[i] = cachetest.Bytes(int64(i)*700_000+1, uint64(i))
		r.o.Publish("www", object.Path("/"+string(rune('a'+i))), 1, files[i])
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 30 {
				k := (i*7 + w*5) % len(files)
				if _, err := r.check(object.Path("/"+string(rune('a'+k))), files[k]); err != nil {
					t.Errorf("file %d: %v", k, err)
				}
				r.checkBounds()
			}
		})
	}
	wg.Wait()
	r.idle()
	r.o.AwaitClosed(t)
	r.checkBounds()
}

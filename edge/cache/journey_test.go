package cache

import (
	"bytes"
	"fmt"
	"io/fs"
	"testing"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// sizes are the blobs at which chunks, tiers and trees change.
var sizes = []int64{0, 1, 4096, maxPrepared - 1, maxPrepared, maxPrepared + 1, mib - 1, mib, mib + 1, 2 * mib, 3*mib + 12345}

func TestMissIsStoredThenHit(t *testing.T) {
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRig(t, nil)
			data := cachetest.Bytes(size, 1)
			p := r.o.Publish("www", "/file", 1, data)
			first, warm, cold := "uri-miss not-held stored", "hit disk", "hit disk"
			if size <= maxPrepared {
				warm = "hit ram"
			}
			if size == 0 {
				first, cold = "uri-miss blob-held", "hit ram"
			}
			expect(t, r.mustGet("/file", data), first)
			r.idle()
			expect(t, r.mustGet("/file", data), warm)
			r.restart()
			r.e.Confirm(r.cfg.Clock.Now())
			r.o.SetDown(fs.ErrPermission) // nothing of what follows needs the origin
			expect(t, r.mustGet("/file", data), cold)
			if warm == "hit ram" {
				expect(t, r.mustGet("/file", data), "hit ram")
			}
			reads := r.o.Reads(p.Blob)
			if want := min(1, int(size)); reads != want {
				t.Errorf("%d reads of the blob, want %d", reads, want)
			}
			if n := r.o.Reads(object.HeadKey("www", "/file")); n != 1 {
				t.Errorf("%d reads of the pointer", n)
			}
		})
	}
}

func TestRanges(t *testing.T) {
	size := int64(3*mib + 12345)
	data := cachetest.Bytes(size, 2)
	ranges := []object.Range{
		{Start: 0, Length: 1}, {Start: size - 1, Length: 1}, {Start: mib - 1, Length: 2}, {Start: mib, Length: mib},
		{Start: mib - 1, Length: mib + 2}, {Start: 5, Length: size - 5}, {Start: 2*mib - 3, Length: 6}, {Start: 3 * mib, Length: 12345},
	}
	state := map[string]func(r *rig, p *object.Pointer){
		"absent": func(*rig, *object.Pointer) {},
		"stored": func(r *rig, p *object.Pointer) { r.readAll(p); r.idle() },
		"restarted": func(r *rig, p *object.Pointer) {
			r.readAll(p)
			r.idle()
			r.restart()
		},
	}
	for name, prepare := range state {
		for _, rng := range ranges {
			t.Run(fmt.Sprintf("%s/%d+%d", name, rng.Start, rng.Length), func(t *testing.T) {
				r := newRig(t, nil)
				p := r.o.Publish("www", "/file", 1, data)
				prepare(r, p)
				got, _, err := r.read(p, rng)
				if err != nil || !bytes.Equal(got, data[rng.Start:rng.Start+rng.Length]) {
					t.Fatalf("wrong bytes (%d) or error %v", len(got), err)
				}
			})
		}
	}
}

// Any range fetches the chunks that it lies in, and what is held is not fetched again.
func TestRangesFetchWhatIsMissing(t *testing.T) {
	size := int64(9*mib + 5)
	data := cachetest.Bytes(size, 3)
	r := newRig(t, nil)
	p := r.o.Publish("www", "/big", 1, data)
	before := int64(0)
	for _, c := range []struct {
		rng    object.Range
		want   string
		chunks int64
	}{
		{object.Range{Start: 5 * mib, Length: 10}, "miss not-held stored", 1},
		{object.Range{Start: 5*mib + 77, Length: mib - 77}, "hit disk", 1},
		{object.Range{Start: size - 5, Length: 5}, "miss not-held stored", 2},
		{object.Range{Start: 5*mib - 1, Length: 2}, "partial partly-held stored", 3},
		{object.Range{Start: 5*mib + 1, Length: 2 * mib}, "partial partly-held stored", 5},
		{object.Range{Start: 4 * mib, Length: 4 * mib}, "hit disk", 5},
		{object.Range{Start: 0, Length: size}, "partial partly-held stored", 10},
		{object.Range{Start: 0, Length: size}, "hit disk", 10},
	} {
		got, o, err := r.read(p, c.rng)
		if err != nil || !bytes.Equal(got, data[c.rng.Start:c.rng.Start+c.rng.Length]) {
			t.Fatalf("%v: wrong bytes or error %v", c.rng, err)
		}
		expect(t, words(o), c.want)
		r.idle()
		if n := r.held(p); n != c.chunks {
			t.Errorf("%v: %d chunks are held, want %d", c.rng, n, c.chunks)
		}
	}
	read := r.e.Stats().OriginBytes - before
	if want := size + object.TreeSize(size); read != want {
		t.Errorf("%d bytes read from the origin for %d", read, want)
	}
}

// A range far from what a fill does is not held up by it.
func TestFarRangeDuringFillDoesNotWait(t *testing.T) {
	size := int64(30 * mib)
	data := cachetest.Bytes(size, 4)
	r := newRig(t, nil)
	p := r.o.Publish("www", "/big", 1, data)
	release := make(chan struct{})
	r.o.Break(p.Blob, cachetest.Fault{Hold: release, At: mib + 5, Times: 1})
	leader := r.follow(t.Context(), p)
	rng := object.Range{Start: size - 100, Length: 100}
	got, _, err := r.read(p, rng) // would hang if it waited for the fill
	if err != nil || !bytes.Equal(got, data[rng.Start:]) {
		t.Fatalf("wrong bytes or error %v", err)
	}
	close(release)
	if err := <-leader.done; err != nil || !bytes.Equal(leader.out.buf.Bytes(), data) {
		t.Fatalf("wrong bytes or error %v", err)
	}
	r.idle()
	if n := r.e.Stats().OriginBytes; n > size+object.TreeSize(size)+2*mib {
		t.Errorf("%d bytes read for %d", n, size)
	}
}

// A seek in a file of 100 GB costs what it reads: one chunk and the nodes of the tree above it.
func TestSeekInAHugeFile(t *testing.T) {
	r := newRig(t, nil)
	o := newHuge(100 << 30)
	r.stop()
	r.cfg.Origin = o
	r.open()
	for _, at := range []int64{0, 99<<30 + 12345, 50 << 30, 100<<30 - 7} {
		rng := object.Range{Start: at, Length: min(100, o.p.Size-at)}
		before := r.e.Stats().OriginBytes
		got, out, err := r.read(o.p, rng)
		if err != nil || !bytes.Equal(got, o.bytes(rng.Start, rng.Length)) {
			t.Fatalf("at %d: wrong bytes or error %v (%s)", at, err, words(out))
		}
		r.idle()
		if n := r.e.Stats().OriginBytes - before; n > mib+3*object.TreeFanout*32 {
			t.Errorf("at %d: %d bytes read from the origin for %d", at, n, rng.Length)
		}
		if _, out, err := r.read(o.p, rng); err != nil || !out.Hit() {
			t.Errorf("at %d, again: %s, %v", at, words(out), err)
		}
	}
}

// What does not fit goes through, and what does is held.
func TestLargerThanCacheGoesThrough(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = MinSize })
	small, big := cachetest.Bytes(1000, 5), cachetest.Bytes(50*mib, 6)
	r.o.Publish("www", "/small", 1, small)
	p := r.o.Publish("www", "/big", 1, big)
	r.mustGet("/small", small)
	r.idle()
	for range 2 {
		if _, err := r.check("/big", big); err != nil {
			t.Fatal(err)
		}
		r.checkBounds()
	}
	if n := r.held(p); n == 0 {
		t.Error("nothing of it is held")
	}
	expect(t, r.mustGet("/small", small), "hit ram")
}

func TestTwoPathsShareABlob(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(2*mib, 7)
	r.o.Publish("www", "/one", 1, data)
	r.o.Publish("www", "/two", 1, data)
	r.mustGet("/one", data)
	r.idle()
	expect(t, r.mustGet("/two", data), "uri-miss blob-held")
}

func TestVersionNames(t *testing.T) {
	r := newRig(t, nil)
	old, young := cachetest.Bytes(100, 8), cachetest.Bytes(100, 9)
	r.o.Publish("www", "/file", 1, old)
	r.o.Publish("www", "/file", 2, young)
	for n, want := range map[int][]byte{1: old, 2: young} {
		p, _, err := r.e.Resolve(t.Context(), r.site, "/file", cachetest.Version(n))
		if err != nil || p.Hash != object.HashOf(want) {
			t.Fatalf("version %d: %v, %v", n, p, err)
		}
	}
	_, o, err := r.e.Resolve(t.Context(), r.site, "/file", cachetest.Version(3))
	if err == nil {
		t.Fatal("found a version that does not exist")
	}
	expect(t, words(o), "uri-miss absent")
	r.mustGet("/file", young)
}

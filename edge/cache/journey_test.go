package cache

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// sizes are the blobs at which chunks, tiers and trees change.
var sizes = []int64{0, 1, 4096, maxRAMBlob - 1, maxRAMBlob, maxRAMBlob + 1, mib - 1, mib, mib + 1, 2 * mib, 3*mib + 12345}

func TestMissIsStoredThenHit(t *testing.T) {
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRig(t, nil)
			data := cachetest.Bytes(size, 1)
			p := r.o.Publish("www", "/file", 1, data)
			first, warm, cold := "uri-miss not-held stored", "hit disk", "hit disk"
			if size <= maxRAMBlob {
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
			if open := openFiles(t, r.cfg.Dir+"/blobs"); open != 0 {
				t.Errorf("%d files left open", open)
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

func TestFarRangeStartsNoFill(t *testing.T) {
	size := int64(farRange + 3*mib)
	data := cachetest.Bytes(size, 3)
	r := newRig(t, nil)
	p := r.o.Publish("www", "/big", 1, data)
	for _, rng := range []object.Range{{Start: farRange + 1, Length: 10}, {Start: size - 5, Length: 5}, {Start: farRange + mib - 1, Length: mib}} {
		got, o, err := r.read(p, rng)
		if err != nil || !bytes.Equal(got, data[rng.Start:rng.Start+rng.Length]) {
			t.Fatalf("%v: wrong bytes or error %v", rng, err)
		}
		expect(t, words(o), "partial far-range")
	}
	r.idle()
	if files := r.stored(); len(files) != 0 {
		t.Errorf("a far range was stored: %v", files)
	}
	// A range within reach of a fill that has just begun is served behind it.
	got, o, err := r.read(p, object.Range{Start: farRange, Length: 3})
	if err != nil || !bytes.Equal(got, data[farRange:farRange+3]) {
		t.Fatalf("wrong bytes or error %v", err)
	}
	expect(t, words(o), "miss not-held stored")
}

func TestFarRangeDuringFillDoesNotWait(t *testing.T) {
	size := int64(farRange + 4*mib)
	data := cachetest.Bytes(size, 4)
	r := newRig(t, nil)
	p := r.o.Publish("www", "/big", 1, data)
	release := make(chan struct{})
	r.o.Break(p.Blob, cachetest.Fault{Hold: release, At: mib + 5, Times: 1})
	leader := r.follow(t.Context(), p)
	rng := object.Range{Start: size - 100, Length: 100}
	got, o, err := r.read(p, rng) // would hang if it waited for the fill
	if err != nil || !bytes.Equal(got, data[rng.Start:]) {
		t.Fatalf("wrong bytes or error %v", err)
	}
	expect(t, words(o), "partial far-range")
	close(release)
	if err := <-leader.done; err != nil {
		t.Fatal(err)
	}
	r.idle()
}

func TestLargerThanCachePassesThrough(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = 2 * mib })
	small, big := cachetest.Bytes(1000, 5), cachetest.Bytes(3*mib, 6)
	r.o.Publish("www", "/small", 1, small)
	r.o.Publish("www", "/big", 1, big)
	r.mustGet("/small", small)
	r.idle()
	expect(t, r.mustGet("/big", big), "uri-miss larger-than-cache")
	expect(t, r.mustGet("/big", big), "bypass larger-than-cache")
	r.idle()
	if files := r.stored(); len(files) != 1 {
		t.Errorf("files %v; want the small one alone", files)
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

func TestScanRemovesWhatIsNoBlob(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(2*mib, 10)
	p := r.o.Publish("www", "/file", 1, data)
	r.mustGet("/file", data)
	r.idle()
	r.stop()
	dir := r.cfg.Dir + "/blobs/" + p.Hash.String()[:2] + "/"
	for name, size := range map[string]int64{
		"README": 3, p.Hash.String(): 3, p.Hash.String() + "-5": 4, p.Hash.String() + "-05": 5, p.Hash.String() + "--5": 5,
		object.HashOf(nil).String() + "-99999999999999999999": 1,
	} {
		if err := os.WriteFile(dir+name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(r.cfg.Dir+"/tmp/left-over", make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	r.open()
	if files := r.stored(); len(files) != 1 || files[0] != r.blobFile(p) {
		t.Errorf("left: %v", files)
	}
	expect(t, r.mustGet("/file", data), "stale lease-renewed")
}

package cache

import (
	"bytes"
	"testing"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// near asks for what is at hand; nil says that the long way has to be gone.
func (r *rig) near(path object.Path) []byte {
	n, ok := r.e.Near(r.site, path)
	if !ok {
		return nil
	}
	defer n.Release()
	return bytes.Clone(n.Body)
}

func TestNearIsWhatResolveAndLocateSay(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Names = 16 })
	var first *object.Pointer
	for i, size := range []int64{1, 1000, 16 << 10, maxNear, maxNear + 1, 0} {
		path := object.Path([]string{"/a", "/b", "/c", "/d", "/e", "/f"}[i])
		data := cachetest.Bytes(size, uint64(i))
		p := r.o.Publish("www", path, 1, data)
		if first == nil {
			first = p
		}
		if r.near(path) != nil {
			t.Fatalf("%s: near before it was ever fetched", path)
		}
		r.mustGet(path, data)
		r.idle()
		want := data
		if size == 0 || size > maxNear {
			want = nil
		}
		if got := r.near(path); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d", path, len(got), len(want))
		}
	}
	data := cachetest.Bytes(1, 0)
	r.stop()
	r.open()
	if r.near("/a") != nil {
		t.Error("near without a lease")
	}
	r.e.Confirm(r.cfg.Clock.Now())
	if !bytes.Equal(r.near("/a"), data) { // the name comes from the disk
		t.Error("not near after a restart")
	}
	r.apply(purgeURL("/a"))
	if r.near("/a") != nil {
		t.Error("near after a purge")
	}
	r.mustGet("/a", data)
	if !bytes.Equal(r.near("/a"), data) {
		t.Error("not near after it was confirmed")
	}
	r.e.mu.Lock()
	if r.near("/a") != nil {
		t.Error("near while a lock is held")
	}
	r.e.mu.Unlock()
	where := r.place(first, 0)
	hurt(t, where.path, flipAt(where.off))
	if r.near("/a") != nil {
		t.Error("damaged bytes are near")
	}
}

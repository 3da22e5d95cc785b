package contract

import (
	"bytes"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"perigee/origin"
)

const useless = "Perigee cannot use this store."

var objectChecks = []Check{
	{"put and get", Vital, "Nothing can be stored. " + useless, putGet},
	{"empty object", Vital, "Empty files cannot be published. " + useless, emptyObject},
	{"ranges", Vital, "Edges fetch files chunk by chunk. " + useless, ranges},
	{"missing object", Vital, "An outage would pass for files that are gone, or the other way round. " + useless, missing},
	{"delete", Vital, "What is removed stays, or removing it again fails. " + useless, remove},
	{"bytes come with their own ETag", Vital, "A pointer could be replaced on the strength of another one's ETag. " + useless, ownETags},
}

func putGet(t *trial) {
	for _, size := range []int{1, 1023, 64 << 10, 1<<20 + 1, 9 << 20} {
		body := blob("put", size)
		key := t.key(fmt.Sprint(size))
		etag, err := t.writer.Put(t.ctx, key, body, origin.PutOptions{ContentType: "text/plain"})
		t.ok(err)
		t.holds(key, body)
		info, err := t.reader.Head(t.ctx, key)
		t.ok(err)
		if info.ETag != etag || info.Size != int64(size) || info.Key != key {
			t.failf("HEAD says %+v, PUT said ETag %s", info, etag)
		}
	}
	key := t.key("again")
	t.put(key, []byte("one"))
	t.put(key, []byte("three"))
	t.holds(key, []byte("three"))
}

func emptyObject(t *trial) {
	key := t.key("empty")
	t.put(key, nil)
	t.holds(key, nil)
	_, _, err := t.get(t.ctx, key, origin.GetOptions{Length: 1})
	t.is(err, origin.ErrRange)
}

func ranges(t *trial) {
	key, body := t.key("r"), blob("ranges", 10000)
	etag := t.put(key, body)
	for _, c := range []struct{ offset, length, first, end int64 }{
		{0, 1, 0, 1},
		{0, 10000, 0, 10000},
		{0, 20000, 0, 10000},
		{0, -1, 0, 10000},
		{5, 0, 5, 10000},
		{5, -1, 5, 10000},
		{9999, 1, 9999, 10000},
		{9999, 10, 9999, 10000},
		{4096, 4096, 4096, 8192},
	} {
		for _, match := range []string{"", etag} {
			got, info, err := t.get(t.ctx, key, origin.GetOptions{Offset: c.offset, Length: c.length, IfMatch: match})
			t.ok(err)
			if !bytes.Equal(got, body[c.first:c.end]) || info.Size != 10000 {
				t.failf("%d bytes at %d: got %d bytes of an object of %d", c.length, c.offset, len(got), info.Size)
			}
		}
	}
	for _, offset := range []int64{10000, 10001} {
		_, _, err := t.get(t.ctx, key, origin.GetOptions{Offset: offset})
		t.is(err, origin.ErrRange)
	}
}

func missing(t *trial) {
	key := t.key("none")
	_, _, err := t.get(t.ctx, key, origin.GetOptions{})
	t.is(err, fs.ErrNotExist)
	_, _, err = t.get(t.ctx, key, origin.GetOptions{Offset: 3, Length: 4})
	t.is(err, fs.ErrNotExist)
	t.absent(key)
	t.put(t.key("none/below"), []byte("x"))
	t.absent(key)
}

func remove(t *trial) {
	one, two := t.key("x/y/one"), t.key("x/y/two")
	t.put(one, []byte("1"))
	t.put(two, []byte("2"))
	for range 2 { // the second time it is not there
		t.ok(t.writer.Delete(t.ctx, one))
	}
	_, _, err := t.get(t.ctx, one, origin.GetOptions{})
	t.is(err, fs.ErrNotExist)
	t.holds(two, []byte("2"))
	t.ok(t.writer.Delete(t.ctx, two))
	t.put(two, []byte("again"))
	t.holds(two, []byte("again"))
}

// ownETags makes sure that a get that is overtaken by puts never sends the ETag of one object with the bytes of another.
func ownETags(t *trial) {
	key := t.key("busy")
	var mu sync.Mutex
	etags := map[string]string{} // by content
	var failed []error
	put := func(body string) {
		etag, err := t.writer.Put(t.ctx, key, []byte(body), origin.PutOptions{})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = append(failed, err)
		}
		etags[body] = etag
	}
	put("start")
	type seen struct{ body, etag string }
	var all []seen
	var writers, readers sync.WaitGroup
	var stop atomic.Bool
	for w := range 2 {
		writers.Go(func() {
			for i := range 60 {
				put(fmt.Sprintf("%d %d %s", w, i, bytes.Repeat([]byte("x"), i)))
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			for !stop.Load() {
				got, info, err := t.get(t.ctx, key, origin.GetOptions{})
				mu.Lock()
				if err != nil {
					failed = append(failed, err)
					mu.Unlock()
					return
				}
				all = append(all, seen{string(got), info.ETag})
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	for _, err := range failed {
		t.ok(err)
	}
	for _, s := range all {
		if etags[s.body] != s.etag {
			t.failf("%.10q came with the ETag %s, its own is %s", s.body, s.etag, etags[s.body])
		}
	}
}

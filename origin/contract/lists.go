package contract

import (
	"context"
	"errors"
	"fmt"

	"perigee/object"
	"perigee/origin"
)

var listChecks = []Check{
	{"list in pages", Vital, "Sites are found by listing, and so is what nobody refers to any more. " + useless, listPages},
	{"list sees what was written", Vital, "Sites that were just made would be taken for removed. " + useless, listFresh},
	{"list that is cancelled", Vital, "A list that was cut off would pass for a whole one. " + useless, cancelledList},
}

func listPages(t *trial) {
	const n = 1050 // a page has 1,000
	t.all(n, func(i int) error {
		_, err := t.writer.Put(t.ctx, t.key(fmt.Sprintf("l/%02d/%04d", i%20, i)), []byte{byte(i)}, origin.PutOptions{})
		return err
	})
	t.put(t.key("k/before"), []byte("x"))
	t.put(t.key("m/after"), []byte("x"))
	prefix := string(t.key("l/"))
	count, last := 0, object.Key("")
	for info, err := range t.reader.List(t.ctx, prefix) {
		t.ok(err)
		if info.Key <= last || info.Size != 1 || info.ETag == "" || info.Modified.IsZero() {
			t.failf("%+v is listed after %s", info, last)
		}
		count, last = count+1, info.Key
	}
	if count != n {
		t.failf("%d of %d objects are listed", count, n)
	}
	for range t.reader.List(t.ctx, prefix) {
		break // stopping early must not hang or leak
	}
	for info, err := range t.reader.List(t.ctx, string(t.key("none/"))) {
		t.ok(err)
		t.failf("%s is listed where nothing was written", info.Key)
	}
}

// listFresh demands that a list shows an object whose put was acknowledged before, and none whose removal was.
func listFresh(t *trial) {
	listed := func(key object.Key) bool {
		for info, err := range t.reader.List(t.ctx, string(key)) {
			t.ok(err)
			return info.Key == key
		}
		return false
	}
	for i := range 10 {
		key := t.key(fmt.Sprint("x", i))
		t.put(key, []byte("x"))
		if !listed(key) {
			t.failf("an object is not listed after it was stored")
		}
		t.ok(t.writer.Delete(t.ctx, key))
		if listed(key) {
			t.failf("an object is listed after it was removed")
		}
	}
}

// cancelledList makes sure that a list that was cut off does not look complete.
func cancelledList(t *trial) {
	t.put(t.key("1"), []byte("1"))
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	var last error
	for _, err := range t.reader.List(ctx, t.dir) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.failf("a list that was cancelled ended with: %v", last)
	}
}

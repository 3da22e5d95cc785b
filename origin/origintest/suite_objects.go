package origintest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"

	"perigee/object"
	"perigee/origin"
)

func putGet(t *testing.T, b *bucket) {
	for _, size := range []int{1, 1023, 64 << 10, 1<<20 + 1, 9 << 20} {
		body := blob("put", size)
		key := object.BlobKey(object.HashOf(body))
		etag, err := b.w.Put(b.ctx, key, body, origin.PutOptions{ContentType: "text/plain"})
		if err != nil {
			t.Fatal(err)
		}
		b.holds(key, body)
		info, err := b.r.Head(b.ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		if info.ETag != etag || info.Size != int64(size) || info.Key != key {
			t.Fatalf("head is %+v, put said %s", info, etag)
		}
	}
	b.put("p/again", []byte("one"))
	b.put("p/again", []byte("three"))
	b.holds("p/again", []byte("three"))
}

func empty(_ *testing.T, b *bucket) {
	b.put("b/empty", nil)
	b.holds("b/empty", nil)
	_, _, err := b.get("b/empty", origin.GetOptions{Length: 1})
	is(b.t, err, origin.ErrRange)
}

func ranges(t *testing.T, b *bucket) {
	body := blob("ranges", 10000)
	b.put("b/r", body)
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
		got, info, err := b.get("b/r", origin.GetOptions{Offset: c.offset, Length: c.length})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, body[c.first:c.end]) || info.Size != 10000 {
			t.Fatalf("%d bytes at %d: got %d bytes of an object of %d", c.length, c.offset, len(got), info.Size)
		}
	}
	for _, offset := range []int64{10000, 10001} {
		_, _, err := b.get("b/r", origin.GetOptions{Offset: offset})
		is(t, err, origin.ErrRange)
	}
}

func missing(t *testing.T, b *bucket) {
	_, _, err := b.get("b/none", origin.GetOptions{})
	is(t, err, fs.ErrNotExist)
	_, _, err = b.get("b/none", origin.GetOptions{Offset: 3, Length: 4})
	is(t, err, fs.ErrNotExist)
	_, err = b.r.Head(b.ctx, "b/none")
	is(t, err, fs.ErrNotExist)
	b.put("b/none/below", []byte("x"))
	_, err = b.r.Head(b.ctx, "b/none")
	is(t, err, fs.ErrNotExist)
}

func conditionalPut(t *testing.T, b *bucket) {
	create := origin.PutOptions{IfNoneMatch: true}
	_, err := b.w.Put(b.ctx, "p/c", []byte("zero"), origin.PutOptions{IfMatch: "0123456789abcdef0123456789abcdef"})
	is(t, err, origin.ErrPrecondition)
	one, err := b.w.Put(b.ctx, "p/c", []byte("one"), create)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.w.Put(b.ctx, "p/c", []byte("other"), create)
	is(t, err, origin.ErrPrecondition)
	b.holds("p/c", []byte("one"))
	two, err := b.w.Put(b.ctx, "p/c", []byte("two"), origin.PutOptions{IfMatch: one})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.w.Put(b.ctx, "p/c", []byte("three"), origin.PutOptions{IfMatch: one})
	is(t, err, origin.ErrPrecondition)
	b.holds("p/c", []byte("two"))
	if info, err := b.r.Head(b.ctx, "p/c"); err != nil || info.ETag != two {
		t.Fatalf("head says %s, put said %s (%v)", info.ETag, two, err)
	}
	if _, err := b.w.Put(b.ctx, "p/c", nil, origin.PutOptions{IfMatch: two, IfNoneMatch: true}); err == nil {
		t.Fatal("two conditions that exclude each other were accepted")
	}
}

// conditionalLarge finds stores that answer 412 before they read the body and then break the connection.
func conditionalLarge(t *testing.T, b *bucket) {
	b.put("b/large", []byte("first"))
	for i, size := range []int{300 << 10, 1 << 20, 4 << 20, 8 << 20} {
		_, err := b.w.Put(b.ctx, "b/large", blob(fmt.Sprint(i), size), origin.PutOptions{IfNoneMatch: true})
		is(t, err, origin.ErrPrecondition)
	}
	b.holds("b/large", []byte("first"))
}

func race(t *testing.T, b *bucket) {
	const racers = 16
	etag := ""
	for round := range 5 { // the first creates, the others replace
		o := origin.PutOptions{IfMatch: etag, IfNoneMatch: etag == ""}
		etags, errs := make([]string, racers), make([]error, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				etags[i], errs[i] = b.w.Put(b.ctx, "p/race", blob(fmt.Sprint(round, i), 2000), o)
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: both %d and %d won", round, winner, i)
			case err == nil:
				winner = i
			default:
				is(t, err, origin.ErrPrecondition)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		b.holds("p/race", blob(fmt.Sprint(round, winner), 2000))
		etag = etags[winner]
	}
}

func conditionalGet(t *testing.T, b *bucket) {
	one := b.put("p/g", []byte("one"))
	_, _, err := b.get("p/g", origin.GetOptions{IfNoneMatch: one})
	is(t, err, origin.ErrNotModified)
	if _, _, err := b.get("p/g", origin.GetOptions{IfMatch: one}); err != nil {
		t.Fatal(err)
	}
	b.put("p/g", []byte("two"))
	_, _, err = b.get("p/g", origin.GetOptions{IfMatch: one})
	is(t, err, origin.ErrPrecondition)
	got, info, err := b.get("p/g", origin.GetOptions{IfNoneMatch: one})
	if err != nil || string(got) != "two" || info.ETag == one {
		t.Fatalf("got %q with ETag %s, %v", got, info.ETag, err)
	}
	got, _, err = b.get("p/g", origin.GetOptions{IfMatch: info.ETag, Offset: 1, Length: 1})
	if err != nil || string(got) != "w" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func remove(t *testing.T, b *bucket) {
	b.put("d/x/y/one", []byte("1"))
	b.put("d/x/y/two", []byte("2"))
	for range 2 { // the second time it is not there
		if err := b.w.Delete(b.ctx, "d/x/y/one"); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := b.get("d/x/y/one", origin.GetOptions{})
	is(t, err, fs.ErrNotExist)
	b.holds("d/x/y/two", []byte("2"))
	if err := b.w.Delete(b.ctx, "d/x/y/two"); err != nil {
		t.Fatal(err)
	}
	b.put("d/x/y/two", []byte("again"))
	b.holds("d/x/y/two", []byte("again"))
}

// awkwardKeys are none that Perigee makes; those of sites that other tools write may look so.
func awkwardKeys(t *testing.T, b *bucket) {
	for _, key := range []object.Key{"a b/c+d", "ü/日本語.txt", "q?x=1&y=2#z", "per%cent%2Fslash", "~tilde'quote\"", "=eq,comma;semi:colon@at!"} {
		b.put(key, []byte(key))
		b.holds(key, []byte(key))
		found := 0
		for info, err := range b.r.List(b.ctx, string(key)) {
			if err != nil {
				t.Fatal(err)
			}
			if info.Key == key {
				found++
			}
		}
		if found != 1 {
			t.Fatalf("%q is listed %d times", key, found)
		}
	}
}

func listPages(t *testing.T, b *bucket) {
	const n = 1050 // a page has 1,000
	var wg sync.WaitGroup
	work := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range work {
				key := object.Key(fmt.Sprintf("l/%02d/%04d", i%20, i))
				if _, err := b.w.Put(b.ctx, key, []byte{byte(i)}, origin.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	b.put("k/before", []byte("x"))
	b.put("m/after", []byte("x"))
	count, last := 0, object.Key("")
	for info, err := range b.r.List(b.ctx, "l/") {
		if err != nil {
			t.Fatal(err)
		}
		if info.Key <= last || info.Size != 1 || info.ETag == "" {
			t.Fatalf("%+v listed after %s", info, last)
		}
		count, last = count+1, info.Key
	}
	if count != n {
		t.Fatalf("listed %d of %d", count, n)
	}
	for range b.r.List(b.ctx, "l/") {
		break // stopping early must not hang or leak
	}
	for info, err := range b.r.List(b.ctx, "none/") {
		t.Fatalf("listed %v, %v of nothing", info, err)
	}
}

// cancelledList makes sure that a list that was cut off does not look complete.
func cancelledList(t *testing.T, b *bucket) {
	b.put("l/1", []byte("1"))
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	var last error
	for _, err := range b.r.List(ctx, "l/") {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Fatalf("a cancelled list ended with %v", last)
	}
}

// ownETags makes sure that a get that is overtaken by puts never sends the ETag of one object with the bytes of another.
func ownETags(t *testing.T, b *bucket) {
	const key object.Key = "p/busy"
	var mu sync.Mutex
	etags := map[string]string{} // by content
	put := func(body string) {
		etag, err := b.w.Put(b.ctx, key, []byte(body), origin.PutOptions{})
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		etags[body] = etag
	}
	put("start")
	type seen struct{ body, etag string }
	var all []seen
	var writers, readers sync.WaitGroup
	var stop atomic.Bool
	for w := range 2 {
		writers.Go(func() {
			for i := range 80 {
				put(fmt.Sprintf("%d %d %s", w, i, bytes.Repeat([]byte("x"), i)))
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			for !stop.Load() {
				got, info, err := b.get(key, origin.GetOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				all = append(all, seen{string(got), info.ETag})
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	for _, s := range all {
		if etags[s.body] != s.etag {
			t.Fatalf("%.10q came with the ETag %s, its own is %s", s.body, s.etag, etags[s.body])
		}
	}
}

package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

var headFile = object.HeadKey("www", "/file")

func TestLeaseGoodNeedsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(100, 1)
		r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		r.o.SetDown(errUnplugged)
		for range 100 {
			time.Sleep(DefaultLease - time.Second)
			r.e.Confirm(r.cfg.Clock.Now())
			expect(t, r.mustGet("/file", data), "hit ram")
		}
		if left := r.e.LeaseLeft(); left != DefaultLease {
			t.Errorf("%v left", left)
		}
		r.e.Confirm(r.cfg.Clock.Now().Add(-time.Second)) // an answer that was overtaken shortens nothing
		if left := r.e.LeaseLeft(); left != DefaultLease {
			t.Errorf("%v left", left)
		}
	})
}

// Beyond the lease each name is asked for once per lease, and not all at once.
func TestLeaseExpiredRevalidatesOncePerLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(100, 2)
		const files, leases = 40, 10
		for i := range files {
			r.o.Publish("www", object.Path(fmt.Sprintf("/%d", i)), 1, data)
		}
		hits, asked := map[string]int{}, map[time.Duration]int{}
		began := r.cfg.Clock.Now()
		for now := time.Duration(0); now < DefaultLease*(leases+1); now += time.Second {
			for i := range files {
				said := r.mustGet(object.Path(fmt.Sprintf("/%d", i)), data)
				hits[said]++
				if said == "stale lease-renewed" {
					asked[now/(3*time.Second)]++
				}
			}
			time.Sleep(time.Second)
		}
		if took := r.cfg.Clock.Now().Sub(began); took != DefaultLease*(leases+1) {
			t.Fatal(took)
		}
		// With its end in the last fifth, a lease lasts 24 to 30 s, counted in whole seconds here.
		if n := hits["stale lease-renewed"]; n < files*leases || n > files*(leases+1)*30/24 {
			t.Errorf("%d revalidations of %d files in %d leases: %v", n, files, leases, hits)
		}
		if len(hits) > 4 {
			t.Errorf("outcomes %v", hits)
		}
		for at, n := range asked {
			if at > 11 && n > files*3/4 {
				t.Errorf("%d of %d files asked for within 3 s at %v: no jitter", n, files, 3*time.Second*at)
			}
		}
	})
}

func TestLeaseExpiredCollapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(100, 3)
		r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		r.idle()
		time.Sleep(2 * DefaultLease)
		release := make(chan struct{})
		r.o.Break(headFile, cachetest.Fault{Hold: release, At: 5})
		said := make(chan string)
		for range 50 {
			go func() {
				o, err := r.check("/file", data)
				if err != nil {
					t.Error(err)
				}
				said <- words(o)
			}()
		}
		synctest.Wait()
		close(release)
		seen := map[string]int{}
		for range 50 {
			seen[<-said]++
		}
		if seen["stale lease-renewed"] != 1 || seen["stale lease-renewed collapsed"] != 49 || r.o.Reads(headFile) != 2 {
			t.Errorf("%v, %d reads", seen, r.o.Reads(headFile))
		}
	})
}

func TestCutOffFromLogAndBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(100, 4)
		r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		if _, _, err := r.get("/absent"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		r.idle()
		time.Sleep(2 * DefaultLease)
		r.o.SetDown(errUnplugged)
		for range 10 {
			expect(t, r.mustGet("/file", data), "hit lease-expired stale")
			if _, o, err := r.get("/absent"); !errors.Is(err, fs.ErrNotExist) || !o.Stale {
				t.Errorf("%s, %v", words(o), err)
			}
		}
		if n := r.e.Stats().PointerReads; n != 3 {
			t.Errorf("%d reads of pointers: a bucket that failed is left alone for %v", n, bucketPause)
		}
		time.Sleep(bucketPause)
		r.mustGet("/file", data)
		r.idle()
		if n := r.e.Stats().PointerReads; n != 4 {
			t.Errorf("%d reads of pointers", n)
		}

		r.site.Rules.OnPartition = object.Refuse
		for range 3 {
			if _, o, err := r.get("/file"); !errors.Is(err, ErrRefused) || words(o) != "hit partition-refused" {
				t.Fatalf("%s, %v", words(o), err)
			}
			r.idle()
			time.Sleep(bucketPause)
		}
		r.o.SetDown(nil)
		if _, _, err := r.get("/file"); !errors.Is(err, ErrRefused) { // nobody waits for a bucket that failed
			t.Fatal(err)
		}
		r.idle()
		r.o.SetDown(errUnplugged)
		expect(t, r.mustGet("/file", data), "hit ram") // the bucket has confirmed it
		r.e.Confirm(r.cfg.Clock.Now())
		expect(t, r.mustGet("/file", data), "hit ram")
	})
}

// A bucket that says nothing at all used to cost every request for a stale name the whole timeout, again and again.
func TestSilentBucketDelaysOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(100, 4)
		never := make(chan struct{})
		paths := []object.Path{"/a", "/b", "/c"}
		for _, p := range paths {
			r.o.Publish("www", p, 1, data)
			r.mustGet(p, data)
			r.o.Break(object.HeadKey("www", p), cachetest.Fault{Hold: never})
		}
		r.idle()
		time.Sleep(2 * DefaultLease)
		began := time.Now()
		for range 100 {
			for _, p := range paths {
				expect(t, r.mustGet(p, data), "hit lease-expired stale")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began) - 10*time.Second; took != pointerTimeout {
			t.Errorf("300 requests were delayed by %v together", took)
		}
		if n := r.e.Stats().PointerReads; n > 3+1+12 {
			t.Errorf("%d reads of pointers in 15 s", n-3)
		}
		for _, p := range paths {
			r.o.Heal(object.HeadKey("www", p))
		}
		time.Sleep(bucketPause + pointerTimeout) // reads that hang end
		for _, p := range paths {
			r.mustGet(p, data)
		}
		r.idle()
		for _, p := range paths { // the bucket is trusted again
			if said := r.mustGet(p, data); said != "stale lease-renewed" && said != "hit ram" {
				t.Errorf("%s: %s", p, said)
			}
		}
	})
}

func TestConfigDecidesForSitesThatDoNotSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.OnPartition = object.Refuse })
		data := cachetest.Bytes(100, 4)
		r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		time.Sleep(2 * DefaultLease)
		r.o.SetDown(errUnplugged)
		if _, _, err := r.get("/file"); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
		r.site.Rules.OnPartition = object.Serve
		expect(t, r.mustGet("/file", data), "hit lease-expired stale")
	})
}

// A site that refuses unconfirmed answers used to get them once the name was purged softly, or the log was reset.
func TestSoftPurgeDoesNotOverruleRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.site.Rules.OnPartition = object.Refuse
		data := cachetest.Bytes(100, 5)
		r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		r.apply(softly(purgeURL("/file")))
		r.o.SetDown(errUnplugged)
		expect(t, r.mustGet("/file", data), "hit purged stale") // the log is there: soft means may be served
		time.Sleep(2 * DefaultLease)
		if _, _, err := r.get("/file"); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	})
}

func TestLeaseIsExpiredAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(100, 6)
		r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		r.idle()
		r.restart()
		if left := r.e.LeaseLeft(); left != 0 {
			t.Fatalf("%v left", left)
		}
		r.o.SetDown(errUnplugged)
		expect(t, r.mustGet("/file", data), "hit lease-expired stale")
		time.Sleep(time.Minute)
		if ago, left := r.e.Vouched(r.site, "/file", ""); ago != time.Minute || left != 0 {
			t.Errorf("vouched for %v ago, %v left: nobody has since the start a minute ago", ago, left)
		}
		r.e.Confirm(r.cfg.Clock.Now())
		expect(t, r.mustGet("/file", data), "hit disk")
		if ago, left := r.e.Vouched(r.site, "/file", ""); ago != 0 || left != DefaultLease {
			t.Errorf("vouched for %v ago, %v left", ago, left)
		}
	})
}

// While a node catches up with the log, an entry says what was true once. It used to count as a confirmation.
func TestCatchingUpIsNoConfirmation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.restart()
		v1, v2 := cachetest.Bytes(100, 7), cachetest.Bytes(100, 8)
		p := r.o.Publish("www", "/file", 1, v1)
		r.o.Publish("www", "/file", 2, v2)
		r.apply(pointerEntry(p)) // and here the log breaks off, before the entry of version 2
		expect(t, r.mustGet("/file", v2), "stale not-held stored")
	})
}

// A confirmation counts from when the bucket was asked: its answer may have been on the way for a while.
func TestConfirmationCountsFromTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.restart()
		r.o.Publish("www", "/file", 1, nil)
		release := make(chan struct{})
		r.o.Break(headFile, cachetest.Fault{Hold: release, At: 30})
		time.AfterFunc(4*time.Second, func() { close(release) })
		if _, _, err := r.resolve("/file"); err != nil {
			t.Fatal(err)
		}
		if ago, _ := r.e.Vouched(r.site, "/file", ""); ago != 4*time.Second {
			t.Errorf("vouched for %v ago", ago)
		}
	})
}

// One damaged record used to keep every other name from being revalidated, as long as somebody asked for it.
func TestDamagedRecordDoesNotPauseTheBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		old, young := cachetest.Bytes(100, 9), cachetest.Bytes(100, 10)
		r.o.Publish("www", "/file", 1, old)
		r.o.Put(object.HeadKey("www", "/damaged"), []byte("{"))
		r.mustGet("/file", old)
		r.o.Publish("www", "/file", 2, young)
		r.apply(softly(purgeURL("/file")))
		if _, o, _ := r.get("/damaged"); o.Reason != ReasonOriginBad {
			t.Fatal(words(o))
		}
		r.mustGet("/file", young)
	})
}

func TestResetRevalidatesEverything(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			data := cachetest.Bytes(100, 11)
			for _, p := range []object.Path{"/a", "/b", "/hard"} {
				r.o.Publish("www", p, 1, data)
				r.mustGet(p, data)
			}
			if _, _, err := r.get("/absent"); !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			r.apply(purge.Entry{Kind: purge.KindPrefix, Prefix: "/nothing/"})
			if err := r.e.Reset(purge.At("one", purge.Mark{Stream: "new"}), purge.ErrGap); err != nil {
				t.Fatal(err)
			}
			if restart {
				r.restart()
			}
			r.e.Confirm(r.cfg.Clock.Now())
			if m, _ := r.e.Position().Mark("one"); m.Stream != "new" || m.Seq != 0 {
				t.Errorf("position %+v", m)
			}
			expect(t, r.mustGet("/a", data), "stale purged")
			r.o.SetDown(errUnplugged)
			expect(t, r.mustGet("/b", data), "hit purged stale") // soft: nobody purged it by name
			if _, o, err := r.get("/absent"); restart != (err != nil && !errors.Is(err, fs.ErrNotExist)) {
				t.Errorf("%s, %v", words(o), err)
			}
		})
	}
}

// A reset of the log used to turn hard purges by prefix, tag and site into soft ones.
func TestResetKeepsHardPurges(t *testing.T) {
	data := cachetest.Bytes(100, 12)
	for name, e := range purges() {
		for _, restart := range []bool{false, true} {
			r := newRig(t, nil)
			r.publishTagged(1, data)
			r.mustGet("/dir/file", data)
			r.apply(e)
			if err := r.e.Reset(at(0), purge.ErrGap); err != nil {
				t.Fatal(err)
			}
			if restart {
				r.restart()
			}
			r.e.Confirm(r.cfg.Clock.Now())
			r.o.SetDown(errUnplugged)
			if _, o, err := r.get("/dir/file"); err == nil {
				t.Errorf("%s, restart=%v: served after a hard purge: %s", name, restart, words(o))
			}
		}
	}
}

func TestResetOvertakesFetch(t *testing.T) {
	r := newRig(t, nil)
	old, young := cachetest.Bytes(100, 13), cachetest.Bytes(100, 14)
	r.o.Publish("www", "/file", 1, old)
	release := make(chan struct{})
	r.o.Break(headFile, cachetest.Fault{Hold: release, Times: 1})
	early := make(chan error, 1)
	go func() { _, err := r.check("/file", old); early <- err }()
	r.o.Await(t, headFile, 1)
	r.o.Publish("www", "/file", 2, young)
	if err := r.e.Reset(at(0), purge.ErrGap); err != nil {
		t.Fatal(err)
	}
	r.mustGet("/file", young)
	close(release)
	<-early
	r.idle()
	r.mustGet("/file", young)
}

// The record of a version never changes, so it needs no lease. That there is none may change at any time.
func TestVersionsAndTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		v1, v2 := cachetest.Version(1), cachetest.Version(2)
		r.o.Publish("www", "/file", 1, nil)
		get := func(v object.Version, want string) {
			t.Helper()
			_, o, _ := r.e.Resolve(t.Context(), r.site, "/file", v)
			expect(t, words(o), want)
		}
		get(v1, "uri-miss not-held")
		get(v2, "uri-miss absent")
		time.Sleep(2 * DefaultLease)
		get(v1, "hit blob-held")
		r.o.Publish("www", "/file", 2, nil) // and the log cannot tell of it
		get(v2, "stale lease-renewed")
		// A version that was erased is gone after a purge of what it belongs to.
		r.o.Delete(object.VersionKey("www", "/file", v1))
		r.apply(purge.Entry{Kind: purge.KindPrefix, Prefix: "/"})
		get(v1, "stale absent")
	})
}

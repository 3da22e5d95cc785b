package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

var errUnplugged = errors.New("unplugged")

const tag = object.Tag("news")

// purges are the ways to purge /dir/file, which carries tag.
func purges() map[string]purge.Entry {
	return map[string]purge.Entry{
		"url":         purgeURL("/dir/file"),
		"prefix":      {Kind: purge.KindPrefix, Prefix: "/dir/"},
		"root prefix": {Kind: purge.KindPrefix, Prefix: "/"},
		"tag":         {Kind: purge.KindTag, Tag: tag},
		"site":        {Kind: purge.KindSite},
	}
}

// misses are purges of something else.
func misses() map[string]purge.Entry {
	return map[string]purge.Entry{
		"other url":        purgeURL("/dir/file2"),
		"other prefix":     {Kind: purge.KindPrefix, Prefix: "/di/"},
		"prefix like file": {Kind: purge.KindPrefix, Prefix: "/dir/file/"},
		"other tag":        {Kind: purge.KindTag, Tag: "new"},
	}
}

// publishTagged makes data change n of /dir/file.
func (r *rig) publishTagged(n int, data []byte) *object.Pointer {
	p := cachetest.Pointer("www", "/dir/file", n, data)
	p.Tags = []object.Tag{"first", tag}
	r.o.PutBlob(data)
	r.o.PutPointer(p)
	return p
}

func TestPurgesCoverWhatTheyName(t *testing.T) {
	data := cachetest.Bytes(100, 1)
	for name, e := range purges() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			p := r.publishTagged(1, data)
			r.mustGet("/dir/file", data)
			if _, _, err := r.e.Resolve(t.Context(), r.site, "/dir/file", p.Version); err != nil {
				t.Fatal(err)
			}
			r.apply(e)
			expect(t, r.mustGet("/dir/file", data), "stale purged")
			expect(t, r.mustGet("/dir/file", data), "hit ram") // once is enough
			if n := r.o.Reads(object.HeadKey("www", "/dir/file")); n != 2 {
				t.Errorf("%d reads of the pointer", n)
			}
		})
	}
	for name, e := range misses() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.publishTagged(1, data)
			r.mustGet("/dir/file", data)
			r.apply(e)
			expect(t, r.mustGet("/dir/file", data), "hit ram")
			r.restart()
			r.e.Confirm(r.cfg.Clock.Now())
			expect(t, r.mustGet("/dir/file", data), "hit disk")
		})
	}
}

func TestPurgesOfAnotherSite(t *testing.T) {
	data := cachetest.Bytes(100, 1)
	for name, e := range purges() {
		r := newRig(t, nil)
		r.publishTagged(1, data)
		r.mustGet("/dir/file", data)
		e.Format, e.ID, e.Site = 1, "x", "other"
		if err := r.e.Apply(purge.Record{Entry: e, Position: at(1)}); err != nil {
			t.Fatal(err)
		}
		if got := r.mustGet("/dir/file", data); got != "hit ram" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestSoftAndHardWithoutBucket(t *testing.T) {
	data := cachetest.Bytes(100, 2)
	for name, e := range purges() {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restart=%v", name, restart), func(t *testing.T) {
				r := newRig(t, nil)
				r.publishTagged(1, data)
				again := func() {
					if restart {
						r.restart()
						r.e.Confirm(r.cfg.Clock.Now())
					}
				}
				r.mustGet("/dir/file", data)
				r.apply(softly(e))
				again()
				r.o.SetDown(errUnplugged)
				held := "ram"
				if restart {
					held = "disk"
				}
				expect(t, r.mustGet("/dir/file", data), "hit purged stale")
				if got := r.e.Explain("www", "/dir/file").Blob; got != held {
					t.Errorf("held in %s, want %s", got, held)
				}
				r.apply(e)
				again()
				if _, o, err := r.get("/dir/file"); err == nil || words(o) != "stale origin-unreachable" {
					t.Fatalf("a hard purge with no bucket: %s, %v", words(o), err)
				}
				r.apply(softly(e)) // a soft purge later does not undo the hard one
				again()
				if _, _, err := r.get("/dir/file"); err == nil {
					t.Fatal("served after a hard purge")
				}
				r.o.SetDown(nil)
				r.mustGet("/dir/file", data)
			})
		}
	}
}

// (1) A fetch asks the bucket; (2) a purge comes; (3) the bucket's old answer arrives.
func TestPurgeOvertakesFetch(t *testing.T) {
	old, young := cachetest.Bytes(100, 3), cachetest.Bytes(100, 4)
	head := object.HeadKey("www", "/dir/file")
	for name, e := range purges() {
		for _, known := range []bool{false, true} {
			for _, absent := range []bool{false, true} {
				if name == "tag" && known && absent {
					continue // what is known not to be there has no tags
				}
				t.Run(fmt.Sprintf("%s/known=%v/absent=%v", name, known, absent), func(t *testing.T) {
					r := newRig(t, nil)
					if !absent {
						r.publishTagged(1, old)
					}
					if known {
						r.get("/dir/file")
						r.apply(e)
					}
					asked := r.o.Reads(head)
					release := make(chan struct{})
					if absent {
						r.o.Break(head, cachetest.Fault{Hold: release, Err: fs.ErrNotExist, Times: 1})
					} else {
						r.o.Break(head, cachetest.Fault{Hold: release, At: 20, Times: 1})
					}
					early := make(chan error, 1)
					go func() {
						_, err := r.check("/dir/file", old)
						early <- err
					}()
					r.o.Await(t, head, asked+1)
					r.publishTagged(2, young) // by hand: the log does not tell of it
					r.apply(e)
					// The purge is effective here: whoever asks from now on must not get the answer from before it.
					r.mustGet("/dir/file", young)
					close(release)
					if err := <-early; err != nil && !absent {
						t.Logf("the early reader: %v", err)
					}
					r.idle()
					r.mustGet("/dir/file", young)
					r.restart()
					r.e.Confirm(r.cfg.Clock.Now())
					r.mustGet("/dir/file", young)
				})
			}
		}
	}
}

// The same race, but nobody asks between the purge and the late answer: that must not stick.
func TestLateAnswerDoesNotStick(t *testing.T) {
	old, young := cachetest.Bytes(100, 3), cachetest.Bytes(100, 4)
	head := object.HeadKey("www", "/dir/file")
	for name, e := range purges() {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restart=%v", name, restart), func(t *testing.T) {
				r := newRig(t, nil)
				r.publishTagged(1, old)
				release := make(chan struct{})
				r.o.Break(head, cachetest.Fault{Hold: release, Times: 1})
				early := make(chan error, 1)
				go func() {
					_, err := r.check("/dir/file", old)
					early <- err
				}()
				r.o.Await(t, head, 1)
				r.publishTagged(2, young)
				r.apply(e)
				close(release)
				if err := <-early; err != nil { // who asked before the purge is served what there was
					t.Errorf("the early reader: %v", err)
				}
				r.idle()
				if restart {
					r.restart()
					r.e.Confirm(r.cfg.Clock.Now())
				}
				r.mustGet("/dir/file", young)
			})
		}
	}
}

func TestOverwriteOvertakesFetch(t *testing.T) {
	for _, names := range []int{0, 1} { // with room for one name the log's pointer is forgotten at once
		t.Run(fmt.Sprintf("names=%d", names), func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Names = names })
			old, young := cachetest.Bytes(100, 5), cachetest.Bytes(100, 6)
			head := object.HeadKey("www", "/dir/file")
			r.publishTagged(1, old)
			release := make(chan struct{})
			r.o.Break(head, cachetest.Fault{Hold: release, Times: 1})
			early := make(chan error, 1)
			go func() {
				_, err := r.check("/dir/file", old)
				early <- err
			}()
			r.o.Await(t, head, 1)
			p := r.publishTagged(2, young)
			r.apply(pointerEntry(p))
			r.apply(pointerEntry(cachetest.Pointer("www", "/another", 1, old)))
			r.mustGet("/dir/file", young)
			r.apply(pointerEntry(cachetest.Pointer("www", "/another", 2, old)))
			close(release)
			<-early // old or young: it asked before
			r.idle()
			r.mustGet("/dir/file", young)
		})
	}
}

func TestVersionFloor(t *testing.T) {
	old, young := cachetest.Bytes(100, 7), cachetest.Bytes(100, 8)
	head := object.HeadKey("www", "/dir/file")
	for name, lag := range map[string]func(r *rig){
		"older pointer": func(r *rig) { r.o.Put(head, object.MarshalPointer(cachetest.Pointer("www", "/dir/file", 1, old))) },
		"404":           func(r *rig) { r.o.Delete(head) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			p := r.publishTagged(2, young)
			r.apply(pointerEntry(p))
			lag(r)
			for _, e := range purges() {
				r.apply(e)
				r.mustGet("/dir/file", young)
			}
			r.restart() // the lease is expired: the bucket is asked, and lags
			r.mustGet("/dir/file", young)
		})
	}
	t.Run("older entry", func(t *testing.T) {
		r := newRig(t, nil)
		r.publishTagged(2, young)
		r.mustGet("/dir/file", young) // the bucket is ahead of the log
		r.apply(pointerEntry(cachetest.Pointer("www", "/dir/file", 1, old)))
		r.mustGet("/dir/file", young)
	})
	t.Run("tombstone", func(t *testing.T) {
		r := newRig(t, nil)
		r.publishTagged(1, old)
		r.mustGet("/dir/file", old)
		r.apply(pointerEntry(cachetest.Tombstone("www", "/dir/file", 2)))
		r.apply(purgeURL("/dir/file"))
		for range 2 { // the bucket still has version 1
			_, o, err := r.get("/dir/file")
			if !errors.Is(err, fs.ErrNotExist) || o.Reason != ReasonDeleted {
				t.Fatalf("%s, %v", words(o), err)
			}
		}
	})
}

func TestAbsentNamesAreRememberedUntilTheLogNamesThem(t *testing.T) {
	data := cachetest.Bytes(100, 9)
	head := object.HeadKey("www", "/dir/file")
	missing := func(r *rig, want string) {
		r.t.Helper()
		_, o, err := r.get("/dir/file")
		if !errors.Is(err, fs.ErrNotExist) {
			r.t.Fatal(err)
		}
		expect(r.t, words(o), want)
	}
	r := newRig(t, nil)
	missing(r, "uri-miss absent")
	missing(r, "hit absent")
	missing(r, "hit absent")
	if n := r.o.Reads(head); n != 1 {
		t.Fatalf("%d reads", n)
	}
	p := r.publishTagged(1, data)
	missing(r, "hit absent")
	r.apply(pointerEntry(p))
	expect(t, r.mustGet("/dir/file", data), "miss not-held stored")
	if s := r.e.Stats(); s.Absent != 0 || s.Names != 1 {
		t.Errorf("%+v", s)
	}
	for name, e := range purges() {
		r := newRig(t, nil)
		missing(r, "uri-miss absent")
		r.publishTagged(1, data)
		r.apply(e)
		if name == "tag" {
			continue // what is not there has no tags
		}
		if got := r.mustGet("/dir/file", data); got != "stale purged stored" && got != "stale not-held stored" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A version that was asked for before it was published used to be absent for ever.
func TestVersionAskedForTooEarly(t *testing.T) {
	r := newRig(t, nil)
	v := cachetest.Version(1)
	if _, _, err := r.e.Resolve(t.Context(), r.site, "/dir/file", v); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	p := r.publishTagged(1, nil)
	r.apply(pointerEntry(p))
	if _, o, err := r.e.Resolve(t.Context(), r.site, "/dir/file", v); err != nil {
		t.Fatalf("%s: %v", words(o), err)
	}
}

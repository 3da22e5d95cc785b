package cache

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// An outcome never says that the origin was not asked when it was, or that something was stored or collapsed that was not.
func TestOutcomeAnd(t *testing.T) {
	hit := Outcome{Reason: ReasonBlobHeld}
	led := Outcome{Fwd: FwdURIMiss, Reason: ReasonNotHeld}
	joined := Outcome{Fwd: FwdURIMiss, Reason: ReasonNotHeld, Collapsed: true}
	renewed := Outcome{Fwd: FwdStale, Reason: ReasonLeaseRenewed}
	stale := Outcome{Reason: ReasonLeaseExpired, Stale: true}
	ram := Outcome{Reason: ReasonRAM}
	fill := Outcome{Fwd: FwdMiss, Reason: ReasonNotHeld, Stored: true}
	follow := Outcome{Fwd: FwdMiss, Reason: ReasonFilling, Collapsed: true}
	part := Outcome{Fwd: FwdPartial, Reason: ReasonPartlyHeld, Stored: true}
	for _, c := range []struct {
		name, body Outcome
		want       string
	}{
		{hit, ram, "hit ram"},
		{hit, fill, "miss not-held stored"},
		{hit, follow, "miss filling collapsed"},
		{hit, part, "partial partly-held stored"},
		{led, ram, "uri-miss blob-held"},
		{led, fill, "uri-miss not-held stored"},
		{led, follow, "uri-miss filling collapsed"},
		{led, part, "uri-miss partly-held stored"},
		{joined, ram, "uri-miss blob-held collapsed"},
		{joined, fill, "uri-miss not-held stored"}, // it caused the read of the bytes itself
		{joined, follow, "uri-miss filling collapsed"},
		{renewed, ram, "stale lease-renewed"},
		{renewed, fill, "stale not-held stored"},
		{stale, ram, "hit lease-expired stale"},
		{stale, fill, "miss lease-expired stored stale"}, // the warning must not get lost
	} {
		if got := words(c.name.And(c.body)); got != c.want {
			t.Errorf("%q and %q: %q, want %q", words(c.name), words(c.body), got, c.want)
		}
	}
}

func TestOriginReason(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Reason
	}{
		{errCorrupt, ReasonOriginBad}, {fs.ErrNotExist, ReasonOriginBad}, {errSilent, ReasonOriginTimeout},
		{timeoutError{}, ReasonOriginTimeout}, {errUnplugged, ReasonOriginDown},
	} {
		if got := originReason(errors.Join(errors.New("context"), c.err)); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestExplainSaysWhatTheNextRequestIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(maxPrepared+1, 1)
		explain := func(want string) {
			t.Helper()
			reads := r.e.Stats().PointerReads
			x := r.e.Explain("www", "/file")
			if got := x.Outcome + " " + string(x.Reason) + " " + x.Blob; got != want {
				t.Errorf("explained as %q, want %q", got, want)
			}
			if r.e.Stats().PointerReads != reads {
				t.Error("explaining asked the bucket")
			}
		}
		explain("uri-miss not-held absent")
		if _, _, err := r.get("/file"); err == nil {
			t.Fatal("found")
		}
		explain("hit absent absent")
		p := r.o.Publish("www", "/file", 1, data)
		r.apply(pointerEntry(p))
		explain("miss not-held absent")
		release := make(chan struct{})
		r.o.Break(p.Blob, cachetest.Fault{Hold: release})
		done := make(chan string)
		go func() { done <- r.mustGet("/file", data) }()
		r.o.Await(t, p.Blob, 1)
		explain("miss filling filling")
		close(release)
		expect(t, <-done, "miss not-held stored")
		r.idle()
		explain("hit disk disk")
		r.apply(softly(purgeURL("/file")))
		explain("stale purged disk")
		r.mustGet("/file", data)
		time.Sleep(2 * DefaultLease)
		explain("stale lease-expired disk")
		if x := r.e.Explain("www", "/file"); x.Lease != 0 || x.Pointer.Version != p.Version {
			t.Errorf("%+v", x)
		}
		r.apply(pointerEntry(cachetest.Tombstone("www", "/file", 2)))
		r.e.Confirm(r.cfg.Clock.Now())
		explain("hit deleted absent")
	})
}

func TestHeld(t *testing.T) {
	r := newRig(t, nil)
	small, empty := cachetest.Bytes(10, 1), cachetest.Bytes(0, 1)
	p := r.o.Publish("www", "/small", 1, small)
	expect(t, words(r.e.Held(p)), "miss not-held")
	expect(t, words(r.e.Held(r.o.Publish("www", "/empty", 1, empty))), "hit ram")
	r.mustGet("/small", small)
	r.idle()
	expect(t, words(r.e.Held(p)), "hit ram")
	r.restart()
	expect(t, words(r.e.Held(p)), "hit disk")
	if n := r.o.Reads(p.Blob); n != 1 {
		t.Errorf("%d origin reads", n)
	}
}

func TestEmptyFileWithAnotherHash(t *testing.T) {
	r := newRig(t, nil)
	p := cachetest.Pointer("www", "/file", 1, []byte("x"))
	p.Size = 0
	if _, o, err := r.e.Locate(t.Context(), p, object.Range{}); err == nil || o.Reason != ReasonOriginBad {
		t.Errorf("%s, %v", words(o), err)
	}
}

// A size near the largest number used to be counted as one chunk, and who wanted more of it waited for ever.
func TestAbsurdSizeIsRefused(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(mib, 1)
	p := r.o.Publish("www", "/file", 1, data)
	p.Size = 1<<63 - 1
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, o, err := r.e.Locate(ctx, p, object.Range{Length: 2 * mib})
	if err == nil {
		_, err = b.Copy(ctx, io.Discard)
		b.Close()
	}
	if o.Reason != ReasonOriginBad || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s, %v", words(o), err)
	}
}

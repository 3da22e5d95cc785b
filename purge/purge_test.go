package purge_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/purge"
)

func at(stream string, seq uint64) purge.Position {
	return purge.At("home", purge.Mark{Stream: stream, Seq: seq, Hash: object.HashOf([]byte{byte(seq)})})
}

func TestPositionCovers(t *testing.T) {
	two := at("s", 5).With("west", purge.Mark{Stream: "w", Seq: 9})
	f := func(p, q purge.Position, want bool) {
		t.Helper()
		if got := p.Covers(q); got != want {
			t.Errorf("%v covers %v: %v", p, q, got)
		}
	}
	f(at("s", 5), at("s", 5), true)
	f(at("s", 6), at("s", 5), true)
	f(at("s", 4), at("s", 5), false)
	f(at("other", 9), at("s", 5), false)
	f(purge.Position{}, at("s", 0), false)
	f(at("s", 1), purge.Position{}, true)
	f(two, at("s", 5), true)
	f(at("s", 5), two, false)
}

func TestPositionRoundTrip(t *testing.T) {
	for _, p := range []purge.Position{{}, at("s", 1), at("s", 1<<63).With("west", purge.Mark{Stream: "w"})} {
		q, err := purge.ParsePosition(p.String())
		if err != nil || !q.Covers(p) || !p.Covers(q) || q.String() != p.String() {
			t.Errorf("%q: %v, %v", p.String(), q, err)
		}
	}
	for _, s := range []string{"x", "p1.", "p1.!!", "p1.e30", "p0.W10", "p1.W10"} {
		if _, err := purge.ParsePosition(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestTrackerProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := purge.NewTracker(clock.System, 2)
		tr.Applied("fra", at("s", 6)) // overtook Appended
		tr.Appended("a", at("s", 6), time.Now())
		nodes := []string{"fra", "nyc"}
		if p := tr.Proof("a", at("s", 6), nodes); !p[0].Applied || p[1].Applied || purge.Effective(p) {
			t.Fatalf("%+v", p)
		}
		time.Sleep(31 * time.Millisecond)
		changed := tr.Changed()
		tr.Applied("nyc", at("s", 6))
		<-changed
		p := tr.Proof("a", at("s", 6), nodes)
		if !purge.Effective(p) || p[1].After != 31*time.Millisecond {
			t.Fatalf("%+v", p)
		}
		tr.Appended("b", at("s", 7), time.Now())
		if purge.Effective(tr.Proof("b", at("s", 7), nodes)) {
			t.Fatal("effective before anybody applied it")
		}
		tr.Applied("fra", at("new", 9)) // a new stream says nothing of the old one
		if purge.Effective(tr.Proof("b", at("s", 7), nodes)) {
			t.Fatal("a position in another stream proves nothing")
		}
		if purge.Effective(tr.Proof("b", at("s", 7), nil)) {
			t.Fatal("no nodes, no proof")
		}
	})
}

func TestEntryValidate(t *testing.T) {
	ok := purge.Entry{Format: 1, ID: "1", Kind: purge.KindURL, Site: "www", Path: "/a"}
	if _, err := purge.DecodeEntry(ok.Encode()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*purge.Entry){
		"format":  func(e *purge.Entry) { e.Format = 2 },
		"id":      func(e *purge.Entry) { e.ID = "" },
		"kind":    func(e *purge.Entry) { e.Kind = "new-idea" },
		"site":    func(e *purge.Entry) { e.Site = "A" },
		"path":    func(e *purge.Entry) { e.Path = "/../x" },
		"pointer": func(e *purge.Entry) { e.Kind = purge.KindPointer },
		"tag":     func(e *purge.Entry) { e.Kind, e.Tag = purge.KindTag, "a b" },
		"prefix":  func(e *purge.Entry) { e.Kind, e.Prefix = purge.KindPrefix, "/a//b/" },
		"rules":   func(e *purge.Entry) { e.Kind = purge.KindRules },
		"erase":   func(e *purge.Entry) { e.Kind = purge.KindErase },
		"erased version": func(e *purge.Entry) {
			e.Kind, e.Versions = purge.KindErase, []object.Version{"x"}
		},
		"erased content": func(e *purge.Entry) {
			e.Kind, e.Versions, e.Contents = purge.KindErase, []object.Version{object.NextVersion(time.Unix(1, 0), 0, "")}, []purge.Content{{Blob: "p/x"}}
		},
		"too much erased": func(e *purge.Entry) {
			e.Kind, e.Versions = purge.KindErase, slices.Repeat([]object.Version{object.NextVersion(time.Unix(1, 0), 0, "")}, purge.MaxErased+1)
		},
	} {
		e := ok
		change(&e)
		if e.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	e := purge.Entry{Format: 1, ID: "1", Kind: purge.KindURL, Site: "www", Path: "/a"}
	f.Add(e.Encode())
	h, v := object.HashOf([]byte("x")), object.NextVersion(time.Unix(1, 0), 0, "")
	e.Kind, e.Versions = purge.KindErase, []object.Version{v}
	e.Contents = []purge.Content{{Blob: object.BlobKey(h), Hash: h, Root: h, Size: 1}}
	f.Add(e.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := purge.DecodeEntry(b); err == nil {
			e.Encode()
		}
	})
}

func FuzzParsePosition(f *testing.F) {
	f.Add(at("s", 1).String())
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := purge.ParsePosition(s); err == nil {
			if q, err := purge.ParsePosition(p.String()); err != nil || q.String() != p.String() {
				t.Fatalf("%q does not round-trip", s)
			}
		}
	})
}

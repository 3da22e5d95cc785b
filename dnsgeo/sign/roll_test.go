package sign

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func generate(t testing.TB, zone string) *KeySet {
	t.Helper()
	s, err := Generate(zone, 0, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatesOfARollover(t *testing.T) {
	s := generate(t, "Perigee.Test")
	first := s.Keys[0]
	must := func(next *KeySet, err error) *KeySet {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if next.Serial != s.Serial+1 {
			t.Errorf("serial %d after %d", next.Serial, s.Serial)
		}
		s = next
		return next
	}
	refused := func(_ *KeySet, err error) func(string) {
		return func(want string) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
	at := epoch
	if n := len(s.CDS(at)) + len(s.CDNSKEY(at)) + len(s.WantDS(at)); n != 0 {
		t.Error("a DS is asked for while caches have unsigned answers")
	}
	at = s.DSAfter(first)
	if len(s.CDS(at)) != 1 || len(s.CDNSKEY(at)) != 1 || at != epoch.Add(DefaultMaxTTL+Spread) {
		t.Error("no DS is asked for after that", at)
	}
	refused(s.SeeDS(at, time.Hour))("no rollover is under way")
	refused(s.Retire(first.Tag, at))("roll puts another one in its place")
	refused(s.Retire(first.Tag+1, at))("list shows the keys")
	refused(s.LoseDS(at, time.Hour))("begin with withdraw")
	refused(s.Roll(at.Add(-time.Second)))("begin the rollover after that")

	must(s.Roll(at))
	second := s.Keys[1]
	if second.State(at) != Published || len(s.DNSKEY(at)) != 2 || len(s.CDS(at)) != 2 || s.active(at).Tag != first.Tag {
		t.Errorf("%+v", s)
	}
	refused(s.Roll(at))("--ds-seen")
	refused(s.Withdraw(at))("retire it first")
	must(s.Retire(second.Tag, at))
	if len(s.DNSKEY(at)) != 1 {
		t.Error("the successor was not taken back")
	}
	must(s.Roll(at))
	at = at.Add(10 * time.Minute)
	must(s.SeeDS(at, 24*time.Hour))
	refused(s.SeeDS(at, time.Hour))("said before")
	refused(s.Roll(at))("takes over on")
	second = s.Keys[1]
	takeover := second.Active
	if takeover.Before(at.Add(25*time.Hour)) || !s.Keys[0].Retired.Equal(takeover) {
		t.Errorf("takes over at %v", takeover)
	}
	refused(s.Retire(second.Tag, takeover.Add(-time.Minute)))("too soon")
	if s.active(takeover.Add(-1)).Tag != first.Tag || s.active(takeover).Tag != second.Tag || len(s.CDS(takeover)) != 1 || len(s.DNSKEY(takeover)) != 2 {
		t.Error("the new key does not take over")
	}
	refused(s.Retire(first.Tag, takeover))("leaves by itself")
	gone := s.Keys[0].Removed
	if len(s.DNSKEY(gone)) != 1 || len(s.DNSKEY(gone.Add(-1))) != 2 {
		t.Error("the old key does not leave")
	}
	must(s.Retire(first.Tag, gone))
	if len(s.Keys) != 1 {
		t.Error("the old private key is kept")
	}

	must(s.Withdraw(gone))
	if c := s.CDS(gone); len(c) != 1 || !strings.HasSuffix(c[0].String(), "CDS\t0 0 0 00") {
		t.Error(c)
	}
	if c := s.CDNSKEY(gone); len(c) != 1 || !strings.HasSuffix(c[0].String(), "CDNSKEY\t0 3 0 AA==") {
		t.Error(c)
	}
	refused(s.Withdraw(gone))("--ds-gone")
	refused(s.Roll(gone))("withdrawn")
	must(s.LoseDS(gone, time.Hour))
	refused(s.LoseDS(gone, time.Hour))("said before")
	if s.active(gone.Add(time.Hour)) == nil || s.active(gone.Add(3*time.Hour)) != nil || len(s.CDS(gone.Add(3*time.Hour))) != 0 {
		t.Error("the zone does not become unsigned")
	}
	refused(s.Roll(gone.Add(100 * time.Hour)))("make a key with generate")
}

// history is what a zone and its parent publish over time.
type history struct {
	sets []*KeySet
	from []time.Time
	ds   []dsChange
}

type dsChange struct {
	from time.Time
	tags []uint16
}

// served is the set that a server has at a moment which hears of everything with a delay.
func (h *history) served(at time.Time, delay time.Duration) *KeySet {
	now := h.sets[0]
	for i, s := range h.sets {
		if !at.Add(-delay).Before(h.from[i]) {
			now = s
		}
	}
	return now
}

func (h *history) parent(at time.Time) []uint16 {
	var tags []uint16
	for _, c := range h.ds {
		if !at.Before(c.from) {
			tags = c.tags
		}
	}
	return tags
}

func tagsOf(keys []*Key) (tags []uint16) {
	for _, k := range keys {
		tags = append(tags, k.Tag)
	}
	return tags
}

// TestNoValidatorIsLeftBehind: through rollovers at random moments, with servers that hear of a change late and a parent that follows CDS late, a
// validator finds a chain from the DS set through the DNSKEY set to an answer, each of them as old as its TTL allows and from any server.
func TestNoValidatorIsLeftBehind(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 5))
	upTo := func(d time.Duration) time.Duration {
		return time.Duration(rng.Int64N(int64(d)/int64(time.Second)+1)) * time.Second
	}
	for range 12 {
		dsTTL := time.Hour + upTo(47*time.Hour)
		set := generate(t, "perigee.test.")
		h := &history{sets: []*KeySet{set}, from: []time.Time{epoch}}
		apply := func(at time.Time, next *KeySet, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			set = next
			h.sets, h.from = append(h.sets, next), append(h.from, at)
		}
		at := set.DSAfter(set.Keys[0]).Add(upTo(time.Hour))
		h.ds = append(h.ds, dsChange{at, tagsOf(set.WantDS(at))})
		begin := at.Add(dsTTL)
		at = begin
		for range 4 {
			at = at.Add(upTo(50 * time.Hour))
			next, err := set.Roll(at)
			apply(at, next, err)
			if rng.IntN(3) == 0 {
				at = at.Add(upTo(10 * time.Hour))
				next, err = set.Retire(set.Keys[len(set.Keys)-1].Tag, at)
				apply(at, next, err)
				continue
			}
			at = at.Add(upTo(100 * time.Hour)) // the parent takes its time
			h.ds = append(h.ds, dsChange{at, tagsOf(set.WantDS(at))})
			next, err = set.SeeDS(at, dsTTL)
			apply(at, next, err)
			at = set.Keys[len(set.Keys)-1].Active.Add(upTo(40 * time.Hour))
			h.ds = append(h.ds, dsChange{at, tagsOf(set.WantDS(at))})
		}
		for range 6000 {
			now := begin.Add(upTo(at.Add(100 * time.Hour).Sub(begin)))
			ds := h.parent(now.Add(-upTo(dsTTL)))
			then := now.Add(-upTo(KeyTTL))
			keys := tagsOf(h.served(then, upTo(Spread)).In(then, Published, Active, Retired))
			then = now.Add(-upTo(DefaultMaxTTL))
			if then.Before(begin) {
				continue
			}
			signer := h.served(then, upTo(Spread)).active(then)
			trusted := slices.ContainsFunc(ds, func(tag uint16) bool { return slices.Contains(keys, tag) })
			if !trusted || !slices.Contains(keys, signer.Tag) {
				t.Fatalf("at %v: DS %d, DNSKEY %d, answer by %d", now, ds, keys, signer.Tag)
			}
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, x := range []struct {
		zone string
		ttl  time.Duration
	}{{"", 0}, {".", 0}, {"a/b.test", 0}, {"a b.test", 0}, {`a\.b.test`, 0}, {"..test", 0}, {"perigee.test", time.Millisecond}, {"perigee.test", 100 * time.Hour},
		{"perigee.test", 1500 * time.Millisecond}} {
		if _, err := Generate(x.zone, x.ttl, epoch); err == nil {
			t.Errorf("%+v was accepted", x)
		}
	}
}

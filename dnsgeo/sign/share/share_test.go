package share

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/clock"
	"perigee/dnsgeo/sign"
)

const zone = "cdn.example."

// wire is a bus in memory: it delivers at once, keeps what was sent, and can be cut.
type wire struct {
	mu    sync.Mutex
	cut   bool
	hears map[string]func([]byte)
	sent  []sentMessage
}

type sentMessage struct {
	to   string
	data []byte
}

func (w *wire) PublishDNSKeys(to string, m []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return errors.New("cut")
	}
	w.sent = append(w.sent, sentMessage{to, m})
	if hear := w.hears[to]; hear != nil {
		hear(m)
	}
	return nil
}

func (w *wire) SubscribeDNSKeys(to string, hear func([]byte)) (func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hears[to] = hear
	return func() { w.mu.Lock(); defer w.mu.Unlock(); delete(w.hears, to) }, nil
}

func (w *wire) setCut(cut bool) { w.mu.Lock(); defer w.mu.Unlock(); w.cut = cut }

func (w *wire) count() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.sent) }

// to returns the messages to a node so far.
func (w *wire) to(n *node) (out [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.sent {
		if m.to == n.id.String() {
			out = append(out, m.data)
		}
	}
	return out
}

// logged is a log that can be read.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(b) }
func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// node is a DNS node: its keys, and its Share once that runs.
type node struct {
	t      *testing.T
	id     *sign.Identity
	store  *sign.Store
	signer *sign.Signer
	log    logged
	share  *Share
	stop   func()
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, stop: func() {}}
	var err error
	if n.id, err = sign.NewIdentity(); err != nil {
		t.Fatal(err)
	}
	if n.store, err = sign.OpenStore(t.TempDir(), zone); err != nil {
		t.Fatal(err)
	}
	if n.signer, err = sign.NewSigner(sign.Unsigned(zone), time.Now(), sign.Limits{}); err != nil {
		t.Fatal(err)
	}
	return n
}

// join starts the node's Share, with its key file followed, until leave or the end of the test.
func (n *node) join(bus Bus, peers ...*node) {
	n.t.Helper()
	if set, err := n.store.Load(); err == nil { // as a server does before it starts anything
		if err := n.signer.Use(set); err != nil {
			n.t.Fatal(err)
		}
	}
	c := Config{Self: n.id, Store: n.store, Signer: n.signer, Bus: bus, Clock: clock.System,
		Log: slog.New(slog.NewTextHandler(&n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, p := range peers {
		c.Peers = append(c.Peers, p.id.Public())
	}
	var err error
	if n.share, err = New(c); err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.share.Run(ctx); err != nil {
			n.t.Errorf("Run: %v", err)
		}
	})
	wg.Go(func() { n.store.Follow(ctx, clock.System, c.Log, n.signer.Use) })
	n.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	n.t.Cleanup(func() { n.stop() })
}

// change edits the key file as a command does.
func (n *node) change(edit func(*sign.KeySet) (*sign.KeySet, error)) *sign.KeySet {
	n.t.Helper()
	set, err := n.store.Change(edit)
	if err != nil {
		n.t.Fatal(err)
	}
	return set
}

// generate makes a first key that is old enough to be rolled.
func (n *node) generate() *sign.KeySet {
	n.t.Helper()
	return n.change(func(*sign.KeySet) (*sign.KeySet, error) { return sign.Generate(zone, 0, time.Now().Add(-48*time.Hour)) })
}

func (n *node) roll() *sign.KeySet {
	n.t.Helper()
	return n.change(func(s *sign.KeySet) (*sign.KeySet, error) { return s.Roll(time.Now()) })
}

// has reports whether the node signs with a set and has it in its store.
func (n *node) has(set *sign.KeySet) bool {
	kept, err := n.store.Load()
	return err == nil && kept.Same(set) && n.signer.Keys().Same(set)
}

func (n *node) took(o Outcome) uint64 { return n.share.Counters().Took(o) }

// wait lets time pass in a bubble.
func wait(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestWaitsForKeysAtMostAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{hears: map[string]func([]byte){}}
		a, gone := newNode(t), newNode(t)
		a.join(w, a, gone)
		// An answer to an earlier asking, such as before the last start, ends nothing.
		old := must(sign.SealNote(sign.Note{Kind: sign.NoteNone, Zone: zone, At: time.Now(), Nonce: [16]byte{1}}, gone.id, a.id.Public()))(t)
		wait(time.Second)
		if err := w.PublishDNSKeys(a.id.String(), old); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		if !a.share.Awaited() || a.took(Replayed) != 1 || a.took(None) > 0 {
			t.Error("an old answer ends the wait")
		}
		wait(HoldFor - 4*time.Second)
		if err := a.share.Ready(); !a.share.Awaited() || err == nil || !strings.Contains(err.Error(), "for 2s more at most") {
			t.Errorf("it does not wait: %v", err)
		}
		wait(4 * time.Second)
		if err := a.share.Ready(); a.share.Awaited() || err != nil || a.log.count("UNSIGNED") != 1 {
			t.Errorf("it waits for ever, or is silent about it: %v", err)
		}
		// 0, 1, 3, 7, 15, 31 and 61 s; later every 30 s.
		if n := len(w.to(gone)); n != 7 {
			t.Errorf("it asked %d times", n)
		}
		wait(ComplainEvery)
		if n, c := len(w.to(gone)), a.log.count("UNSIGNED"); n != 27 || c != 2 {
			t.Errorf("%d asks, %d complaints", n, c)
		}
		a.stop()
	})
}

func TestNobodyHasKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{hears: map[string]func([]byte){}}
		a, b, c := newNode(t), newNode(t), newNode(t)
		w.setCut(true)
		a.join(w, a, b, c)
		b.join(w, a, b, c)
		wait(10 * time.Second) // without a bus nobody was asked
		w.setCut(false)
		wait(3 * time.Second)
		if !a.share.Awaited() || !b.share.Awaited() {
			t.Error("one says that it has none, the third may still have some")
		}
		c.join(w, a, b, c)
		wait(10 * time.Second)
		for _, n := range []*node{a, b, c} {
			if n.share.Awaited() || n.log.count("ERROR") > 0 || n.log.count("answered unsigned") != 1 {
				t.Errorf("all have said that they have none: %v, %d", n.share.Awaited(), n.log.count("answered unsigned"))
			}
		}
		set := b.generate()
		wait(4 * time.Second)
		if !a.has(set) || !c.has(set) {
			t.Error("a first key does not reach the others")
		}
		for _, n := range []*node{a, b, c} {
			n.stop()
		}
	})
}

func TestRollsReachTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{hears: map[string]func([]byte){}}
		a, b, c := newNode(t), newNode(t), newNode(t)
		a.generate()
		for _, n := range []*node{a, b, c} {
			n.join(w, a, b, c)
		}
		wait(3 * time.Second)
		for i, from := range []*node{a, b} {
			edit := (*sign.KeySet).Roll
			if i == 1 { // the rollover goes on at another node
				edit = func(s *sign.KeySet, now time.Time) (*sign.KeySet, error) { return s.SeeDS(now, time.Hour) }
			}
			set := from.change(func(s *sign.KeySet) (*sign.KeySet, error) { return edit(s, time.Now()) })
			wait(4 * time.Second)
			if !a.has(set) || !b.has(set) || !c.has(set) {
				t.Errorf("change %d does not reach all within 4 s", i)
			}
		}
		// Away during a change, and back with the old set.
		c.stop()
		set := a.change(func(s *sign.KeySet) (*sign.KeySet, error) { return s.Retire(s.Keys[1].Tag, time.Now()) })
		wait(10 * time.Second)
		c.join(w, a, b, c)
		if c.share.Awaited() {
			t.Error("a node with keys waits")
		}
		wait(3 * time.Second)
		if !c.has(set) {
			t.Error("a node that was away stays behind")
		}
		// What goes on without a change: six sets a minute.
		before := w.count()
		wait(Repeat)
		if n := w.count() - before; n != 6 {
			t.Errorf("%d messages in a minute", n)
		}
		for _, n := range []*node{a, b, c} {
			n.stop()
		}
	})
}

func TestMessagesThatDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{hears: map[string]func([]byte){}}
		a, b, stranger := newNode(t), newNode(t), newNode(t)
		a.generate()
		a.join(w, a, b)
		synctest.Wait() // it listens: the ask that is replayed below must have been heard once
		b.join(w, a, b)
		wait(2 * time.Second)
		var old []byte // a set, as b got it
		for _, m := range w.to(b) {
			if !sign.IsNote(m) {
				old = m
			}
		}
		var ask []byte // of b, as a got it
		for _, m := range w.to(a) {
			if sign.IsNote(m) {
				ask = m
			}
		}
		set := a.roll()
		wait(5 * time.Second)
		if old == nil || ask == nil || !b.has(set) {
			t.Fatal("nothing to replay")
		}
		other, err := sign.Generate("other.example.", 0, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		forged := must(sign.Generate(zone, 0, time.Now()))(t)
		forged.Serial = 99
		tampered := append([]byte(nil), must(sign.Seal(forged, a.id, b.id.Public()))(t)...)
		tampered[len(tampered)-1] ^= 1
		for _, x := range []struct {
			name    string
			to      *node
			message []byte
			want    Outcome
		}{
			{"a set of before", b, old, Known},
			{"an ask of before", a, ask, Replayed},
			{"a set by a stranger", b, must(sign.Seal(forged, stranger.id, b.id.Public()))(t), Untrusted},
			{"an ask by a stranger", a, must(sign.SealNote(sign.Note{Kind: sign.NoteAsk, Zone: zone, At: time.Now()}, stranger.id, a.id.Public()))(t), Untrusted},
			{"a set for another node", b, must(sign.Seal(forged, a.id, stranger.id.Public()))(t), Damaged},
			{"a tampered set", b, tampered, Damaged},
			{"nothing", b, nil, Damaged},
			{"too much", b, make([]byte, 40<<10), Damaged},
			{"another zone", b, must(sign.Seal(other, a.id, b.id.Public()))(t), Foreign},
			{"an ask for another zone", b, must(sign.SealNote(sign.Note{Kind: sign.NoteAsk, Zone: "other.example.", At: time.Now()}, a.id, b.id.Public()))(t), Foreign},
			{"an answer that nobody asked for", b, must(sign.SealNote(sign.Note{Kind: sign.NoteNone, Zone: zone, At: time.Now()}, a.id, b.id.Public()))(t), Replayed},
			{"an ask from long ago", b, must(sign.SealNote(sign.Note{Kind: sign.NoteAsk, Zone: zone, At: time.Now().Add(-2 * time.Hour)}, a.id, b.id.Public()))(t), Replayed},
		} {
			before, sets := x.to.took(x.want), a.share.Counters().Sets.Load()
			if err := w.PublishDNSKeys(x.to.id.String(), x.message); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if x.to.took(x.want) != before+1 {
				t.Errorf("%s: not counted as %v", x.name, x.want)
			}
			if !a.has(set) || !b.has(set) || x.want != Known && a.share.Counters().Sets.Load() != sets {
				t.Errorf("%s: it changed something", x.name)
			}
			wait(2 * time.Second)
		}
		if n := len(w.to(stranger)); n > 0 {
			t.Errorf("a stranger got %d messages", n)
		}
		// A flood is dropped unread, and what is meant gets through in the next second.
		for range 3 * takePerSecond {
			w.PublishDNSKeys(b.id.String(), tampered)
		}
		synctest.Wait()
		if b.took(Limited) == 0 {
			t.Error("a flood is read")
		}
		wait(2 * time.Second)
		set = a.change(func(s *sign.KeySet) (*sign.KeySet, error) { return s.Retire(s.Keys[1].Tag, time.Now()) })
		wait(5 * time.Second)
		if !b.has(set) {
			t.Error("no set arrives after the flood")
		}
		a.stop()
		b.stop()
	})
}

// TestTwoChangesAtOnce: keys that were made on two nodes at the same time stay as they are, loudly; the next change wins.
func TestTwoChangesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{hears: map[string]func([]byte){}}
		a, b := newNode(t), newNode(t)
		one, two := a.generate(), b.generate()
		a.join(w, a, b)
		b.join(w, a, b)
		wait(3 * Repeat)
		if !a.has(one) || !b.has(two) || a.took(Conflict) == 0 || a.log.count("same serial") != 1 || b.log.count("same serial") != 1 {
			t.Errorf("%d conflicts, %d complaints", a.took(Conflict), a.log.count("same serial"))
		}
		set := a.roll()
		wait(5 * time.Second)
		if !a.has(set) || !b.has(set) {
			t.Error("the next change does not end it")
		}
		a.stop()
		b.stop()
	})
}

func TestConfigErrors(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("nothing configured: no error")
	}
	n := newNode(t)
	c := Config{Self: n.id, Store: n.store, Signer: n.signer, Bus: &wire{}, Log: slog.New(slog.DiscardHandler), Clock: clock.System}
	for range MaxPeers + 1 {
		c.Peers = append(c.Peers, must(sign.NewIdentity())(t).Public())
	}
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "65 peers") {
		t.Errorf("too many peers: %v", err)
	}
	c.Peers = []sign.PublicIdentity{n.id.Public()}
	s, err := New(c)
	if err != nil || s.Awaited() {
		t.Errorf("it waits for itself: %v", err)
	}
	reg := prometheus.NewRegistry()
	RegisterMetrics(reg, s)
	if got, err := reg.Gather(); err != nil || len(got) != 4 {
		t.Errorf("%d metrics, %v", len(got), err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

package cache

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

// knowledge is what an engine knows, in a form that can be compared.
type knowledge struct {
	Names map[nameKey]string // version and standing of each, from memory or from the store
	logged
}

// logged is the part of it that the journal keeps.
type logged struct {
	Sites    map[object.Site]object.Version
	Position string
	All      marks
	Epochs   map[epochKey]marks
}

func (e *Engine) knowledge() knowledge {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := knowledge{Names: map[nameKey]string{}}
	k.Sites, k.Position, k.All, k.Epochs = map[object.Site]object.Version{}, e.position.String(), e.table.all, maps.Clone(e.table.epochs)
	for _, key := range []nameKey{
		{"www", "/dir/file", ""}, {"www", "/b", ""}, {"www", "/b", cachetest.Version(1)}, {"www", "/c", ""}, {"www", "/file", ""}, {"www", "/new", ""},
	} {
		if n := e.glance(key); n != nil && n.pointer != nil {
			m := e.table.purgedSince(key, n)
			k.Names[key] = fmt.Sprintf("%s %s hard=%v soft=%v", n.pointer.Version, n.pointer.State, m.Hard > n.checked, m.Soft > n.checked)
		}
	}
	for _, s := range e.sites.Records() {
		k.Sites[s.Site] = s.Version
	}
	return k
}

// journalPath returns where the engine's journal lies.
func (r *rig) journalPath() string { return filepath.Join(r.cfg.Dir, "journal") }

// write makes an engine write every kind of record, and calls after behind each.
func (r *rig) write(after func()) {
	r.t.Helper()
	data := cachetest.Bytes(50, 1)
	get := func(p object.Path) func() { return func() { r.get(p) } }
	apply := func(e purge.Entry) func() { return func() { r.apply(e) } }
	moved := cachetest.Site("www", "www.example", "two.example")
	moved.Version = cachetest.Version(5)
	r.publishTagged(1, data)
	r.o.Publish("www", "/b", 1, data)
	r.o.PutSite(r.site)
	for _, step := range []func(){
		func() { r.e.loadSites(r.t.Context()) },
		get("/dir/file"), get("/b"),
		func() { r.e.Resolve(r.t.Context(), r.site, "/b", cachetest.Version(1)) },
		func() { r.apply(pointerEntry(r.o.Publish("www", "/b", 2, data))) },
		apply(purgeURL("/b")), apply(softly(purgeURL("/dir/file"))), get("/b"), get("/dir/file"),
		apply(purge.Entry{Kind: purge.KindRules, Record: moved}),
		apply(purge.Entry{Kind: purge.KindPrefix, Prefix: "/dir/"}), get("/dir/file"),
		apply(softly(purge.Entry{Kind: purge.KindTag, Tag: tag})),
		func() { r.o.PutPointer(cachetest.Tombstone("www", "/b", 3)) },
		apply(pointerEntry(cachetest.Tombstone("www", "/b", 3))), get("/b"),
		apply(purge.Entry{Kind: purge.KindSite}), get("/dir/file"),
		func() { r.e.Reset(purge.At("one", purge.Mark{Stream: "new", Seq: 7}), purge.ErrGap) },
		func() { r.apply(pointerEntry(r.o.Publish("www", "/c", 4, data))) }, get("/dir/file"), get("/c"),
	} {
		step()
		after()
	}
}

func TestJournalKeepsEverything(t *testing.T) {
	r := newRig(t, nil)
	r.write(func() {
		want := r.e.knowledge()
		r.restart()
		if got := r.e.knowledge(); !reflect.DeepEqual(got, want) {
			t.Fatalf("after a restart\n%+v, before it\n%+v", got, want)
		}
		r.e.Confirm(r.cfg.Clock.Now())
	})
	want := r.e.knowledge()
	r.e.mu.Lock()
	r.e.rewriteJournal()
	r.e.mu.Unlock()
	r.restart()
	if got := r.e.knowledge(); !reflect.DeepEqual(got, want) {
		t.Fatalf("after a rewrite\n%+v, before it\n%+v", got, want)
	}
	r.apply(purgeURL("/c")) // and it goes on
	want = r.e.knowledge()
	r.restart()
	if got := r.e.knowledge(); !reflect.DeepEqual(got, want) {
		t.Fatalf("after a rewrite and an entry\n%+v, before it\n%+v", got, want)
	}
}

// states writes a journal and returns it with what was known when it was so many bytes long.
func states(t *testing.T) (journal []byte, at map[int64]logged) {
	r := newRig(t, nil)
	at = map[int64]logged{0: {Sites: map[object.Site]object.Version{}, Epochs: map[epochKey]marks{}}, r.e.journal.size: r.e.knowledge().logged}
	r.write(func() {
		r.e.work.Wait()
		at[r.e.journal.size] = r.e.knowledge().logged
	})
	r.stop()
	journal, err := os.ReadFile(r.journalPath())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := at[int64(len(journal))]; !ok || len(at) < 12 {
		t.Fatalf("%d states, journal of %d bytes", len(at), len(journal))
	}
	return journal, at
}

// replayed is what an engine would know that finds this journal, and nothing else; size is how much of it was taken.
func replayed(t *testing.T, journal []byte) (k logged, size int64) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "journal"), journal, 0o600); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, cfg: Config{
		Dir: dir, Size: MinSize, Origin: cachetest.NewOrigin(), Clock: clock.System, Log: slog.New(slog.DiscardHandler),
	}}
	r.open()
	defer r.stop()
	size, _ = readRecords(bytes.NewReader(journal), (&Engine{
		store: r.e.store, table: newTable(defaultNames, 1<<20), sites: object.NewSiteTable(), calls: map[nameKey]*call{}, log: r.cfg.Log, volatile: true,
	}).replay)
	return r.e.knowledge().logged, size
}

// Reading ends at the first record that is not whole, so it is enough to know what the whole records before it make, and
// that no part of a record passes for one.
func TestJournalCutAtEveryByte(t *testing.T) {
	journal, at := states(t)
	ends := slices.Sorted(maps.Keys(at))
	for i, end := range ends {
		if got, size := replayed(t, journal[:end]); size != end || !reflect.DeepEqual(got, at[end]) {
			t.Fatalf("cut at %d: %d bytes read, %+v; want %+v", end, size, got, at[end])
		}
		if i == len(ends)-1 {
			break
		}
		for n := end; n < ends[i+1]; n++ {
			if size, records := readRecords(bytes.NewReader(journal[end:n]), func(record) error { return nil }); size != 0 || records != 0 {
				t.Fatalf("cut at %d: %d records of %d bytes read after %d", n, records, size, end)
			}
		}
	}
}

func TestJournalWithAnyByteChanged(t *testing.T) {
	journal, at := states(t)
	ends := slices.Sorted(maps.Keys(at))
	for i, end := range ends[:len(ends)-1] {
		for n := end; n < ends[i+1]; n++ {
			b := bytes.Clone(journal[end:])
			b[n-end] ^= byte(1 + n%255)
			if size, records := readRecords(bytes.NewReader(b), func(record) error { return nil }); size != 0 || records != 0 {
				t.Fatalf("byte %d changed: %d records of %d bytes read after %d", n, records, size, end)
			}
		}
	}
}

// After damage the engine cuts the journal there and writes on.
func TestDamagedJournalIsWrittenOn(t *testing.T) {
	journal, at := states(t)
	ends := slices.Sorted(maps.Keys(at))
	for _, end := range []int64{0, ends[3], ends[len(ends)-2]} {
		for _, tail := range []string{"\x05", "\xff\xff\xff\xff\x00\x00\x00\x00", strings.Repeat("\x00", 4096), "garbage, and more of it"} {
			r := newRig(t, nil)
			r.stop()
			if err := os.WriteFile(r.journalPath(), append(bytes.Clone(journal[:end]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			r.open()
			if got := r.e.knowledge().logged; !reflect.DeepEqual(got, at[end]) {
				t.Fatalf("%+v, want %+v", got, at[end])
			}
			r.seq = 100
			r.apply(pointerEntry(cachetest.Pointer("www", "/new", 1, nil)))
			want := r.e.knowledge()
			r.restart()
			if got := r.e.knowledge(); !reflect.DeepEqual(got, want) {
				t.Fatalf("after a restart\n%+v, before it\n%+v", got, want)
			}
		}
	}
}

// A rewritten journal with many long prefixes used to begin with a record too long to be read: all was lost.
func TestRewriteWithManyLongEpochs(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = 1 << 30 })
	data := cachetest.Bytes(50, 1)
	r.o.Publish("www", "/file", 1, data)
	r.mustGet("/file", data)
	segment := strings.Repeat("<", 250) // JSON makes six bytes of each
	for i := range 500 {
		r.apply(purge.Entry{Kind: purge.KindPrefix, Prefix: object.Prefix(fmt.Sprintf("/%d/%s/%s/%s/%s/%s/%s/%s/%s/", i, segment, segment, segment, segment, segment, segment, segment, segment[:200]))})
	}
	want := r.e.knowledge()
	r.e.mu.Lock()
	r.e.rewriteJournal()
	epochs := len(r.e.table.epochs)
	r.e.mu.Unlock()
	r.restart()
	if got := r.e.knowledge(); !reflect.DeepEqual(got, want) || len(r.e.table.epochs) != epochs || epochs != 500 {
		t.Fatalf("%d of %d epochs left; %+v, want %+v", len(r.e.table.epochs), epochs, got, want)
	}
}

func TestJournalIsRewrittenWhenMostlyDead(t *testing.T) {
	r := newRig(t, nil)
	for i := range 10 {
		r.apply(pointerEntry(cachetest.Pointer("www", "/file", i, nil)))
	}
	if r.e.compactDue() {
		t.Error("due already")
	}
	r.e.journal.records += tickLeap // as if there had been so many
	r.e.keepJournal()
	if n := r.e.journal.records; n != 1 {
		t.Errorf("%d records after a rewrite, want the state alone", n)
	}
	r.apply(purgeURL("/file"))
	if info, err := os.Stat(r.journalPath()); err != nil || info.Size() != r.e.journal.size {
		t.Errorf("%v, %v; the engine counts %d bytes", info, err, r.e.journal.size)
	}
	want := r.e.knowledge()
	r.restart()
	if got := r.e.knowledge(); !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
}

// Entries that are applied while the journal is being rewritten are in the new one.
func TestEntriesDuringARewriteAreKept(t *testing.T) {
	r := newRig(t, nil)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				if err := r.e.compact(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	for i := range 300 {
		r.apply(purge.Entry{Kind: purge.KindTag, Tag: object.Tag(fmt.Sprint(i))})
	}
	close(stop)
	<-done
	want := r.e.knowledge()
	r.restart()
	if got := r.e.knowledge(); !reflect.DeepEqual(got, want) || len(got.Epochs) != 300 {
		t.Fatalf("%d epochs at %s, want %d at %s", len(got.Epochs), got.Position, len(want.Epochs), want.Position)
	}
}

// A journal that grows faster than it is rewritten in the background is rewritten by who appends to it.
func TestJournalIsBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = MinSize })
	long := strings.Repeat("x", 1000)
	for i := range 4000 {
		r.apply(purge.Entry{Kind: purge.KindURL, Path: object.Path(fmt.Sprintf("/%d/%s", i, long[:250]))})
		if r.e.journal.size > r.e.journalRoom {
			t.Fatalf("%d bytes, %d are allowed", r.e.journal.size, r.e.journalRoom)
		}
	}
	r.checkBounds()
}

func TestJournalThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data := cachetest.Bytes(50, 1)
		r.o.Publish("www", "/file", 1, data)
		r.mustGet("/file", data)
		synctest.Wait() // the fill may still be putting the file in its place
		r.apply(purgeURL("/other"))
		r.e.journal.file.Close()
		gone := r.cfg.Dir + "-gone"
		if err := os.Rename(r.cfg.Dir, gone); err != nil {
			t.Fatal(err)
		}
		p := r.o.Publish("www", "/file", 2, data)
		r.apply(pointerEntry(p)) // effective all the same
		if got, _, err := r.resolve("/file"); err != nil || got.Version != p.Version {
			t.Fatalf("%v, %v", got, err)
		}
		if !r.e.Stats().JournalFailed || !r.e.Position().Covers(at(2)) {
			t.Errorf("%+v at %s", r.e.Stats(), r.e.Position())
		}
		old, err := os.ReadFile(filepath.Join(gone, "journal"))
		if err != nil {
			t.Fatal(err)
		}
		if k, _ := replayed(t, old); k.Position != at(1).String() {
			t.Errorf("what is on disk must be from before the failure, position and names: %+v", k)
		}
		if err := os.Rename(gone, r.cfg.Dir); err != nil {
			t.Fatal(err)
		}
		r.apply(purgeURL("/other"))
		if !r.e.Stats().JournalFailed {
			t.Error("it should have been left alone for a while")
		}
		time.Sleep(journalPause)
		r.apply(purgeURL("/other"))
		if r.e.Stats().JournalFailed {
			t.Error("it was not tried again")
		}
		want := r.e.knowledge()
		r.restart()
		if got := r.e.knowledge(); !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

// An entry that came after Close used to rewrite the journal of whoever had the directory by then.
func TestNothingIsWrittenAfterClose(t *testing.T) {
	r := newRig(t, nil)
	first := r.e
	r.stop()
	r.open()
	r.apply(pointerEntry(cachetest.Pointer("www", "/file", 1, nil)))
	want, err := os.ReadFile(r.journalPath())
	if err != nil {
		t.Fatal(err)
	}
	en := purge.Entry{Format: 1, ID: "late", Site: "www", Kind: purge.KindSite}
	if err := first.Apply(purge.Record{Entry: en, Position: at(9)}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(r.journalPath()); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the journal changed: %v", err)
	}
}

// What a killed rewrite had written used to stay for ever.
func TestUnfinishedRewriteIsRemoved(t *testing.T) {
	r := newRig(t, nil)
	r.apply(pointerEntry(cachetest.Pointer("www", "/file", 1, nil)))
	want := r.e.knowledge()
	r.stop()
	left := filepath.Join(r.cfg.Dir, ".journal-12345")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.open()
	if _, err := os.Stat(left); err == nil {
		t.Error("still there")
	}
	if got := r.e.knowledge(); !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
}

package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/purge"
	"perigee/purge/purgetest"
)

// sharded is a catalogue of three files, its outbox at work, and the log.
type sharded struct {
	*Catalog
	t      *testing.T
	cfg    Config
	log    *recorder
	stop   func()
	offset atomic.Int64 // of the clock
}

// recorder is a log that tells what is in it, by sequence.
type recorder struct {
	*purgetest.Memory
	mu      sync.Mutex
	entries map[uint64]purge.Entry
}

// Append implements purge.Appender.
func (r *recorder) Append(ctx context.Context, e purge.Entry) (purge.Position, error) {
	pos, err := r.Memory.Append(ctx, e)
	if m, ok := pos.Mark("eu"); ok && err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.entries[m.Seq] = e
	}
	return pos, err
}

// list returns the entries in order.
func (r *recorder) list() []purge.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []purge.Entry
	for _, seq := range slices.Sorted(maps.Keys(r.entries)) {
		out = append(out, r.entries[seq])
	}
	return out
}

type offsetClock struct {
	clock.Clock
	s *sharded
}

func (c offsetClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.s.offset.Load())) }

func newSharded(t *testing.T) *sharded {
	t.Helper()
	s := &sharded{t: t, log: &recorder{Memory: purgetest.NewMemory("eu"), entries: map[uint64]purge.Entry{}}}
	dir := t.TempDir()
	s.cfg = Config{
		File: dir + "/home.db", Clock: offsetClock{clock.System, s}, Log: slog.New(slog.DiscardHandler), BusyWait: 20 * time.Second,
		Shards: []Shard{{Name: "second", File: dir + "/second.db"}, {Name: "third", File: dir + "/third.db"}},
	}
	s.open()
	t.Cleanup(func() { s.close() })
	return s
}

func (s *sharded) open() {
	s.t.Helper()
	c, err := OpenSQLite(s.t.Context(), s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Catalog = c
	o, err := NewOutbox(OutboxConfig{Catalog: c, Appender: s.log, Clock: clock.System, Log: s.cfg.Log})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	s.stop = sync.OnceFunc(func() { cancel(); <-done })
}

func (s *sharded) close() {
	s.stop()
	if err := s.Close(); err != nil {
		s.t.Errorf("close: %v", err)
	}
}

func (s *sharded) publish(path object.Path, body string) (object.Pointer, error) {
	h := object.HashOf([]byte(body))
	r, err := s.Reserve(s.t.Context(), Change{Pointer: object.Pointer{
		Format: 1, Site: "www", Path: path, State: object.Live, Hash: h, Root: h, Size: int64(len(body)), Blob: object.BlobKey(h),
	}})
	if err != nil {
		return object.Pointer{}, err
	}
	_, err = s.Commit(s.t.Context(), r, "e")
	return r.Pointer, err
}

// pathsIn returns n paths of site www that are in a slot.
func pathsIn(slot object.Slot, n int) []object.Path {
	var out []object.Path
	for i := 0; len(out) < n; i++ {
		if p := object.Path(fmt.Sprintf("/%d", i)); object.SlotOf("www", p) == slot {
			out = append(out, p)
		}
	}
	return out
}

func (s *sharded) mover(stop func(string) error) *Mover {
	s.t.Helper()
	m, err := NewMover(MoverConfig{Catalog: s.Catalog, Clock: clock.System, Log: s.cfg.Log})
	if err != nil {
		s.t.Fatal(err)
	}
	if stop != nil {
		m.stop = stop
	}
	return m
}

// finish carries out all moves.
func (s *sharded) finish() {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		s.mover(nil).all(s.t.Context())
		l, err := s.Layout(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if l.Waiting == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("moves do not end: %+v", l.Moves)
		}
		s.offset.Add(int64(moveLease))
	}
}

// rowsOnServers counts the rows of a slot in all tables of each server.
func (s *sharded) rowsOnServers(slot object.Slot) []int {
	s.t.Helper()
	out := make([]int, len(s.members))
	for i, m := range s.members {
		for _, t := range movedTables() {
			var n int
			if err := m.server.read.QueryRow(`SELECT COUNT(*) FROM `+t.name+` WHERE slot = $1`, slot).Scan(&n); err != nil {
				s.t.Fatal(err)
			}
			out[i] += n
		}
	}
	return out
}

// checkLog checks that the log has every version once, and those of each path in order.
func (s *sharded) checkLog(want map[object.Path][]object.Version) {
	s.t.Helper()
	all := 0
	for _, vs := range want {
		all += len(vs)
	}
	var got map[object.Path][]object.Version
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		got = map[object.Path][]object.Version{}
		n := 0
		for _, e := range s.log.list() {
			if e.Kind == purge.KindPointer {
				got[e.Pointer.Path] = append(got[e.Pointer.Path], e.Pointer.Version)
				n++
			}
		}
		if n >= all || time.Now().After(deadline) {
			break
		}
	}
	for p, vs := range want {
		if !slices.Equal(got[p], vs) {
			s.t.Errorf("the log has %v of %s, want %v", got[p], p, vs)
		}
	}
}

// TestMoveCrashes ends the mover at each step, in turn without and with a restart of the program, while writers go on: what
// was acknowledged must be there once, in the order in which it was acknowledged.
func TestMoveCrashes(t *testing.T) {
	steps := []string{"target ready", "copied files", "copied versions", "copied reservations", "copied uploads", "caught up", "fenced", "drained",
		"placed", "owned", "left", "removed"}
	s := newSharded(t)
	path := object.Path("/0")
	slot := object.SlotOf("www", path)
	paths := append(pathsIn(slot, 3), "/elsewhere")
	var mu sync.Mutex
	want := map[object.Path][]object.Version{}
	names := []string{HomeName, "second", "third"}
	for i, step := range steps {
		ctx, cancel := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for _, p := range paths {
			writers.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					v, err := s.publish(p, fmt.Sprint(step, n))
					if err != nil {
						t.Errorf("%s: publish %s: %v", step, p, err)
						return
					}
					mu.Lock()
					want[p] = append(want[p], v.Version)
					mu.Unlock()
					if f, err := s.File(t.Context(), "www", p); err != nil || f.Pointer.Version != v.Version {
						t.Errorf("%s: after %s was acknowledged, %s has %s, %v", step, v.Version, p, f.Pointer.Version, err)
					}
				}
			})
		}
		from := s.at(slot).name
		to := names[(slices.Index(names, from)+1)%3]
		if err := s.OrderMoves(t.Context(), []object.Slot{slot}, to); err != nil {
			t.Fatal(err)
		}
		hit := false
		s.mover(func(at string) error {
			if at == step {
				hit = true
				return errStopped
			}
			return nil
		}).all(t.Context())
		if !hit {
			t.Errorf("the mover never came to %q", step)
		}
		if i%2 == 0 {
			// The process goes on, and another run of the move begins after its lease.
			s.offset.Add(int64(moveLease))
			s.finish()
			cancel()
			writers.Wait()
		} else {
			// The process ends with the mover, and the next one takes the move on.
			cancel()
			if step == "drained" { // nobody writes before the move goes on; TestFenceSurvivesRestart is about that
				s.offset.Add(int64(moveLease))
				s.finish()
			}
			writers.Wait()
			s.close()
			s.open()
			s.finish()
		}
		if got := s.at(slot).name; got != to {
			t.Errorf("%s: the slot is on %s, want %s", step, got, to)
		}
		for j, n := range s.rowsOnServers(slot) {
			if (n > 0) != (s.members[j].name == to) {
				t.Errorf("%s: %d rows of the slot are left on %s", step, n, s.members[j].name)
			}
		}
	}
	for p, vs := range want {
		got, err := s.Versions(t.Context(), "www", p, "", 1)
		if err != nil || len(got) != 1 || got[0].Version != vs[len(vs)-1] {
			t.Errorf("%s: current version %+v, %v, want %s", p, got, err, vs[len(vs)-1])
		}
		n := 0
		for before := object.Version(""); ; {
			page, err := s.Versions(t.Context(), "www", p, before, 0)
			if err != nil {
				t.Fatal(err)
			}
			if n += len(page); len(page) == 0 {
				break
			}
			before = page[len(page)-1].Version
		}
		if n != len(vs) {
			t.Errorf("%s has %d versions, %d were acknowledged", p, n, len(vs))
		}
	}
	s.checkLog(want)
}

// TestFenceSurvivesRestart: a slot that nobody may write to when the program dies is moved by the next run of it.
func TestFenceSurvivesRestart(t *testing.T) {
	s := newSharded(t)
	slot := object.SlotOf("www", "/a")
	want := map[object.Path][]object.Version{}
	for _, step := range []string{"fenced", "drained", "placed"} {
		v, err := s.publish("/a", step)
		if err != nil {
			t.Fatal(err)
		}
		to := s.members[(s.at(slot).index+1)%3].name
		if err := s.OrderMoves(t.Context(), []object.Slot{slot}, to); err != nil {
			t.Fatal(err)
		}
		s.mover(func(at string) error {
			if at == step {
				return errStopped
			}
			return nil
		}).all(t.Context())
		s.close()
		s.open()
		if f, err := s.File(t.Context(), "www", "/a"); step != "placed" && (err != nil || f.Pointer.Version != v.Version) {
			t.Errorf("%s: read before the move goes on: %+v, %v", step, f, err)
		}
		s.mover(nil).all(t.Context())
		w, err := s.publish("/a", step+" again")
		if err != nil || s.at(slot).name != to {
			t.Errorf("%s: on %s, %v", step, s.at(slot).name, err)
		}
		want["/a"] = append(want["/a"], v.Version, w.Version)
	}
	s.checkLog(want)
}

// TestOldLayout: a catalogue with an old layout, as another process has, writes and reads where the slot is now.
func TestOldLayout(t *testing.T) {
	s := newSharded(t)
	const path = object.Path("/a")
	slot := object.SlotOf("www", path)
	if _, err := s.publish(path, "1"); err != nil {
		t.Fatal(err)
	}
	old := s.layout.Load()
	to := s.members[(s.at(slot).index+1)%3].name
	if err := s.OrderMoves(t.Context(), []object.Slot{slot}, to); err != nil {
		t.Fatal(err)
	}
	s.finish()
	s.layout.Store(old)
	v, err := s.publish(path, "2")
	if err != nil {
		t.Fatal(err)
	}
	s.layout.Store(old)
	if f, err := s.File(t.Context(), "www", path); err != nil || f.Pointer.Version != v.Version {
		t.Errorf("read by an old layout: %+v, %v", f, err)
	}
	s.layout.Store(old)
	if files, err := s.ListFiles(t.Context(), "www", "", "", 0); err != nil || len(files) != 1 || files[0].Pointer.Version != v.Version {
		t.Errorf("list by an old layout: %+v, %v", files, err)
	}
}

// TestOvertakenMove: a run that thinks it still has the move changes nothing more.
func TestOvertakenMove(t *testing.T) {
	s := newSharded(t)
	ctx := t.Context()
	slot := object.SlotOf("www", "/a")
	if _, err := s.publish("/a", "1"); err != nil {
		t.Fatal(err)
	}
	from := s.at(slot).name
	to := s.members[(s.at(slot).index+1)%3].name
	if err := s.OrderMoves(ctx, []object.Slot{slot}, to); err != nil {
		t.Fatal(err)
	}
	slow, err := s.takeMove(ctx, slot)
	if err != nil || slow == nil {
		t.Fatalf("take: %v, %v", slow, err)
	}
	if v, err := s.takeMove(ctx, slot); err != nil || v != nil {
		t.Fatalf("a move was taken twice: %v, %v", v, err)
	}
	slow.stop = func(at string) error {
		if at == "drained" { // it sleeps here, and somebody cancels the move
			if err := s.CancelMove(ctx, slot); err != nil {
				t.Error(err)
			}
			s.mover(nil).all(ctx)
		}
		return nil
	}
	if err := slow.run(ctx); !errors.Is(err, errOvertaken) {
		t.Errorf("the slow run: %v", err)
	}
	if err := s.relearn(ctx); err != nil || s.at(slot).name != from {
		t.Errorf("the slot is on %s, %v", s.at(slot).name, err)
	}
	if _, err := s.publish("/a", "2"); err != nil {
		t.Errorf("publish after the move was cancelled: %v", err)
	}
	if err := s.CancelMove(ctx, slot); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("cancel again: %v", err)
	}
}

// TestFenceWaitsForTheLog: while the log takes no entries a slot does not move, and writers are let in again.
func TestFenceWaitsForTheLog(t *testing.T) {
	s := newSharded(t)
	slot := object.SlotOf("www", "/a")
	s.log.SetReachable(false)
	first, err := s.publish("/a", "1")
	if err != nil {
		t.Fatal(err)
	}
	from := s.at(slot).name
	if err := s.OrderMoves(t.Context(), []object.Slot{slot}, s.members[(s.at(slot).index+1)%3].name); err != nil {
		t.Fatal(err)
	}
	s.mover(nil).all(t.Context())
	if l, err := s.Layout(t.Context()); err != nil || len(l.Moves) != 1 || l.Moves[0].Trouble == "" || l.Moves[0].Running || s.at(slot).name != from {
		t.Fatalf("layout %+v, %v", l, err)
	}
	second, err := s.publish("/a", "2")
	if err != nil {
		t.Fatalf("publish between two tries: %v", err)
	}
	s.log.SetReachable(true)
	s.finish()
	third, err := s.publish("/a", "3")
	if err != nil {
		t.Fatal(err)
	}
	s.checkLog(map[object.Path][]object.Version{"/a": {first.Version, second.Version, third.Version}})
}

// TestRebalance: a server that is added gets its share, and everything is where it was before.
func TestRebalance(t *testing.T) {
	s := newSharded(t)
	s.close()
	shards := s.cfg.Shards
	s.cfg.File, s.cfg.Shards = t.TempDir()+"/alone.db", nil
	s.open()
	var want []object.Path
	for i := range 60 {
		p := object.Path(fmt.Sprintf("/%02d", i))
		if _, err := s.publish(p, "x"); err != nil {
			t.Fatal(err)
		}
		want = append(want, p)
	}
	s.close()
	dir := t.TempDir()
	for i := range shards {
		shards[i].File = dir + "/" + shards[i].Name
	}
	s.cfg.Shards = shards
	s.open()
	n, err := s.OrderRebalance(t.Context())
	if err != nil || n != 2730 {
		t.Fatalf("%d moves, %v", n, err)
	}
	if _, err := s.OrderRebalance(t.Context()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("rebalance while moves are under way: %v", err)
	}
	// Moving all would take this test too long: those with rows are moved, the others given up.
	l, err := s.Layout(t.Context())
	if err != nil || l.Waiting != n || len(l.Moves) != 1000 {
		t.Fatalf("%d moves wait, %d shown, %v", l.Waiting, len(l.Moves), err)
	}
	full := map[object.Slot]bool{}
	for _, p := range want {
		full[object.SlotOf("www", p)] = true
	}
	home := s.members[0].server
	for slot := range object.Slots {
		if !full[object.Slot(slot)] {
			if _, err := home.write.Exec(`DELETE FROM moves WHERE slot = $1`, slot); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.finish()
	var got []object.Path
	for after := object.Path(""); ; {
		files, err := s.ListFiles(t.Context(), "www", "", after, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			break
		}
		for _, f := range files {
			got = append(got, f.Pointer.Path)
		}
		after = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v", got)
	}
}

func TestBalance(t *testing.T) {
	for members := 1; members <= 64; members++ {
		var l layout
		orders := l.balance(members)
		for slot, m := range orders {
			l.server[slot] = uint16(m)
		}
		n := l.count(members)
		if slices.Max(n)-slices.Min(n) > 1 || len(orders) != object.Slots-n[0] {
			t.Errorf("%d servers have %v after %d moves", members, n, len(orders))
		}
		if again := l.balance(members); len(again) != 0 {
			t.Errorf("%d servers: %d moves of a balanced layout", members, len(again))
		}
	}
}

// TestServerDown: what others have is served and published; a listing tells what it lacks.
func TestServerDown(t *testing.T) {
	s := newSharded(t)
	ctx := t.Context()
	if _, err := s.CreateSite(ctx, object.SiteRecord{Format: 1, Site: "www", Kind: object.Published}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Site(ctx, "www"); err != nil {
		t.Fatal(err)
	}
	on := map[int][]object.Path{}
	for i := range 30 {
		p := object.Path(fmt.Sprintf("/%02d", i))
		if _, err := s.publish(p, "x"); err != nil {
			t.Fatal(err)
		}
		m := s.at(object.SlotOf("www", p)).index
		on[m] = append(on[m], p)
	}
	for down := 2; down >= 0; down -= 2 {
		dead := s.members[down]
		if err := errors.Join(dead.server.read.Close(), dead.server.write.Close()); err != nil {
			t.Fatal(err)
		}
		alive := on[1][0]
		if _, err := s.publish(alive, "y"); err != nil {
			t.Errorf("%s is down: publish elsewhere: %v", dead.name, err)
		}
		if _, err := s.File(ctx, "www", alive); err != nil {
			t.Errorf("%s is down: look up elsewhere: %v", dead.name, err)
		}
		if _, err := s.File(ctx, "www", on[down][0]); !errors.Is(err, ErrUnavailable) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is down: look up there: %v", dead.name, err)
		}
		if _, err := s.publish(on[down][0], "y"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s is down: publish there: %v", dead.name, err)
		}
		files, err := s.ListFiles(ctx, "www", "", "", 0)
		var partial *PartialError
		if !errors.As(err, &partial) || !errors.Is(err, ErrUnavailable) || !slices.ContainsFunc(partial.Missing, func(m Missing) bool { return m.Server == dead.name && m.Slots > 1300 }) {
			t.Fatalf("%s is down: list: %v", dead.name, err)
		}
		for _, f := range files {
			if slices.Contains(on[down], f.Pointer.Path) {
				t.Errorf("%s is down, and %s was listed", dead.name, f.Pointer.Path)
			}
		}
		if !slices.ContainsFunc(files, func(f File) bool { return f.Pointer.Path == alive }) {
			t.Errorf("%s is down: %s is not listed", dead.name, alive)
		}
		if rec, err := s.Site(ctx, "www"); err != nil || rec.Site != "www" {
			t.Errorf("%s is down: site %+v, %v", dead.name, rec, err)
		}
	}
	s.stop()
	for _, m := range s.members {
		m.server.read, m.server.write = nil, nil
	}
}

// TestStrangerIsRefused: a database that is not the one a name stands for has not the rows that were there.
func TestStrangerIsRefused(t *testing.T) {
	s := newSharded(t)
	s.close()
	good := s.cfg.Shards[0].File
	s.cfg.Shards[0].File = t.TempDir() + "/new.db"
	if c, err := OpenSQLite(t.Context(), s.cfg); !errors.Is(err, errStranger) {
		t.Errorf("opened %v, %v", c, err)
	}
	s.cfg.Shards[0].File = good
	shards := s.cfg.Shards
	s.cfg.Shards = shards[:1]
	if c, err := OpenSQLite(t.Context(), s.cfg); err == nil {
		t.Errorf("opened %v without a server that has rows", c)
	}
	s.cfg.Shards = []Shard{shards[0], {Name: shards[1].Name, File: t.TempDir() + "/no/such/dir/c.db"}}
	s.open() // a server that does not answer keeps nobody from starting
	if l, err := s.Layout(t.Context()); err != nil || !l.Servers[1].Up || l.Servers[2].Up || l.Servers[2].ID == "" {
		t.Errorf("layout %+v, %v", l.Servers, err)
	}
}

// TestMovedTablesAreComplete: a table with slots that a move forgets would lose its rows.
func TestMovedTablesAreComplete(t *testing.T) {
	s := newSharded(t)
	db := s.members[0].server.read
	rows, err := db.Query(`SELECT t.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table' AND c.name = 'slot' ORDER BY t.name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
	}
	want := []string{"changed", "layout", "moves", "outbox", "slots"} // what is not of paths, uploads or blobs
	for _, m := range movedTables() {
		want = append(want, m.name)
		keys, err := db.Query(`SELECT name FROM pragma_table_info($1) WHERE pk > 0 ORDER BY pk`, m.name)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for keys.Next() {
			var n string
			if err := keys.Scan(&n); err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		keys.Close()
		// That the rows are found in the order of slot and key is what TestQueriesUseIndexes makes sure of.
		if !slices.Contains(got, "slot") || !slices.Equal(slices.DeleteFunc(slices.Clone(got), func(n string) bool { return n == "slot" }), m.key) {
			t.Errorf("the key of %s is %v, a move has %v", m.name, got, m.key)
		}
	}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("tables with slots %v, those known are %v", names, want)
	}
}

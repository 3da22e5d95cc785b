package fleet_test

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
	"perigee/fleet"
)

func report(node string, seq uint64, state fleet.State) *fleet.Report {
	return &fleet.Report{
		Format: 1, Node: node, Role: fleet.RoleEdge, Boot: "boot-1", Seq: seq, State: state,
		Place: fleet.Place{Name: node, Lat: 50, Lon: 8},
		Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.1.1:8100")},
	}
}

// beat lets another node be heard until ctx ends, so that the board is not deaf; the channel is closed when that is over.
func beat(ctx context.Context, b *fleet.Board) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for seq := uint64(1); ctx.Err() == nil; seq++ {
			r := report("beat", seq, fleet.Ready)
			r.Role = fleet.RoleAPI
			b.Receive(r)
			select {
			case <-ctx.Done():
			case <-time.After(fleet.ReportEvery):
			}
		}
	}()
	return over
}

func TestSilentNodeGoesDownAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := fleet.NewBoard(clock.System)
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		beating := beat(ctx, b)
		synctest.Wait()
		b.Receive(report("fra", 1, fleet.Ready))
		if !b.Snapshot().Find("fra").Fit() {
			t.Fatal("a ready node is fit")
		}
		gen := b.Snapshot().Gen
		time.Sleep(fleet.DeadAfter - 200*time.Millisecond)
		if !b.Snapshot().Find("fra").Fit() {
			t.Fatal("down before DeadAfter")
		}
		time.Sleep(400 * time.Millisecond)
		if n := b.Snapshot().Find("fra"); n.Fit() || !n.Down {
			t.Fatal("silent node still fit")
		}
		if b.Snapshot().Gen == gen {
			t.Fatal("Gen did not rise: steering would not notice")
		}
		b.Receive(report("fra", 2, fleet.Ready))
		if !b.Snapshot().Find("fra").Fit() {
			t.Fatal("a node that reports again is fit")
		}
		cancel()
		<-done
		<-beating
	})
}

func TestFrozenBoardKeepsLastView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := fleet.NewBoard(clock.System)
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		b.Receive(report("fra", 1, fleet.Ready))
		b.Freeze(true)
		if f := b.Snapshot().Frozen; f == nil || f.Why != fleet.FrozenNoBus || !f.Since.Equal(time.Now()) {
			t.Fatalf("frozen %+v", f)
		}
		time.Sleep(time.Hour)
		if !b.Snapshot().Find("fra").Fit() {
			t.Fatal("a board without a bus must not declare nodes down")
		}
		b.Freeze(false)
		beating := beat(ctx, b)
		time.Sleep(fleet.DeadAfter / 2)
		if !b.Snapshot().Find("fra").Fit() {
			t.Fatal("no grace after the bus came back")
		}
		if f := b.Snapshot().Frozen; f != nil {
			t.Fatalf("still frozen: %+v", f)
		}
		time.Sleep(fleet.DeadAfter)
		if b.Snapshot().Find("fra").Fit() {
			t.Fatal("still silent with the bus back: must go down")
		}
		cancel()
		<-done
		<-beating
	})
}

// Without a verdict an edge is what it says of itself, but while the view is frozen it stays as it was.
func TestVerdictsGoneWhileFrozen(t *testing.T) {
	b := fleet.NewBoard(clock.System)
	b.Receive(report("fra", 1, fleet.Ready))
	dns := func(seq uint64, blind bool) {
		r := report("dns", seq, fleet.Ready)
		r.Role, r.Blind = fleet.RoleDNS, blind
		if !blind {
			r.Probes = map[string]fleet.Verdict{"fra": {}, "unknown": {Up: true}}
		}
		b.Receive(r)
	}
	why := func(want fleet.Unfit) {
		t.Helper()
		if got := b.Snapshot().Find("fra").Why(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	why("")
	dns(1, false)
	why(fleet.UnfitUnreachable)
	b.Freeze(true)
	dns(2, true)
	why(fleet.UnfitUnreachable)
	gen := b.Snapshot().Gen
	b.Freeze(false)
	why("")
	if b.Snapshot().Gen == gen {
		t.Error("Gen did not rise: steering would not notice")
	}
	// What the prober said last does not count once it is gone.
	dns(3, false)
	why(fleet.UnfitUnreachable)
	r := report("dns", 4, fleet.Stopping)
	b.Receive(r)
	why("")
}

func TestReports(t *testing.T) {
	b := fleet.NewBoard(clock.System)
	b.Receive(report("fra", 5, fleet.Ready))
	b.Receive(report("fra", 4, fleet.Draining)) // overtaken on the way
	if !b.Snapshot().Find("fra").Fit() {
		t.Fatal("an older report of the same boot replaced a newer one")
	}
	gen := b.Snapshot().Gen
	changed := b.Changed()
	b.Receive(report("fra", 6, fleet.Ready))
	select {
	case <-changed:
	default:
		t.Fatal("Changed was not closed")
	}
	if b.Snapshot().Gen != gen {
		t.Fatal("Gen rose though nothing that steering reads has changed")
	}
	r := report("fra", 1, fleet.Draining)
	r.Boot = "boot-2"
	b.Receive(r)
	if b.Snapshot().Find("fra").Fit() || b.Snapshot().Gen == gen {
		t.Fatal("a report of a new boot counts whatever its Seq")
	}
	if err := b.Forget("fra"); err == nil {
		t.Fatal("forgot a node that still reports")
	}
	r = report("fra", 2, fleet.Stopping)
	r.Boot = "boot-2"
	b.Receive(r)
	if !b.Snapshot().Find("fra").Down {
		t.Fatal("a stopping node is down at once")
	}
	if err := b.Forget("fra"); err != nil {
		t.Fatal(err)
	}
	if err := b.Forget("fra"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.json")
	b := fleet.NewBoard(clock.System)
	b.Receive(report("fra", 1, fleet.Ready))
	b.Receive(report("nyc", 1, fleet.Draining))
	if err := b.Save(path); err != nil {
		t.Fatal(err)
	}
	c := fleet.NewBoard(clock.System)
	if err := c.Load(path); err != nil {
		t.Fatal(err)
	}
	if s := c.Snapshot(); len(s.Nodes) != 2 || !s.Find("fra").Fit() || s.Find("nyc").Fit() {
		t.Fatalf("loaded %+v", s)
	}
	if err := c.Load(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func FuzzDecodeReport(f *testing.F) {
	f.Add(fleet.EncodeReport(report("fra", 1, fleet.Ready)))
	f.Add(fleet.EncodeReport(full()))
	f.Add([]byte(`{"format":1,"node":"a","state":"ready","rtt":[{"p":"1.2.3.0/24","us":1,"n":1}],"probes":{"b":{"up":true,"for_ms":1}},"blind":true}`))
	f.Add([]byte(`{"format":1,"node":"a","state":"ready","place":{"lat":1e999}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := fleet.DecodeReport(b)
		if err == nil && r.Validate() != nil {
			t.Fatal("decoded an invalid report")
		}
	})
}

package health_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
	"perigee/fleet"
	"perigee/fleet/health"
)

// world is a fleet in one process: edges and probers that report over a bus, and the network between them, each part of which can be cut.
type world struct {
	t       *testing.T
	members map[string]*member

	mu    sync.Mutex
	noBus map[string]bool // nodes that the bus does not reach
	lost  map[string]bool // nodes, or "prober>edge", whose packets get lost
	dead  map[string]bool // edges that refuse connections
	state map[string]fleet.State
}

type member struct {
	board    *fleet.Board
	prober   *health.Prober
	reporter *fleet.Reporter
}

// newWorld makes a fleet: "e…" are edges, "d…" probers, others just report. It runs until the test ends.
func newWorld(t *testing.T, names string) *world {
	w := &world{t: t, members: map[string]*member{}, noBus: map[string]bool{}, lost: map[string]bool{}, dead: map[string]bool{}, state: map[string]fleet.State{}}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); wg.Wait() })
	for name := range strings.FieldsSeq(names) {
		m := &member{board: fleet.NewBoardOf(fleet.BoardConfig{Self: name, Clock: clock.System})}
		w.members[name] = m
		fill := func(r *fleet.Report) { w.fill(name, r) }
		m.reporter = fleet.NewReporter(clock.System, quiet, fill, w.publish)
		if name[0] == 'd' {
			m.prober = health.New(health.Config{
				Self: name, Fleet: m.board.Snapshot, Clock: clock.System, Blind: m.board.Blind, Changed: m.reporter.Kick,
				Check: func(ctx context.Context, n *fleet.Node) error { return w.check(ctx, name, n.Node) },
			})
			wg.Go(func() { m.prober.Run(ctx) })
		}
		wg.Go(func() { m.board.Run(ctx) })
	}
	for _, m := range w.members {
		wg.Go(func() { m.reporter.Run(ctx) })
	}
	time.Sleep(5 * time.Second)
	return w
}

func (w *world) fill(name string, r *fleet.Report) {
	w.mu.Lock()
	r.Node, r.Role, r.State = name, fleet.RoleAPI, fleet.Ready
	if s, ok := w.state[name]; ok {
		r.State = s
	}
	w.mu.Unlock()
	switch name[0] {
	case 'e':
		r.Role, r.Addrs = fleet.RoleEdge, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80")}
	case 'd':
		r.Role = fleet.RoleDNS
		w.members[name].prober.Fill(r)
	}
}

func (w *world) publish(r *fleet.Report) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noBus[r.Node] {
		return errors.New("no bus")
	}
	for name, m := range w.members {
		if w.noBus[name] {
			continue
		}
		got, err := fleet.DecodeReport(fleet.EncodeReport(r))
		if err != nil {
			w.t.Error(err)
			continue
		}
		m.board.Receive(got)
	}
	return nil
}

func (w *world) check(ctx context.Context, prober, edge string) error {
	w.mu.Lock()
	lost, dead := w.lost[prober] || w.lost[edge] || w.lost[prober+">"+edge], w.dead[edge]
	w.mu.Unlock()
	switch {
	case lost:
		<-ctx.Done()
		return &health.Failure{Word: health.WordTimeout, Err: ctx.Err()}
	case dead:
		return &health.Failure{Word: health.WordRefused, Err: errors.New("refused")}
	}
	time.Sleep(20 * time.Millisecond)
	return nil
}

// set changes one of the maps.
func (w *world) set(m map[string]bool, value bool, keys ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		m[k] = value
	}
}

// views fails unless the views of the named boards are the wanted one: the edges with the reasons why they are not fit, and whether it is frozen.
func (w *world) views(boards, want string) {
	w.t.Helper()
	for name := range strings.FieldsSeq(boards) {
		if got := view(w.members[name].board.Snapshot()); got != want {
			w.t.Errorf("at %v, %s sees %q, not %q", time.Now().Format("15:04:05.000"), name, got, want)
		}
	}
}

func view(s *fleet.Snapshot) string {
	var parts []string
	for n := range s.Edges {
		word := n.Node
		if why := n.Why(); why != "" {
			word += ":" + string(why)
		}
		parts = append(parts, word)
	}
	if s.Frozen != nil {
		parts = append(parts, "frozen:"+string(s.Frozen.Why))
	}
	return strings.Join(parts, " ")
}

// always fails if a board shows anything else within d.
func (w *world) always(d time.Duration, boards, want string) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end) && !w.t.Failed(); time.Sleep(50 * time.Millisecond) {
		w.views(boards, want)
	}
}

// within waits until all boards show what is wanted, and fails after d.
func (w *world) within(d time.Duration, boards, want string) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ok := true
		for name := range strings.FieldsSeq(boards) {
			ok = ok && view(w.members[name].board.Snapshot()) == want
		}
		if ok {
			return
		}
	}
	w.views(boards, want)
}

func TestPartitions(t *testing.T) {
	const fit = "e1 e2 e3"
	for _, c := range []struct {
		name, nodes string
		run         func(w *world)
	}{
		{"a prober is cut off from everything", "e1 e2 e3 d1 d2 d3", func(w *world) {
			w.set(w.noBus, true, "d1")
			w.set(w.lost, true, "d1")
			w.within(2*time.Second, "d1", fit+" frozen:deaf")
			w.always(10*time.Minute, "d1", fit+" frozen:deaf")
			w.views("d2 d3", fit)
			if !w.members["d2"].board.Snapshot().Find("d1").Down {
				t.Error("the others do not miss d1")
			}
			w.set(w.noBus, false, "d1")
			w.set(w.lost, false, "d1")
			w.within(3*time.Second, "d1 d2 d3", fit)
			w.always(10*time.Second, "d1 d2 d3", fit)
		}},
		{"a prober is cut off from the edges only", "e1 e2 e3 d1 d2 d3", func(w *world) {
			w.set(w.lost, true, "d1")
			w.within(4*time.Second, "d1", fit+" frozen:blind")
			w.always(time.Minute, "d2 d3", fit)
			if n := w.members["d2"].board.Snapshot().Find("d1"); !n.Blind || len(n.Probes) != 0 {
				t.Errorf("d1 reports %+v", n.Report)
			}
			if n := w.members["d2"].board.Snapshot().Find("e1"); n.Seen != (fleet.Votes{Up: 2}) {
				t.Errorf("votes %+v", n.Seen)
			}
			// What the others find out counts for the blind one too.
			w.set(w.dead, true, "e2")
			w.within(4*time.Second, "d2 d3", "e1 e2:unreachable e3")
			w.views("d1", "e1 e2:unreachable e3 frozen:blind")
			w.set(w.lost, false, "d1")
			w.within(3*time.Second, "d1", "e1 e2:unreachable e3")
		}},
		{"the only prober is cut off from the edges", "e1 e2 e3 d1 api", func(w *world) {
			w.set(w.dead, true, "e2")
			w.within(4*time.Second, "d1 api", "e1 e2:unreachable e3")
			w.set(w.lost, true, "d1")
			w.within(4*time.Second, "d1", "e1 e2:unreachable e3 frozen:blind")
			w.always(time.Minute, "d1", "e1 e2:unreachable e3 frozen:blind")
			w.set(w.lost, false, "d1")
			w.within(3*time.Second, "d1", "e1 e2:unreachable e3")
		}},
		{"a prober keeps the bus and loses all edges, which it hears over the same network", "e1 e2 e3 d1 api", func(w *world) {
			w.set(w.noBus, true, "e1", "e2", "e3") // the bus is at the prober's side, as is the API
			w.set(w.lost, true, "d1")
			w.within(6*time.Second, "d1", fit+" frozen:blind")
			w.always(time.Minute, "d1", fit+" frozen:blind")
			w.set(w.noBus, false, "e1", "e2", "e3")
			w.set(w.lost, false, "d1")
			w.within(3*time.Second, "d1", fit)
			w.always(10*time.Second, "d1", fit)
		}},
		{"an edge is cut off from the bus and serves", "e1 e2 e3 d1 d2", func(w *world) {
			w.set(w.noBus, true, "e1")
			w.within(2*time.Second, "d1 d2", "e1:down e2 e3")
			w.always(10*time.Second, "d1 d2", "e1:down e2 e3")
			w.set(w.noBus, false, "e1")
			w.within(time.Second, "d1 d2", fit)
		}},
		{"an edge is dead and reports", "e1 e2 e3 d1 d2 d3 api", func(w *world) {
			w.set(w.dead, true, "e1")
			w.within(4*time.Second, "d1 d2 d3 api", "e1:unreachable e2 e3")
			w.always(10*time.Second, "d1 d2 d3 api", "e1:unreachable e2 e3")
			w.set(w.dead, false, "e1")
			w.always(1500*time.Millisecond, "d1 d2 d3 api", "e1:unreachable e2 e3") // three successes take at least two intervals
			w.within(4*time.Second, "d1 d2 d3 api", fit)
		}},
		{"one prober of three does not reach an edge", "e1 e2 e3 d1 d2 d3", func(w *world) {
			w.set(w.lost, true, "d1>e1")
			w.always(time.Minute, "d1 d2 d3", fit)
			if n := w.members["d3"].board.Snapshot().Find("e1"); n.Seen != (fleet.Votes{Up: 2, Down: 1}) {
				t.Errorf("votes %+v", n.Seen)
			}
			w.set(w.lost, true, "d2>e1")
			w.within(5*time.Second, "d1 d2 d3", "e1:unreachable e2 e3")
			// The two that miss it are gone: the one that reaches it is left.
			w.set(w.noBus, true, "d1", "d2")
			w.within(3*time.Second, "d3", fit)
		}},
		{"one of two probers does not reach an edge", "e1 e2 d1 d2", func(w *world) {
			w.set(w.lost, true, "d1>e1")
			w.always(time.Minute, "d1 d2", "e1 e2")
		}},
		{"everybody is silent", "e1 e2 e3 d1 d2 api", func(w *world) {
			w.set(w.noBus, true, "e1", "e2", "e3", "d1", "d2", "api")
			w.within(2*time.Second, "d1 d2 api", fit+" frozen:deaf")
			w.always(10*time.Minute, "d1 d2 api", fit+" frozen:deaf")
			w.set(w.noBus, false, "e2", "e3", "d1", "d2", "api")
			w.within(3*time.Second, "d1 d2 api", "e1:down e2 e3")
		}},
		{"the bus client knows that it is cut off", "e1 e2 e3 d1", func(w *world) {
			w.members["d1"].board.Freeze(true)
			w.set(w.noBus, true, "d1")
			w.always(time.Minute, "d1", fit+" frozen:no-bus")
			w.members["d1"].board.Freeze(false)
			w.set(w.noBus, false, "d1")
			w.always(10*time.Second, "d1", fit)
		}},
		{"an edge that reports ready needs no verdict", "e1 e2 e3 d1", func(w *world) {
			w.mu.Lock()
			w.state["e3"] = fleet.Starting
			w.mu.Unlock()
			w.set(w.dead, true, "e3")
			w.within(time.Second, "d1", "e1 e2 e3:starting")
			w.set(w.dead, false, "e3")
			w.mu.Lock()
			delete(w.state, "e3")
			w.mu.Unlock()
			w.within(fleet.ReportEvery+50*time.Millisecond, "d1", fit)
		}},
		{"the only edge fails", "e1 d1 api", func(w *world) {
			w.set(w.dead, true, "e1")
			w.within(4*time.Second, "d1 api", "e1:unreachable")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.nodes)
				c.run(w)
			})
		})
	}
}

// An edge that comes and goes is kept out, each time for longer, and at most for HoldMax.
func TestFlappingEdgeIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "e1 e2 d1 d2")
		flap := func() {
			w.set(w.dead, true, "e1")
			time.Sleep(6 * time.Second)
			w.set(w.dead, false, "e1")
			time.Sleep(6 * time.Second)
		}
		flap()
		flap()
		w.views("d1 d2", "e1 e2")
		flap()
		w.views("d1 d2", "e1:flapping e2")
		n := w.members["d1"].board.Snapshot().Find("e1")
		if n.Held.Losses != fleet.FlapLosses || n.Held.Times != 1 {
			t.Errorf("held %+v", n.Held)
		}
		w.always(time.Until(n.Held.Until)-time.Second, "d1 d2", "e1:flapping e2")
		w.within(3*time.Second, "d1 d2", "e1 e2")
		var last time.Duration
		for range 8 {
			flap()
			h := w.members["d1"].board.Snapshot().Find("e1").Held
			if h == nil {
				t.Fatal("not held")
			}
			left := time.Until(h.Until)
			if left <= last && left < fleet.HoldMax-20*time.Second || left > fleet.HoldMax {
				t.Errorf("held for %v after %v", left, last)
			}
			last = left
		}
		time.Sleep(fleet.HoldMax + time.Second)
		w.views("d1 d2", "e1 e2")
	})
}

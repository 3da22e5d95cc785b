package health

import (
	"cmp"
	"context"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/fleet"
)

// Check asks an edge whether it serves; nil says yes. It must return when ctx ends. A *Failure has its word in reports, any other error is "error".
type Check func(ctx context.Context, edge *fleet.Node) error

// Config says what a Prober works with. Durations and numbers of 0 mean the values given here.
type Config struct {
	Self  string      // name of the node that asks; it does not ask itself
	Place fleet.Place // of an edge that asks: edges at the same place are not asked, as they share its network. Zero for none
	Fleet func() *fleet.Snapshot
	Check Check
	// Every is how often each edge is asked, give or take a fifth; 1 s.
	Every time.Duration
	// Timeout is how long an answer may take; 1 s.
	Timeout time.Duration
	Down    int // failures in a row that make an edge down; 2
	Up      int // successes in a row that make it up again; 3
	Clock   clock.Clock
	Log     *slog.Logger
	// Blind hears when no edge can be reached any more, and when one can again. It must not call the Prober. nil for nobody.
	Blind func(bool)
	// Changed hears of every change of a verdict, so that it can be reported at once. It must not block. nil for nobody.
	Changed func()
}

// maxRunning is how many edges are asked at the same time.
const maxRunning = 32

// Prober asks edges. Fill and Stats may be called at any time, by anybody.
type Prober struct {
	cfg     Config
	targets map[string]*target // by name; Run's own, as are the next four
	order   []*target
	running int
	witness time.Time // when the last probe that succeeded was begun
	blind   bool
	view    atomic.Pointer[view]
	asked   atomic.Uint64
	mu      sync.Mutex
	failed  map[string]uint64 // by word
}

// target is an edge that is asked.
type target struct {
	node    *fleet.Node
	due     time.Time
	running bool
	known   bool // there is a verdict
	up      bool
	since   time.Time // of the verdict
	word    string    // for the last failure
	fails   int       // in a row
	oks     int       // in a row
	failing time.Time // when the first of fails was over
}

// view is what others are told. It is immutable.
type view struct {
	verdicts map[string]standing
	blind    bool
}

type standing struct {
	up    bool
	since time.Time
	word  string
}

// New returns a Prober. It starts nothing: Run asks.
func New(cfg Config) *Prober {
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Second
	}
	if cfg.Down <= 0 {
		cfg.Down = 2
	}
	if cfg.Up <= 0 {
		cfg.Up = 3
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Blind == nil {
		cfg.Blind = func(bool) {}
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	p := &Prober{cfg: cfg, targets: map[string]*target{}, failed: map[string]uint64{}}
	p.view.Store(&view{})
	return p
}

// Fill writes the verdicts into a report of the prober's node.
func (p *Prober) Fill(r *fleet.Report) {
	v := p.view.Load()
	r.Blind = v.blind
	if v.blind || len(v.verdicts) == 0 {
		return
	}
	now := p.cfg.Clock.Now()
	r.Probes = make(map[string]fleet.Verdict, len(v.verdicts))
	for name, s := range v.verdicts {
		r.Probes[name] = fleet.Verdict{Up: s.up, For: max(0, now.Sub(s.since).Milliseconds()), Err: s.word}
	}
}

// answer is what came of a probe.
type answer struct {
	t     *target
	began time.Time
	err   error
}

// Run asks until ctx ends, and returns when nobody is being asked any more.
func (p *Prober) Run(ctx context.Context) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, maxRunning) // room for all, so that nobody waits for a Run that is over
	timer := p.cfg.Clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-answers:
			p.take(a)
		case <-timer.C():
		}
		p.refresh()
		timer.Reset(p.ask(ctx, &calls, answers))
	}
}

// ask begins the probes that are due and returns how long there is nothing more to do.
func (p *Prober) ask(ctx context.Context, calls *sync.WaitGroup, answers chan<- answer) time.Duration {
	now := p.cfg.Clock.Now()
	next := p.cfg.Every / 2 // to hear of new edges
	for _, t := range p.order {
		wait := t.due.Sub(now)
		switch {
		case t.running:
		case wait > 0:
			next = min(next, wait)
		case p.running < maxRunning: // else the next answer makes room
			t.running = true
			t.due = now.Add(p.interval())
			p.running++
			p.asked.Add(1)
			node := t.node
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
				defer cancel()
				answers <- answer{t, now, p.cfg.Check(ctx, node)}
			})
		}
	}
	return next
}

// interval is Every, give or take a fifth, so that probers do not fall into step.
func (p *Prober) interval() time.Duration {
	return p.cfg.Every*4/5 + rand.N(p.cfg.Every*2/5+1)
}

// refresh takes over who is to be asked.
func (p *Prober) refresh() {
	s := p.cfg.Fleet()
	if s == nil {
		return
	}
	nodes := p.chosen(s)
	now := p.cfg.Clock.Now()
	keep := make(map[string]*target, len(nodes))
	p.order = p.order[:0]
	for _, n := range nodes {
		t := p.targets[n.Node]
		if t == nil {
			t = &target{due: now.Add(rand.N(p.cfg.Every/5 + 1))}
		}
		t.node = n
		keep[n.Node] = t
		p.order = append(p.order, t)
	}
	gone := len(p.targets) != len(keep)
	for name := range p.targets {
		gone = gone || keep[name] == nil
	}
	p.targets = keep
	if len(keep) == 0 && p.blind {
		p.see()
	}
	if gone {
		p.publish()
	}
}

// chosen returns the edges that this prober asks.
func (p *Prober) chosen(s *fleet.Snapshot) []*fleet.Node {
	var nodes []*fleet.Node
	for n := range s.Edges {
		here := p.cfg.Place != (fleet.Place{}) && n.Place == p.cfg.Place
		if n.Node != p.cfg.Self && !here && n.State != fleet.Starting && n.State != fleet.Stopping && len(n.Addrs) > 0 {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) > fleet.MaxProbes {
		slices.SortFunc(nodes, func(a, b *fleet.Node) int { return cmp.Compare(p.draw(b), p.draw(a)) })
		nodes = nodes[:fleet.MaxProbes]
	}
	return nodes
}

// draw is the rendezvous hash of this prober and an edge.
func (p *Prober) draw(n *fleet.Node) uint64 {
	h := fnv.New64a()
	h.Write([]byte(p.cfg.Self))
	h.Write([]byte{0})
	h.Write([]byte(n.Node))
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9 // the finaliser of SplitMix64: FNV alone hardly mixes the last bytes
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (p *Prober) publish() {
	v := &view{blind: p.blind, verdicts: map[string]standing{}}
	for name, t := range p.targets {
		if t.known {
			v.verdicts[name] = standing{t.up, t.since, t.word}
		}
	}
	p.view.Store(v)
	p.cfg.Changed()
}

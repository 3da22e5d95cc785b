//go:build amd64 || arm64

package lane

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Orders to a loop, as bits.
const (
	orderSweep = 1 << iota // look at the deadlines
	orderDrain             // end when the last request under way is answered
	orderCut               // end now
)

// arrival is a new connection.
type arrival struct {
	fd     int
	remote netip.AddrPort
}

// mail is what other goroutines have for a loop.
type mail struct {
	arrivals []arrival
	served   []*conn // whose Handler.Serve has returned
	orders   int
}

// loop owns connections and answers on them. All but the mail and the counter is for its goroutine alone.
type loop struct {
	run     *run
	cfg     *Config
	index   int
	poll    *poller
	held    atomic.Int64 // connections, those in the mail too
	mu      sync.Mutex
	box     mail
	spare   mail // an emptied box, whose memory is used again
	conns   []*conn
	free    []int32 // slots of conns that are nil
	again   []*conn // have more to read than one turn took
	turned  []*conn // memory for the next again
	in      []byte
	request Request
	reply   Reply
	vector  vector
	started time.Time
	now     time.Time // of this turn
	serving int       // goroutines of Handler.Serve
	swept   int       // sweeps, up to measureShare
	gen     int32
	drained bool // ordered to drain
	cut     bool // ordered to end
}

// readAhead is how many bytes a turn reads of one connection, if no head may be longer: some hundred pipelined requests.
const readAhead = 32 << 10

func newLoop(r *run, index int) (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	l := &loop{run: r, cfg: &r.lane.cfg, index: index, poll: p, started: r.lane.cfg.Clock.Now()}
	l.now = l.started
	l.in = make([]byte, max(readAhead, 2*l.cfg.MaxHead))
	return l, nil
}

// work turns until it was told to end and holds no connection.
func (l *loop) work() {
	for !l.drained || l.held.Load() > 0 {
		l.turn()
	}
}

// turn waits for events and handles each once.
func (l *loop) turn() {
	events, err := l.poll.wait(len(l.again) == 0)
	if err != nil {
		// The descriptor is the loop's own and sound, so this is memory that the system lacks. The connections cannot be served.
		l.cfg.Log.Error("a loop of the fast lane has failed", "err", err)
		l.drained = true
		l.cutAll()
		runtime.Gosched()
		l.readMail()
		return
	}
	l.now = l.cfg.Clock.Now()
	mail := false
	for i := range events {
		ev := &events[i]
		if ev.Fd == wakeSlot {
			mail = true
			continue
		}
		if c := l.conns[ev.Fd]; c != nil && c.gen == ev.Pad {
			l.event(c, ev.Events)
		}
	}
	again := l.again
	l.again, l.turned = l.turned[:0], again
	for _, c := range again {
		if c.queued = false; c.phase == reading {
			l.proceed(c)
		}
	}
	clear(again)
	if mail {
		l.readMail()
	}
	if l.serving > 0 {
		// A loop that never waits would let the goroutines it started wait for up to 10 ms, until it is preempted.
		runtime.Gosched()
	}
}

// readMail takes what others left, and does it.
func (l *loop) readMail() {
	l.poll.woken()
	l.mu.Lock()
	m := l.box
	l.box = l.spare
	l.mu.Unlock()
	for _, a := range m.arrivals {
		l.arrive(a)
	}
	for _, c := range m.served {
		l.served(c)
	}
	if m.orders&orderDrain != 0 {
		l.drainAll()
	}
	if m.orders&orderCut != 0 {
		l.cutAll()
	}
	if m.orders&orderSweep != 0 {
		l.sweep()
	}
	clear(m.served)
	l.mu.Lock()
	l.spare = mail{arrivals: m.arrivals[:0], served: m.served[:0]}
	l.mu.Unlock()
}

// post changes the box and wakes the loop, if nobody has since it last read it.
func (l *loop) post(change func(*mail)) {
	l.mu.Lock()
	first := len(l.box.arrivals) == 0 && len(l.box.served) == 0 && l.box.orders == 0
	change(&l.box)
	if first {
		// Within the lock, so that a loop that has taken its last mail and closed the descriptor is not written to.
		l.poll.wake()
	}
	l.mu.Unlock()
}

func (l *loop) give(a arrival) { l.post(func(m *mail) { m.arrivals = append(m.arrivals, a) }) }
func (l *loop) back(c *conn)   { l.post(func(m *mail) { m.served = append(m.served, c) }) }
func (l *loop) order(o int)    { l.post(func(m *mail) { m.orders |= o }) }

// since is a time of the loop as connections keep it.
func (l *loop) since() int64 { return int64(l.now.Sub(l.started)) }

// sweep ends the connections whose time is up. Those of a goroutine have its deadlines.
func (l *loop) sweep() {
	now := l.since()
	l.measureSome(now)
	for _, c := range l.conns {
		if c == nil || c.phase == serving {
			continue
		}
		limit := l.cfg.Idle
		switch {
		case c.phase == writing:
			limit = l.cfg.WriteIdle
		case c.phase == lingering:
			limit = lingerTime
		case len(c.rest) > 0:
			limit = l.cfg.HeadTimeout
		}
		if now-c.since < int64(limit) {
			continue
		}
		if c.phase == writing {
			l.reset(c)
		} else {
			l.drop(c)
		}
	}
}

// measureShare is how many sweeps it takes until each connection was measured once.
const measureShare = 64

// measureSome measures the share of this sweep of the connections that were in use since they were measured last.
func (l *loop) measureSome(now int64) {
	l.swept = (l.swept + 1) % measureShare
	if l.cfg.Measure == nil {
		return
	}
	for slot := l.swept; slot < len(l.conns); slot += measureShare {
		if c := l.conns[slot]; c != nil && (c.phase == serving || now-c.since <= measureShare*int64(sweepEvery)) {
			l.measure(c)
		}
	}
}

// drainAll ends what is idle, after a last look whether a request is there already.
func (l *loop) drainAll() {
	l.drained = true
	for _, c := range l.conns {
		if c != nil && c.phase == reading {
			c.readable = true
			l.proceed(c)
		}
	}
}

// cutAll ends everything. A goroutine that answers notices and gives its connection back.
func (l *loop) cutAll() {
	l.cut = true
	for _, c := range l.conns {
		switch {
		case c == nil:
		case c.phase == serving:
			c.service.gone()
		default:
			l.reset(c)
		}
	}
}

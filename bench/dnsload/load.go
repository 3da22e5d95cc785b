// Package dnsload asks a DNS server over UDP and checks every byte of what comes back that can be foreseen: id, question, response code, how many addresses and
// which, the client subnet. It keeps a number of queries outstanding, from one socket and one goroutine, in batches (sendmmsg(2), recvmmsg(2)), so that it seldom is
// what is measured; Result.CPU says what it took.
//
// It is not a resolver and tries nothing twice: a query without an answer is lost. It makes only the queries that Kind can say. Which queries are asked depends on
// Config.Seed alone; in which order the answers free the next query depends on the server.
//
// Life cycle: Run opens its socket, asks, waits for what is outstanding and closes it. It starts no goroutine.
package dnsload

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"time"
)

// Kind is one kind of query and what is the right answer.
type Kind struct {
	Weight int      `json:"weight"` // how often it is asked, in relation to the other kinds
	Names  []string `json:"names"`  // absolute names; one of them, at random, is asked for
	// Random puts a label of 12 random letters before the name.
	Random bool   `json:"random"`
	Type   uint16 `json:"type"` // 1 for A, 28 for AAAA
	// ECS adds a client subnet, a random /24 of the public address space (RFC 7871).
	ECS   bool  `json:"ecs"`
	Rcode uint8 `json:"rcode"` // of the right answer
	// Addrs are the addresses that the right answer has one of. With Each, the answer for Names[i] is Addrs[i]. Without any, the right answer is empty.
	Addrs []netip.Addr `json:"addrs"`
	Each  bool         `json:"each"`
}

// Config says what to ask.
type Config struct {
	Addr        string  `json:"addr"` // IP address and port of the server
	Kinds       []Kind  `json:"kinds"`
	Outstanding int     `json:"outstanding"` // queries without an answer at any time, 1 to 1024
	Queries     int     `json:"queries"`     // ends the run after so many; 0 means Seconds decides
	Seconds     float64 `json:"seconds"`
	Patience    float64 `json:"patience"` // seconds after which a query is lost; 0 means 1
	Seed        uint64  `json:"seed"`
	// Heard, unless nil, is told of every right answer that has an address: the query's client subnet, if it had one, and the address.
	Heard func(subnet netip.Prefix, addr netip.Addr) `json:"-"`
}

// Result is what came of it.
type Result struct {
	Right int64 `json:"right"` // answers
	Wrong int64 `json:"wrong"` // answers that are not right, or to no question that is open
	Lost  int64 `json:"lost"`  // queries without an answer within Config.Patience
	// First is the first fault.
	First   string  `json:"first"`
	Seconds float64 `json:"seconds"` // from the first query to the last answer
	CPU     float64 `json:"cpu"`     // seconds of processor time that the asking itself took
	P50     float64 `json:"p50"`     // microseconds from query to answer
	P99     float64 `json:"p99"`
	P999    float64 `json:"p999"`
}

const (
	slotBits       = 10 // of an id that name the slot; the others tell its queries apart
	maxOutstanding = 1 << slotBits
	slowest        = 1 << 20 // microseconds; what takes longer counts as this
)

// slot is one outstanding query.
type slot struct {
	open  bool
	age   uint16 // counts its queries
	since time.Time
	query query
}

// run is one Run.
type run struct {
	Config
	kinds    []*asker
	total    int // weight
	rng      *rand.Rand
	slots    []slot
	free     []int // slots that are not open
	asked    int
	patience time.Duration
	deadline time.Time
	last     time.Time // answer
	took     []uint32  // how many answers took so many microseconds
	result   Result
}

// Run asks and checks. An error is about the configuration or the socket; whatever the server does is in the Result.
func Run(cfg Config) (Result, error) {
	r, err := newRun(cfg)
	if err != nil {
		return Result{}, err
	}
	runtime.LockOSThread() // what the thread uses is what the asking takes
	defer runtime.UnlockOSThread()
	s, err := dial(cfg.Addr)
	if err != nil {
		return Result{}, err
	}
	defer s.close()
	before, err := threadCPU()
	if err != nil {
		return Result{}, err
	}
	began := time.Now()
	r.last, r.deadline = began, began.Add(time.Duration(cfg.Seconds*float64(time.Second)))
	if err := r.loop(s); err != nil {
		return Result{}, err
	}
	after, err := threadCPU()
	if err != nil {
		return Result{}, err
	}
	r.result.CPU, r.result.Seconds = (after - before).Seconds(), r.last.Sub(began).Seconds()
	r.result.P50, r.result.P99, r.result.P999 = r.quantile(0.5), r.quantile(0.99), r.quantile(0.999)
	return r.result, nil
}

func newRun(cfg Config) (*run, error) {
	if cfg.Outstanding < 1 || cfg.Outstanding > maxOutstanding {
		return nil, fmt.Errorf("outstanding is %d; it is 1 to %d", cfg.Outstanding, maxOutstanding)
	}
	r := &run{Config: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 53)), slots: make([]slot, cfg.Outstanding), took: make([]uint32, slowest+1), patience: time.Second}
	if cfg.Patience > 0 {
		r.patience = time.Duration(cfg.Patience * float64(time.Second))
	}
	for i := range r.slots {
		r.free = append(r.free, i)
	}
	for i, k := range cfg.Kinds {
		a, err := newAsker(k)
		if err != nil {
			return nil, fmt.Errorf("kind %d: %w", i, err)
		}
		r.kinds = append(r.kinds, a)
		r.total += k.Weight
	}
	if r.total == 0 {
		return nil, errors.New("there is no kind of query with a weight")
	}
	return r, nil
}

// loop asks until the run has asked enough, and then until nothing is outstanding.
func (r *run) loop(s *socket) error {
	swept := time.Now()
	for {
		now := time.Now()
		if now.Sub(swept) > r.patience/16 {
			swept = now
			r.sweep(now)
		}
		if err := r.ask(s, now); err != nil {
			return err
		}
		if len(r.free) == len(r.slots) {
			return nil // nothing is outstanding and nothing was asked
		}
		n, err := s.receive()
		if err != nil {
			return err
		}
		now = time.Now()
		for i := range n {
			r.hear(s.packet(i), now)
		}
	}
}

// enough reports whether no more is to be asked.
func (r *run) enough(now time.Time) bool {
	if r.Queries > 0 {
		return r.asked >= r.Queries
	}
	return !now.Before(r.deadline)
}

// ask makes a query of each free slot, as many as fit in a batch, and sends them.
func (r *run) ask(s *socket, now time.Time) error {
	n := 0
	for n < batch && len(r.free) > 0 && !r.enough(now) {
		i := r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
		sl := &r.slots[i]
		sl.age++
		r.pick().ask(&sl.query, sl.age<<slotBits|uint16(i), r.rng)
		sl.open, sl.since = true, now
		s.queue(n, sl.query.packet)
		n++
		r.asked++
	}
	return s.send(n)
}

// pick chooses the kind of the next query.
func (r *run) pick() *asker {
	i := 0
	if len(r.kinds) > 1 {
		for n := r.rng.IntN(r.total); n >= r.kinds[i].Weight; i++ {
			n -= r.kinds[i].Weight
		}
	}
	return r.kinds[i]
}

// hear takes a packet from the server. A wrong answer is an answer: its query is not lost, too.
func (r *run) hear(b []byte, now time.Time) {
	if len(b) < headerSize {
		r.wrong(errShort, nil, b)
		return
	}
	id := uint16(b[0])<<8 | uint16(b[1])
	i := int(id & (maxOutstanding - 1))
	if i >= len(r.slots) || !r.slots[i].open || r.slots[i].query.id() != id {
		r.wrong(errNotAsked, nil, b)
		return
	}
	sl := &r.slots[i]
	sl.open = false
	r.free = append(r.free, i)
	r.last = now
	if err := sl.query.check(b); err != nil {
		r.wrong(err, sl.query.packet, b)
		return
	}
	if r.Heard != nil {
		r.tell(&sl.query, b)
	}
	r.result.Right++
	r.took[min(now.Sub(sl.since)/time.Microsecond, slowest)]++
}

// tell tells Heard of a right answer.
func (r *run) tell(q *query, b []byte) {
	rr, ok := readRecord(b, q.end)
	if !ok || len(q.kind.addrs) == 0 {
		return
	}
	addr, _ := netip.AddrFromSlice(b[rr.data:rr.end])
	var subnet netip.Prefix
	if e := q.ecs(); e != nil {
		subnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{e[4], e[5], e[6], 0}), sourceLength)
	}
	r.Heard(subnet, addr)
}

func (r *run) wrong(err error, query, answer []byte) {
	r.result.Wrong++
	if r.result.First == "" {
		r.result.First = fmt.Sprintf("%v; query %x, answer %x", err, query, answer)
	}
}

// sweep gives up the queries that have waited for too long.
func (r *run) sweep(now time.Time) {
	for i := range r.slots {
		if sl := &r.slots[i]; sl.open && now.Sub(sl.since) > r.patience {
			sl.open = false
			r.free = append(r.free, i)
			r.result.Lost++
			if r.result.First == "" {
				r.result.First = fmt.Sprintf("no answer to %x", sl.query.packet)
			}
		}
	}
}

// quantile returns what share q of the right answers took at most, in microseconds.
func (r *run) quantile(q float64) float64 {
	left := int64(math.Ceil(q * float64(r.result.Right)))
	for us, n := range r.took {
		if left -= int64(n); left <= 0 {
			return float64(us)
		}
	}
	return 0
}

package edge

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
)

// tally counts answers. Each loop of the lane has a slot of its own, and all who come by net/http one more, so that no
// two cores write to one cache line for each request; who reads adds up.
type tally struct {
	slots []slot
	conns atomic.Int64
	// sent counts bytes of bodies as they go out the long way: those of a large file while it is under way.
	sent atomic.Int64
}

// slot is the part of one loop.
type slot struct {
	quick quickCounts
	_     [64]byte
	slow  slowCounts
	_     [64]byte
}

// quickCounts counts the answers that the loop gave from memory: all of them hits, with the reason ram.
type quickCounts struct {
	answers [len(quickStatus)]atomic.Int64
	bytes   atomic.Int64
}

// quickStatus are the statuses of answers from memory.
var quickStatus = [...]int{http.StatusOK, http.StatusPartialContent, http.StatusNotModified, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable}

// quickIndex returns where status stands in quickStatus.
func quickIndex(status int) int {
	for i, s := range quickStatus {
		if s == status {
			return i
		}
	}
	return 0 // evaluate gives no other
}

// slowCounts counts the answers that went through the steps. Which combinations of words there are shows only in time, so the
// map is copied when one is met for the first time; there are some dozens.
type slowCounts struct {
	mu           sync.Mutex // of those who copy the map
	byWords      atomic.Pointer[map[words]*figures]
	hits, misses atomic.Int64
}

// words say what became of a request: the labels of its metric.
type words struct {
	status          int
	outcome, reason string
}

type figures struct{ answers, bytes atomic.Int64 }

func newTally(loops int) *tally { return &tally{slots: make([]slot, loops+1)} }

// others is the slot of requests that no loop has.
func (t *tally) others() int { return len(t.slots) - 1 }

// sending counts bytes under way the long way.
func (t *tally) sending(n int) { t.sent.Add(int64(n)) }

// quick counts an answer of a loop from memory.
func (t *tally) quick(loop int, status int, bytes int64) {
	q := &t.slots[loop].quick
	q.answers[quickIndex(status)].Add(1)
	if bytes > 0 {
		q.bytes.Add(bytes)
	}
}

// slow counts an answer that went through the steps.
func (t *tally) slow(x *exchange) {
	s := &t.slots[x.slot].slow
	if x.pointer != nil {
		if x.outcome.Hit() {
			s.hits.Add(1)
		} else {
			s.misses.Add(1)
		}
	}
	f := s.of(words{x.status, x.word(), string(x.outcome.Reason)})
	f.answers.Add(1)
	f.bytes.Add(x.sent)
}

// word is the outcome as a label: the RFC 9211 reason to forward, "hit", or "none" if the cache was not asked.
func (x *exchange) word() string {
	switch {
	case x.remembered():
		return "hit"
	case x.outcome.Hit():
		return "none"
	}
	return string(x.outcome.Fwd)
}

func (s *slowCounts) of(w words) *figures {
	if m := s.byWords.Load(); m != nil {
		if f := (*m)[w]; f != nil {
			return f
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[words]*figures{}
	if m := s.byWords.Load(); m != nil {
		if f := (*m)[w]; f != nil {
			return f
		}
		next = maps.Clone(*m)
	}
	f := new(figures)
	next[w] = f
	s.byWords.Store(&next)
	return f
}

// sum is what all slots have counted.
type sum struct {
	requests, hits, misses, sent int64
	answers                      map[words]int64
	bytes                        map[string]int64 // by outcome
}

// total adds up. It is not a moment's picture: requests go on meanwhile.
func (t *tally) total() sum {
	out := sum{sent: t.sent.Load(), answers: map[words]int64{}, bytes: map[string]int64{}}
	for i := range t.slots {
		s := &t.slots[i]
		for j := range s.quick.answers {
			if n := s.quick.answers[j].Load(); n > 0 {
				out.answers[words{quickStatus[j], "hit", "ram"}] += n
				out.requests, out.hits = out.requests+n, out.hits+n
			}
		}
		if n := s.quick.bytes.Load(); n > 0 {
			out.bytes["hit"] += n
			out.sent += n
		}
		out.hits += s.slow.hits.Load()
		out.misses += s.slow.misses.Load()
		m := s.slow.byWords.Load()
		if m == nil {
			continue
		}
		for w, f := range *m {
			n := f.answers.Load()
			out.answers[w] += n
			out.requests += n
			out.bytes[w.outcome] += f.bytes.Load()
		}
	}
	return out
}

package pull

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"

	"perigee/edge/pull/rfc9111"
	"perigee/edge/rules"
)

// call is one request to the origin, for one client or for several who want the same.
type call struct {
	c    *Cache
	site *Site
	addr address
	q    rfc9111.Query
	// asked is what the client sent, without the fields of its connection; out is what the origin gets.
	asked http.Header
	out   *http.Request
	never Reason // why the answer is not kept, whatever the rules say; "" if they decide
	rule  *rules.Rule
	known *head // what is to be confirmed or completed; nil if nothing is
	about *head // what the answer to HEAD may bring up to date, though it is not asked to confirm it
	want  span  // the bytes of known that are asked for; empty for all
	stamp int64
	at    uint64

	done   chan struct{}
	cancel context.CancelFunc
	key    string // in Cache.waiting; "" if nobody may join

	mu      sync.Mutex
	waiters int
	interim func(status int, h textproto.MIMEHeader) // of the client who asked first; nil if it has gone

	// The result, once done is closed.
	requested, received time.Time
	err                 error
	status              int            // the origin's
	confirmed           *head          // known, brought up to date by 304
	fill                *fill          // a body that others may read, too
	response            *http.Response // one that is for who asked first alone
	why                 Reason         // why it is not kept
}

// waitKey names calls that wait for the same: for a key, for the confirmation of what is stored for it, or for some bytes of it.
func (x *exchange) waitKey(known *head, missing span) string {
	k := x.addr.key + "\x00" + x.asked.Get("Range")
	if known == nil {
		return k
	}
	return fmt.Sprintf("%s\x00%s\x00%d-%d", k, known.id[:], missing.from, missing.to)
}

// enter adds one who waits; false if the call is about to end because nobody did.
func (p *call) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiters == 0 {
		return false
	}
	p.waiters++
	return true
}

// launch runs the call; false if the cache is closed. Cache.mu is held.
func (p *call) launch() bool {
	ctx, cancel := context.WithCancel(p.c.ctx)
	p.cancel, p.done, p.waiters = cancel, make(chan struct{}), 1
	p.out = p.out.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: p.passInterim}))
	return p.c.startLocked(func() { p.run(ctx) })
}

// passInterim hands an interim response (RFC 9110 §15.2) to the client that asked first.
func (p *call) passInterim(status int, h textproto.MIMEHeader) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.interim != nil && status != http.StatusContinue && status != http.StatusSwitchingProtocols {
		p.interim(status, h)
	}
	return nil
}

// wait waits for the head of the answer.
func (p *call) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave is called by each who waited; the last one ends a call that has no answer yet.
func (p *call) leave(first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if first {
		p.interim = nil
		defer p.discard()
	}
	if p.waiters--; p.waiters > 0 {
		return
	}
	select {
	case <-p.done:
		if p.fill != nil {
			p.fill.orphaned()
		}
	default:
		p.cancel()
	}
}

// discard lets go of a response that nobody has taken; p.mu is held.
func (p *call) discard() {
	// run may still be about to deliver it: its context has ended, and so has the body.
	select {
	case <-p.done:
		if p.response != nil {
			p.response.Body.Close()
		}
	default:
	}
}

// run asks the origin.
func (p *call) run(ctx context.Context) {
	p.ask(ctx)
	p.c.mu.Lock()
	if p.key != "" && p.c.waiting[p.key] == p {
		delete(p.c.waiting, p.key)
	}
	p.c.mu.Unlock()
	close(p.done)
}

// ask sends the request and settles what comes.
func (p *call) ask(ctx context.Context) {
	p.requested = p.c.clock.Now()
	p.c.count(func(s *Stats) { s.OriginRequests++ })
	resp, err := p.site.Transport.RoundTrip(p.out)
	p.received = p.c.clock.Now()
	if err != nil {
		p.err = err
		p.cancel()
		return
	}
	p.settle(ctx, resp)
}

// admit keeps a head, unless it is about something that has changed since the origin was asked.
func (c *Cache) admit(h *head) {
	if c.keyRecord(h.key).Gone >= h.stamp {
		return
	}
	if old := c.loadHead(h.key, h.vary, h.selecting); old != nil && old.stamp > h.stamp && (old.whole || !h.whole || old.strong() != h.strong() || h.strong() == "") {
		return // something newer came first
	}
	if !h.whole && c.gap(h, span{0, h.size}).to == 0 {
		h.whole = true
	}
	if c.keep(h) {
		c.count(func(s *Stats) { s.Stored++ })
	}
}

// replaced forgets what was stored for a request, if the origin's answer takes its place but must not be kept.
func (c *Cache) replaced(p *call, resp *http.Response) {
	if p.known != nil && resp.StatusCode < 500 && p.out.Method == http.MethodGet && resp.StatusCode != http.StatusNotModified {
		c.drop(p.known)
	}
}

func (c *Cache) addFill(f *fill) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fills[f.head.key] = append(c.fills[f.head.key], f)
}

func (c *Cache) removeFill(f *fill) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.fills[f.head.key]
	for i := range list {
		if list[i] == f {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(c.fills, f.head.key)
		return
	}
	c.fills[f.head.key] = list
}

// running returns a fill of a whole response that a request selects, nil if there is none.
func (c *Cache) running(key string, q http.Header) *fill {
	c.mu.Lock()
	list := c.fills[key]
	c.mu.Unlock()
	for i := len(list) - 1; i >= 0; i-- {
		f := list[i]
		if f.from == 0 && f.status != http.StatusPartialContent && rfc9111.Selecting(f.head.vary, q) == f.head.selecting {
			return f
		}
	}
	return nil
}

// timeout reports whether an error of a round trip is one of time.
func timeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// purged judges a stored response by the log.
func (c *Cache) purged(site *Site, a address, h *head) (hard, soft bool) {
	if c.purges == nil || site.Name == "" {
		return false, false
	}
	return c.purges.Purged(site.Name, a.uri.Path, h.tags, h.at)
}

package pull

import (
	"context"
	"errors"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"perigee/edge/pull/rfc9111"
	"perigee/edge/rules"
)

// exchange is one request on its way through the steps; see the package comment.
type exchange struct {
	c    *Cache
	site *Site
	w    http.ResponseWriter
	r    *http.Request
	ctx  context.Context
	now  time.Time

	addr  address
	asked http.Header // the client's fields, as they may be forwarded
	q     rfc9111.Query
	rule  *rules.Rule // what the site says of this path; nil for nothing
	about *head       // what the answer to HEAD may bring up to date, though it is not asked to confirm it
	out   Outcome

	status    int
	sent      int64
	brokenOff bool
}

// Serve answers one request for a site.
func (c *Cache) Serve(w http.ResponseWriter, r *http.Request, site *Site) {
	x := &exchange{c: c, site: site, w: w, r: r, ctx: r.Context(), now: c.clock.Now()}
	c.count(func(s *Stats) { s.Requests++ })
	if c.told != nil {
		defer func() {
			c.told(r, Answer{Began: x.now, Took: c.clock.Now().Sub(x.now), Status: x.status, Sent: x.sent, Broken: x.brokenOff, Outcome: x.out})
		}()
	}
	if !x.parse() || x.applyRule() {
		return
	}
	if why := x.uncacheable(); why != "" {
		x.pass(why)
		return
	}
	x.answer()
}

// parse reads what is asked for; false says that it was refused.
func (x *exchange) parse() bool {
	if x.r.Method == http.MethodConnect || x.r.Method == http.MethodTrace {
		x.fail(http.StatusMethodNotAllowed, ReasonUnsafe, "This method is not forwarded.")
		return false
	}
	var err error
	if x.r.RequestURI == "*" {
		x.fail(http.StatusBadRequest, ReasonBadRequest, "The request target * is not forwarded.")
		return false
	}
	if x.addr, err = addressOf(x.r, x.site); err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, errLong) {
			status = http.StatusRequestURITooLong
		}
		x.fail(status, ReasonBadRequest, sentence(err))
		return false
	}
	for _, line := range x.r.Header["Via"] {
		if strings.Contains(line, x.c.via) {
			x.fail(http.StatusLoopDetected, ReasonLoop, "This request has been here before: the origin leads back to this edge.")
			return false
		}
	}
	x.asked = forwardable(x.r.Header)
	x.q = rfc9111.QueryOf(x.r.Header)
	return true
}

func sentence(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// uncacheable says why a request cannot be answered from the cache whatever is stored; "" if it can.
func (x *exchange) uncacheable() Reason {
	switch {
	case x.r.Method != http.MethodGet && x.r.Method != http.MethodHead:
		return ReasonUnsafe
	case x.bypassed():
		return ReasonBypass
	case x.r.ContentLength != 0:
		return ReasonBody
	case x.asked.Get("If-Match") != "" || x.asked.Get("If-Unmodified-Since") != "":
		return ReasonPrecondition
	}
	return ""
}

// maxRounds bounds how often a request looks again, after what it waited for turned out to be of no use to it.
const maxRounds = 3

// answer finds a stored response, or asks the origin.
func (x *exchange) answer() {
	for round := 0; ; round++ {
		h, why := x.c.selectHead(x.addr.key, x.asked)
		if h != nil {
			if x.fromStored(h, round) {
				return
			}
			continue
		}
		if x.follow() {
			return
		}
		x.out.Reason, x.out.Fwd = why, FwdURIMiss
		if why == ReasonVariant {
			x.out.Fwd = FwdVaryMiss
		}
		if x.forward(nil, span{}, round < maxRounds) {
			return
		}
	}
}

// fromStored answers with what is stored, if the rules allow, or has it confirmed. false asks for another round.
func (x *exchange) fromStored(h *head, round int) bool {
	use, why := x.reuse(h)
	x.out = Outcome{Reason: why}
	switch use {
	case rfc9111.UseFresh, rfc9111.UseStale, rfc9111.UseBehind:
		if x.headOfParts(h) {
			return x.askHead(h)
		}
		var missing span
		if want, ok := x.wanted(h); ok {
			missing = x.c.gap(h, want)
		}
		if missing.to == 0 {
			if use == rfc9111.UseBehind {
				x.c.confirmBehind(x, h)
			}
			return x.respond(h, nil, true)
		}
		x.out = Outcome{Fwd: FwdPartial, Reason: ReasonPartlyHeld}
		if missing == (span{0, h.size}) { // all of it: as if there were nothing
			return x.forward(nil, span{}, round < maxRounds)
		}
		return x.forward(h, missing, round < maxRounds)
	}
	x.out.Fwd = FwdStale
	if why == rfc9111.ReasonAskedNoCache || why == rfc9111.ReasonAskedFresher {
		x.out.Fwd = FwdRequest
	}
	if f := x.c.running(x.addr.key, x.asked); f != nil && f.head.stamp > h.stamp && x.followFill(f) {
		return true
	}
	return x.forward(h, span{}, round < maxRounds)
}

// headOfParts: nobody has seen the fields of the whole.
func (x *exchange) headOfParts(h *head) bool {
	return h.parts && !h.whole && x.r.Method == http.MethodHead
}

// askHead passes HEAD on, and brings h up to date by the answer.
func (x *exchange) askHead(h *head) bool {
	x.out = Outcome{Fwd: FwdPartial, Reason: ReasonPartlyHeld}
	x.about = h
	return x.forward(nil, span{}, false)
}

// reuse judges a stored response by the rules, and by the log.
func (x *exchange) reuse(h *head) (rfc9111.Use, Reason) {
	hard, soft := x.c.purged(x.site, x.addr, h)
	if hard || soft {
		return rfc9111.UseValidate, ReasonPurged
	}
	return rfc9111.Reuse(&x.q, &h.facts, x.now)
}

// follow reads behind a fill that is running, if its response may answer this request.
func (x *exchange) follow() bool {
	f := x.c.running(x.addr.key, x.asked)
	return f != nil && x.followFill(f)
}

// followFill answers from a fill that another request has begun.
func (x *exchange) followFill(f *fill) bool {
	use, _ := rfc9111.Reuse(&x.q, &f.head.facts, x.now)
	if use == rfc9111.UseValidate || x.c.keyRecord(x.addr.key).Gone >= f.head.stamp {
		return false
	}
	if hard, soft := x.c.purged(x.site, x.addr, f.head); hard || soft {
		return false
	}
	r, ok := f.attach(0)
	if !ok {
		return false
	}
	defer r.leave()
	x.out = Outcome{Fwd: FwdURIMiss, Reason: ReasonFilling, Collapsed: true, Stored: f.refused() == ""}
	x.c.count(func(s *Stats) { s.Collapsed++ })
	return x.respond(f.head, r, true)
}

// forward asks the origin, together with others who ask for the same. known is to be confirmed, or, if missing is not empty, completed. false asks for another
// round: what came is not for this request.
func (x *exchange) forward(known *head, missing span, together bool) bool {
	if x.q.OnlyIfCached {
		x.fail(http.StatusGatewayTimeout, ReasonOnlyIfCached, "Nothing that is stored can answer, and the request wants nothing else.")
		return true
	}
	own := known == nil && (x.asked.Get("If-None-Match") != "" || x.asked.Get("If-Modified-Since") != "")
	together = together && !own && x.r.Method == http.MethodGet
	p, first, ok := x.call(known, missing, together)
	if !ok {
		x.fail(http.StatusServiceUnavailable, ReasonOriginDown, "This edge is shutting down.")
		return true
	}
	defer p.leave(first)
	if p.wait(x.ctx) != nil {
		x.brokenOff = true
		panic(http.ErrAbortHandler) // the client has gone
	}
	return x.deliver(p, first)
}

// call returns the call to wait for.
func (x *exchange) call(known *head, missing span, together bool) (p *call, first, ok bool) {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	k := ""
	if together {
		k = x.waitKey(known, missing)
		if p := x.c.waiting[k]; p != nil && p.enter() {
			return p, false, true
		}
	}
	p = x.newCall(known, missing)
	if p.key = k; k != "" {
		x.c.waiting[k] = p
	}
	return p, true, p.launch()
}

// newCall makes a call for this request. Cache.mu is held.
func (x *exchange) newCall(known *head, missing span) *call {
	p := &call{c: x.c, site: x.site, addr: x.addr, q: x.q, asked: x.asked, rule: x.rule, known: known, about: x.about, want: missing, interim: x.passInterim}
	p.stamp, p.at = x.c.stampLocked(), x.c.position()
	h := x.asked.Clone()
	if known != nil {
		for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Range"} {
			delete(h, name)
		}
		if missing.to > 0 {
			completing(h, known, missing)
		} else {
			confirming(h, known)
		}
	}
	p.out = x.c.outgoing(x.r, x.site, x.addr, h)
	return p
}

// confirming adds the conditions of RFC 9111 §4.3.1.
func confirming(h http.Header, known *head) {
	if tag := known.header.Get("Etag"); tag != "" {
		h.Set("If-None-Match", tag)
	}
	if lm := known.header.Get("Last-Modified"); lm != "" {
		h.Set("If-Modified-Since", lm)
	}
}

// completing asks for the missing bytes (RFC 9111 §3.4).
func completing(h http.Header, known *head, missing span) {
	h.Set("Range", rangeOf(missing, known.size))
	if v := known.strong(); v != "" {
		h.Set("If-Range", v)
	}
}

// passInterim passes an interim response on (RFC 9110 §15.2).
func (x *exchange) passInterim(status int, h textproto.MIMEHeader) {
	out := x.w.Header()
	for name, lines := range h {
		out[name] = lines
	}
	rfc9111.StripHop(out)
	x.w.WriteHeader(status)
	clear(out)
}

// confirmBehind has a response confirmed while it is served (RFC 5861 §3).
func (c *Cache) confirmBehind(x *exchange, h *head) {
	y := *x
	y.asked = x.asked.Clone()
	for _, name := range []string{"Range", "Cache-Control", "Pragma"} { // what this client wants is not for the others
		delete(y.asked, name)
	}
	y.q = rfc9111.QueryOf(y.asked)
	c.mu.Lock()
	defer c.mu.Unlock()
	k := y.waitKey(h, span{})
	if c.waiting[k] != nil {
		return
	}
	p := y.newCall(h, span{})
	p.key, p.interim, p.out.Method = k, nil, http.MethodGet
	c.waiting[k] = p
	if p.launch() {
		c.startLocked(func() {
			_ = p.wait(c.ctx)
			p.leave(true)
		})
	}
}

// pass forwards a request that is not answered from the cache.
func (x *exchange) pass(why Reason) {
	x.out = Outcome{Fwd: FwdMethod, Reason: why}
	if why != ReasonUnsafe {
		x.out.Fwd = FwdBypass
	}
	x.c.mu.Lock()
	p := x.newCall(nil, span{})
	if why != ReasonUnsafe {
		p.never = why
	}
	if x.r.ContentLength != 0 {
		body := &uploadBody{Reader: x.r.Body, c: http.NewResponseController(x.w), clock: x.c.clock}
		defer body.finish()
		p.out.Body, p.out.ContentLength = body, x.r.ContentLength
	}
	ok := p.launch()
	x.c.mu.Unlock()
	if !ok {
		x.fail(http.StatusServiceUnavailable, ReasonOriginDown, "This edge is shutting down.")
		return
	}
	defer p.leave(true)
	if p.wait(x.ctx) != nil {
		x.brokenOff = true
		panic(http.ErrAbortHandler)
	}
	x.deliver(p, true)
}

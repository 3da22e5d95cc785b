package pull

import (
	"net/http"
	"strconv"
	"strings"

	"perigee/edge/pull/rfc9111"
)

// deliver answers with what a call has brought. false asks for another round.
func (x *exchange) deliver(p *call, first bool) bool {
	if !first {
		x.out.Collapsed = true
	}
	switch {
	case p.err != nil || p.status >= 500:
		return x.deliverFailure(p, first)
	case p.confirmed != nil:
		return x.deliverConfirmed(p, first)
	case p.fill != nil:
		return x.deliverFill(p, first)
	case first && p.want.to > 0 && p.status == http.StatusPartialContent:
		return x.askWhole(p)
	case first:
		return x.deliverOwn(p)
	}
	return false
}

// askWhole asks for everything when the part that was to complete what is stored came, but may not be kept: nobody asked for it.
func (x *exchange) askWhole(p *call) bool {
	x.out = Outcome{Fwd: FwdPartial, Reason: p.why}
	p.response.Body.Close()
	return x.forward(nil, span{}, false)
}

// deliverFailure answers with something stored if that is allowed (RFC 9111 §4.2.4, RFC 5861 §4), else with the failure.
func (x *exchange) deliverFailure(p *call, first bool) bool {
	status := p.status
	if p.err != nil {
		status = 0
	}
	if h := p.known; h != nil && !x.headOfParts(h) && !x.hardPurged(h) {
		why, ok := rfc9111.StaleOnError(&x.q, &h.facts, x.c.clock.Now(), status, x.site.StaleUnreachable)
		if want, has := x.wanted(h); ok && (!has || x.c.gap(h, want).to == 0) {
			x.out.Reason, x.out.FwdStatus = why, status
			x.c.count(func(s *Stats) { s.Stale++ })
			return x.respond(h, nil, true)
		}
	}
	switch {
	case p.err == nil && p.fill != nil:
		return x.deliverFill(p, first)
	case p.err == nil && first:
		return x.deliverOwn(p)
	case p.err == nil:
		return false
	}
	x.out.Collapsed = !first
	x.originFailed(p.err)
	return true
}

func (x *exchange) hardPurged(h *head) bool {
	hard, _ := x.c.purged(x.site, x.addr, h)
	return hard
}

// originFailed words an error of the origin.
func (x *exchange) originFailed(err error) {
	x.c.log.Debug("the origin failed", "uri", x.addr.key, "err", err)
	switch {
	case timeout(err):
		x.fail(http.StatusGatewayTimeout, ReasonOriginTimeout, "The origin did not answer in time.")
	case strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), "bad "):
		x.fail(http.StatusBadGateway, ReasonOriginBad, "The origin sent something that is not a valid answer.")
	default:
		x.fail(http.StatusBadGateway, ReasonOriginDown, "The origin cannot be reached.")
	}
}

// deliverConfirmed answers with what 304 has confirmed.
func (x *exchange) deliverConfirmed(p *call, first bool) bool {
	h := p.confirmed
	if !first {
		if rfc9111.Selecting(h.vary, x.asked) != h.selecting {
			return false
		}
		if use, _ := rfc9111.Reuse(&x.q, &h.facts, x.c.clock.Now()); use == rfc9111.UseValidate && !x.q.NoCache {
			// Confirmed a moment ago is as good as asked (RFC 9111 §4.3), but not for who wants it fresher than that.
			if x.q.MaxAge >= 0 || x.q.MinFresh > 0 {
				return false
			}
		}
	}
	if x.headOfParts(h) {
		return x.askHead(h)
	}
	x.out.FwdStatus, x.out.Reason = http.StatusNotModified, ReasonValidated
	want, ok := x.wanted(h)
	if ok {
		if missing := x.c.gap(h, want); missing.to > 0 {
			x.out = Outcome{Fwd: FwdPartial, Reason: ReasonPartlyHeld}
			return x.forward(h, missing, false)
		}
	}
	return x.respond(h, nil, true)
}

// deliverFill answers from a fill.
func (x *exchange) deliverFill(p *call, first bool) bool {
	f := p.fill
	if !first {
		if rfc9111.Selecting(f.head.vary, x.asked) != f.head.selecting {
			return false
		}
		if use, _ := rfc9111.Reuse(&x.q, &f.head.facts, x.c.clock.Now()); use == rfc9111.UseValidate {
			return false
		}
	}
	start := f.from
	if p.want.to > 0 && f.status != http.StatusPartialContent {
		start = 0
	}
	r, ok := f.attach(start)
	if !ok {
		if first {
			x.fail(http.StatusBadGateway, ReasonOriginDown, "The origin broke off.")
			return true
		}
		return false
	}
	defer r.leave()
	why := f.refused()
	if x.out.Stored = why == ""; why != "" {
		x.out.Reason = why
	}
	if f.status == http.StatusPartialContent {
		return x.deliverPart(p, f, r, first)
	}
	return x.respond(f.head, r, !first)
}

// deliverPart answers with a part: what was missing of something stored, or what the client asked for.
func (x *exchange) deliverPart(p *call, f *fill, r *reader, first bool) bool {
	if p.want.to == 0 && first {
		x.respondAs(f, r)
		return true
	}
	if p.want.to == 0 {
		return x.respond(f.head, r, true)
	}
	if want, ok := x.wanted(f.head); ok && f.from <= want.from && want.to <= f.from+f.expect {
		return x.respond(f.head, r, true) // it is enough by itself
	}
	if f.head.id != p.known.id || f.from != p.want.from || f.from+f.expect < p.want.to {
		// Another representation by now, or one that nobody can tell from another: all of it is needed.
		x.c.drop(p.known)
		return false
	}
	return x.respond(f.head, r, true)
}

// deliverOwn passes a response through that is not kept.
func (x *exchange) deliverOwn(p *call) bool {
	x.out.Reason = p.why
	if p.known != nil && p.status == http.StatusNotModified {
		// The client's own condition, with nothing of ours confirmed.
		x.out.Reason = ReasonValidated
	}
	x.updateByHead(p)
	x.relay(p.response)
	return true
}

// updateByHead brings what is stored up to date by the answer to HEAD (RFC 9111 §4.3.5).
func (x *exchange) updateByHead(p *call) {
	h := p.known
	if h == nil {
		h = p.about
	}
	if x.r.Method != http.MethodHead || h == nil {
		return
	}
	if p.status == http.StatusNotModified { // to a condition of the client's; a strong entity tag says that it is about h all the same (RFC 9111 §4.3.4)
		if tag := h.header.Get("Etag"); h.strong() == tag && tag == p.response.Header.Get("Etag") && tag != "" {
			p.keepUpdate(h, p.updated(h, p.response.Header))
		}
		return
	}
	stored := h.header.Clone()
	stored.Set("Content-Length", strconv.FormatInt(h.size, 10))
	if p.status == http.StatusOK && rfc9111.SameRepresentation(stored, p.response.Header) {
		p.keepUpdate(h, p.updated(h, p.response.Header))
		return
	}
	if p.status < 500 {
		x.c.forget(h.key)
	}
}

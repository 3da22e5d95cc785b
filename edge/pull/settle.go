package pull

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"perigee/edge/pull/rfc9111"
)

// settle decides what becomes of a response.
func (p *call) settle(ctx context.Context, resp *http.Response) {
	p.status = resp.StatusCode
	rfc9111.StripHop(resp.Header)
	if resp.Header.Get("Date") == "" { // RFC 9110 §6.6.1
		resp.Header.Set("Date", p.received.UTC().Format(http.TimeFormat))
	}
	p.invalidate(resp)
	switch {
	case resp.StatusCode == http.StatusNotModified && p.known != nil && p.asksAbout(p.known):
		if !rfc9111.SpeaksOf(resp.Header, p.known.header) {
			p.again(ctx, resp)
			return
		}
		p.update(resp)
	case resp.StatusCode == http.StatusPartialContent:
		p.settlePart(ctx, resp)
	default:
		p.settleWhole(ctx, resp)
	}
}

// invalidate forgets what an unsafe request has changed (RFC 9111 §4.4). What comes with the answer is newer than that.
func (p *call) invalidate(resp *http.Response) {
	for _, u := range rfc9111.Invalidated(p.out.Method, resp.StatusCode, resp.Header, p.addr.uri) {
		if key := keyOf(u); key != "" {
			p.c.forget(key)
		}
		if u == p.addr.uri {
			p.c.forget(p.addr.key)
		}
		p.stamp = p.c.stamp()
	}
	for _, group := range rfc9111.InvalidatedGroups(p.out.Method, resp.StatusCode, resp.Header) {
		p.c.forget(groupKey(p.addr.uri, group))
		p.stamp = p.c.stamp()
	}
}

// asksAbout reports whether the origin was asked to confirm h, and not by a condition of the client's.
func (p *call) asksAbout(h *head) bool {
	for _, name := range []string{"If-None-Match", "If-Modified-Since"} {
		if p.out.Header.Get(name) != "" {
			return p.out.Header.Get(name) == conditionFor(h, name)
		}
	}
	return false
}

// again asks without conditions, after a 304 that was about something that is not stored.
func (p *call) again(ctx context.Context, resp *http.Response) {
	resp.Body.Close()
	for _, name := range []string{"If-None-Match", "If-Modified-Since"} {
		p.out.Header.Del(name)
	}
	p.known, p.about = nil, p.known
	p.ask(ctx)
}

// conditionFor returns the value of a condition that confirms h.
func conditionFor(h *head, name string) string {
	if name == "If-None-Match" {
		return h.header.Get("Etag")
	}
	return h.header.Get("Last-Modified")
}

// update brings the stored head up to date (RFC 9111 §3.2, §4.3.4).
func (p *call) update(resp *http.Response) {
	resp.Body.Close()
	p.confirmed = p.updated(p.known, resp.Header)
	if ttl, ok := p.rule.Lifetime(p.known.status); ok {
		p.confirmed.ttl = &ttl
	}
	p.confirmed.learn()
	p.keepUpdate(p.known, p.confirmed)
	p.cancel()
}

// updated returns h with the fields that came in a header section for it. If these change what it is selected by, it is selected by this request.
func (p *call) updated(h *head, news http.Header) *head {
	n := h.with(rfc9111.Update(h.header, news), p.requested, p.received, p.stamp, p.at)
	if vary, _ := rfc9111.Vary(n.header); !slices.Equal(vary, h.vary) {
		n.vary, n.selecting = vary, rfc9111.Selecting(vary, p.asked)
	}
	return n
}

// keepUpdate keeps what 304, or the answer to HEAD, has made of the stored response old, if that may be kept. If it is the response that forbids it, old goes, too.
func (p *call) keepUpdate(old, h *head) {
	why, ok := rfc9111.Store(&p.q, &rfc9111.Response{
		Method: http.MethodGet, Authorized: h.secret || p.authorized(), Status: h.status, Header: h.header, Requested: h.requested, Received: h.received,
	}, &h.facts, p.addr.uri)
	switch {
	case ok:
		if old.recordKey() != h.recordKey() {
			p.c.drop(old)
		}
		p.c.admit(h)
	case why != rfc9111.ReasonAskedNoStore && (why != rfc9111.ReasonAuthorized || h.secret):
		p.c.drop(old)
	}
}

func (p *call) authorized() bool { return len(p.asked["Authorization"]) > 0 }

func (p *call) rfcResponse(resp *http.Response) *rfc9111.Response {
	return &rfc9111.Response{
		Method: p.out.Method, Authorized: p.authorized(), Status: resp.StatusCode, Header: resp.Header,
		Requested: p.requested, Received: p.received,
	}
}

func (p *call) facts(resp *http.Response) *rfc9111.Facts {
	f := rfc9111.FactsOf(p.rfcResponse(resp))
	if ttl, ok := p.rule.Lifetime(resp.StatusCode); ok {
		f.Override(ttl)
	}
	return &f
}

// storable reports whether the rules let a response be kept.
func (p *call) storable(resp *http.Response, f *rfc9111.Facts) (Reason, bool) {
	if p.never != "" {
		return p.never, false
	}
	if why, ok := rfc9111.Store(&p.q, p.rfcResponse(resp), f, p.addr.uri); !ok {
		return why, false
	}
	switch {
	case endsWithConnection(resp):
		return ReasonNoLength, false
	case p.maxObject() > 0 && resp.ContentLength > p.maxObject():
		return ReasonTooLarge, false
	}
	return "", true
}

// endsWithConnection: RFC 9112 §6.3, last case.
func endsWithConnection(resp *http.Response) bool {
	return resp.ContentLength < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0 && resp.Request.Method != http.MethodHead
}

// settleWhole begins a fill with a response that may be kept, or leaves it to who asked.
func (p *call) settleWhole(ctx context.Context, resp *http.Response) {
	f := p.facts(resp)
	if why, ok := p.storable(resp, f); !ok {
		p.why, p.response = why, resp
		p.c.replaced(p, resp)
		return
	}
	h := p.newHead(resp, f)
	h.size = resp.ContentLength
	p.begin(ctx, resp, h, 0, resp.ContentLength)
}

// newHead makes the head of a response that is to be kept.
func (p *call) newHead(resp *http.Response, f *rfc9111.Facts) *head {
	h := &head{
		key: p.addr.key, status: resp.StatusCode, header: rfc9111.Kept(resp.Header, f),
		requested: p.requested, received: p.received, stamp: p.stamp, at: p.at, size: -1, secret: p.authorized(),
	}
	h.ruled(f)
	h.vary, _ = rfc9111.Vary(resp.Header)
	h.selecting = rfc9111.Selecting(h.vary, p.asked)
	_, _ = rand.Read(h.id[:]) // never fails
	h.learn()
	return h
}

// settlePart begins a fill with a part (RFC 9111 §3.3, §3.4).
func (p *call) settlePart(ctx context.Context, resp *http.Response) {
	f := p.facts(resp)
	why, ok := p.storable(resp, f)
	part, size, known := parseContentRange(resp.Header.Get("Content-Range"))
	expect := part.to - part.from
	switch n := resp.ContentLength; {
	case !ok:
	case !known, n > expect, n >= 0 && n < expect && part.to < size:
		why, ok = ReasonOriginBad, false
	case n >= 0 && n < expect:
		// The last part, and shorter than it says: the length of the message is checked, that of Content-Range is a claim.
		expect, size = n, part.from+n
	}
	if ok && strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/byteranges") {
		why, ok = ReasonStatus206, false
	}
	if !ok {
		p.why, p.response = why, resp
		return
	}
	h := p.newHead(resp, f)
	h.status, h.size = http.StatusOK, size
	delete(h.header, "Content-Range")
	delete(h.header, "Content-Length")
	h.parts = true
	// The fields of a combination (RFC 9110 §15.3.7.3): those of the whole response, if there was one; else the newest of the parts'.
	switch old := p.partOf(h); {
	case old == nil:
	case !old.parts:
		h = old
	default:
		h = old.with(rfc9111.Update(old.header, resp.Header), p.requested, p.received, p.stamp, p.at)
	}
	p.begin(ctx, resp, h, part.from, expect)
}

// ReasonStatus206 is why several parts in one body are not kept.
const ReasonStatus206 Reason = "several-parts"

// partOf returns a copy of what is stored of the same representation: with the same strong validator and size (RFC 9111 §3.4).
func (p *call) partOf(h *head) *head {
	old := p.c.loadHead(h.key, h.vary, h.selecting)
	if old == nil || old.size != h.size || h.strong() == "" || old.strong() != h.strong() || old.status != http.StatusOK {
		return nil
	}
	n := *old
	return &n
}

// begin starts a fill.
func (p *call) begin(ctx context.Context, resp *http.Response, h *head, from, expect int64) {
	f := &fill{
		c: p.c, head: h, first: resp.Header, status: resp.StatusCode, body: resp.Body, cancel: p.cancel, from: from, expect: expect, got: from,
		limit: p.maxObject(), moved: make(chan struct{}), readers: map[*reader]struct{}{},
	}
	if resp.Request != nil && resp.Request.Method == http.MethodHead || noContent(resp.StatusCode) {
		f.expect = 0
	}
	p.fill = f
	p.c.addFill(f)
	if !p.c.start(func() { f.run(ctx) }) {
		f.finish(context.Canceled)
	}
}

func noContent(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// parseContentRange reads Content-Range (RFC 9110 §14.4) with a length that is known.
func parseContentRange(s string) (part span, size int64, ok bool) {
	spec, found := strings.CutPrefix(s, "bytes ")
	r, n, found2 := strings.Cut(spec, "/")
	a, b, found3 := strings.Cut(r, "-")
	first, err1 := strconv.ParseInt(a, 10, 64)
	last, err2 := strconv.ParseInt(b, 10, 64)
	size, err3 := strconv.ParseInt(n, 10, 64)
	if !found || !found2 || !found3 || errors.Join(err1, err2, err3) != nil || first < 0 || last < first || last >= size {
		return span{}, 0, false
	}
	return span{first, last + 1}, size, true
}

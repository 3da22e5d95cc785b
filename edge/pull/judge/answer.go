package judge

import (
	"net/http"
	"slices"
)

// answer judges what the client got: the explanation with the least faults counts.
func (c *Checker) answer(w *verdict, x Exchange, made []*version) {
	if x.Got.Failed {
		if !slices.ContainsFunc(x.Origin, func(f Forwarded) bool { return f.Response.Failed }) {
			w.must("RFC 9110 §15", "a request gets an answer", "the connection broke, but not that to the origin")
		}
		return
	}
	if !safe(x.Client.Method) && len(x.Origin) == 0 && x.Got.Status < 500 {
		w.must("RFC 9111 §4", "unsafe requests are written through", "%s was answered without the origin", x.Client.Method)
		return
	}
	candidates, named := c.candidates(x, made)
	if len(candidates) == 0 && named {
		w.must("RFC 9111 §4", "an answer comes from the origin", "%s: %s was never sent", ID, x.Got.Header.Get(ID))
		return
	}
	if len(candidates) == 0 {
		c.own(w, x)
		return
	}
	var best *verdict
	for _, v := range candidates {
		if j := c.judge(x, v); best == nil || j.weight() < best.weight() {
			best = j
		}
	}
	w.errs = append(w.errs, best.errs...)
}

// candidates are the versions that an answer may stem from: those with its X-Id, or, for a 206, 304 or 416 without one, any of the target.
func (c *Checker) candidates(x Exchange, made []*version) (vs []*version, named bool) {
	if id := x.Got.Header.Get(ID); id != "" {
		for _, v := range slices.Concat(made, c.ids[id]) {
			if v.id == id {
				vs = append(vs, v)
			}
		}
		if len(vs) > 1 && vs[0].status == http.StatusNotModified && x.Got.Status != vs[0].status {
			vs = vs[1:] // what the 304 updated explains more than the 304 itself
		}
		return vs, true
	}
	if slices.Contains([]int{http.StatusPartialContent, http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable}, x.Got.Status) {
		return slices.Concat(made, c.targets[x.Client.Target]), false
	}
	return nil, false
}

// own judges an answer that the cache made up itself.
func (c *Checker) own(w *verdict, x Exchange) {
	only := parseDirectives(x.Client.Header.Values("Cache-Control")).has("only-if-cached")
	server := x.Got.Status >= 500 && x.Got.Status <= 504 && x.Got.Status != http.StatusNotImplemented
	switch {
	case only && x.Got.Status == http.StatusGatewayTimeout:
	case !server:
		w.must("RFC 9111 §4", "an answer comes from the origin", "%d without %s", x.Got.Status, ID)
	case len(x.Origin) == 0:
		w.should("RFC 9110 §15.6.3", "a gateway asks before it says that the origin failed", "%d", x.Got.Status)
	case !unanswered(x.Origin[len(x.Origin)-1]):
		w.must("RFC 9110 §15.6.3", "the answer of the origin is passed on", "%d in place of %s", x.Got.Status,
			x.Origin[len(x.Origin)-1].Response.Header.Get(ID))
	}
}

// unanswered tells whether a cache may be left without an answer: none came, an error came, or a 304 that is about nothing it has.
func unanswered(f Forwarded) bool {
	return f.Response.Failed || f.Response.Status >= 500 || f.Response.Status == http.StatusNotModified
}

// judge tells what is wrong with the answer if it stems from v.
func (c *Checker) judge(x Exchange, v *version) *verdict {
	w := &verdict{}
	if v.from != fromOrigin {
		c.reusable(w, x, v)
	}
	if v.status == http.StatusNotModified && x.Got.Status != v.status {
		w.must("RFC 9111 §4.3.4", "a 304 is about the stored response that has its validator", "%s is about none", v.id)
		return w
	}
	if v.cut && v.from == fromOrigin && !v.beforeCut(x.Got.Status) {
		w.must("RFC 9112 §8", "an incomplete answer is not passed on as complete", "the body of %s was cut", v.id)
	}
	v.shape(w, x)
	if x.Got.Status != http.StatusRequestedRangeNotSatisfiable || v.status == x.Got.Status {
		c.fields(w, x, v)
	}
	return w
}

// beforeCut tells whether an answer may be complete though the body of v was cut: it has nothing of the body, or the ranges that had come.
func (v *version) beforeCut(status int) bool {
	switch status {
	case http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable:
		return true
	case http.StatusPartialContent:
		return v.status == http.StatusOK && v.content != nil
	}
	return false
}

// shape checks status and body: the stored one, or what preconditions and Range make of it.
func (v *version) shape(w *verdict, x Exchange) {
	held := v.status == http.StatusOK || v.status == http.StatusPartialContent
	called := held && reads(x.Client.Method) && unmodified(x.Client.Header, v.header, v.got)
	if called && v.from != fromOrigin && x.Got.Status != http.StatusNotModified {
		w.should("RFC 9111 §4.3.2", "a cache evaluates preconditions", "%d instead of 304", x.Got.Status)
	}
	switch got := x.Got.Status; {
	case got == http.StatusNotModified:
		v.notModified(w, x)
	case got == http.StatusPartialContent:
		v.partial(w, x)
	case got == http.StatusRequestedRangeNotSatisfiable && v.status != got:
		v.unsatisfied(w, x)
	case got == v.status:
		v.whole(w, x, v.body)
	case got == http.StatusOK && v.status == http.StatusPartialContent && v.content != nil && v.content.total == len(v.content.data):
		if err := v.content.check(0, string(v.content.data)); err != nil {
			w.must("RFC 9111 §3.4", "partial responses are complete before they make a 200", "%v", err)
		}
		v.whole(w, x, string(v.content.data))
	default:
		w.must("RFC 9111 §4", "the status is that of the stored response", "%d instead of %d", got, v.status)
	}
}

// whole checks a body that is no part.
func (v *version) whole(w *verdict, x Exchange, body string) {
	switch {
	case x.Client.Method == http.MethodHead:
		body = ""
		if x.Got.Body != "" {
			w.must("RFC 9110 §9.3.2", "the answer to HEAD has no content", "%d bytes", len(x.Got.Body))
		}
	case v.method == http.MethodHead: // noted elsewhere: it does not answer GET
	case x.Got.Body != body:
		w.must("RFC 9111 §4", "the content is that of the stored response", "%d bytes of %s instead of %d, or others", len(x.Got.Body), v.id, len(body))
	}
	if n, ok := digits(x.Got.Header.Get("Content-Length")); ok && v.method != http.MethodHead && x.Got.Status >= 200 && int(n) != v.size(x) {
		w.must("RFC 9110 §8.6", "Content-Length is the length of the content", "%d instead of %d", n, v.size(x))
	}
}

// size is the length that a complete answer to x claims.
func (v *version) size(x Exchange) int {
	if x.Client.Method != http.MethodHead {
		return len(x.Got.Body)
	}
	if n, ok := v.length(); ok && x.Got.Status == http.StatusOK {
		return int(n)
	}
	return len(v.body)
}

// notModified checks a 304: a precondition must call for it, unless the origin decided on what the client sent.
func (v *version) notModified(w *verdict, x Exchange) {
	if x.Got.Body != "" {
		w.must("RFC 9110 §15.4.5", "a 304 has no content", "%d bytes", len(x.Got.Body))
	}
	switch success := v.status/100 == 2 || v.status == http.StatusNotModified; {
	case !reads(x.Client.Method) || !conditional(x.Client.Header):
		w.must("RFC 9110 §15.4.5", "a 304 answers a conditional GET or HEAD", "%s has no precondition", x.Client.Method)
	case v.judged && v.from != fromStore:
	case !success:
		w.must("RFC 9110 §13.2.1", "preconditions apply to what would succeed", "%s has status %d", v.id, v.status)
	case !unmodified(x.Client.Header, v.header, v.got):
		w.must("RFC 9110 §13.2.2", "a 304 needs a precondition that calls for it", "%s has ETag %q, Last-Modified %q", v.id,
			v.header.Get("Etag"), v.header.Get("Last-Modified"))
	}
}

package judge

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// source is where an answer may have come from.
type source int

const (
	fromStore      source = iota // from store, without asking
	fromValidation               // from store, after a 304 of this exchange
	fromOrigin                   // from the origin in this exchange
)

// version is one set of fields that a cache may have for a target, with the content that belongs to it. A response of the origin makes one; a
// 304, or the answer to HEAD, makes another one of each response that it updates.
type version struct {
	id, target string
	method     string        // that the content answered
	asked      []http.Header // fields of the requests that selected it, the first one being the one it was stored for
	status     int
	header     http.Header // end to end
	alt        http.Header // values that a cache may have kept instead (RFC 9111 §3.2)
	hop        http.Header // what was left out of header
	body       string      // as the origin sent it
	content    *content    // nil: not known which bytes they are
	vary       []string
	rules      directives
	targeted   bool // rules come from CDN-Cache-Control
	sent, got  time.Time
	seq        int    // order of arrival
	from       source // in the exchange that made it

	judged  bool    // the origin was asked with the preconditions of the client, and decided on them itself
	cut     bool    // the connection broke before the body ended
	bar     []error // why no other request may get it
	qualms  []error // why no other request should get it without validation
	invalid bool    // an unsafe request changed the target since
	dead    string  // the X-Id of the 304 that replaced it
	certain bool    // a client got all of it, and nothing speaks against storing it
	revary  bool    // an update changed Vary: which request selects it now depends on how a cache reads that
	oldAge  bool    // the Age field of an earlier version may still count
}

// newVersion makes a version of what the origin sent. asked are the fields of the request as the cache got it.
func newVersion(f Forwarded, asked http.Header, seq int) *version {
	r := f.Response
	v := &version{
		id: r.Header.Get(ID), target: f.Request.Target, method: f.Request.Method, asked: []http.Header{asked}, status: r.Status,
		header: endToEnd(r.Header), body: r.Body, sent: f.Request.At, got: r.At, seq: seq, from: fromOrigin, cut: r.Failed,
	}
	v.hop = without(r.Header, v.header)
	if v.method != http.MethodHead {
		v.content = contentOf(v.status, v.header, v.body)
		if n, ok := digits(v.header.Get("Content-Length")); ok && v.cut && v.content != nil && v.status != http.StatusPartialContent {
			v.content.total = int(n) // a cut body is its beginning
		}
	}
	v.decide()
	return v
}

// without are the fields of all that are not in kept.
func without(all, kept http.Header) http.Header {
	out := http.Header{}
	for name, lines := range all {
		if _, ok := kept[name]; !ok {
			out[name] = lines
		}
	}
	return out
}

// merged is v updated by a 304 or by the answer to HEAD (RFC 9111 §3.2). Content-Length stays. Date and Age become those of the new message: it
// is the one that age is counted from, though a cache may read §3.2 so that an old Age stays when the new message has none.
func (v *version) merged(f Forwarded, asked http.Header, seq int) *version {
	m := *v
	m.id, m.sent, m.got, m.seq = f.Response.Header.Get(ID), f.Request.At, f.Response.At, seq
	m.header, m.alt = v.header.Clone(), http.Header{}
	m.bar, m.qualms, m.invalid, m.dead, m.from, m.judged = nil, nil, false, "", fromStore, false
	news := endToEnd(f.Response.Header)
	m.certain, m.hop = false, without(f.Response.Header, news)
	for _, name := range []string{"Date", "Content-Type", "Content-Encoding", "Content-Range"} {
		if lines, ok := v.header[name]; ok {
			m.alt[name] = lines
		}
	}
	for _, directive := range []string{"private", "no-cache"} { // they prevent storing what they name (RFC 9111 §3.1)
		names, _ := v.rules.qualified(directive)
		for _, name := range names {
			m.header.Del(name)
		}
	}
	m.oldAge = v.header.Get("Age") != "" && news.Get("Age") == ""
	m.header.Del("Date")
	m.header.Del("Age")
	for name, lines := range news {
		if name != "Content-Length" {
			m.header[name] = lines
		}
	}
	m.decide()
	m.revary = v.revary || !slices.Equal(m.vary, v.vary)
	same := func(then http.Header) bool { return selects(m.vary, then, asked) }
	m.asked = append(v.asked[:1:1], slices.DeleteFunc(slices.Clone(v.asked[1:]), same)...)
	m.asked = append(m.asked, asked)
	return &m
}

// decide reads Vary and the directives, and whether they let the version be stored.
func (v *version) decide() {
	v.vary = varies(v.header)
	v.rules, v.targeted = responseDirectives(v.header)
	var w verdict
	v.storable(&w)
	v.bar = w.errs
}

// heuristicStatuses are those that a cache may store without being told (RFC 9110 §15.1).
var heuristicStatuses = []int{200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}

// understood tells whether some cache may know what the status demands: the status is registered.
func understood(status int) bool { return http.StatusText(status) != "" && status < 511 }

// storable notes what forbids a shared cache to keep v for other requests (RFC 9111 §3). no-store does not count beside must-understand when the
// status is understood (§5.2.2.3).
func (v *version) storable(w *verdict) {
	const section = "RFC 9111 §3"
	if v.rules.has("no-store") && !(v.rules.has("must-understand") && understood(v.status)) {
		w.must("RFC 9111 §5.2.2.5", "no-store forbids storing", "response %s has it", v.id)
	}
	if _, all := v.rules.qualified("private"); all {
		w.must("RFC 9111 §5.2.2.7", "private forbids a shared cache to store", "response %s has it", v.id)
	}
	if v.rules.has("must-understand") && !understood(v.status) {
		w.must("RFC 9111 §5.2.2.3", "must-understand asks for a known status", "response %s has %d", v.id, v.status)
	}
	if v.cut {
		w.must("RFC 9111 §3.3", "an incomplete response is not reused as it is", "the body of %s was cut", v.id)
	}
	if v.status < 200 || v.status == http.StatusNotModified {
		w.must(section, "only a final response that stands for itself is stored", "response %s has %d", v.id, v.status)
	}
	v.storableMethod(w)
	v.storableFor(w)
	if !v.explicit() && !v.rules.has("public") && !slices.Contains(heuristicStatuses, v.status) {
		w.must(section, "without explicit freshness only certain statuses are stored", "response %s has %d", v.id, v.status)
	}
}

// storableMethod is about the request method: that of GET and HEAD, and of POST with explicit freshness and a Content-Location that is the
// target (RFC 9110 §9.3.3).
func (v *version) storableMethod(w *verdict) {
	location, _ := combined(v.header, "Content-Location")
	switch {
	case reads(v.method):
	case v.method != http.MethodPost:
		w.must("RFC 9111 §3", "the method must allow storing", "response %s answers %s", v.id, v.method)
	case !v.explicit() || location == "" || resolve(v.target, location) != v.target:
		w.must("RFC 9110 §9.3.3", "POST needs explicit freshness and its target as Content-Location", "response %s", v.id)
	}
}

// storableFor is about requests with credentials (RFC 9111 §3.5).
func (v *version) storableFor(w *verdict) {
	if _, secret := v.asked[0]["Authorization"]; secret && !v.shared() {
		w.must("RFC 9111 §3.5", "an answer to Authorization is reused only if it says so", "response %s", v.id)
	}
}

// shared tells whether the response may be stored although its request had Authorization.
func (v *version) shared() bool {
	return v.rules.has("must-revalidate") || v.rules.has("public") || v.rules.has("s-maxage")
}

// explicit tells whether the response has explicit freshness, valid or not.
func (v *version) explicit() bool {
	_, expires := v.header["Expires"]
	return v.rules.has("s-maxage") || v.rules.has("max-age") || expires && !v.targeted
}

// serves tells whether the version can answer a request method.
func (v *version) serves(method string) bool {
	return method == http.MethodHead || method == http.MethodGet && v.method != http.MethodHead
}

// chosen tells whether Vary lets a request with these fields have the version. After an update the request that caused it counts as well.
func (v *version) chosen(h http.Header) bool {
	return slices.ContainsFunc(v.asked, func(then http.Header) bool { return selects(v.vary, then, h) })
}

// resolve gives path?query of a reference relative to target, "" if it is on another host. Dots in paths are left alone.
func resolve(target, ref string) string {
	if rest, ok := strings.CutPrefix(ref, "http://"+Host); ok {
		ref = rest
	}
	path, _, _ := strings.Cut(target, "?")
	switch {
	case strings.HasPrefix(ref, "//") || strings.Contains(ref, "://"):
		return ""
	case strings.HasPrefix(ref, "/"):
		return ref
	case strings.HasPrefix(ref, "?"):
		return path + ref
	}
	return path[:strings.LastIndexByte(path, '/')+1] + ref
}

// Host is the authority that a Checker takes absolute references to be of the same origin by, and that a Generator writes into them.
const Host = "model.test"

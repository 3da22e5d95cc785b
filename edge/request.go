package edge

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"perigee/edge/cache"
	"perigee/edge/rules"
	"perigee/object"
)

// VersionPrefix begins the path of immutable URLs: VersionPrefix + version + path.
const VersionPrefix = object.ReservedPrefix + "v/"

// request is what the steps see of a request, whichever transport it came by.
type request struct {
	method  string
	host    string // as in the request
	target  string // the same, for the log
	path    string // the target's path, as the client wrote it; "" if the target has none
	minor   int    // of HTTP/1
	client  string // its address
	referer string
	agent   string
	origin  string // the page that asks; "" over the lane, which gives sites that want it to net/http
	asksFor string // Access-Control-Request-Method
	conditions
}

// exchange is one request on its way through the steps.
type exchange struct {
	s     *Server
	out   responder
	req   request
	ctx   context.Context // ends when the client is gone, or the server
	began time.Time
	slot  int // whose counters and whose part of the access log; see tally

	site    *object.SiteRecord
	rule    *rules.Rule // what the site says of this path; nil for nothing
	path    object.Path
	version object.Version // of an immutable URL

	pointer *object.Pointer
	verdict
	outcome cache.Outcome
	// restarted says that the object was found changed, and the answer begun anew.
	restarted bool
	sent      int64 // bytes of the file
	page      int64 // bytes of the page of a failure
	broken    bool  // the answer was broken off: the connection must be cut
}

// remembered reports whether the engine knew what the answer says: the file, or that there is none.
func (x *exchange) remembered() bool {
	absence := x.path != "" && (x.outcome.Reason == cache.ReasonAbsent || x.outcome.Reason == cache.ReasonDeleted)
	return x.outcome.Hit() && (x.pointer != nil || absence)
}

// failure is an answer that is not the file: a status and a sentence, and perhaps one field of its own.
type failure struct {
	status      int
	reason      cache.Reason
	text        string
	name, value string
}

func fail(status int, reason cache.Reason, text string) *failure {
	return &failure{status: status, reason: reason, text: text}
}

// with adds a field.
func (f *failure) with(name, value string) *failure {
	f.name, f.value = name, value
	return f
}

// serve runs the steps and then counts and logs what came of them. A broken answer ends in abort, which need not return.
func (x *exchange) serve() {
	x.steps()
	x.s.account(x)
	if x.broken {
		x.out.abort()
		return
	}
	x.out.end()
}

// steps runs the steps; see the package comment.
func (x *exchange) steps() {
	if x.preflight() {
		return
	}
	if f := x.parse(); f != nil {
		x.sendFailure(f)
		return
	}
	if x.ruled() {
		return
	}
	f := x.answer()
	for tries := 0; f != nil && f.reason == cache.ReasonChanged && tries < maxRestarts && x.pause(tries); tries++ {
		x.restarted = true
		f = x.answer() // from the beginning: nothing has been sent yet
	}
	if f != nil {
		x.sendFailure(f)
	}
}

// maxRestarts is how often an answer is begun anew because the object was changed between looking at it and reading it.
const maxRestarts = 4

// pause waits before the next attempt, but the first: the log may be about to tell of the change. False says that nobody waits any more.
func (x *exchange) pause(tries int) bool {
	if tries == 0 {
		return true
	}
	t := x.s.clock.NewTimer(50 * time.Millisecond << tries)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-x.ctx.Done():
		return false
	}
}

// answer is the steps from resolve on. A failure is returned as long as nothing was sent.
func (x *exchange) answer() *failure {
	if f := x.resolve(); f != nil {
		return f
	}
	x.verdict = evaluate(&x.req.conditions, representationOf(x.pointer), x.req.method == http.MethodGet)
	if x.status != http.StatusOK && x.status != http.StatusPartialContent {
		x.sendEmpty()
		return nil
	}
	return x.send()
}

// parse finds out what is asked for.
func (x *exchange) parse() *failure {
	if x.req.method != http.MethodGet && x.req.method != http.MethodHead {
		return fail(http.StatusMethodNotAllowed, cache.ReasonMethod, "Files are read here with GET or HEAD; they are published through the API.").
			with("Allow", "GET, HEAD")
	}
	if f := x.parseHost(); f != nil {
		return f
	}
	target := x.req.path
	if rest, ok := strings.CutPrefix(target, VersionPrefix); ok {
		return x.parseVersion(rest)
	}
	if target != "" && target[0] != '/' { // "*"; an empty one is the '/' of an absolute form (RFC 9112 §3.2.2)
		return fail(http.StatusBadRequest, cache.ReasonBadRequest, "The request target does not begin with '/'.")
	}
	path, err := object.ParseRequestPath(cmp.Or(target, "/"))
	if err != nil {
		return fail(http.StatusBadRequest, cache.ReasonBadRequest, sentence(err))
	}
	x.path = path
	return nil
}

func (x *exchange) parseHost() *failure {
	host, err := object.ParseHost(x.req.host)
	if err != nil {
		return fail(http.StatusBadRequest, cache.ReasonBadRequest, sentence(err))
	}
	x.site, err = x.s.engine.Site(host)
	switch {
	case errors.Is(err, cache.ErrSitesUnknown):
		return fail(http.StatusServiceUnavailable, cache.ReasonSitesUnknown, "This edge has just started and could not read the list of sites yet.").
			with("Retry-After", "2")
	case err != nil:
		return fail(http.StatusNotFound, cache.ReasonUnknownSite, "No site here answers to the host name "+string(host)+".")
	}
	return nil
}

func (x *exchange) parseVersion(rest string) *failure {
	v, path, _ := strings.Cut(rest, "/")
	version, err := object.ParseVersion(v)
	if err == nil {
		x.path, err = object.ParseEscapedPath("/" + path)
	}
	if err != nil {
		return fail(http.StatusNotFound, cache.ReasonAbsent, "No such version: "+sentence(err))
	}
	x.version = version
	return nil
}

// sentence makes an error fit to be read by a person.
func sentence(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// resolve finds the pointer.
func (x *exchange) resolve() *failure {
	p, o, err := x.s.engine.Resolve(x.ctx, x.site, x.path, x.version)
	if x.restarted && o.Reason == cache.ReasonPurged {
		o.Reason = cache.ReasonChanged
	}
	x.outcome = o
	if err != nil {
		if x.version != "" && x.site.Kind != object.Bucket && o.Reason == cache.ReasonAbsent && x.removed() {
			x.outcome.Reason = cache.ReasonDeleted
		}
		return x.originFailure(err)
	}
	x.pointer = p
	return nil
}

// removed reports whether a version that there is no record of was one once: the path has gone on to a later one. What was never issued cannot be told
// from what was removed, and nobody has its URL.
func (x *exchange) removed() bool {
	head, _, _ := x.s.engine.Resolve(x.ctx, x.site, x.path, "")
	return head != nil && head.Version >= x.version
}

// originFailure words an error of Resolve or Locate; x.outcome has the reason.
func (x *exchange) originFailure(err error) *failure {
	switch x.outcome.Reason {
	case cache.ReasonAbsent, cache.ReasonDeleted:
		if x.version != "" && x.outcome.Reason == cache.ReasonDeleted {
			return fail(http.StatusGone, x.outcome.Reason, "This version of the file has been removed.")
		}
		return fail(http.StatusNotFound, x.outcome.Reason, "There is no file at this address.")
	case cache.ReasonRefused:
		return fail(http.StatusServiceUnavailable, cache.ReasonRefused, "This edge is cut off and the site asks not to be served unconfirmed.").
			with("Retry-After", "5")
	case cache.ReasonChanged:
		return fail(http.StatusServiceUnavailable, cache.ReasonChanged, "The object is being changed at this moment.").with("Retry-After", "1")
	case cache.ReasonOriginTimeout:
		return fail(http.StatusGatewayTimeout, cache.ReasonOriginTimeout, "The origin storage did not answer in time.")
	case cache.ReasonOriginBad:
		x.s.log.Error("origin is damaged", "site", x.site.Site, "path", x.path, "err", err)
		return fail(http.StatusBadGateway, cache.ReasonOriginBad, "The origin storage sent something other than the published file.")
	}
	return fail(http.StatusBadGateway, cache.ReasonOriginDown, "The origin storage cannot be reached.")
}

// locate finds the bytes, after the head is decided.
func (x *exchange) locate() (*cache.Body, *failure) {
	body, o, err := x.s.engine.Locate(x.ctx, x.pointer, x.rng)
	if err != nil {
		x.outcome = o
		return nil, x.originFailure(err)
	}
	x.outcome = x.outcome.And(o)
	return body, nil
}

package edge

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"perigee/edge/cache"
	"perigee/object"
)

// VersionPrefix begins the path of immutable URLs: VersionPrefix + version + path.
const VersionPrefix = object.ReservedPrefix + "v/"

// exchange is one request on its way through the steps.
type exchange struct {
	s *Server
	w http.ResponseWriter
	r *http.Request

	site    *object.SiteRecord
	path    object.Path
	version object.Version // of an immutable URL

	pointer *object.Pointer
	rng     object.Range
	partial bool
	outcome cache.Outcome
	status  int
	sent    int64
}

// remembered reports whether the engine knew what the answer says: the file, or that there is none.
func (x *exchange) remembered() bool {
	absence := x.path != "" && (x.outcome.Reason == cache.ReasonAbsent || x.outcome.Reason == cache.ReasonDeleted)
	return x.outcome.Hit() && (x.pointer != nil || absence)
}

// failure is an answer that is not the file: a status and a sentence.
type failure struct {
	status int
	reason cache.Reason
	text   string
}

// parse finds out what is asked for.
func (x *exchange) parse() *failure {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.w.Header().Set("Allow", "GET, HEAD")
		return &failure{http.StatusMethodNotAllowed, cache.ReasonMethod, "Files are read here with GET or HEAD; they are published through the API."}
	}
	if f := x.parseHost(); f != nil {
		return f
	}
	target := x.r.URL.RawPath
	if target == "" {
		// The path is as its default encoding. EscapedPath says more only of a RawPath it does not like: it would encode Path
		// anew, and a %2F in it would have become a '/' by then.
		target = x.r.URL.EscapedPath()
	}
	if rest, ok := strings.CutPrefix(target, VersionPrefix); ok {
		return x.parseVersion(rest)
	}
	if target != "" && target[0] != '/' { // "*"; an empty one is the '/' of an absolute form (RFC 9112 §3.2.2)
		return &failure{http.StatusBadRequest, cache.ReasonBadRequest, "The request target does not begin with '/'."}
	}
	path, err := object.ParseRequestPath(cmp.Or(target, "/"))
	if err != nil {
		return &failure{http.StatusBadRequest, cache.ReasonBadRequest, sentence(err)}
	}
	x.path = path
	return nil
}

func (x *exchange) parseHost() *failure {
	host, err := object.ParseHost(x.r.Host)
	if err != nil {
		return &failure{http.StatusBadRequest, cache.ReasonBadRequest, sentence(err)}
	}
	x.site, err = x.s.engine.Site(host)
	switch {
	case errors.Is(err, cache.ErrSitesUnknown):
		x.w.Header().Set("Retry-After", "2")
		return &failure{http.StatusServiceUnavailable, cache.ReasonSitesUnknown, "This edge has just started and could not read the list of sites yet."}
	case err != nil:
		return &failure{http.StatusNotFound, cache.ReasonUnknownSite, "No site here answers to the host name " + string(host) + "."}
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
		return &failure{http.StatusNotFound, cache.ReasonAbsent, "No such version: " + sentence(err)}
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
	p, o, err := x.s.engine.Resolve(x.r.Context(), x.site, x.path, x.version)
	x.outcome = o
	if err != nil {
		return x.originFailure(err)
	}
	x.pointer = p
	return nil
}

// originFailure words an error of Resolve or Locate; x.outcome has the reason.
func (x *exchange) originFailure(err error) *failure {
	switch x.outcome.Reason {
	case cache.ReasonAbsent, cache.ReasonDeleted:
		if x.version != "" && x.outcome.Reason == cache.ReasonDeleted {
			return &failure{http.StatusGone, x.outcome.Reason, "This version of the file has been deleted."}
		}
		return &failure{http.StatusNotFound, x.outcome.Reason, "There is no file at this address."}
	case cache.ReasonRefused:
		x.w.Header().Set("Retry-After", "5")
		return &failure{http.StatusServiceUnavailable, cache.ReasonRefused, "This edge is cut off and the site asks not to be served unconfirmed."}
	case cache.ReasonOriginTimeout:
		return &failure{http.StatusGatewayTimeout, cache.ReasonOriginTimeout, "The origin storage did not answer in time."}
	case cache.ReasonOriginBad:
		x.s.log.Error("origin is damaged", "site", x.site.Site, "path", x.path, "err", err)
		return &failure{http.StatusBadGateway, cache.ReasonOriginBad, "The origin storage sent something other than the published file."}
	}
	return &failure{http.StatusBadGateway, cache.ReasonOriginDown, "The origin storage cannot be reached."}
}

// locate finds the bytes, after the head is decided.
func (x *exchange) locate() (*cache.Body, *failure) {
	body, o, err := x.s.engine.Locate(x.r.Context(), x.pointer, x.rng)
	if err != nil {
		x.outcome = o
		return nil, x.originFailure(err)
	}
	x.outcome = x.outcome.And(o)
	return body, nil
}

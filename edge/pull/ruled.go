package pull

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"perigee/edge/rules"
)

// ReasonRedirected and ReasonPreflight are of answers that a rule gives by itself.
const (
	ReasonRedirected Reason = "redirected"
	ReasonPreflight  Reason = "preflight"
)

// applyRule finds what the site's rules say of the path, and does what comes before everything else. true says that it has answered.
func (x *exchange) applyRule() bool {
	x.rule = x.site.Rules.For(x.addr.uri.Path)
	if x.rule == nil {
		return false
	}
	path, query, asked := strings.Cut(x.addr.target, "?")
	if to, status, ok := x.rule.Location(path, query); ok {
		x.out.Reason = ReasonRedirected
		x.begin(status, http.Header{"Location": {to}, "Content-Length": {"0"}, "Cache-Control": {"no-cache"}})
		return true
	}
	if h, ok := x.rule.Preflight(x.r); ok {
		x.out.Reason = ReasonPreflight
		x.begin(http.StatusNoContent, h)
		return true
	}
	if x.rule.Query != nil && asked {
		kept := x.rule.QueryOf(query)
		x.addr = x.addr.withQuery(path, kept)
	}
	rules.Change(x.asked, x.rule.RequestHeaders)
	return false
}

// withQuery returns the address with another query: it is the key, and what the origin is asked for.
func (a address) withQuery(path, query string) address {
	u := *a.uri
	u.RawQuery, u.ForceQuery = query, false
	target := path
	if query != "" {
		target += "?" + query
	}
	key, _, _ := strings.Cut(a.key, a.target)
	return address{uri: &u, target: target, key: key + target}
}

// bypassed reports whether a rule keeps the cache out of it.
func (x *exchange) bypassed() bool {
	return x.rule != nil && x.rule.Bypass != nil && *x.rule.Bypass
}

// maxObject returns the size of the largest body that is kept, 0 for no limit.
func (p *call) maxObject() int64 {
	if p.rule != nil && p.rule.MaxObject != nil {
		return *p.rule.MaxObject
	}
	return p.site.MaxObject
}

// dress changes the fields of an answer as the rules say.
func (x *exchange) dress(status int, f http.Header) {
	if x.rule == nil {
		return
	}
	if ttl := x.rule.ClientTTL; ttl != nil && status < 400 {
		f.Del("Expires")
		f.Set("Cache-Control", clientControl(*ttl))
	}
	x.rule.Allow(f, x.r.Header.Get("Origin"))
	rules.Change(f, x.rule.ResponseHeaders)
}

// clientControl is what clients are told of a lifetime in seconds.
func clientControl(ttl int64) string {
	if ttl == 0 {
		return "public, no-cache"
	}
	return "public, max-age=" + strconv.FormatInt(ttl, 10)
}

// sendPage answers with the rule's document in place of an error; false if there is none.
func (x *exchange) sendPage(status int) bool {
	page, ok := x.rule.ErrorPage(status)
	if !ok {
		return false
	}
	x.begin(status, http.Header{
		"Content-Type": {"text/html; charset=utf-8"}, "Content-Length": {strconv.Itoa(len(page))}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
	})
	if x.r.Method != http.MethodHead {
		_, _ = io.WriteString(x.w, page)
	}
	return true
}

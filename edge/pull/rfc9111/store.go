package rfc9111

import (
	"net/http"
	"net/url"
)

// Reason is why a step decided as it did: the word that Cache-Status, log and metrics have.
type Reason string

// The reasons why a response is not kept.
const (
	ReasonMethod       Reason = "method"         // neither GET nor a POST that says for which GET it is the answer
	ReasonStatus       Reason = "status"         // an interim response, or one whose meaning is bound to its request
	ReasonNotKnown     Reason = "not-understood" // must-understand, and this status is not
	ReasonNoStore      Reason = "no-store"       // of the response
	ReasonAskedNoStore Reason = "asked-no-store" // of the request
	ReasonPrivate      Reason = "private"
	ReasonAuthorized   Reason = "authorized" // the request was authorized, and the response is not for others
	ReasonVaryStar     Reason = "vary-star"
	ReasonNoLifetime   Reason = "no-lifetime" // neither fresh nor ever to be confirmed
)

// storing is what the steps of Store look at.
type storing struct {
	q *Query
	r *Response
	f *Facts
	u *url.URL
}

// Store reports whether a response may be kept (RFC 9111 §3) and is of any use kept; if not, why. target is the URI of the request. A
// response to GET that is partial (206) is judged as a whole one would be.
func Store(q *Query, r *Response, f *Facts, target *url.URL) (Reason, bool) {
	s := storing{q, r, f, target}
	for _, step := range []func(storing) Reason{method, final, understood, noStore, private, authorized, varies, cacheable} {
		if why := step(s); why != "" {
			return why, false
		}
	}
	return "", true
}

// method: RFC 9111 §3, and RFC 9110 §9.3.3 for POST: with explicit freshness and a Content-Location that is the target.
func method(s storing) Reason {
	if s.r.Method == http.MethodGet {
		return ""
	}
	if s.r.Method == http.MethodPost && s.f.Explicit && s.r.Status == http.StatusOK {
		if u, err := s.u.Parse(s.r.Header.Get("Content-Location")); err == nil && s.r.Header.Get("Content-Location") != "" && u.String() == s.u.String() {
			return ""
		}
	}
	return ReasonMethod
}

// final: RFC 9111 §3. 304, 412 and 416 speak of the request's own fields.
func final(s storing) Reason {
	switch st := s.r.Status; {
	case st < 200, st == http.StatusNotModified, st == http.StatusPreconditionFailed, st == http.StatusRequestedRangeNotSatisfiable:
		return ReasonStatus
	}
	return ""
}

// understood: RFC 9111 §5.2.2.3.
func understood(s storing) Reason {
	if s.f.Control.Has("must-understand") && !known(s.r.Status) {
		return ReasonNotKnown
	}
	return ""
}

// known reports whether the caching of a status is understood here: those of RFC 9110 §15 that are final.
func known(status int) bool {
	return status >= 200 && http.StatusText(status) != "" && status != 218 && status != 226
}

// noStore: RFC 9111 §5.2.2.5 and §5.2.1.5; must-understand takes the place of the response's (§5.2.2.3).
func noStore(s storing) Reason {
	if s.f.Control.Has("no-store") && !s.f.Control.Has("must-understand") {
		return ReasonNoStore
	}
	if s.q.NoStore {
		return ReasonAskedNoStore
	}
	return ""
}

// private: RFC 9111 §5.2.2.7; with field names only those are left out.
func private(s storing) Reason {
	if s.f.Control.bare("private") {
		return ReasonPrivate
	}
	return ""
}

// authorized: RFC 9111 §3.5.
func authorized(s storing) Reason {
	c := s.f.Control
	if s.r.Authorized && !c.Has("public") && !c.Has("must-revalidate") && !c.Has("s-maxage") {
		return ReasonAuthorized
	}
	return ""
}

// varies: RFC 9111 §4.1.
func varies(s storing) Reason {
	if _, star := Vary(s.r.Header); star {
		return ReasonVaryStar
	}
	return ""
}

// cacheable: RFC 9111 §3, last condition, and whether there will ever be a use for it.
func cacheable(s storing) Reason {
	if s.f.Explicit || s.f.Lifetime > 0 {
		return ""
	}
	if (heuristicStatus(s.r.Status) || s.f.Control.Has("public")) && HasValidator(s.r.Header) {
		return ""
	}
	return ReasonNoLifetime
}

// HasValidator reports whether a stored response with these fields can be confirmed.
func HasValidator(h http.Header) bool {
	return h.Get("Etag") != "" || h.Get("Last-Modified") != ""
}

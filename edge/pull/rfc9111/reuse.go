package rfc9111

import (
	"net/http"
	"time"
)

// Query is what a request asks of caches (RFC 9111 §5.2.1).
type Query struct {
	NoCache, NoStore, OnlyIfCached bool
	MaxAge, MinFresh, MaxStale     time.Duration // MaxAge and MaxStale: negative if not given
	IfError                        time.Duration // RFC 5861 §4
}

// QueryOf reads a request's Cache-Control.
func QueryOf(h http.Header) Query {
	q := Query{MaxAge: -1, MaxStale: -1}
	if len(h["Cache-Control"]) == 0 {
		return q
	}
	d := ParseDirectives(h["Cache-Control"])
	q.NoCache, q.NoStore, q.OnlyIfCached = d.Has("no-cache"), d.Has("no-store"), d.Has("only-if-cached")
	if v, ok := d.Seconds("max-age"); ok {
		q.MaxAge = v
	}
	q.MinFresh, _ = d.Seconds("min-fresh")
	if one := d.find("max-stale"); one != nil {
		q.MaxStale = maxDelta * time.Second // without a number: any staleness
		if one.hasArg {
			q.MaxStale, _ = d.Seconds("max-stale")
		}
	}
	q.IfError, _ = d.Seconds("stale-if-error")
	return q
}

// Use says how a stored response may serve a request.
type Use int

// The uses.
const (
	UseValidate Use = iota // only after the origin has confirmed it
	UseFresh               // as it is
	UseStale               // as it is, although it is stale
	UseBehind              // as it is, while it is confirmed
)

// The reasons of Reuse, and of StaleOnError.
const (
	ReasonFresh           Reason = "fresh"
	ReasonAskedNoCache    Reason = "asked-no-cache" // the request wants it confirmed
	ReasonNoCache         Reason = "no-cache"       // the response does
	ReasonAskedFresher    Reason = "asked-fresher"  // fresh, but not for this request's max-age or min-fresh
	ReasonStale           Reason = "stale"
	ReasonMaxStale        Reason = "max-stale"              // stale, and that is good enough for the request
	ReasonWhileRevalidate Reason = "stale-while-revalidate" // RFC 5861 §3
	ReasonIfError         Reason = "stale-if-error"         // RFC 5861 §4
	ReasonDisconnected    Reason = "origin-unreachable"     // RFC 9111 §4.2.4
)

// reusing is what the steps of Reuse look at.
type reusing struct {
	q    *Query
	f    *Facts
	age  time.Duration
	left time.Duration // for how long it is still as fresh as the request wants; negative for how long it is not
}

// Reuse judges a stored response that a request selects (RFC 9111 §4).
func Reuse(q *Query, f *Facts, now time.Time) (Use, Reason) {
	s := reusing{q: q, f: f, age: f.Age(now)}
	lifetime := f.Lifetime
	if q.MaxAge >= 0 {
		lifetime = min(lifetime, q.MaxAge+1) // §5.2.1.1: an age that is equal will do
	}
	s.left = lifetime - s.age - q.MinFresh
	for _, step := range []func(reusing) (Use, Reason){askedNoCache, noCache, fresh, maxStale, behind} {
		if use, why := step(s); why != "" {
			return use, why
		}
	}
	if f.Lifetime > s.age {
		return UseValidate, ReasonAskedFresher
	}
	return UseValidate, ReasonStale
}

// askedNoCache: RFC 9111 §5.2.1.4.
func askedNoCache(s reusing) (Use, Reason) {
	if s.q.NoCache {
		return UseValidate, ReasonAskedNoCache
	}
	return 0, ""
}

// noCache: RFC 9111 §5.2.2.4.
func noCache(s reusing) (Use, Reason) {
	if s.f.NoCache {
		return UseValidate, ReasonNoCache
	}
	return 0, ""
}

// fresh: RFC 9111 §4.2.
func fresh(s reusing) (Use, Reason) {
	if s.left > 0 {
		return UseFresh, ReasonFresh
	}
	return 0, ""
}

// maxStale: RFC 9111 §5.2.1.2, unless §4.2.4 forbids.
func maxStale(s reusing) (Use, Reason) {
	if s.q.MaxStale >= 0 && s.age-s.f.Lifetime <= s.q.MaxStale && s.age >= s.f.Lifetime && (s.q.MaxAge < 0 || s.age <= s.q.MaxAge) && !s.f.Strict {
		return UseStale, ReasonMaxStale
	}
	return 0, ""
}

// behind: RFC 5861 §3, for a request that sets no limits of its own, and whose answers may be kept.
func behind(s reusing) (Use, Reason) {
	if s.f.WhileRevalidate > 0 && s.age-s.f.Lifetime < s.f.WhileRevalidate && !s.f.Strict && s.q.MaxAge < 0 && s.q.MinFresh == 0 && !s.q.NoStore {
		return UseBehind, ReasonWhileRevalidate
	}
	return 0, ""
}

// StaleOnError reports whether a stored response that could not be confirmed may answer all the same, and why. status is the origin's, or 0 if it could not
// be reached; unreachableFor is for how long after its lifetime a response may be used then, where nobody has said anything.
func StaleOnError(q *Query, f *Facts, now time.Time, status int, unreachableFor time.Duration) (Reason, bool) {
	if f.Strict || f.NoCache || q.NoCache || q.unwilling(f, now) {
		return "", false
	}
	stale := f.Age(now) - f.Lifetime
	if stale < 0 { // fresh: only the request wanted it fresher
		stale = 0
	}
	switch allowed := max(f.IfError, q.IfError); {
	case status != 0 && !errorStatus(status):
		return "", false
	case stale < allowed:
		return ReasonIfError, true
	case status == 0 && stale < unreachableFor && !f.Control.Has("stale-if-error"): // which is a limit, too
		return ReasonDisconnected, true
	}
	return "", false
}

// unwilling reports whether the request has set a limit of its own that a response is beyond (RFC 9111 §5.2.1), and has not said what is to be when there is an error.
func (q *Query) unwilling(f *Facts, now time.Time) bool {
	limited := q.MaxAge >= 0 || q.MinFresh > 0
	use, _ := Reuse(q, f, now)
	return limited && use == UseValidate && q.IfError == 0
}

// errorStatus: the errors of RFC 5861 §4.
func errorStatus(status int) bool {
	return status == 500 || status == 502 || status == 503 || status == 504
}

package rfc9111

import (
	"net/http"
	"strings"
	"time"
)

// Response is a response with the moments at which its request was sent and its head received, by the clock of this cache.
type Response struct {
	Method     string // of the request
	Authorized bool   // the request had Authorization
	Status     int
	Header     http.Header
	Requested  time.Time
	Received   time.Time
}

// Facts are what the rules go by, computed once for a stored response.
type Facts struct {
	Control Directives
	// Targeted says that CDN-Cache-Control stands in place of Cache-Control and Expires (RFC 9213 §2.2).
	Targeted bool
	// Lifetime is the freshness lifetime (RFC 9111 §4.2.1); Explicit says that the origin gave it, not a heuristic.
	Lifetime time.Duration
	Explicit bool
	// Received is when, and InitialAge what its age was then (§4.2.3).
	Received   time.Time
	InitialAge time.Duration
	// NoCache says that each use must be confirmed (§5.2.2.4); Strict that a stale use must (§5.2.2.2, §5.2.2.8, §5.2.2.10).
	NoCache, Strict bool
	// Overridden says that a rule of the site has given the lifetime.
	Overridden bool
	// WhileRevalidate and IfError are how long after its lifetime it may be used so (RFC 5861); 0 for not at all.
	WhileRevalidate, IfError time.Duration
}

// Override sets the lifetime, whatever the origin says of it. Directives that forbid storing stay in force.
func (f *Facts) Override(ttl time.Duration) {
	f.Lifetime, f.Explicit, f.Overridden = ttl, true, true
	f.NoCache, f.Strict = false, false
}

// MaxHeuristic bounds a lifetime that nobody gave.
const MaxHeuristic = 24 * time.Hour

// FactsOf computes the facts of a response.
func FactsOf(r *Response) Facts {
	f := Facts{Received: r.Received}
	f.Control, f.Targeted = controlOf(r.Header)
	date, ok := ParseDate(r.Header.Get("Date"), r.Received)
	if !ok {
		date = r.Received
	}
	f.Lifetime, f.Explicit = f.lifetime(r, date)
	f.InitialAge = initialAge(r, date)
	f.NoCache = f.Control.bare("no-cache")
	_, shared := f.Control.Seconds("s-maxage")
	f.Strict = shared || f.Control.Has("must-revalidate") || f.Control.Has("proxy-revalidate")
	f.WhileRevalidate, _ = f.Control.Seconds("stale-while-revalidate")
	f.IfError, _ = f.Control.Seconds("stale-if-error")
	return f
}

// lifetime returns the freshness lifetime, RFC 9111 §4.2.1.
func (f *Facts) lifetime(r *Response, date time.Time) (d time.Duration, explicit bool) {
	if d, ok := f.Control.Seconds("s-maxage"); ok {
		return d, true
	}
	if d, ok := f.Control.Seconds("max-age"); ok {
		return d, true
	}
	if lines := r.Header["Expires"]; len(lines) > 0 && !f.Targeted {
		t, ok := ParseDate(strings.TrimSpace(lines[0]), r.Received)
		if !ok {
			return 0, true
		}
		return max(t.Sub(date), 0), true
	}
	return f.heuristic(r, date), false
}

// heuristic returns a lifetime for a response that has none, RFC 9111 §4.2.2.
func (f *Facts) heuristic(r *Response, date time.Time) time.Duration {
	if !heuristicStatus(r.Status) && !f.Control.Has("public") {
		return 0
	}
	modified, ok := ParseDate(r.Header.Get("Last-Modified"), r.Received)
	if !ok {
		return 0
	}
	return min(max(date.Sub(modified)/10, 0), MaxHeuristic)
}

// heuristicStatus reports whether a status is heuristically cacheable (RFC 9110 §15.1).
func heuristicStatus(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// initialAge is corrected_initial_age of RFC 9111 §4.2.3.
func initialAge(r *Response, date time.Time) time.Duration {
	apparent := max(r.Received.Sub(date), 0)
	delay := max(r.Received.Sub(r.Requested), 0)
	return max(apparent, ageField(r.Header)+delay)
}

// ageField reads Age: of several members the first counts, and one that is no number does not (RFC 9111 §5.1).
func ageField(h http.Header) time.Duration {
	if len(h["Age"]) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(h["Age"][0], ",")
	d, ok := parseDelta(strings.Trim(first, " \t"))
	if !ok {
		return 0
	}
	return d
}

// Age is current_age of RFC 9111 §4.2.3.
func (f *Facts) Age(now time.Time) time.Duration {
	return f.InitialAge + max(now.Sub(f.Received), 0)
}

// Fresh reports whether a response is fresh, whatever a request wants.
func (f *Facts) Fresh(now time.Time) bool { return f.Lifetime > f.Age(now) }

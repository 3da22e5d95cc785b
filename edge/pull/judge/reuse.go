package judge

import (
	"net/http"
	"slices"
)

// failures are the statuses that count as an error for stale-if-error (RFC 5861 §4).
var failures = []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// reusable notes what forbids to answer x from the store with v (RFC 9111 §4).
func (c *Checker) reusable(w *verdict, x Exchange, v *version) {
	r := x.Client
	if v.target != r.Target || !v.serves(r.Method) {
		w.must("RFC 9111 §4", "target and method must be those of the stored response", "%s is for %s %s", v.id, v.method, v.target)
	}
	if v.from == fromValidation {
		return // the 304 found what was stored legally and Vary allows; that it may forbid storing concerns other requests
	}
	if len(v.bar) > 0 {
		w.errs = append(w.errs, v.bar...)
		return // it is not there, so nothing else about it matters
	}
	if !v.unreachable(x) { // else stale is good enough
		w.errs = append(w.errs, v.qualms...)
	}
	if !v.chosen(r.Header) {
		w.must("RFC 9111 §4.1", "the fields that Vary names must be those of the stored request", "%s has Vary: %s", v.id,
			v.header.Values("Vary"))
	}
	c.outlived(w, x, v)
	v.unvalidated(w, x)
}

// outlived notes what has taken the place of v.
func (c *Checker) outlived(w *verdict, x Exchange, v *version) {
	if v.dead != "" {
		w.must("RFC 9111 §4.3.4", "a 304 updates the stored fields", "%s was updated by %s", v.id, v.dead)
		return
	}
	if v.invalid {
		w.must("RFC 9111 §4.4", "an unsafe request invalidates what is stored for its target", "%s is older than one", v.id)
	}
	for _, other := range c.targets[v.target] {
		if other.certain && other.seq > v.seq && other.date().After(v.date()) && other.suitable(x.Client) && other.id != v.id {
			w.must("RFC 9111 §4", "the most recent of several suitable responses is used", "%s is older than %s", v.id, other.id)
			return
		}
	}
}

// unvalidated notes why v needed the origin's consent.
func (v *version) unvalidated(w *verdict, x Exchange) {
	if _, all := v.rules.qualified("no-cache"); all {
		w.must("RFC 9111 §5.2.2.4", "no-cache forbids reuse without validation", "%s was reused", v.id)
	}
	if full := replaced(x); full != "" {
		w.must("RFC 9111 §4.3.3", "a full answer to a validation is used", "%s came and %s was used", full, v.id)
	}
	least, _ := v.age(x.Client.At)
	life, _ := v.lifetime()
	if least >= life {
		v.stale(w, x, least-life)
	}
	v.wishes(w, x, least, life)
}

// replaced is the X-Id of a full answer that the last request to the origin got if that was a validation, other than a server error.
func replaced(x Exchange) string {
	if len(x.Origin) == 0 {
		return ""
	}
	f := x.Origin[len(x.Origin)-1]
	if !conditional(f.Request.Header) || f.Response.Failed || f.Response.Status == http.StatusNotModified || f.Response.Status >= 500 {
		return ""
	}
	return f.Response.Header.Get(ID)
}

// stale notes why v may not be used by seconds after its end (RFC 9111 §4.2.4). s-maxage forbids it as proxy-revalidate does (§5.2.2.10), even
// beside stale-while-revalidate.
func (v *version) stale(w *verdict, x Exchange, by int64) {
	for _, name := range []string{"must-revalidate", "proxy-revalidate", "s-maxage"} {
		if v.rules.has(name) {
			w.must("RFC 9111 §4.2.4", "must-revalidate, proxy-revalidate and s-maxage forbid stale responses", "%s has %s, stale for %s",
				v.id, name, seconds(by))
			return
		}
	}
	asked := parseDirectives(x.Client.Header.Values("Cache-Control"))
	switch {
	case accepts(asked, by) || v.rules.within("stale-while-revalidate", by):
	case v.failed(x) && (v.rules.within("stale-if-error", by) || asked.within("stale-if-error", by)):
	case !v.unreachable(x):
		w.must("RFC 9111 §4.2.4", "a stale response needs leave or a lost origin", "%s is stale for %s", v.id, seconds(by))
	case v.rules.has("stale-if-error"):
		w.should("RFC 5861 §4", "stale-if-error limits staleness", "%s is stale for %s", v.id, seconds(by))
	}
}

// accepts tells whether max-stale, with or without a limit, allows a response to be stale for so long (RFC 9111 §5.2.1.2).
func accepts(asked directives, by int64) bool {
	for _, d := range asked {
		if d.name == "max-stale" {
			return d.form == bare || asked.within("max-stale", by)
		}
	}
	return false
}

// failed tells whether the last request to the origin met an error that stale-if-error is about (RFC 5861 §4).
func (v *version) failed(x Exchange) bool {
	if len(x.Origin) == 0 {
		return false
	}
	r := x.Origin[len(x.Origin)-1].Response
	return r.Failed || slices.Contains(failures, r.Status)
}

// unreachable tells whether the cache may call itself disconnected: the last request to the origin failed, or was a validation and got a 5xx, which
// RFC 9111 §4.3.3 lets count as no answer. A cache that knows without asking is not believed.
func (v *version) unreachable(x Exchange) bool {
	if len(x.Origin) == 0 {
		return false
	}
	f := x.Origin[len(x.Origin)-1]
	return f.Response.Failed || f.Response.Status >= 500 && conditional(f.Request.Header)
}

// wishes notes request directives that were not granted (RFC 9111 §5.2.1). An error that stale-if-error covers excuses from those about age, as
// it counts regardless of other freshness information (RFC 5861 §4).
func (v *version) wishes(w *verdict, x Exchange, age, life int64) {
	asked := parseDirectives(x.Client.Header.Values("Cache-Control"))
	if asked.has("no-cache") {
		w.should("RFC 9111 §5.2.1.4", "no-cache in a request asks for validation", "%s was reused", v.id)
	}
	if by := max(0, age-life); v.failed(x) && (v.rules.within("stale-if-error", by) || asked.within("stale-if-error", by)) {
		return
	}
	most, _, limited := asked.seconds("max-age")
	if limited && age > most {
		w.should("RFC 9111 §5.2.1.1", "max-age in a request limits the age", "%s is %s old", v.id, seconds(age))
	}
	if limited && age >= life && !asked.has("max-stale") {
		w.should("RFC 9111 §5.2.1.1", "max-age in a request without max-stale excludes stale responses", "%s is stale", v.id)
	}
	if left, _, ok := asked.seconds("min-fresh"); ok && life-age < left {
		w.should("RFC 9111 §5.2.1.3", "min-fresh asks for freshness to come", "%s has %s left", v.id, seconds(life-age))
	}
}

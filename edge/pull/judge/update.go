package judge

import (
	"net/http"
	"reflect"
	"slices"
	"time"
)

// asking checks whether, and how often, one client request may become one to the origin.
func asking(w *verdict, x Exchange) {
	r := x.Client
	if r.Method == "" {
		return
	}
	if r.Method == http.MethodPost && len(x.Origin) > 1 {
		w.must("RFC 9110 §9.2.2", "a proxy does not repeat what is not idempotent", "the origin got POST %d times", len(x.Origin))
	}
	if reads(r.Method) && len(x.Origin) > 0 && parseDirectives(r.Header.Values("Cache-Control")).has("only-if-cached") {
		w.should("RFC 9111 §5.2.1.7", "only-if-cached is answered from the cache or with 504", "the origin was asked")
	}
}

// forwarded checks one request to the origin. made are the versions that earlier ones of the same exchange made.
func (c *Checker) forwarded(w *verdict, x Exchange, f Forwarded, made []*version) {
	r := f.Request
	if x.Client.Method != "" {
		sameMethod := r.Method == x.Client.Method || r.Method == http.MethodGet && x.Client.Method == http.MethodHead
		if !sameMethod || r.Target != x.Client.Target {
			w.must("RFC 9110 §3.7", "a request is forwarded as it is", "%s %s became %s %s", x.Client.Method, x.Client.Target, r.Method, r.Target)
		}
		for _, name := range members(x.Client.Header.Values("Connection")) {
			if !slices.Contains(connectionFields, http.CanonicalHeaderKey(name)) && r.Header.Get(name) != "" {
				w.must("RFC 9110 §7.6.1", "fields that Connection names are not forwarded", "%s was sent to the origin", name)
			}
		}
	}
	if reads(r.Method) {
		c.validators(w, x, f, made)
	}
}

// validators checks that each validator sent comes from the client or from a stored response of the same target (RFC 9111 §4.3.1). The text lets a
// cache use those of responses that Vary keeps from this request.
func (c *Checker) validators(w *verdict, x Exchange, f Forwarded, made []*version) {
	const section, rule = "RFC 9111 §4.3.1", "validators come from stored responses of the same target"
	pool := slices.Concat(c.targets[f.Request.Target], made)
	mine := tags(x.Client.Header.Values("If-None-Match"))
	for _, tag := range tags(f.Request.Header.Values("If-None-Match")) {
		known := slices.ContainsFunc(pool, func(v *version) bool { return weakEqual(tag, etag(v.header)) })
		if !known && !slices.Contains(mine, tag) {
			w.must(section, rule, "If-None-Match has %s", tag)
		}
	}
	since := f.Request.Header.Get("If-Modified-Since")
	if since == "" || since == x.Client.Header.Get("If-Modified-Since") {
		return
	}
	t, ok := parseDate(since, f.Request.At)
	if !ok || !slices.ContainsFunc(pool, func(v *version) bool { return v.dates(t) }) {
		w.must(section, rule, "If-Modified-Since has %s", since)
	}
}

// dates tells whether a cache may ask whether the version was modified since t: its Last-Modified, or without one when it was generated or
// received (RFC 9110 §13.1.3).
func (v *version) dates(t time.Time) bool {
	if last, ok := modified(v.header, v.got); ok {
		return t.Equal(last)
	}
	return t.Equal(v.date()) || t.Sub(v.got).Abs() <= time.Second
}

// update makes the versions that a 304 may have made of stored ones, and marks those that are replaced for certain (RFC 9111 §4.3.4). A 304 that
// forbids storing, or should not be stored, leaves the stored version usable: the text neither updates nor drops it. before are the versions that the
// same exchange has made.
func (c *Checker) update(f Forwarded, asked http.Header, bare *version, before []*version) (made []*version) {
	found, sure := identified(slices.Concat(c.targets[f.Request.Target], before), asked, bare)
	for _, v := range found {
		m := v.merged(f, asked, c.seq)
		m.from, m.judged = fromValidation, bare.judged
		m.refuse(asked)
		m.certain = v.certain && !v.invalid && len(v.qualms) == 0 && m.clear()
		if !slices.ContainsFunc(made, m.alike) {
			made = append(made, m)
		}
		switch {
		case !slices.Contains(sure, v) || len(m.qualms) > 0:
		case m.bar == nil:
			v.dead = m.id
		default:
			v.qualms = append(v.qualms, Lapse{Finding{"RFC 9111 §4.3.4", "a 304 that forbids storing ends the reuse of what it updates",
				"304 " + m.id + " was about " + v.id}})
		}
	}
	c.targets[f.Request.Target] = slices.DeleteFunc(c.targets[f.Request.Target], func(v *version) bool { return v.dead != "" })
	return made
}

// alike tells whether two versions that one 304 has made cannot be told apart. Without this weak validators, which fit many, double what is known with each 304.
func (v *version) alike(w *version) bool {
	return v.status == w.status && v.body == w.body && v.content == w.content && v.certain == w.certain && v.oldAge == w.oldAge &&
		reflect.DeepEqual(v.header, w.header) && reflect.DeepEqual(v.alt, w.alt) && reflect.DeepEqual(v.asked, w.asked) && reflect.DeepEqual(v.qualms, w.qualms)
}

// identified finds the stored responses that a 304 may be about (RFC 9111 §4.3.4), and those of them that it must update if they are stored. With a
// strong entity-tag these are all that have it; with weak validators it is the latest that matches, which for a cache that forgot it is an
// earlier one; without any, the only one, if it has none either. Beyond the text, a strong entity-tag also finds a response that Vary keeps from the
// request: the origin said that it is the right one. Last-Modified always counts as weak.
func identified(stored []*version, asked http.Header, bare *version) (found, sure []*version) {
	tag := etag(bare.header)
	_, dated := modified(bare.header, bare.got)
	var chosen []*version
	for _, v := range stored {
		if len(v.bar) > 0 {
			continue
		}
		strong := strongEqual(tag, etag(v.header))
		if v.chosen(asked) {
			chosen = append(chosen, v)
			if strong {
				sure = append(sure, v)
			}
		}
		if strong {
			found = append(found, v)
		}
	}
	switch {
	case strongEqual(tag, tag):
		return found, sure
	case tag != "" || dated:
		found = slices.DeleteFunc(chosen, func(v *version) bool { return !v.corresponds(bare) })
		return found, slices.DeleteFunc(latest(found), func(v *version) bool { return v.revary })
	}
	found = slices.DeleteFunc(slices.Clone(chosen), func(v *version) bool { return etag(v.header) != "" || v.header.Get("Last-Modified") != "" })
	if len(chosen) == 1 {
		sure = found
	}
	return found, sure
}

// corresponds tells whether the weak validators of a 304 are those of v: the entity-tag decides if both have one.
func (v *version) corresponds(bare *version) bool {
	if a, b := etag(v.header), etag(bare.header); a != "" && b != "" {
		return weakEqual(a, b)
	}
	a, okA := modified(v.header, v.got)
	b, okB := modified(bare.header, bare.got)
	return okA && okB && a.Equal(b)
}

// latest is the last of vs to arrive.
func latest(vs []*version) []*version {
	if len(vs) == 0 {
		return nil
	}
	return []*version{slices.MaxFunc(vs, func(a, b *version) int { return a.seq - b.seq })}
}

// freshen follows the answer to HEAD (RFC 9111 §4.3.5): stored answers to GET should be updated if validators and length are the same, else count as
// stale. before are the versions that the same exchange has made.
func (c *Checker) freshen(f Forwarded, asked http.Header, before []*version) (made []*version) {
	for _, v := range slices.Concat(c.targets[f.Request.Target], before) {
		if v.method != http.MethodGet || len(v.bar) > 0 || !v.chosen(asked) {
			continue
		}
		m := v.merged(f, asked, c.seq)
		m.invalid = v.invalid // that takes a validation
		if m.refuse(asked); len(m.qualms) > 0 {
			continue
		}
		rule := "an answer to HEAD that differs makes a stored one stale"
		if v.agrees(f.Response.Header) {
			rule = "an answer to HEAD updates a stored one"
			made = append(made, m)
		}
		v.qualms = append(v.qualms, Lapse{Finding{"RFC 9111 §4.3.5", rule, "HEAD " + f.Response.Header.Get(ID) + " was about " + v.id}})
	}
	return made
}

// agrees tells whether each validator and the length in the answer to HEAD are those of the version.
func (v *version) agrees(h http.Header) bool {
	for _, name := range []string{"Etag", "Last-Modified"} {
		if _, ok := h[name]; ok && !sameField(h, v.header, name) {
			return false
		}
	}
	length, present := v.length()
	n, ok := digits(h.Get("Content-Length"))
	return !ok || !present || n == length
}

// length is the size of the content that the version stands for, if known.
func (v *version) length() (int64, bool) {
	if v.content != nil {
		return int64(v.content.total), v.content.total >= 0
	}
	return digits(v.header.Get("Content-Length"))
}

package judge

import (
	"net/http"
	"slices"
	"time"
)

// Checker judges the exchanges of one history.
type Checker struct {
	// Adds names response fields that the tested cache adds or changes by itself; they are not compared.
	Adds []string

	seq     int
	ids     map[string][]*version // all that ever was, by the X-Id of its fields
	targets map[string][]*version // what may be stored, by target; without those that a 304 replaced
}

// remembered is how many responses of a target are taken for possibly stored. A cache that keeps more, and validates one of them, is accused
// wrongly.
const remembered = 1000

// New gives a Checker for a cache that starts empty.
func New() *Checker {
	return &Checker{ids: map[string][]*version{}, targets: map[string][]*version{}}
}

// Check judges one exchange and returns what is wrong with it as Violation, Lapse and Missed values; nil if nothing. Exchanges come in order and
// do not overlap. A revalidation in the background is an Exchange with Client.Method "" and only Origin set.
func (c *Checker) Check(x Exchange) []error {
	var w verdict
	foreground := x.Client.Method != ""
	if foreground {
		c.missed(&w, x)
	}
	made := c.observe(&w, x)
	if foreground {
		c.answer(&w, x, made)
	}
	c.keep(x, made)
	return w.errs
}

// observe takes in what the origin was asked and said, and returns the versions that this made.
func (c *Checker) observe(w *verdict, x Exchange) (made []*version) {
	asking(w, x)
	for _, f := range x.Origin {
		c.forwarded(w, x, f, made)
		asked := x.Client.Header
		if x.Client.Method == "" {
			asked = f.Request.Header
		}
		if !safe(f.Request.Method) {
			c.invalidate(f)
		}
		if f.Response.Status == 0 {
			continue
		}
		made = append(made, c.receive(x, f, asked, made)...)
	}
	return made
}

// receive makes versions of one response: itself, and the stored ones that it updates. before are those that earlier responses of the same exchange made.
func (c *Checker) receive(x Exchange, f Forwarded, asked http.Header, before []*version) []*version {
	c.seq++
	v := newVersion(f, asked, c.seq)
	v.judged = conditional(f.Request.Header) && sameField(f.Request.Header, x.Client.Header, "If-None-Match") &&
		sameField(f.Request.Header, x.Client.Header, "If-Modified-Since")
	v.refuse(asked)
	made := []*version{v}
	switch {
	case f.Response.Failed:
	case f.Response.Status == http.StatusNotModified:
		made = append(made, c.update(f, asked, v, before)...)
	case f.Request.Method == http.MethodHead && f.Response.Status == http.StatusOK:
		made = append(made, c.freshen(f, asked, before)...)
	default:
		stored := slices.Concat(c.targets[v.target], before)
		v.join(stored)
		made = append(made, c.combined(f, asked, v, stored)...)
	}
	c.doubt(v, asked)
	return made
}

// combined makes the versions that a part may have made together with stored parts (RFC 9110 §15.3.7.3): if all are parts, the fields of the stored one are kept, and those
// of the new one replace them.
func (c *Checker) combined(f Forwarded, asked http.Header, v *version, stored []*version) (made []*version) {
	if v.status != http.StatusPartialContent || v.bar != nil {
		return nil
	}
	for _, old := range stored {
		if old.status != http.StatusPartialContent || !old.same(v) {
			continue
		}
		m := old.merged(f, asked, c.seq)
		m.content, m.from, m.judged = v.content, v.from, v.judged
		made = append(made, m)
	}
	return made
}

// refuse notes why the version should leave no trace in the store. The request directive no-store is advisory. That an answer to Authorization
// must not update what others get is how the model reads RFC 9111 §3.5, whose text is about storing.
func (v *version) refuse(asked http.Header) {
	var w verdict
	if parseDirectives(asked.Values("Cache-Control")).has("no-store") {
		w.should("RFC 9111 §5.2.1.5", "nothing is kept of an answer to no-store", "%s was kept", v.id)
	}
	if _, secret := asked["Authorization"]; secret && !v.shared() {
		w.should("RFC 9111 §3.5", "an answer to Authorization changes nothing that others get", "%s did", v.id)
	}
	v.qualms = w.errs
}

// same tells whether v, which is stored, and w have the same strong validator: an entity-tag, or, without one, Last-Modified, which is that of one
// variant only.
func (v *version) same(w *version) bool {
	if etag(v.header) != "" || etag(w.header) != "" {
		return strongEqual(etag(v.header), etag(w.header))
	}
	a, ok := firm(v.header, v.got)
	b, ok2 := firm(w.header, w.got)
	return ok && ok2 && a.Equal(b) && v.chosen(w.asked[0])
}

// join lets responses with one strong validator share what is known of their bytes (RFC 9111 §3.4).
func (v *version) join(stored []*version) {
	if v.content == nil || v.bar != nil {
		return
	}
	for _, old := range stored {
		if old.content != nil && old.content != v.content && old.same(v) && old.content.join(v.content) {
			v.content = old.content
			return
		}
	}
}

// doubt takes away the certainty that a cache has what a new response may have pushed out: what the same request would get, or, when Vary
// changed, everything of the target.
func (c *Checker) doubt(v *version, asked http.Header) {
	for _, old := range c.targets[v.target] {
		if !slices.Equal(old.vary, v.vary) || old.chosen(asked) {
			old.certain = false
		}
	}
}

// invalidate follows an unsafe request (RFC 9111 §4.4). A non-error answer invalidates the target. It may invalidate what Location and
// Content-Location name, so that using those is a Lapse. Any other outcome leaves doubts.
func (c *Checker) invalidate(f Forwarded) {
	changed := f.Response.Status >= 200 && f.Response.Status < 400
	for _, v := range c.targets[f.Request.Target] {
		v.certain = false
		v.invalid = v.invalid || changed
	}
	if !changed {
		return
	}
	for _, name := range []string{"Location", "Content-Location"} {
		ref := f.Response.Header.Get(name)
		if ref == "" {
			continue
		}
		for _, v := range c.targets[resolve(f.Request.Target, ref)] {
			var w verdict
			w.should("RFC 9111 §4.4", "what Location or Content-Location of an unsafe request names is invalidated", "%s of %s names %s",
				name, f.Response.Header.Get(ID), v.target)
			v.certain, v.qualms = false, append(v.qualms, w.errs...)
		}
	}
}

// keep files what an exchange made, and notes which of it a client saw whole.
func (c *Checker) keep(x Exchange, made []*version) {
	for _, v := range made {
		rival := func(w *version) bool { return w != v && w.id == v.id && w.status == v.status } // the client may have got that one
		v.certain = v.certain || v.delivered(x) && v.clear() && !slices.ContainsFunc(made, rival)
		v.from = fromStore
		c.ids[v.id] = append(c.ids[v.id], v)
		if v.bar == nil {
			list := append(c.targets[v.target], v)
			c.targets[v.target] = list[max(0, len(list)-remembered):]
		}
	}
}

// delivered tells whether the client of x got the version whole.
func (v *version) delivered(x Exchange) bool {
	return x.Client.Method == http.MethodGet && !x.Got.Failed && x.Got.Header.Get(ID) == v.id && x.Got.Status == v.status && v.method == http.MethodGet
}

// clear tells whether nothing at all speaks against storing the version and reusing it for as long as it says.
func (v *version) clear() bool {
	_, credentials := v.asked[0]["Authorization"]
	_, cookie := v.header["Set-Cookie"]
	_, ageOK := v.ageField()
	_, dated := parseDate(v.header.Get("Date"), v.got)
	once := v.rules.count("max-age") < 2 && v.rules.count("s-maxage") < 2
	plain := once && !v.rules.has("no-cache") && !v.rules.has("private") &&
		!v.rules.has("no-store") && !v.rules.has("must-understand")
	odd := slices.ContainsFunc(v.rules, func(d directive) bool { return d.form == broken })
	return v.bar == nil && v.qualms == nil && !credentials && !cookie && !slices.Contains(v.vary, "*") && ageOK && (dated || v.header.Get("Date") == "") && plain && !odd &&
		!v.oldAge && slices.Contains([]int{200, 203, 301, 308, 404, 410}, v.status)
}

// missed notes an origin that was asked, or a 504 given, although a response is stored for certain that was fresh (see clear) and the request
// restricts nothing.
func (c *Checker) missed(w *verdict, x Exchange) {
	r := x.Client
	for _, name := range []string{"Pragma", "Authorization", "If-Range"} {
		if _, ok := r.Header[name]; ok {
			return
		}
	}
	rules := parseDirectives(r.Header.Values("Cache-Control"))
	only := len(rules) == 1 && rules.has("only-if-cached")
	ranges, _, _ := parseRange(r.Header)
	if !reads(r.Method) || len(ranges) > 1 || len(rules) > 0 && !only || len(x.Origin) == 0 && !(only && x.Got.Status == http.StatusGatewayTimeout) {
		return
	}
	if v := c.sure(r); v != nil {
		_, age := v.age(r.At)
		life, _ := v.lifetime()
		w.errs = append(w.errs, Missed{Finding{"RFC 9111 §4.2", "a fresh response is reused",
			"response " + v.id + " was stored, " + seconds(age) + " old, good for " + seconds(life)}})
	}
}

// sure finds a version that a request can certainly have at its time.
func (c *Checker) sure(r Request) *version {
	for _, v := range c.targets[r.Target] {
		if v.certain && v.suitable(r) {
			return v
		}
	}
	return nil
}

// suitable tells whether the version is fresh by any count and selected by the request.
func (v *version) suitable(r Request) bool {
	_, age := v.age(r.At)
	life, on := v.lifetime()
	return on == stated && age < life && !v.invalid && len(v.qualms) == 0 && v.serves(r.Method) && v.chosen(r.Header)
}

func seconds(n int64) string { return (time.Duration(n) * time.Second).String() }

package judge

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// diligent is a cache that reuses, validates and updates, one response for each target. It shares the parsers and the arithmetic of the model, not
// its bookkeeping, so what it does right shows whether that accuses the innocent.
type diligent struct {
	store map[string]*version
	ids   int
	seen  map[string]int // how often it did what
}

// do answers one request; a revalidation in the background is a second exchange.
func (d *diligent) do(q Request, plan Plan) []Exchange {
	v := d.store[q.Target]
	asked := parseDirectives(q.Header.Values("Cache-Control"))
	if v == nil || !reads(q.Method) || !v.chosen(q.Header) || len(asked) > 0 && !asked.has("only-if-cached") {
		return []Exchange{d.forward(q, plan)}
	}
	_, age := v.age(q.At)
	life, _ := v.lifetime()
	_, always := v.rules.qualified("no-cache")
	strict := v.rules.has("must-revalidate") || v.rules.has("proxy-revalidate") || v.rules.has("s-maxage")
	switch {
	case !always && age < life:
		return []Exchange{d.count("fresh", Exchange{Client: q, Got: d.serve(q, v, true)})}
	case asked.has("only-if-cached"):
		return []Exchange{{Client: q, Got: own(504)}}
	case !always && !strict && v.rules.within("stale-while-revalidate", age-life):
		x := d.count("stale", Exchange{Client: q, Got: d.serve(q, v, true)})
		ask := Request{At: q.At, Method: "GET", Target: q.Target, Header: http.Header{}}
		for _, name := range v.vary {
			if lines, ok := q.Header[name]; ok {
				ask.Header[name] = lines
			}
		}
		back := d.validate(ask, v, plan, false)
		back.Client, back.Got = Request{}, Response{}
		return []Exchange{x, back}
	}
	return []Exchange{d.validate(q, v, plan, !always && !strict && v.rules.within("stale-if-error", age-life))}
}

func (d *diligent) count(what string, x Exchange) Exchange {
	d.seen[what]++
	return x
}

// send asks the origin.
func (d *diligent) send(q Request, plan Plan) Forwarded {
	d.ids++
	q.Header = endToEnd(q.Header)
	return Forwarded{q, plan.Answer(q, d.ids, q.At)}
}

// forward passes a request on as it is, and forgets what it does not replace.
func (d *diligent) forward(q Request, plan Plan) Exchange {
	f := d.send(q, plan)
	if delete(d.store, q.Target); !safe(q.Method) && f.Response.Status < 400 {
		clear(d.store)
	}
	d.take(q, f)
	return Exchange{Client: q, Got: passedOn(f.Response), Origin: []Forwarded{f}}
}

// take stores an answer if it may.
func (d *diligent) take(q Request, f Forwarded) {
	v := newVersion(f, q.Header, 0)
	v.header = passedOn(f.Response).Header
	_, ageOK := v.ageField()
	if q.Method == "GET" && v.bar == nil && ageOK && f.Response.Status != 206 && !parseDirectives(q.Header.Values("Cache-Control")).has("no-store") {
		d.store[q.Target] = v
	}
}

// validate asks the origin whether v still holds.
func (d *diligent) validate(q Request, v *version, plan Plan, lenient bool) Exchange {
	tag := etag(v.header)
	if tag == "" || q.Header.Get("Authorization") != "" {
		return d.forward(q, plan)
	}
	ask := q
	ask.Header = q.Header.Clone()
	for _, name := range []string{"If-Modified-Since", "Range", "If-Range"} {
		ask.Header.Del(name)
	}
	ask.Header.Set("If-None-Match", tag)
	f := d.send(ask, plan)
	switch r := f.Response; {
	case r.Status == http.StatusNotModified && weakEqual(tag, r.Header.Get("Etag")):
		m := v.merged(f, q.Header, 0)
		m.header = passedOn(Response{At: q.At, Header: m.header}).Header
		d.store[q.Target] = m
		if _, ageOK := m.ageField(); m.bar != nil || !ageOK {
			delete(d.store, q.Target)
		}
		return d.count("validated", Exchange{Client: q, Got: d.serve(q, m, false), Origin: []Forwarded{f}})
	case r.Status == http.StatusNotModified:
		x := d.forward(q, plan)
		x.Origin = append([]Forwarded{f}, x.Origin...)
		return d.count("strayed", x)
	case lenient && v.failed(Exchange{Origin: []Forwarded{f}}):
		return d.count("excused", Exchange{Client: q, Got: d.serve(q, v, true), Origin: []Forwarded{f}})
	}
	delete(d.store, q.Target)
	ask.Method = q.Method
	d.take(q, f)
	return Exchange{Client: q, Got: passedOn(f.Response), Origin: []Forwarded{f}}
}

// serve makes the answer to q of v.
func (d *diligent) serve(q Request, v *version, unasked bool) Response {
	r := Response{At: q.At, Status: v.status, Header: v.header.Clone(), Body: v.body}
	private, _ := v.rules.qualified("private")
	if checked, _ := v.rules.qualified("no-cache"); unasked {
		private = slices.Concat(private, checked)
		least, _ := v.age(q.At)
		r.Header.Set("Age", fmt.Sprint(least))
	}
	for _, name := range private {
		r.Header.Del(name)
	}
	r.Header.Del("Content-Length")
	switch {
	case v.status == 200 && conditional(q.Header) && unmodified(q.Header, v.header, v.got):
		r.Status, r.Body = http.StatusNotModified, ""
	case v.status == 200 && q.Method == "GET" && ranged(q.Header, v.header, v.got):
		r.slice(q.Header)
	}
	if q.Method == "HEAD" {
		r.Body = ""
	}
	return r
}

// TestDiligentCacheIsRight: a cache that does all this may miss something, but breaks nothing.
func TestDiligentCacheIsRight(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(5) {
		d, g, c := &diligent{store: map[string]*version{}, seen: map[string]int{}}, NewGenerator(seed), New()
		for i := range 3000 {
			for _, x := range d.do(g.Next()) {
				for _, err := range c.Check(x) {
					if !onlyIfCached(err) {
						t.Fatalf("seed %d, exchange %d: %v\nclient %+v\ngot %+v\norigin %+v", seed, i, err, x.Client, x.Got, x.Origin)
					}
				}
			}
		}
		for what, n := range d.seen {
			seen[what] += n
		}
	}
	for _, what := range []string{"fresh", "stale", "validated", "strayed", "excused"} {
		if seen[what] < 10 {
			t.Errorf("only %d were %s", seen[what], what)
		}
	}
}

package judge

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// Generator invents requests to a handful of targets, and plans for the origin that change with them. The same seed gives the same sequence.
type Generator struct {
	// Now is the virtual time of the last request. Set it before the first Next to begin elsewhere, and move it on when an exchange took time.
	Now time.Time

	rnd       *rand.Rand
	resources []*resource
	unwell    int // requests until an outage ends
}

// resource is what the origin has at a target. Its representations depend on target, revision and the request fields that vary names, and so do their
// entity-tags: one strong entity-tag never stands for two contents.
type resource struct {
	target   string
	revision int
	changed  time.Time
	vary     string
	tag      string   // how the entity-tag is written: "%s" for the opaque part; "" for none
	dated    bool     // it has Last-Modified
	tags     []string // entity-tags that clients have seen, the latest last
}

// NewGenerator begins at midnight of 1 January 2026 UTC.
func NewGenerator(seed uint64) *Generator {
	g := &Generator{Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), rnd: rand.New(rand.NewPCG(seed, 9111))}
	for _, target := range []string{"/a", "/b", "/c?x=1", "/c?x=2", "/dir/d", "/dir/e"} {
		r := &resource{target: target}
		g.change(r)
		g.resources = append(g.resources, r)
	}
	return g
}

// one in n times.
func (g *Generator) one(n int) bool { return g.rnd.IntN(n) == 0 }

// pick is one of its arguments, all as likely.
func (g *Generator) pick(of ...string) string { return of[g.rnd.IntN(len(of))] }

// change gives a resource its next revision, and mostly the manners that it had.
func (g *Generator) change(r *resource) {
	first := r.revision == 0
	r.revision++
	r.changed = g.Now.Add(-time.Duration(g.rnd.IntN(3600*24)) * time.Second)
	if !first {
		r.changed = g.Now
	}
	if first || g.one(6) {
		r.vary = g.pick("", "", "", "", "", "Accept-Language", "X-Kind", "accept-language, x-kind", "Accept-Language,X-Kind,X-Tier", "*")
		r.tag = g.pick(`"%s"`, `"%s"`, `"%s"`, `W/"%s"`, "")
		r.dated = !g.one(4)
	}
}

// Next waits a while and gives the next request, with what the origin would answer. client.At is the time to send it at.
func (g *Generator) Next() (client Request, plan Plan) {
	g.wait()
	r := g.resources[g.rnd.IntN(len(g.resources))]
	if g.one(25) {
		g.change(r)
	}
	client = Request{At: g.Now, Method: g.method(), Target: r.target, Header: http.Header{}}
	g.selecting(client.Header)
	if reads(client.Method) {
		g.ask(client.Header, r)
	}
	if g.one(25) {
		client.Header.Set("Authorization", "Basic "+g.pick("YTpi", "Yzpk"))
	}
	plan = g.plan(client, r)
	if !safe(client.Method) && plan.Status < 400 && !plan.Lost {
		g.change(r)
	}
	return client, plan
}

// wait moves the time on: mostly so little that much is still fresh, at times for hours.
func (g *Generator) wait() {
	most := 0
	switch n := g.rnd.IntN(100); {
	case n < 1:
		most = 4 * 3600
	case n < 3:
		most = 900
	case n < 15:
		most = 60
	case n < 55:
		most = 8
	}
	g.Now = g.Now.Add(time.Duration(g.rnd.IntN(most+1)) * time.Second)
}

func (g *Generator) method() string {
	switch n := g.rnd.IntN(40); {
	case n < 34:
		return http.MethodGet
	case n < 37:
		return http.MethodHead
	}
	return g.pick(http.MethodPost, http.MethodPut, http.MethodDelete)
}

// selecting sets the fields that Vary may name.
func (g *Generator) selecting(h http.Header) {
	if g.one(2) {
		h.Set("Accept-Language", g.pick("en", "en", "de, en"))
	}
	if g.one(3) {
		h.Set("X-Kind", g.pick("one", "two"))
	}
	if g.one(5) {
		h.Set("X-Tier", "gold")
	}
}

// ask sets directives, preconditions and ranges of a reading request.
func (g *Generator) ask(h http.Header, r *resource) {
	if g.one(8) {
		h.Set("Cache-Control", g.pick("no-cache", "no-store", "max-age=0", "Max-Age=30", "max-age=\"600\"", "min-fresh=20", "max-stale",
			"max-stale=60", "only-if-cached", "max-age=300, max-stale=100", "stale-if-error=300", "x-unknown=\"no-cache\""))
	}
	if g.one(9) {
		h.Set("If-None-Match", g.tags(r))
	}
	if g.one(9) {
		h.Set("If-Modified-Since", g.since(r))
	}
	if g.one(8) {
		h.Set("Range", g.pick("bytes=0-9", "bytes=5-", "bytes=-7", "BYTES=2-4", "bytes=0-0,8-9", "bytes=900-", "bytes=-0", "bytes=9-2", "lines=1-2",
			"bytes=3-10000", "bytes=1-3, 2-5"))
		if g.one(3) {
			h.Set("If-Range", g.pick(g.latest(r), g.latest(r), "W/"+g.latest(r), `"other"`, imf(r.changed), g.since(r)))
		}
	}
	switch g.rnd.IntN(60) {
	case 0:
		h.Set("Pragma", "no-cache")
	case 1:
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "1")
	}
}

// latest is the entity-tag that a client saw last.
func (g *Generator) latest(r *resource) string {
	if len(r.tags) == 0 {
		return `"never"`
	}
	return r.tags[len(r.tags)-1]
}

// tags is a value for If-None-Match.
func (g *Generator) tags(r *resource) string {
	tag := g.latest(r)
	if len(r.tags) > 0 && g.one(3) {
		tag = r.tags[g.rnd.IntN(len(r.tags))]
	}
	return g.pick(tag, tag, tag, "W/"+strings.TrimPrefix(tag, "W/"), `"x,y", `+tag, "*", `"none"`, "unquoted")
}

// since is a value for If-Modified-Since.
func (g *Generator) since(r *resource) string {
	step := time.Duration(g.rnd.IntN(3)-1) * time.Hour
	return g.date(r.changed.Add(step))
}

// date writes a time in one of the three forms of HTTP-date, rarely in a form that is none.
func (g *Generator) date(t time.Time) string {
	switch g.rnd.IntN(24) {
	case 0, 1:
		return t.UTC().Format("Monday, 02-Jan-06 15:04:05 GMT")
	case 2, 3:
		return t.UTC().Format(time.ANSIC)
	case 4:
		return g.pick("0", "-1", "soon", t.UTC().Format(time.RFC3339), strings.Replace(imf(t), "GMT", "CET", 1),
			strings.Replace(imf(t), "20", "", 1), strings.Replace(imf(t), ", ", " ", 1))
	}
	return imf(t)
}

func imf(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// represent gives the content of a resource for a request, and its entity-tag.
func (r *resource) represent(h http.Header) (body, tag string) {
	key := fmt.Sprint(r.target, " ", r.revision)
	for _, name := range members([]string{r.vary}) {
		value, _ := combined(h, name)
		key += "|" + value
	}
	sum := fnv.New64a()
	sum.Write([]byte(key))
	n := sum.Sum64()
	body = strings.Repeat(fmt.Sprintf("%s %x. ", key, n), 1+int(n%5))
	if r.tag != "" {
		tag = fmt.Sprintf(r.tag, fmt.Sprintf("%x", n))
	}
	return body, tag
}

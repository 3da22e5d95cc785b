package judge

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// plain is how many lifetimes come first that leave no doubt; at least half of the answers have one of them, so that enough is reused.
const plain = 9

// lifetimes are Cache-Control values of answers, odd ones last.
var lifetimes = []string{
	"max-age=60", "max-age=60", "max-age=600", "max-age=600", "public, max-age=3600", "s-maxage=300, max-age=600",
	"max-age=10, stale-while-revalidate=60", "max-age=10, stale-if-error=600", "max-age=20", "s-maxage=30", "max-age=0", "no-cache", "no-store", "private",
	"max-age=20, must-revalidate", "max-age=20, proxy-revalidate",
	"max-age=10, stale-while-revalidate=20, stale-if-error=900", "public", "must-revalidate, max-age=30", "max-age=60, must-understand, no-store",
	`max-age=600, no-cache="X-Extra"`, `max-age=600, private="X-Extra, Set-Cookie"`, "max-age=600, immutable", "public, no-cache",
	"MAX-AGE=60", "Max-Age=60, PUBLIC", `max-age="60"`, "max-age=60, max-age=600", "max-age=600, max-age=0", "max-age=-5", "max-age=abc",
	"max-age", "max-age=1.5", "max-age=99999999999999999999", "max-age= 60", "s-maxage=x, max-age=60", `x="a, max-age=600", max-age=5`,
	`x="\", no-store", max-age=40`,
	", ,max-age=60,", "NO-STORE, max-age=60", "max-age=60, No-Cache", "private=x-extra, max-age=300", "max-age=060", "max-age=60; public",
	`no-cache="", max-age=60`,
}

// targeted are CDN-Cache-Control values, broken ones last.
var targeted = []string{"max-age=120", "max-age=120, must-revalidate", "no-store", "private", "max-age=5, stale-while-revalidate=30",
	"max-age=10;x=1", "s-maxage=20", "max-age=1, max-age=90", `max-age="120"`,
	"Max-Age=120", "max-age=120,", "max-age = 120", "", "max-age=12.0", "no-store=?0, max-age=30"}

// plan makes up the answer to a request. Clients know the entity-tag of each plan from then on, asked or not.
func (g *Generator) plan(client Request, r *resource) Plan {
	body, tag := r.represent(client.Header)
	h := http.Header{"Content-Type": {"text/plain"}}
	p := Plan{Status: http.StatusOK, Header: h, Body: body, Conditional: !g.one(6), Ranges: !g.one(3)}
	p.Stray, p.Lost, p.Cut = g.one(40), g.one(50), g.one(60)
	if tag != "" {
		h.Set("Etag", tag)
		r.tags = append(r.tags, tag)
		r.tags = r.tags[max(0, len(r.tags)-4):]
	}
	if r.dated {
		h.Set("Last-Modified", imf(r.changed))
	}
	if r.vary != "" {
		h.Set("Vary", r.vary)
	}
	g.freshness(h)
	g.extras(h)
	switch {
	case !safe(client.Method):
		g.written(&p, r)
	case g.one(9):
		g.status(&p)
	}
	g.outage(&p)
	return p
}

// outage makes the origin unwell for some requests in a row, so that its errors meet what is stale by then.
func (g *Generator) outage(p *Plan) {
	if g.one(120) {
		g.unwell = 10
	}
	if g.unwell == 0 {
		return
	}
	g.unwell--
	if p.Lost = g.one(2); !p.Lost {
		p.Status, p.Body = http.StatusServiceUnavailable, "unwell"
		p.Header = http.Header{"Date": {imf(g.Now)}}
	}
}

// freshness sets what age and lifetime are computed from.
func (g *Generator) freshness(h http.Header) {
	switch g.rnd.IntN(20) {
	case 0:
	case 1:
		h.Set("Date", g.date(g.Now))
	case 2:
		h.Set("Date", imf(g.Now.Add(time.Duration(g.rnd.IntN(120)-60)*time.Second)))
	default:
		h.Set("Date", imf(g.Now))
	}
	if !g.one(8) {
		among := plain
		if g.one(2) {
			among = len(lifetimes)
		}
		h.Set("Cache-Control", lifetimes[g.rnd.IntN(among)])
	}
	if g.one(40) {
		h.Add("Cache-Control", g.pick("max-age=30", "no-store", "must-revalidate"))
	}
	if g.one(4) {
		h.Set("Expires", g.date(g.Now.Add(time.Duration(g.rnd.IntN(600)-100)*time.Second)))
	}
	if g.one(12) {
		h.Set("Cdn-Cache-Control", targeted[g.rnd.IntN(len(targeted))])
	}
	if g.one(14) {
		h.Set("Age", g.pick("0", "5", "30", "100", "100", "-1", "abc", "3.5", "4294967296", "7, 8", ""))
		if g.one(8) {
			h.Add("Age", "5")
		}
	}
}

// extras sets fields that have no part in the decision, but must arrive, or must not.
func (g *Generator) extras(h http.Header) {
	if g.one(2) {
		h.Set("X-Extra", strconv.Itoa(g.rnd.IntN(1000)))
	}
	if g.one(25) {
		h.Set("Set-Cookie", "c="+strconv.Itoa(g.rnd.IntN(1000)))
	}
	if g.one(12) {
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "origin")
	}
}

// written is the answer to an unsafe request.
func (g *Generator) written(p *Plan, r *resource) {
	statuses := []int{200, 200, 201, 204, 303, 400, 500}
	p.Status = statuses[g.rnd.IntN(len(statuses))]
	if p.Status == http.StatusNoContent {
		p.Body = ""
	}
	other := g.resources[g.rnd.IntN(len(g.resources))].target
	if g.one(4) || p.Status == http.StatusSeeOther {
		p.Header.Set("Location", g.pick(other, "http://"+Host+other, "http://other.test"+other, "//other.test"+other))
	}
	if g.one(4) {
		p.Header.Set("Content-Location", g.pick(r.target, r.target, other))
	}
}

// status makes a plan one of another status than 200. Its content is not that of the resource.
func (g *Generator) status(p *Plan) {
	statuses := []int{203, 204, 301, 302, 404, 404, 410, 500, 502, 503, 503, 504, 299, 599}
	p.Status = statuses[g.rnd.IntN(len(statuses))]
	p.Body = "status " + strconv.Itoa(p.Status)
	p.Header.Del("Etag")
	p.Header.Del("Last-Modified")
	switch {
	case p.Status == http.StatusNoContent:
		p.Body = ""
	case slices.Contains([]int{301, 302}, p.Status):
		p.Header.Set("Location", "/elsewhere")
	case p.Status == 299 || p.Status == 599:
		p.Header.Add("Cache-Control", g.pick("must-understand", "public"))
	}
}

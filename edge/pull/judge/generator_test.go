package judge

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"
)

func TestGeneratorIsDeterministic(t *testing.T) {
	a, b, other := NewGenerator(7), NewGenerator(7), NewGenerator(8)
	same := true
	for range 500 {
		qa, pa := a.Next()
		qb, pb := b.Next()
		if !reflect.DeepEqual(qa, qb) || !reflect.DeepEqual(pa, pb) {
			t.Fatalf("the same seed gives %v %v and %v %v", qa, pa, qb, pb)
		}
		qo, _ := other.Next()
		same = same && reflect.DeepEqual(qa, qo)
	}
	if same {
		t.Error("another seed gives the same requests")
	}
}

// TestGeneratorKeepsEntityTagsApart: histories make sense only if a strong entity-tag stands for one content.
func TestGeneratorKeepsEntityTagsApart(t *testing.T) {
	g, contents := NewGenerator(1), map[string]string{}
	for range 5000 {
		q, p := g.Next()
		key := q.Target + p.Header.Get("Etag")
		if old, ok := contents[key]; ok && p.Header.Get("Etag") != "" && old != p.Body && safe(q.Method) {
			t.Fatalf("%s stands for %q and %q", key, old, p.Body)
		}
		if safe(q.Method) {
			contents[key] = p.Body
		}
	}
}

// proxy is a cache to be tested. keep says whether it stores what came, for how long it calls it fresh; the zero value passes everything on.
type proxy struct {
	keep  func(q Request, r Response) (time.Duration, bool)
	store map[string]held
	ids   int
}

type held struct {
	asked    http.Header
	response Response
	until    time.Time
}

// do is one exchange. Whatever the origin is asked about a target makes the proxy forget what it had, so that it never has to update.
func (p *proxy) do(q Request, plan Plan) Exchange {
	h, ok := p.store[q.Target]
	if ok && q.At.Before(h.until) && p.keep != nil && q.Method == "GET" && plainRequest(q) && selects(varies(h.response.Header), h.asked, q.Header) {
		got := h.response
		got.At, got.Header = q.At, got.Header.Clone()
		got.Header.Set("Age", fmt.Sprint(floor(q.At.Sub(h.response.At))))
		return Exchange{Client: q, Got: got}
	}
	p.ids++
	seen := q
	seen.Header = endToEnd(q.Header)
	said := plan.Answer(seen, p.ids, q.At)
	x := Exchange{Client: q, Got: passedOn(said), Origin: []Forwarded{{seen, said}}}
	if delete(p.store, q.Target); !safe(q.Method) {
		clear(p.store)
	}
	if p.keep != nil && q.Method == "GET" && !said.Failed {
		if life, ok := p.keep(q, said); ok {
			p.store[q.Target] = held{q.Header, x.Got, q.At.Add(life)}
		}
	}
	return x
}

// plainRequest tells whether a request says nothing that a simple cache would have to heed.
func plainRequest(q Request) bool {
	for _, name := range []string{"Cache-Control", "Pragma", "Range", "If-None-Match", "If-Modified-Since", "Authorization"} {
		if q.Header.Get(name) != "" {
			return false
		}
	}
	return true
}

// passedOn is what a proxy makes of an answer.
func passedOn(r Response) Response {
	r.Header = endToEnd(r.Header)
	if r.Header.Get("Date") == "" && !r.Failed {
		r.Header.Set("Date", imf(r.At))
	}
	return r
}

// play runs a proxy through n exchanges and counts what the checker finds, and how often the proxy answered itself.
func play(t *testing.T, p *proxy, seed uint64, n int, expect func(error) bool) (found map[string]int, reused int) {
	t.Helper()
	p.store, found = map[string]held{}, map[string]int{}
	g, c := NewGenerator(seed), New()
	for i := range n {
		x := p.do(g.Next())
		if len(x.Origin) == 0 {
			reused++
		}
		for _, err := range c.Check(x) {
			found[kind(err)]++
			if expect != nil && !expect(err) {
				t.Fatalf("seed %d, exchange %d: %v\nclient %+v\ngot %+v\norigin %+v", seed, i, err, x.Client, x.Got, x.Origin)
			}
		}
	}
	return found, reused
}

// onlyIfCached lets pass what a proxy without a store cannot do right, and what it is bound to miss.
func onlyIfCached(err error) bool {
	var missed Missed
	var lapse Lapse
	return errors.As(err, &missed) || errors.As(err, &lapse) && lapse.Section == "RFC 9111 §5.2.1.7"
}

func TestPassingOnIsRight(t *testing.T) {
	found, _ := play(t, &proxy{}, 1, 5000, onlyIfCached)
	if found["Missed"] < 300 {
		t.Errorf("only %d chances to reuse in 5000 exchanges", found["Missed"])
	}
}

// TestCarefulCacheIsRight runs a cache that stores only what is simple.
func TestCarefulCacheIsRight(t *testing.T) {
	lives := map[string]time.Duration{"max-age=60": time.Minute, "max-age=600": 10 * time.Minute, "public, max-age=3600": time.Hour}
	careful := func(q Request, r Response) (time.Duration, bool) {
		h := r.Header
		life := lives[h.Get("Cache-Control")]
		simple := len(h["Cache-Control"]) == 1 && h["Age"] == nil && h["Cdn-Cache-Control"] == nil && h.Get("Date") == imf(q.At)
		return life, life > 0 && r.Status == 200 && simple && plainRequest(q)
	}
	_, reused := play(t, &proxy{keep: careful}, 2, 5000, onlyIfCached)
	if reused < 75 {
		t.Errorf("only %d of 5000 answers came from store", reused)
	}
}

// TestCarelessCacheIsCaught runs one that stores everything for an hour.
func TestCarelessCacheIsCaught(t *testing.T) {
	careless := func(Request, Response) (time.Duration, bool) { return time.Hour, true }
	found, reused := play(t, &proxy{keep: careless}, 3, 2000, nil)
	if found["Violation"] < reused/4 || reused == 0 {
		t.Errorf("%d violations in %d answers from store", found["Violation"], reused)
	}
}

func TestPlanAnswers(t *testing.T) {
	fields := lines([]string{`Etag: "a"`, "Content-Type: text/plain", "Date: " + on(0)})
	p := Plan{Status: 200, Header: fields, Body: "hello world", Conditional: true, Ranges: true}
	for _, c := range []struct {
		name   string
		plan   func(*Plan)
		q      Request
		status int
		body   string
		failed bool
	}{
		{"whole", nil, get(0), 200, "hello world", false},
		{"HEAD", nil, ask(0, "HEAD"), 200, "", false},
		{"conditional", nil, get(0, `If-None-Match: "a"`), 304, "", false},
		{"modified", nil, get(0, `If-None-Match: "b"`), 200, "hello world", false},
		{"a date without Last-Modified", nil, get(0, "If-Modified-Since: "+on(100)), 200, "hello world", false},
		{"ignores conditions", func(p *Plan) { p.Conditional = false }, get(0, `If-None-Match: "a"`), 200, "hello world", false},
		{"range", nil, get(0, "Range: bytes=-5"), 206, "world", false},
		{"no range", nil, get(0, "Range: bytes=11-"), 416, "", false},
		{"range of another version", nil, get(0, "Range: bytes=-5", `If-Range: "b"`), 200, "hello world", false},
		{"lost", func(p *Plan) { p.Lost = true }, get(0), 0, "", true},
		{"cut", func(p *Plan) { p.Cut = true }, get(0), 200, "hello", true},
	} {
		plan := p
		if c.plan != nil {
			c.plan(&plan)
		}
		r := plan.Answer(c.q, 5, at(0))
		if r.Status != c.status || r.Body != c.body || r.Failed != c.failed || c.status != 0 && r.Header.Get(ID) != "5" {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

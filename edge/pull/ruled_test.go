package pull

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/edge/rules"
	"perigee/object"
)

func ptr[T any](v T) *T { return &v }

func (r *rig) rule(list ...object.Rule) { r.site.Rules = rules.Compile(list) }

func TestATTLRuleTakesThePlaceOfTheOrigins(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.rule(object.Rule{Path: "*", TTL: ptr(int64(100)), StatusTTL: map[string]int64{"404": 10}, Jitter: ptr(int64(0)), ClientTTL: ptr(int64(5))})
		r.o.repeats(200, "x", "Cache-Control: no-cache, max-age=0", "Expires: 0")
		g := r.get("/a")
		r.expect(g, 200, "x", "stored")
		if g.Header().Get("Cache-Control") != "public, max-age=5" || g.Header().Get("Expires") != "" {
			t.Errorf("clients are told %v", g.Header())
		}
		time.Sleep(99 * time.Second)
		r.expect(r.get("/a"), 200, "x", "hit; ttl=1")
		time.Sleep(2 * time.Second)
		r.expect(r.get("/a"), 200, "x", "fwd=stale")
		r.o.repeats(404, "no")
		r.get("/b")
		time.Sleep(9 * time.Second)
		r.expect(r.get("/b"), 404, "no", "hit")
		r.o.repeats(200, "secret", "Cache-Control: private")
		r.get("/c")
		r.expect(r.get("/c"), 200, "secret", "fwd=uri-miss; detail=private")
	})
}

func TestARuledTTLOutlivesAConfirmation(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.rule(object.Rule{Path: "*", TTL: ptr(int64(100)), Jitter: ptr(int64(0))})
		r.o.repeats(200, "x", `ETag: "1"`)
		r.get("/a")
		time.Sleep(101 * time.Second)
		r.o.repeats(304, "", `ETag: "1"`)
		r.expect(r.get("/a"), 200, "x", "validated")
		time.Sleep(50 * time.Second)
		r.expect(r.get("/a"), 200, "x", "hit")
	})
}

// Parameters that do not count neither make a copy of their own nor reach the origin.
func TestQueryRules(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.rule(object.Rule{Path: "*", Query: &object.QueryRule{Ignore: []string{"utm"}}})
		r.o.repeats(200, "x", "Cache-Control: max-age=60")
		r.get("/a?utm=1&b=2")
		r.expect(r.get("/a?b=2&utm=3"), 200, "x", "hit")
		r.expect(r.get("/a?b=3"), 200, "x", "uri-miss")
		for _, q := range r.o.requests() {
			if strings.Contains(q.URL.RawQuery, "utm") {
				t.Errorf("the origin was asked for %v", q.URL)
			}
		}
	})
}

func TestRulesThatAnswerOrChange(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.rule(
			object.Rule{
				Path: "*", ResponseHeaders: &object.HeaderRule{Set: map[string]string{"X-Frame-Options": "DENY"}, Remove: []string{"X-Powered-By"}},
				RequestHeaders: &object.HeaderRule{Set: map[string]string{"X-Key": "secret"}, Remove: []string{"Cookie"}},
				ErrorPages:     map[string]string{"5xx": "<h1>Sorry</h1>", "404": "<h1>Gone</h1>"}, CORS: &object.CORSRule{Origins: []string{"*"}},
			},
			object.Rule{Path: "/old/*", Redirect: &object.RedirectRule{To: "/new/{rest}{query}", Status: 301}},
			object.Rule{Path: "/live/*", Bypass: ptr(true)},
			object.Rule{Path: "/big/*", MaxObject: ptr(int64(3))},
		)
		r.o.repeats(200, "hello", "Cache-Control: max-age=60", "X-Powered-By: PHP")
		g := r.get("/a", "Cookie: a=b")
		if h := g.Header(); h.Get("X-Frame-Options") != "DENY" || h.Get("X-Powered-By") != "" || h.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("fields: %v", h)
		}
		if q := r.o.requests()[0]; q.Header.Get("X-Key") != "secret" || q.Header.Get("Cookie") != "" {
			t.Errorf("the origin got %v", q.Header)
		}
		if g := r.get("/old/x/y?z"); g.Code != 301 || g.Header().Get("Location") != "/new/x/y?z" {
			t.Errorf("%d %v", g.Code, g.Header())
		}
		g = r.send(request("OPTIONS", "/a", "", "Origin: https://b.example", "Access-Control-Request-Method: GET"))
		if g.Code != 204 || g.Header().Get("Access-Control-Allow-Methods") == "" {
			t.Errorf("%d %v", g.Code, g.Header())
		}
		r.reads(1)
		for range 2 {
			r.expect(r.get("/live/a"), 200, "hello", "fwd=bypass; detail=bypass")
			r.expect(r.get("/big/a"), 200, "hello", "detail=too-large")
		}
		r.o.repeats(503, "stack trace")
		if g := r.get("/b"); g.Code != 503 || g.body() != "<h1>Sorry</h1>" || g.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%d %q", g.Code, g.body())
		}
		r.o.says(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
		if g := r.get("/c"); g.Code != 502 || g.body() != "<h1>Sorry</h1>" {
			t.Errorf("%d %q", g.Code, g.body())
		}
	})
}

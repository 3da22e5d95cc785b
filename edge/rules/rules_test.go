package rules

import (
	"net/http"
	"testing"
	"time"

	"perigee/object"
)

func ptr[T any](v T) *T { return &v }

func TestTheMostExactRuleDecides(t *testing.T) {
	s := Compile([]object.Rule{
		{Path: "*", TTL: ptr(int64(1)), ClientTTL: ptr(int64(10)), Jitter: ptr(int64(0))},
		{Path: "*.CSS", TTL: ptr(int64(2))},
		{Path: "/a/*", TTL: ptr(int64(3))},
		{Path: "/a/b/*", TTL: ptr(int64(4)), StatusTTL: map[string]int64{"404": 7, "5xx": 8}},
		{Path: "/a/b/c.css", TTL: ptr(int64(5))},
	})
	for path, want := range map[string]int64{
		"/": 1, "/x": 1, "/x.css": 2, "/x.css/y": 1, "/x.CSS": 2, "/a": 1, "/a/": 3, "/a/x.css": 3, "/a/b/x": 4, "/a/b/c/d/e": 4, "/a/b/c.css": 5, "/a/bc": 3,
	} {
		r := s.For(path)
		got, ok := r.Lifetime(200)
		if !ok || got != time.Duration(want)*time.Second || *r.ClientTTL != 10 {
			t.Errorf("%s: %v %v", path, got, ok)
		}
	}
	for status, want := range map[int]time.Duration{404: 7 * time.Second, 503: 8 * time.Second, 410: 4 * time.Second} {
		if got, _ := s.For("/a/b/x").Lifetime(status); got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
	if (*Set)(nil).For("/") != nil || Compile(nil).For("/") != nil {
		t.Error("rules out of nothing")
	}
	if _, ok := (*Rule)(nil).Lifetime(200); ok {
		t.Error("a lifetime out of nothing")
	}
}

// Ten thousand objects that were fetched together do not expire together.
func TestJitterSpreads(t *testing.T) {
	r := Compile([]object.Rule{{Path: "*", TTL: ptr(int64(1000))}}).For("/")
	lo, hi := time.Hour, time.Duration(0)
	for range 10_000 {
		d, _ := r.Lifetime(200)
		lo, hi = min(lo, d), max(hi, d)
	}
	if lo < 900*time.Second || hi > 1100*time.Second || hi-lo < 190*time.Second {
		t.Errorf("from %v to %v", lo, hi)
	}
}

func TestQueries(t *testing.T) {
	for _, c := range []struct {
		rule      object.QueryRule
		raw, want string
	}{
		{object.QueryRule{Ignore: []string{"utm_source"}}, "a=1&utm_source=x&b", "a=1&b"},
		{object.QueryRule{Ignore: []string{"a b"}}, "a+b=1&a%20b=2&c", "c"},
		{object.QueryRule{Keep: &[]string{"v"}}, "v=1&w=2&v=3&%76=4", "v=1&v=3&%76=4"},
		{object.QueryRule{Keep: &[]string{}}, "v=1", ""},
		{object.QueryRule{}, "v=1&&w=%zz", "v=1&w=%zz"},
	} {
		r := Compile([]object.Rule{{Path: "*", Query: &c.rule}}).For("/")
		if got := r.QueryOf(c.raw); got != c.want {
			t.Errorf("%+v of %q: %q, want %q", c.rule, c.raw, got, c.want)
		}
	}
}

// A redirect never leads to a host that the client has named.
func TestRedirects(t *testing.T) {
	for _, c := range []struct{ rule, to, path, query, want string }{
		{"/old/*", "/new/{rest}{query}", "/old/a/b", "x=y", "/new/a/b?x=y"},
		{"/old/*", "/{rest}", "/old//evil.example/x", "", "/evil.example/x"},
		{"/old/*", "{path}", "/old/x", "", "/old/x"},
		{"*", "{path}", "//evil.example", "", "/evil.example"},
		{"*", "https://www.example{path}", "/a%2fb", "", "https://www.example/a%2fb"},
		{"*", "https://www.example{path}", "@evil.example", "", "https://www.example/@evil.example"},
	} {
		r := Compile([]object.Rule{{Path: c.rule, Redirect: &object.RedirectRule{To: c.to}}}).For(c.path)
		if r == nil {
			r = Compile([]object.Rule{{Path: "*", Redirect: &object.RedirectRule{To: c.to}}}).For("/")
		}
		if got, status, ok := r.Location(c.path, c.query); !ok || status != 302 || got != c.want {
			t.Errorf("%+v: %q %d", c, got, status)
		}
	}
}

func TestCORS(t *testing.T) {
	some := Compile([]object.Rule{{Path: "*", CORS: &object.CORSRule{
		Origins: []string{"https://a.example"}, Credentials: true, Expose: []string{"X-A"}, Methods: []string{"PUT"}, Headers: []string{"X-B"}, MaxAge: 60,
	}}})
	if !some.PerOrigin() || Compile([]object.Rule{{Path: "*", CORS: &object.CORSRule{Origins: []string{"*"}}}}).PerOrigin() {
		t.Error("PerOrigin")
	}
	for origin, allowed := range map[string]string{"https://a.example": "https://a.example", "https://b.example": "", "": "", "null": ""} {
		h := http.Header{"Vary": {"Accept"}}
		some.For("/").Allow(h, origin)
		if h.Get("Access-Control-Allow-Origin") != allowed || len(h["Vary"]) != 2 || h["Vary"][1] != "Origin" {
			t.Errorf("%q: %v", origin, h)
		}
	}
	q := &http.Request{Method: "OPTIONS", Header: http.Header{"Origin": {"https://a.example"}, "Access-Control-Request-Method": {"PUT"}}}
	h, ok := some.For("/").Preflight(q)
	if !ok || h.Get("Access-Control-Allow-Methods") != "GET, HEAD, POST, PUT" || h.Get("Access-Control-Allow-Headers") != "X-B" || h.Get("Access-Control-Max-Age") != "60" {
		t.Errorf("%v %v", h, ok)
	}
	q.Header.Set("Origin", "https://b.example")
	if h, ok := some.For("/").Preflight(q); !ok || h.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("%v %v", h, ok)
	}
	q.Header.Del("Access-Control-Request-Method")
	if _, ok := some.For("/").Preflight(q); ok {
		t.Error("an OPTIONS that is no preflight")
	}
}

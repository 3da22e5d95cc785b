package edge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

func ptr[T any](v T) *T { return &v }

// someRules are rules of a published site.
var someRules = []object.Rule{
	{Path: "*", ResponseHeaders: &object.HeaderRule{Set: map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "sniff"}, Add: map[string]string{"Link": "</x>"}}},
	{Path: "*.txt", ClientTTL: ptr(int64(60)), CORS: &object.CORSRule{Origins: []string{"*"}, Expose: []string{"ETag"}}},
	{Path: "/old/*", Redirect: &object.RedirectRule{To: "/new/{rest}{query}", Status: 308}},
	{Path: "/absent", ErrorPages: map[string]string{"404": "<h1>Nothing here</h1>"}},
}

func TestRulesOfAPublishedSite(t *testing.T) {
	overBoth(t, func(t *testing.T, newWeb opener) {
		w := newWeb(t, nil)
		w.rules(object.SiteRules{Paths: someRules})
		data := []byte("hello")
		w.o.Publish("www", "/a.txt", 1, data)
		w.o.Publish("www", "/old/b", 1, data)
		for range 4 { // missed, from disk, from memory
			h := w.mustGet("/a.txt", data).Header
			for name, want := range map[string]string{
				"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Link": "</x>", "Cache-Control": "public, max-age=60",
				"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag",
			} {
				if h.Get(name) != want || len(h[http.CanonicalHeaderKey(name)]) != 1 {
					t.Errorf("%s: %q, want %q", name, h[http.CanonicalHeaderKey(name)], want)
				}
			}
			if a := w.ask("GET", "/old/b?q"); a.StatusCode != 308 || a.Header.Get("Location") != "/new/b?q" || a.reason() != "redirected" {
				t.Errorf("%d %v", a.StatusCode, a.Header)
			}
			if a := w.ask("GET", "/absent"); a.StatusCode != 404 || string(a.body) != "<h1>Nothing here</h1>" || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
				t.Errorf("%d %q", a.StatusCode, a.body)
			}
		}
		a := w.ask("OPTIONS", "/a.txt", "Origin: https://b.example", "Access-Control-Request-Method: GET")
		if a.StatusCode != 204 || a.Header.Get("Access-Control-Allow-Methods") == "" || a.reason() != "preflight" {
			t.Errorf("preflight: %d %v", a.StatusCode, a.Header)
		}
	})
}

// Who may read an answer depends on who asks, whatever memory has.
func TestCORSForSomeOrigins(t *testing.T) {
	overBoth(t, func(t *testing.T, newWeb opener) {
		w := newWeb(t, nil)
		data := []byte("hello")
		w.o.Publish("www", "/a.txt", 1, data)
		for range 3 {
			w.mustGet("/a.txt", data)
		}
		w.rules(object.SiteRules{Paths: []object.Rule{{Path: "*", CORS: &object.CORSRule{Origins: []string{"https://a.example"}}}}})
		for range 3 {
			for origin, want := range map[string]string{"https://a.example": "https://a.example", "https://b.example": ""} {
				h := w.ask("GET", "/a.txt", "Origin: "+origin).Header
				if h.Get("Access-Control-Allow-Origin") != want || h.Get("Vary") != "Origin" {
					t.Errorf("%s: %v", origin, h)
				}
			}
		}
	})
}

// A pull site lives beside published ones, on the same connections, and the log purges it.
func TestPullSiteBesidePublished(t *testing.T) {
	overBoth(t, func(t *testing.T, newWeb opener) {
		var asked atomic.Int64
		o := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
			rw.Header().Set("Cache-Control", "max-age=1000")
			rw.Header().Set("Cache-Groups", `"shoes"`)
			fmt.Fprintf(rw, "%s %d", q.URL.Path, asked.Add(1))
		}))
		defer o.Close()
		w := newWeb(t, nil)
		w.s.pull = newPullSide(w.s, w.e, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, w.s.clock)
		r := cachetest.Site("shop", "shop.example")
		r.Kind, r.Origin = object.Pull, &object.PullOrigin{URL: o.URL}
		w.site(r)
		data := []byte("hello")
		w.o.Publish("www", "/a", 1, data)

		c := w.dial()
		in := bufio.NewReader(c)
		for range 3 {
			if a := w.askOn(c, in, "GET", "/a"); string(a.body) != "hello" {
				t.Fatalf("published: %d %s", a.StatusCode, a.body)
			}
			if a := w.askOn(c, in, "GET", "/a/x?q", "Host: shop.example"); string(a.body) != "/a/x 1" {
				t.Fatalf("pulled: %d %s", a.StatusCode, a.body)
			}
		}
		for n, e := range []purge.Entry{
			{Kind: purge.KindURL, Site: "shop", Path: "/a/x"}, {Kind: purge.KindPrefix, Site: "shop", Prefix: "/a/"}, {Kind: purge.KindTag, Site: "shop", Tag: "shoes"},
			{Kind: purge.KindSite, Site: "shop"}, {Kind: purge.KindSite, Site: "shop", Soft: true},
		} {
			// A fill ends a moment after its readers do, and what is purged before is not kept.
			for deadline := time.Now().Add(patience); w.s.pull.cache.Stats().Fills > 0 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			w.apply(purge.Entry{Kind: purge.KindURL, Site: "shop", Path: "/other"})
			w.apply(purge.Entry{Kind: purge.KindSite, Site: "www"})
			if a := w.ask("GET", "/a/x?q", "Host: shop.example"); string(a.body) != fmt.Sprint("/a/x ", n+1) {
				t.Errorf("purged by something else: %s", a.body)
			}
			w.apply(e)
			a := w.ask("GET", "/a/x?q", "Host: shop.example")
			if string(a.body) != fmt.Sprint("/a/x ", n+2) || a.reason() != "purged" {
				t.Errorf("%s: %s %s", e.Kind, a.body, a.Header.Get("Cache-Status"))
			}
		}
		if s := w.s.tally.total(); s.answers[words{200, "stale", "purged"}] != 5 {
			t.Errorf("counted %v", s.answers)
		}
	})
}

// Nobody may put a pull site in front of what only this machine can reach.
func TestPullSitesDoNotReachInside(t *testing.T) {
	var asked atomic.Int64
	o := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { asked.Add(1); io.WriteString(rw, "secret") }))
	defer o.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(o.URL, "http://"), ":")
	w := newWeb(t, nil)
	for i, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1", "127.1", "[64:ff9b::7f00:1]"} {
		r := cachetest.Site(object.Site(fmt.Sprint("s", i)), object.Host(fmt.Sprintf("s%d.example", i)))
		r.Kind, r.Origin = object.Pull, &object.PullOrigin{URL: "http://" + host + ":" + port}
		w.site(r)
		if a := w.ask("GET", "/", fmt.Sprintf("Host: s%d.example", i)); a.StatusCode != 502 && a.StatusCode != 504 {
			t.Errorf("%s: %d %s", host, a.StatusCode, a.body)
		}
	}
	if asked.Load() > 0 {
		t.Error("the inside was reached")
	}
}

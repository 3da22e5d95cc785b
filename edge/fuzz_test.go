package edge

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"perigee/clock"
	"perigee/edge/cache"
	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

// tag is an entity tag (RFC 9110 §8.8.3), but with anything but '"' between the quotes, as a lenient reader has it.
var tag = regexp.MustCompile(`^(W/)?"[^"]*"`)

// naiveMatch is matchAny by regular expression.
func naiveMatch(list, etag string, c comparison) bool {
	for {
		list = strings.TrimLeft(list, ", \t")
		if strings.HasPrefix(list, "*") {
			return true
		}
		m := tag.FindString(list)
		if m == "" {
			return false
		}
		if m == etag || c == weakly && strings.TrimPrefix(m, "W/") == etag {
			return true
		}
		list = strings.TrimPrefix(list, m)
	}
}

func TestMatchAny(t *testing.T) {
	for _, c := range []struct {
		list         string
		strong, weak bool
	}{
		{``, false, false}, {`"e"`, true, true}, {`W/"e"`, false, true}, {`*`, true, true}, {`"a", "e"`, true, true}, {`"a","e"`, true, true},
		{`"a" , W/"e"`, false, true}, {`"a"`, false, false}, {`e`, false, false}, {`"e`, false, false}, {`W/`, false, false}, {`w/"e"`, false, false},
		{`"a, e"`, false, false}, {`"a,"e"`, false, false}, {`,,, "e"`, true, true}, {`"", "e"`, true, true}, {`W/"a", "e", x`, true, true}, {`x, "e"`, false, false},
	} {
		if got := matchAny(c.list, `"e"`, strongly); got != c.strong {
			t.Errorf("%s strongly: %v", c.list, got)
		}
		if got := matchAny(c.list, `"e"`, weakly); got != c.weak {
			t.Errorf("%s weakly: %v", c.list, got)
		}
	}
}

func FuzzMatchAny(f *testing.F) {
	for _, s := range []string{"", "*", `"e"`, `W/"e"`, `"a", "e"`, `"a`, "W/", `W/W/"e"`, `,,"e"`, `"a""e"`, "\"a\t\"\t,\"e\""} {
		f.Add(s, "e")
	}
	f.Fuzz(func(t *testing.T, list, opaque string) {
		if strings.Contains(opaque, `"`) {
			return
		}
		for _, c := range []comparison{strongly, weakly} {
			if got, want := matchAny(list, `"`+opaque+`"`, c), naiveMatch(list, `"`+opaque+`"`, c); got != want {
				t.Fatalf("matchAny(%q, %q, %v) = %v", list, opaque, c, got)
			}
		}
	})
}

// FuzzCacheStatus forms the field of any node name and outcome.
func FuzzCacheStatus(f *testing.F) {
	for _, n := range []string{"fra", "1", "", `"`, `\`, "a\r\nb", "a, b; hit", "Ü"} {
		f.Add(n, byte(0), byte(3), true, false, false, false)
		f.Add(n, byte(2), byte(9), false, true, true, true)
	}
	fwds := []cache.Forward{cache.NotForwarded, cache.FwdURIMiss, cache.FwdMiss, cache.FwdStale, cache.FwdPartial}
	reasons := []cache.Reason{
		cache.ReasonRAM, cache.ReasonDisk, cache.ReasonFilling, cache.ReasonNotHeld, cache.ReasonBlobHeld, cache.ReasonPurged, cache.ReasonLeaseRenewed,
		cache.ReasonLeaseExpired, cache.ReasonRefused, cache.ReasonAbsent, cache.ReasonDeleted, cache.ReasonPartlyHeld, cache.ReasonNotAdmitted,
		cache.ReasonDiskFailed, cache.ReasonHealed, cache.ReasonOriginDown, cache.ReasonOriginTimeout, cache.ReasonOriginBad, cache.ReasonUnknownSite,
		cache.ReasonSitesUnknown, cache.ReasonBadRequest, cache.ReasonMethod, cache.ReasonErased,
	}
	engine := newEngine(f, cachetest.NewOrigin(), nil)
	f.Fuzz(func(t *testing.T, node string, fwd, reason byte, stored, collapsed, stale, failed bool) {
		x := &exchange{
			s: &Server{node: cacheName(node)}, site: cachetest.Site("www"), path: "/file",
			outcome: cache.Outcome{
				Fwd: fwds[int(fwd)%len(fwds)], Reason: reasons[int(reason)%len(reasons)], Stored: stored && !collapsed, Collapsed: collapsed, Stale: stale,
			},
		}
		x.s.engine = engine
		var lines fields
		if failed {
			lines = x.failureStatus(nil)
		} else {
			lines = x.cacheStatus(nil)
		}
		h := http.Header{}
		lines.each(h.Add)
		checkCacheStatus(t, &answer{Response: &http.Response{Header: h}})
	})
}

// FuzzRequest throws requests at a server: it must not panic, and must answer what the path means or refuse it.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{"/file", "/", "/%66ile", "/a%2Fb", "/_perigee/v/0000000000000000/file", "*", "http://www.example/file", "//x", "/\x00", "/文\"%2F"} {
		f.Add("GET", s, "www.example", "bytes=0-1", `"e"`)
	}
	f.Add("HEAD", "/file", "", "", "*")
	f.Add("POST", "/file", "[", "bytes=-", "W/")
	o := cachetest.NewOrigin()
	o.Publish("www", "/file", 1, []byte("hello"))
	o.Publish("www", "/index.html", 1, nil)
	s := NewServer(ServerConfig{Node: "fra", Engine: newEngine(f, o, nil), Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	s.engine.Apply(purge.Record{Entry: purge.Entry{Format: 1, ID: "e", Site: "www", Kind: purge.KindRules, Record: cachetest.Site("www", "www.example")}})
	f.Fuzz(func(t *testing.T, method, target, host, rng, inm string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := &http.Request{Method: method, URL: u, Host: host, Header: http.Header{"Range": {rng}, "If-None-Match": {inm}}, RequestURI: target}
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, r.WithContext(t.Context()))
		checkRecorded(t, rec)
		p, err := object.ParseRequestPath(target)
		if rec.Code == 200 && err == nil && method == "GET" && p == "/file" && rec.Body.String() != "hello" {
			t.Fatalf("%q", rec.Body)
		}
		for name, values := range rec.Header() {
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00") {
					t.Fatalf("%s: %q", name, v)
				}
			}
		}
	})
}

func checkRecorded(t *testing.T, rec *httptest.ResponseRecorder) {
	t.Helper()
	switch rec.Code {
	case 200, 206, 304, 400, 404, 405, 410, 412, 416, 503:
	default:
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	checkCacheStatus(t, &answer{Response: &http.Response{Header: rec.Header()}})
}

package web

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"perigee/clock"
	"perigee/fleet"
	"perigee/object"
	"perigee/openapi"
	"perigee/problem"
)

func TestRoutes(t *testing.T) {
	w, _ := newWorld(t, false)
	w.report("fra", nil)
	w.report("sin", nil)
	w.report("old", func(r *fleet.Report) { r.State = fleet.Stopping })
	w.refusing["sin"] = errors.New("no answer from 10.0.0.9")
	many := `["` + strings.Repeat(`/a","`, maxPurgeItems) + `/a"]`

	for _, c := range []struct {
		name         string
		method, path string
		body         string
		status       int
		want         string // in the body
	}{
		{"fleet", "GET", "/api/v1/fleet", "", 200, `"node":"fra"`},
		{"drain", "POST", "/api/v1/fleet/fra/drain", "", 202, `"drain":true`},
		{"undrain", "POST", "/api/v1/fleet/fra/undrain", "", 202, `"drain":false`},
		{"drain of nobody", "POST", "/api/v1/fleet/nobody/drain", "", 404, "/problems/not-found"},
		{"drain unanswered", "POST", "/api/v1/fleet/sin/drain", "", 502, "Node sin did not confirm"},
		{"forget a living node", "DELETE", "/api/v1/fleet/fra", "", 409, "Stop it first"},
		{"forget", "DELETE", "/api/v1/fleet/old", "", 204, ""},
		{"forget twice", "DELETE", "/api/v1/fleet/old", "", 404, "/problems/not-found"},

		{"sites", "GET", "/api/v1/sites", "", 200, `"site":"www"`},
		{"new site", "POST", "/api/v1/sites", `{"site":"docs","hosts":["Docs.Perigee.Test"]}`, 201, `"hosts":["docs.perigee.test"]`},
		{"changed site", "PUT", "/api/v1/sites/docs", `{"hosts":["docs.perigee.test"],"rules":{"paths":[{"path":"/old/*","redirect":{"to":"/new/{rest}"}}]}}`, 200, `"to":"/new/{rest}"`},
		{"bad rule", "PUT", "/api/v1/sites/docs", `{"rules":{"paths":[{"path":"/a*b","client_ttl":1}]}}`, 400, "can have a * only at its end"},
		{"rule of another kind", "PUT", "/api/v1/sites/docs", `{"rules":{"paths":[{"path":"*","ttl":60}]}}`, 400, "ttl is for pull sites"},
		{"no such site", "PUT", "/api/v1/sites/nope", `{}`, 404, "/problems/not-found"},
		{"another site", "PUT", "/api/v1/sites/docs", `{"site":"www"}`, 400, "another site"},
		{"pull site", "POST", "/api/v1/sites", `{"site":"shop","kind":"pull","hosts":["shop.perigee.test"],"origin":{"url":"https://origin.example"}}`, 201, `"url":"https://origin.example"`},
		{"pull site without origin", "POST", "/api/v1/sites", `{"site":"s2","kind":"pull"}`, 400, "needs an origin"},
		{"site exists", "POST", "/api/v1/sites", `{"site":"docs"}`, 409, "/problems/exists"},
		{"site name", "POST", "/api/v1/sites", `{"site":"No_Site"}`, 400, "a site name is"},
		{"site host", "POST", "/api/v1/sites", `{"site":"x","hosts":["a b"]}`, 400, "each label"},
		{"site kind", "POST", "/api/v1/sites", `{"site":"x","kind":"magic"}`, 400, "none of published, bucket, pull"},
		{"unknown field", "POST", "/api/v1/sites", `{"site":"x","host":"a"}`, 400, `unknown field`},
		{"not JSON", "POST", "/api/v1/sites", `site=x`, 400, "/problems/invalid-json"},
		{"two objects", "POST", "/api/v1/sites", `{"site":"y"}{}`, 400, "after the JSON object"},
		{"huge", "POST", "/api/v1/sites", `{"site":"` + strings.Repeat("x", maxBody) + `"}`, 413, "1 MiB"},

		{"purge of nothing", "POST", "/api/v1/sites/www/purge", `{}`, 400, "it names nothing"},
		{"purge of too much", "POST", "/api/v1/sites/www/purge", `{"urls":` + many + `}`, 400, "the limit is 1000"},
		{"purge relative", "POST", "/api/v1/sites/www/purge", `{"urls":["a/b"]}`, 400, "starting with '/'"},
		{"purge dots", "POST", "/api/v1/sites/www/purge", `{"urls":["/a/../b"]}`, 400, "segment"},
		{"purge %2F", "POST", "/api/v1/sites/www/purge", `{"urls":["/a%2Fb"]}`, 400, "refused"},
		{"purge foreign host", "POST", "/api/v1/sites/www/purge", `{"urls":["http://other.test/a"]}`, 400, "no host of site www"},
		{"purge immutable", "POST", "/api/v1/sites/www/purge", `{"urls":["/_perigee/v/1/a"]}`, 400, "reserved"},
		{"purge tag", "POST", "/api/v1/sites/www/purge", `{"tags":["a b"]}`, 400, "a tag is"},
		{"purge misspelt", "POST", "/api/v1/sites/www/purge", `{"url":["/a"]}`, 400, "unknown field"},
		{"purge unknown site", "POST", "/api/v1/sites/nosite/purge", `{"all":true}`, 404, "site nosite does not exist"},
		{"purge bad site", "POST", "/api/v1/sites/No!/purge", `{"all":true}`, 400, "a site name is"},
		{"purge bad wait", "POST", "/api/v1/sites/www/purge?wait=soon", `{"all":true}`, 400, "such as 5s"},
		{"purge long wait", "POST", "/api/v1/sites/www/purge?wait=31", `{"all":true}`, 400, "longer than 30s"},
		{"purge negative wait", "POST", "/api/v1/sites/www/purge?wait=-1s", `{"all":true}`, 400, "such as 5s"},
		{"purge all", "POST", "/api/v1/sites/www/purge", `{"all":true,"soft":true}`, 202, `"position":"p1.`},
		{"purge and wait", "POST", "/api/v1/sites/www/purge?wait=20", `{"all":true}`, 200, `"effective":true`},
		{"purge whole URL", "POST", "/api/v1/sites/www/purge", `{"urls":["http://WWW.perigee.test:8100/a%20b?x=1"]}`, 202, `"id":"row-`},
		{"proof", "GET", "/api/v1/purges/row-1", "", 200, `"effective":true`},
		{"proof of nothing", "GET", "/api/v1/purges/row-999", "", 404, "/problems/not-found"},

		{"explain", "GET", "/api/v1/explain?site=www&path=/a.txt&ip=81.2.69.160", "", 200, `"chosen":"fra"`},
		{"what if", "GET", "/api/v1/whatif?drain=fra&add=tyo@35.6,139.7", "", 200, `"moves":[{"from":"`},
		{"what if nothing", "GET", "/api/v1/whatif", "", 400, "Nothing would change"},
		{"what if nobody", "GET", "/api/v1/whatif?drain=xxx", "", 404, `edge \"xxx\" does not exist`},
		{"what if nowhere", "GET", "/api/v1/whatif?add=tyo@1,300", "", 400, "like tyo@35.6,139.7"},
		{"explain a directory", "GET", "/api/v1/explain?site=www&path=/docs/&ip=81.2.69.160", "", 200, `"path":"/docs/index.html"`},
		{"explain myself", "GET", "/api/v1/explain?site=www&path=/a", "", 200, `"ip":"127.0.0.1"`},
		{"explain v4 in v6", "GET", "/api/v1/explain?site=www&path=/a&ip=::ffff:81.2.69.1", "", 200, `"ip":"81.2.69.1"`},
		{"explain no path", "GET", "/api/v1/explain?site=www&ip=1.1.1.1", "", 400, "names no file"},
		{"explain bad address", "GET", "/api/v1/explain?site=www&path=/a&ip=1.1.1", "", 400, "no IPv4 or IPv6"},
		{"explain zone", "GET", "/api/v1/explain?site=www&path=/a&ip=fe80::1%25eth0", "", 400, "no IPv4 or IPv6"},
		{"explain fails", "GET", "/api/v1/explain?site=www&path=/broken&ip=1.1.1.1", "", 500, "under the request id"},

		{"no route", "GET", "/api/v1/nothing", "", 404, ""},
		{"asset of another build", "GET", "/assets/main-old.js", "", 404, "Reload the page"},
		{"asset path tricks", "GET", "/assets/..%2f..%2fdoc.go", "", 404, ""},
	} {
		status, h, body := w.do(c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %s %s = %d %.300s; want %d with %q", c.name, c.method, c.path, status, body, c.status, c.want)
		}
		if status >= 400 && strings.HasPrefix(c.path, "/api/v1/") && c.name != "no route" {
			checkProblem(t, c.name, status, h, body)
		}
		if strings.Contains(body, "secret") || strings.Contains(body, "10.0.0.9") {
			t.Errorf("%s: the answer tells what only the log may: %s", c.name, body)
		}
	}
}

// checkProblem: every error is a whole problem document, and its request id is the one in the header.
func checkProblem(t *testing.T, name string, status int, h http.Header, body string) {
	t.Helper()
	var p problem.Document
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Errorf("%s: %v in %q", name, err, body)
		return
	}
	if h.Get("Content-Type") != "application/problem+json" || p.Status != status || p.Title == "" || p.Detail == "" ||
		!strings.HasPrefix(p.Type, "/problems/") || p.RequestID == "" || p.RequestID != h.Get("X-Request-Id") {
		t.Errorf("%s: not a whole problem document: %v %s", name, h, body)
	}
}

func TestPurgeCarriesWhatWasNamed(t *testing.T) {
	w, _ := newWorld(t, false)
	got, err := w.server.purgeRequest(t.Context(), testSite, purgeBody{
		URLs: []string{"/a%20b", "https://www.perigee.test/d/", "/c?q=1"}, Prefixes: []string{"img"}, Tags: []string{"news"}, Soft: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []object.Path{"/a b", "/d/index.html", "/c"}
	if !slices.Equal(got.Paths, want) || got.Prefixes[0] != "/img/" || got.Tags[0] != "news" || !got.Soft || got.All {
		t.Errorf("purgeRequest = %+v", got)
	}
}

func TestPurgeWaitsForTheSlowEdge(t *testing.T) {
	w, _ := newWorld(t, false)
	w.report("fra", nil)
	w.report("sin", nil)
	w.slowEdge = "sin"

	status, _, body := w.do("POST", "/api/v1/sites/www/purge?wait=50ms", `{"urls":["/a"]}`)
	var p Proof
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	if status != 202 || p.Effective || p.Applied != 1 || p.Total != 2 || p.Edges[1].Applied || p.Edges[1].MS != nil || p.Edges[0].MS == nil {
		t.Fatalf("purge with a slow edge = %d %s", status, body)
	}

	// The slow edge comes while another request waits.
	answer := make(chan string)
	go func() {
		_, _, body := w.do("POST", "/api/v1/sites/www/purge?wait=30s", `{"urls":["/b"]}`)
		answer <- body
	}()
	for { // until the second purge is in the log
		w.mu.Lock()
		pos, ok := w.entries["row-2"]
		w.mu.Unlock()
		if ok {
			w.report("sin", func(r *fleet.Report) { r.Position = pos })
			break
		}
	}
	if body := <-answer; !strings.Contains(body, `"effective":true,"applied":2,"total":2`) {
		t.Errorf("purge after the slow edge came = %s", body)
	}
}

func TestFleetTellsHowFarNodesAreBehind(t *testing.T) {
	w, _ := newWorld(t, false)
	w.report("fra", nil)
	w.report("sin", nil)
	w.report("ns", func(r *fleet.Report) { r.Role = fleet.RoleDNS })
	w.entry(purgeAll())
	w.slowEdge = "sin"
	w.entry(purgeAll())
	w.entry(purgeAll())

	_, _, body := w.do("GET", "/api/v1/fleet", "")
	var v struct {
		Nodes []struct {
			Node   string
			Behind *uint64
		}
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Nodes) != 3 || *v.Nodes[0].Behind != 0 || v.Nodes[1].Behind != nil || *v.Nodes[2].Behind != 2 {
		t.Errorf("fleet = %s", body)
	}
}

func TestKeysAreNeverShownTwice(t *testing.T) {
	w, key := newWorld(t, true)
	auth := "Authorization: Bearer " + key
	status, _, body := w.do("POST", "/api/v1/keys", `{"name":"ci","scopes":["publish","publish"]}`, auth)
	var made struct{ ID, Key string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != 201 || !strings.HasPrefix(made.Key, "pk_") || strings.Contains(body, "hash") {
		t.Fatalf("new key = %d %s, %v", status, body, err)
	}
	if status, _, body := w.do("GET", "/api/v1/keys", "", auth); status != 200 || !strings.Contains(body, made.ID) || strings.Contains(body, made.Key) || strings.Contains(body, "hash") {
		t.Errorf("keys = %d %s", status, body)
	}
	for _, bad := range []string{`{"name":"","scopes":["read"]}`, `{"name":"x","prefixes":["/a/"]}`, `{"name":"x","sites":["Not A Site"]}`, `{"name":"x","scopes":["root"]}`, `{"name":"x","scopes":["read"],"expires":"2001-01-01T00:00:00Z"}`} {
		if status, h, body := w.do("POST", "/api/v1/keys", bad, auth); status != 400 {
			t.Errorf("key %s = %d", bad, status)
		} else {
			checkProblem(t, bad, status, h, body)
		}
	}
	if status, _, _ := w.do("DELETE", "/api/v1/keys/"+made.ID, "", auth); status != 204 {
		t.Errorf("revoke = %d", status)
	}
	if status, _, _ := w.do("DELETE", "/api/v1/keys/"+made.ID, "", auth); status != 404 {
		t.Errorf("revoke again = %d", status)
	}
}

func TestScopes(t *testing.T) {
	w, admin := newWorld(t, true)
	newKey := func(scope string) string {
		_, _, body := w.do("POST", "/api/v1/keys", `{"name":"`+scope+`","scopes":["`+scope+`"]}`, "Authorization: Bearer "+admin)
		var made struct{ Key string }
		if err := json.Unmarshal([]byte(body), &made); err != nil {
			t.Fatal(err)
		}
		return made.Key
	}
	who := map[string]string{"stranger": "", "read": newKey("read"), "publish": newKey("publish"), "purge": newKey("purge"), "admin": admin}
	for _, c := range []struct {
		method, path, body string
		may                []string
	}{
		{"GET", "/api/v1/fleet", "", []string{"read", "publish", "purge", "admin"}},
		{"GET", "/api/v1/sites", "", []string{"read", "publish", "purge", "admin"}},
		{"GET", "/", "", []string{"read", "publish", "purge", "admin"}},
		{"POST", "/api/v1/sites/www/purge", `{"all":true}`, []string{"purge", "admin"}},
		{"POST", "/api/v1/sites", `{"site":"a"}`, []string{"admin"}},
		{"POST", "/api/v1/fleet/x/drain", ``, []string{"admin"}},
		{"DELETE", "/api/v1/fleet/x", ``, []string{"admin"}},
		{"GET", "/api/v1/keys", ``, []string{"admin"}},
		{"DELETE", "/api/v1/keys/0123456789", ``, []string{"admin"}},
		{"GET", "/login", ``, []string{"stranger", "read", "publish", "purge", "admin"}},
	} {
		for name, key := range who {
			var fields []string
			if key != "" {
				fields = []string{"Authorization: Bearer " + key}
			}
			status, _, _ := w.do(c.method, c.path, c.body, fields...)
			denied := status == 401 || status == 403
			if denied == slices.Contains(c.may, name) {
				t.Errorf("%s: %s %s = %d", name, c.method, c.path, status)
			}
		}
	}
}

// TestWithoutGuardNobodyGetsIn: a program that forgot the guard must not serve.
func TestWithoutGuardNobodyGetsIn(t *testing.T) {
	w, _ := newWorld(t, false)
	engine := gin.New()
	w.server.Register(engine, openapi.New(openapi.Info{Version: "1.2.3"}))
	for _, r := range engine.Routes() {
		rec := httptest.NewRecorder()
		engine.ServeHTTP(rec, httptest.NewRequest(r.Method, strings.NewReplacer(":node", "a", ":site", "www", ":id", "a").Replace(r.Path), nil))
		open := r.Path == LoginPath || strings.HasPrefix(r.Path, assetPrefix)
		if (rec.Code == http.StatusUnauthorized) == open {
			t.Errorf("%s %s without a guard = %d", r.Method, r.Path, rec.Code)
		}
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	w, _ := newWorld(t, false)
	whole := Config{Fleet: w, Purges: w, Sites: w, Explainer: w, Files: w.publishing, Contents: w, Ledger: w.cat, Clock: clock.System, Log: slog.New(slog.DiscardHandler)}
	if _, err := New(whole); err != nil {
		t.Errorf("New of a whole Config: %v", err)
	}
	whole.Purges = nil
	if _, err := New(whole); err == nil || !strings.Contains(err.Error(), "Config.Purges") {
		t.Errorf("New without Purges: %v", err)
	}
}

func TestLoadAssetsRefusesHalfABuild(t *testing.T) {
	for name, dist := range map[string]fs.FS{
		"no licences":     mapFS("dist/.vite/manifest.json", `{"main.tsx":{"file":"assets/main-1.js","isEntry":true}}`, "dist/assets/main-1.js", "x"),
		"no script":       mapFS("dist/.vite/manifest.json", `{"main.tsx":{"file":"assets/main-1.js","isEntry":true}}`),
		"broken manifest": mapFS("dist/.vite/manifest.json", `{`),
	} {
		if _, err := loadAssets(dist); err == nil || !strings.Contains(err.Error(), "build the console again") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

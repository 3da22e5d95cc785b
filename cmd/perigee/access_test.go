package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/clock"
	"perigee/keys"
	"perigee/object"
	"perigee/openapi"
	"perigee/origin"
	"perigee/upload"
	"perigee/web"
)

// The kinds of keys that every route is tried with, by a letter each.
var kindsOfKeys = map[rune]keys.Identity{
	'r': {ID: "r", Scopes: []keys.Scope{keys.ScopeRead}},
	'p': {ID: "p", Scopes: []keys.Scope{keys.ScopePublish}},
	'u': {ID: "u", Scopes: []keys.Scope{keys.ScopePurge}},
	'a': {ID: "a", Scopes: []keys.Scope{keys.ScopeAdmin}},
	// Of the site, of the directory in it, of another directory, and of another site.
	's': {ID: "s", Scopes: []keys.Scope{keys.ScopeAdmin}, Limits: keys.Limits{Sites: []object.Site{"www"}}},
	'd': {ID: "d", Scopes: []keys.Scope{keys.ScopePublish, keys.ScopePurge}, Limits: keys.Limits{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/in/"}}},
	'x': {ID: "x", Scopes: []keys.Scope{keys.ScopeAdmin}, Limits: keys.Limits{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/out/"}}},
	'o': {ID: "o", Scopes: []keys.Scope{keys.ScopeAdmin}, Limits: keys.Limits{Sites: []object.Site{"img"}}},
}

// access is how a route is tried: a request about the file www:/in/a, or what else exists, and which keys it is for. All
// others, and strangers, must get 401, 403 or 404.
type access struct {
	route  string // method and pattern, as registered
	path   string
	body   string
	header string // "Name: value"
	keys   string
}

const (
	everyone = "rpuasdxo"
	anyHash  = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	tusField = "Tus-Resumable: 1.0.0"
)

// routeAccess has every route of the API and the console.
func routeAccess(uploadID, directID, purgeID string) []access {
	const files = "/api/v1/sites/www/files"
	up, direct := "/api/v1/uploads/"+uploadID, "/api/v1/direct-uploads/"+directID
	tus := func(method, route, path, who string) access {
		return access{method + " /api/v1/uploads" + route, path, "", tusField, who}
	}
	all := []access{
		{"GET /", "/", "", "", everyone}, {"HEAD /", "/", "", "", everyone},
		{"GET /api/v1/openapi.json", "/api/v1/openapi.json", "", "", everyone},
		{"GET /api/v1/events", "/api/v1/events", "", "", everyone},
		{"GET /api/v1/explain", "/api/v1/explain?site=www&path=/in/a", "", "", "rpuasd"},
		{"GET /api/v1/whatif", "/api/v1/whatif?drain=fra", "", "", "rpua"},
		{"GET /api/v1/fleet", "/api/v1/fleet", "", "", "rpua"},
		{"POST /api/v1/fleet/:node/drain", "/api/v1/fleet/fra/drain", "", "", "a"},
		{"POST /api/v1/fleet/:node/undrain", "/api/v1/fleet/fra/undrain", "", "", "a"},
		{"DELETE /api/v1/fleet/:node", "/api/v1/fleet/fra", "", "", "a"},
		{"GET /api/v1/sites", "/api/v1/sites", "", "", everyone},
		{"POST /api/v1/sites", "/api/v1/sites", `{"site":"new"}`, "", "a"},
		{"PUT /api/v1/sites/:site", "/api/v1/sites/www", `{"site":"www"}`, "", "as"},
		{"PATCH /api/v1/sites/:site", "/api/v1/sites/www", `{"quota":{"bytes":1}}`, "", "a"},
		{"POST /api/v1/sites/:site/recount", "/api/v1/sites/www/recount", "", "", "a"},
		{"GET /api/v1/keys", "/api/v1/keys", "", "", "a"},
		{"POST /api/v1/keys", "/api/v1/keys", `{"name":"n"}`, "", "a"},
		{"DELETE /api/v1/keys/:id", "/api/v1/keys/KEY", "", "", "a"},
		{"GET /api/v1/audit", "/api/v1/audit", "", "", "asxo"},
		{"GET /api/v1/purges", "/api/v1/purges", "", "", everyone},
		{"GET /api/v1/watches", "/api/v1/watches", "", "", "rpua"},
		{"GET /api/v1/purges/:id", "/api/v1/purges/" + purgeID, "", "", "rpuasd"},
		{"POST /api/v1/sites/:site/purge", "/api/v1/sites/www/purge", `{"urls":["/in/a"]}`, "", "uasd"},
		{"POST /api/v1/sites/:site/purge", "/api/v1/sites/www/purge", `{"prefixes":["/in/"]}`, "", "uasd"},
		{"POST /api/v1/sites/:site/purge", "/api/v1/sites/www/purge", `{"prefixes":["/in/"],"urls":["/b"]}`, "", "uas"},
		{"POST /api/v1/sites/:site/purge", "/api/v1/sites/www/purge", `{"tags":["t"]}`, "", "uas"},
		{"POST /api/v1/sites/:site/purge", "/api/v1/sites/www/purge", `{"all":true}`, "", "uas"},

		{"POST /api/v1/sites/:site/erase", "/api/v1/sites/www/erase", `{"paths":["/in/a"]}`, "", "pasd"},
		{"POST /api/v1/sites/:site/erase", "/api/v1/sites/www/erase", `{"paths":["/in/a","/b"]}`, "", "pas"},
		{"POST /api/v1/sites/:site/erase", "/api/v1/sites/www/erase", `{"sha256":"` + anyHash + `"}`, "", "pas"},
		{"POST /api/v1/erase", "/api/v1/erase", `{"sha256":"` + anyHash + `"}`, "", "a"},
		{"GET /api/v1/gc", "/api/v1/gc", "", "", "a"}, {"POST /api/v1/gc", "/api/v1/gc", "", "", "a"},
		{"GET /api/v1/catalogue", "/api/v1/catalogue", "", "", "a"},
		{"POST /api/v1/catalogue/moves", "/api/v1/catalogue/moves", `{"rebalance":true}`, "", "a"},
		{"DELETE /api/v1/catalogue/moves/:slot", "/api/v1/catalogue/moves/-1", "", "", "a"}, // no such slot

		{"GET " + "/api/v1/sites/:site/files", files + "?prefix=/in/", "", "", "rpuasd"},
		{"GET /api/v1/sites/:site/files/*path", files + "/in/a", "", "", "rpuasd"},
		{"GET /api/v1/sites/:site/files/*path", files + "/in/a/versions", "", "", "rpuasd"},
		{"GET /api/v1/sites/:site/files/*path", files + "/in/a?versions", "", "", "rpuasd"},
		{"HEAD /api/v1/sites/:site/files/*path", files + "/in/a", "", "", "rpuasd"},
		{"PUT /api/v1/sites/:site/files/*path", files + "/in/b", "x", "", "pasd"},
		{"DELETE /api/v1/sites/:site/files/*path", files + "/in/a", "", "", "pasd"},
		{"POST /api/v1/sites/:site/files/*path", files + "/in/a/rollback", `{"version":"0000000000000000"}`, "", "-pasd"},
		{"POST /api/v1/sites/:site/files", files, "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"in/f\"\r\n\r\nx\r\n--b--\r\n",
			"Content-Type: multipart/form-data; boundary=b", "pasd"},

		{"GET /api/v1/uploads", "/api/v1/uploads", "", "", everyone},
		tus("OPTIONS", "/", "/api/v1/uploads/", everyone), tus("OPTIONS", "", "/api/v1/uploads", everyone), tus("OPTIONS", "/:id", up, everyone),
		tus("HEAD", "/:id", up, "pasd"), tus("GET", "/:id", up, "pasd"), tus("PATCH", "/:id", up, "pasd"), tus("DELETE", "/:id", up, "pasd"),
		tus("POST", "/:id", up, "pasd"), tus("PUT", "/:id", up, "pasd"),
		{"POST /api/v1/direct-uploads", "/api/v1/direct-uploads", `{"site":"www","path":"/in/c","size":5}`, "", "pasd"},
		{"GET /api/v1/direct-uploads/:id", direct, "", "", "pasd"}, {"DELETE /api/v1/direct-uploads/:id", direct, "", "", "pasd"},
		{"POST /api/v1/direct-uploads/:id/commit", direct + "/commit", "", "", "pasd"},
	}
	for _, root := range []string{"", "/"} {
		for method, who := range map[string]string{"HEAD": everyone, "PATCH": "pasdxo", "PUT": "pasdxo", "DELETE": "pasdxo"} { // 405 for all who may come in
			all = append(all, tus(method, root, "/api/v1/uploads"+root, who))
		}
		// "site www,path /in/c": creation
		all = append(all, access{"POST /api/v1/uploads" + root, "/api/v1/uploads" + root, "", "Upload-Metadata: site d3d3,path L2luL2M=", "pasd"})
	}
	return append(all, tus("GET", "/", "/api/v1/uploads/", everyone))
}

// public are the routes that strangers may ask for.
var public = []string{"/login", "/assets/*name"}

func TestEveryRouteAsksTheKey(t *testing.T) {
	cat, err := catalog.OpenSQLite(t.Context(), catalog.Config{File: filepath.Join(t.TempDir(), "c.db"), Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()
	uploadID, directID, purgeID := furnish(t, cat)
	engine := faces(t, cat)

	rows := routeAccess(uploadID, directID, purgeID)
	for _, r := range engine.Routes() {
		name := r.Method + " " + r.Path
		if !slices.Contains(public, r.Path) && !slices.ContainsFunc(rows, func(a access) bool { return a.route == name }) {
			t.Errorf("%s has no row in routeAccess: who may use it?", name)
		}
	}
	for _, a := range rows {
		if !slices.ContainsFunc(engine.Routes(), func(r gin.RouteInfo) bool { return r.Method+" "+r.Path == a.route }) {
			t.Errorf("%s is in routeAccess and not registered", a.route)
			continue
		}
		on := func() http.Handler {
			if strings.Contains(a.route, "uploads") {
				return faces(t, cat) // one that ends at what is not there may leave an upload locked
			}
			return engine
		}
		for kind, id := range kindsOfKeys {
			if a.keys[0] == '-' { // it is let in and finds nothing: the detail tells that from a refusal
				if code, body := tried(t, on(), a, &id); strings.ContainsRune(a.keys, kind) != strings.Contains(body, "version 0000000000000000") {
					t.Errorf("%s %s by key %c = %d %s", a.route, a.path, kind, code, body)
				}
				continue
			}
			code, body := tried(t, on(), a, &id)
			refused := code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusNotFound
			if refused == strings.ContainsRune(a.keys, kind) {
				t.Errorf("%s %s %s by key %c = %d %.200s", a.route, a.path, a.body, kind, code, body)
			}
		}
		if code, _ := tried(t, on(), a, nil); code != http.StatusUnauthorized {
			t.Errorf("%s by a stranger = %d", a.route, code)
		}
	}
}

// faces returns the routes of both faces on a catalogue, without API keys.
func faces(t *testing.T, cat *catalog.Catalog) *gin.Engine {
	t.Helper()
	return facesOf(t, cat, new(keys.Ring))
}

func facesOf(t *testing.T, cat *catalog.Catalog, ring *keys.Ring) *gin.Engine {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	pub, err := upload.New(upload.Config{ // what lies behind the checks is not there: a request that is let in ends with 500 or otherwise
		Catalog: cat, Outbox: new(catalog.Outbox), Reader: (*origin.Reader)(nil), Writer: (*origin.Writer)(nil), Presigner: (*origin.Presigner)(nil),
		BaseURL: func(object.SiteRecord) string { return "" }, Clock: clock.System, Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	console, err := web.New(web.Config{
		Fleet: nodes{}, Purges: proofs{catalog: cat}, Sites: sites{catalog: cat}, Explainer: &explainer{}, Files: files{}, Contents: contents{pub}, Catalogue: slots{cat}, Ledger: cat, Keys: &keyring{Ring: ring, log: cat, pending: map[string]time.Time{}}, Clock: clock.System, Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.UseRawPath, engine.UnescapePathValues = true, false
	engine.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }))
	d := openapi.New(apiInfo())
	pub.Register(engine, d)
	console.Register(engine, d)
	return engine
}

// furnish makes what the requests are about: www:/in/a, two uploads of www:/in/up, one of them direct, and a purge of /in/a.
func furnish(t *testing.T, cat *catalog.Catalog) (uploadID, directID, purgeID string) {
	t.Helper()
	ctx := t.Context()
	for _, s := range []object.Site{"www", "img"} {
		if _, err := cat.CreateSite(ctx, object.SiteRecord{Format: 1, Site: s, Kind: object.Published}); err != nil {
			t.Fatal(err)
		}
	}
	h := object.HashOf([]byte("x"))
	r, err := cat.Reserve(ctx, catalog.Change{Pointer: object.Pointer{
		Format: 1, Site: "www", Path: "/in/a", State: object.Live, Hash: h, Root: h, Size: 1, Blob: object.BlobKey(h), ContentType: "text/plain",
	}})
	if err == nil {
		_, err = cat.Commit(ctx, r, `"e"`)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := cat.EnqueuePurge(ctx, "www", catalog.PurgeRequest{Paths: []object.Path{"/in/a"}})
	if err != nil {
		t.Fatal(err)
	}
	open := func(kind catalog.UploadKind, n byte) string {
		id := object.NewUploadID("www", "/in/up", [16]byte{n, n, n, n, n, n})
		if _, err := cat.OpenUpload(ctx, catalog.Upload{ID: id, Kind: kind, Site: "www", Path: "/in/up", Expires: clock.System.Now().AddDate(1, 0, 0)}); err != nil {
			t.Fatal(err)
		}
		return string(id)
	}
	return open(catalog.Resumable, 0), open(catalog.Direct, 1), p.ID
}

// tried sends a request as id does, or a stranger. Streams end with it.
func tried(t *testing.T, h http.Handler, a access, id *keys.Identity) (int, string) {
	t.Helper()
	method, _, _ := strings.Cut(a.route, " ")
	r := httptest.NewRequest(method, a.path, strings.NewReader(a.body))
	if name, value, ok := strings.Cut(a.header, ": "); ok {
		r.Header.Set(name, value)
	}
	if strings.HasPrefix(a.header, "Upload-Metadata") {
		r.Header.Set("Tus-Resumable", "1.0.0")
		r.Header.Set("Upload-Length", "5")
	}
	if id != nil {
		r = r.WithContext(keys.NewContext(t.Context(), *id))
	}
	if strings.HasSuffix(a.route, "/events") || strings.HasSuffix(a.route, "/whatif") { // else the stream would not end, and nobody gives the plan
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		r = r.WithContext(ctx)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var doc struct{ Detail string }
	body := w.Body.String()
	if json.Unmarshal([]byte(body), &doc) == nil && doc.Detail != "" {
		body = doc.Detail
	}
	return w.Code, body
}

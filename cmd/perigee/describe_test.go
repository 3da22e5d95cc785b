package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/clock"
	"perigee/idempotency"
	"perigee/keys"
	"perigee/openapi"
	"perigee/upload"
	"perigee/web"
)

// routed returns the routes of all faces and their description.
func routed(t *testing.T) (gin.RoutesInfo, *openapi.Document) {
	t.Helper()
	console, err := web.New(web.Config{ // nobody calls them: routes are registered, not used
		Fleet: nodes{}, Purges: proofs{}, Sites: sites{}, Explainer: &explainer{}, Files: files{}, Contents: contents{}, Ledger: &catalog.Catalog{}, Keys: &keyring{}, Catalogue: slots{}, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	gin.SetMode(gin.ReleaseMode)
	engine, d := gin.New(), openapi.New(apiInfo())
	new(upload.Publisher).Register(engine, d)
	console.Register(engine, d)
	describeBeside(d)
	return engine.Routes(), d
}

// TestEveryRouteIsDescribed: each route of the API has an operation in its description, and each operation a route.
func TestEveryRouteIsDescribed(t *testing.T) {
	routes, d := routed(t)
	described := map[string]bool{}
	for _, o := range d.Operations() {
		if !o.Beside { // e2e finds out that those are answered
			described[o.Method+" "+o.Route()] = true
		}
	}
	registered := map[string]bool{}
	for _, r := range routes {
		name := r.Method + " " + r.Path
		registered[name] = true
		if strings.HasPrefix(r.Path, "/api/") && !described[name] && !slices.Contains(d.Left(), name) {
			t.Errorf("%s is not described: add an openapi.Operation where it is registered", name)
		}
	}
	for name := range described {
		if !registered[name] {
			t.Errorf("%s is described and not registered", name)
		}
	}
	var groups []string
	for _, tag := range apiInfo().Tags {
		name, _, _ := strings.Cut(tag, ": ")
		groups = append(groups, name)
	}
	for _, o := range d.Operations() {
		if !slices.Contains(groups, o.Tag) {
			t.Errorf("%s is in the group %s, of which apiInfo says nothing", o.ID, o.Tag)
		}
	}
}

// TestTheDescriptionCanBeWritten: a route that is described incompletely must not be found out by whoever asks for the description.
func TestTheDescriptionCanBeWritten(t *testing.T) {
	_, d := routed(t)
	if b, err := d.JSON(); err != nil || len(b) == 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// TestIdempotencyKeyIsDescribed: the description offers the field with exactly the operations that heed it.
func TestIdempotencyKeyIsDescribed(t *testing.T) {
	_, d := routed(t)
	k, err := idempotency.New(idempotency.Config{Store: &catalog.Catalog{}, Clock: clock.System, Log: slog.New(slog.DiscardHandler), Skip: upload.Resumes})
	if err != nil {
		t.Fatal(err)
	}
	k.Describe(d)
	text, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var described struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Ref string `json:"$ref"`
			} `json:"parameters"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(text, &described); err != nil {
		t.Fatal(err)
	}
	server := k.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	offered := 0
	for _, o := range d.Operations() {
		if o.Beside {
			continue
		}
		path := strings.ReplaceAll(o.Path, "...}", "}")
		offers := false
		for _, p := range described.Paths[path][strings.ToLower(o.Method)].Parameters {
			offers = offers || strings.HasSuffix(p.Ref, "/Idempotency-Key")
		}
		r := httptest.NewRequest(o.Method, strings.NewReplacer("{", "", "}", "").Replace(path), nil)
		r.Header.Set("Idempotency-Key", strings.Repeat("k", 1000))
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r.WithContext(keys.NewContext(t.Context(), keys.Identity{ID: "me"})))
		if heeds := w.Code == http.StatusBadRequest; heeds != offers {
			t.Errorf("%s %s: heeds the field: %v, offers it: %v", o.Method, o.Path, heeds, offers)
		}
		if offers {
			offered++
		}
	}
	if offered == 0 {
		t.Error("no operation offers the field")
	}
}

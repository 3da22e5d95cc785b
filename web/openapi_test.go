package web

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

type openAPI struct {
	OpenAPI string
	Info    struct{ Version string }
	Paths   map[string]map[string]struct {
		Tags        []string
		OperationID string
		Responses   map[string]any
		Parameters  []struct {
			Ref, Name, In string
		}
	}
	Components map[string]map[string]any
}

func readDescription(t *testing.T, w *world) openAPI {
	t.Helper()
	status, h, body := w.do("GET", "/api/v1/openapi.json", "")
	var d openAPI
	if err := json.Unmarshal([]byte(body), &d); err != nil || status != 200 || h.Get("Content-Type") != "application/json" {
		t.Fatalf("openapi.json = %d %v %v", status, h, err)
	}
	return d
}

// TestDescriptionNamesEveryRoute: the description and the routes of this package say the same. The routes of files and
// uploads are package upload's; e2e compares those.
func TestDescriptionNamesEveryRoute(t *testing.T) {
	w, _ := newWorld(t, false)
	d := readDescription(t, w)
	if !strings.HasPrefix(d.OpenAPI, "3.1") || d.Info.Version != "1.2.3" {
		t.Errorf("openapi %q, version %q", d.OpenAPI, d.Info.Version)
	}
	described := map[string]bool{}
	ids := map[string]bool{}
	for path, ops := range d.Paths {
		for method, op := range ops {
			if ids[op.OperationID] || op.OperationID == "" || op.Responses["default"] == nil {
				t.Errorf("%s %s: operationId %q is no good, or it describes no error", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
			if !slices.Contains(op.Tags, "files") && !slices.Contains(op.Tags, "uploads") {
				described[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	engine := gin.New()
	w.server.Register(engine)
	routed := map[string]bool{}
	for _, r := range engine.Routes() {
		if strings.HasPrefix(r.Path, "/api/") {
			routed[r.Method+" "+strings.NewReplacer(":site", "{site}", ":node", "{node}", ":id", "{id}").Replace(r.Path)] = true
		}
	}
	for _, r := range slices.Sorted(maps.Keys(routed)) {
		if !described[r] {
			t.Errorf("%s is not described", r)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(described)) {
		if !routed[r] {
			t.Errorf("%s is described and not routed", r)
		}
	}
}

// TestDescriptionHasNoLooseEnds: every reference leads somewhere, and nothing is there without one.
func TestDescriptionHasNoLooseEnds(t *testing.T) {
	var doc any
	if err := json.Unmarshal(openAPIDocument, &doc); err != nil {
		t.Fatal(err)
	}
	refs := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if r, ok := v["$ref"].(string); ok {
				refs[r] = true
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(doc)
	components := doc.(map[string]any)["components"].(map[string]any)
	for kind, all := range components {
		for name := range all.(map[string]any) {
			ref := "#/components/" + kind + "/" + name
			named := kind == "securitySchemes" || name == "Change" // events are not JSON bodies; prose names Change
			if !refs[ref] && !named {
				t.Errorf("%s is described and never used", ref)
			}
			delete(refs, ref)
		}
	}
	for r := range refs {
		t.Errorf("%s leads nowhere", r)
	}
}

func TestDescriptionWithoutKeys(t *testing.T) {
	b, err := describeAPI("1", false)
	if err != nil || strings.Contains(string(b), "/api/v1/keys") {
		t.Errorf("the description of a server without keys has them: %v", err)
	}
}

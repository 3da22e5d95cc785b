package web

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"perigee/openapi"
)

// TestDescription: the description is served, and is one of OpenAPI 3.1. That it is true of every route is tested with the routes of all
// faces, in cmd/perigee and e2e.
func TestDescription(t *testing.T) {
	w, _ := newWorld(t, false)
	status, h, body := w.do("GET", "/api/v1/openapi.json", "")
	var d struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil || status != 200 || h.Get("Content-Type") != "application/json" {
		t.Fatalf("openapi.json = %d %v %v", status, h, err)
	}
	if !strings.HasPrefix(d.OpenAPI, "3.1") || d.Info.Version != "1.2.3" || d.Paths["/api/v1/keys"] == nil {
		t.Errorf("openapi %q, version %q, paths %v", d.OpenAPI, d.Info.Version, d.Paths)
	}
}

func TestDescriptionWithoutKeys(t *testing.T) {
	w, _ := newWorld(t, false)
	w.server.cfg.Keys = nil
	d := openapi.New(openapi.Info{})
	w.server.Register(gin.New(), d)
	for _, o := range d.Operations() {
		if o.Tag == "keys" {
			t.Errorf("a server without keys describes %s", o.ID)
		}
	}
}

package upload

import (
	"strings"
	"sync/atomic"
	"testing"
)

// TestNothingIsMissingBeforeTheStart: a client that comes before the sites of the configuration are there is to come again, and not told that there is no site.
func TestNothingIsMissingBeforeTheStart(t *testing.T) {
	var started atomic.Bool
	b := newBench(t, Config{Started: started.Load})
	ask := map[string]func() answer{
		"PUT":    func() answer { return b.call("PUT", "/api/v1/sites/soon/files/a", strings.NewReader("a")) },
		"look":   func() answer { return b.call("GET", "/api/v1/sites/soon/files/a", nil) },
		"delete": func() answer { return b.call("DELETE", "/api/v1/sites/soon/files/a", nil) },
		"tus": func() answer {
			return b.call("POST", "/api/v1/uploads/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "1", "Upload-Metadata", metadata("site", "soon", "path", "/a"))
		},
	}
	for name, request := range ask {
		if a := request(); a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s before the start: %d, Retry-After %q: %s", name, a.status, a.header.Get("Retry-After"), a.body)
		}
	}
	if a := b.call("PUT", "/api/v1/sites/www/files/a", strings.NewReader("a")); a.status != 201 {
		t.Errorf("PUT to a site that is there: %d %s", a.status, a.body)
	}
	started.Store(true)
	for name, request := range ask {
		if a := request(); a.status != 404 {
			t.Errorf("%s after it: %d %s", name, a.status, a.body)
		}
	}
}

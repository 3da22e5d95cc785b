package web

import (
	"net/http"
	"strings"
	"testing"

	"perigee/catalog"
	"perigee/object"
)

// TestNothingToEraseElsewhere: what is not stored here is not erased, and nobody is told that it was; the list shows no usage of it, not 0 bytes.
func TestNothingToEraseElsewhere(t *testing.T) {
	w, _ := newWorld(t, false)
	w.sites = append(w.sites, object.SiteRecord{Format: 1, Site: "media", Kind: object.Bucket, Bucket: &object.BucketSource{Prefix: "media/"}})
	for _, body := range []string{`{"paths":["/secret"]}`, `{"sha256":"` + object.HashOf([]byte("secret")).String() + `"}`} {
		status, _, answer := w.do(http.MethodPost, "/api/v1/sites/media/erase", body, "Content-Type: application/json")
		if status != http.StatusConflict || !strings.Contains(answer, "/problems/other-kind") || !strings.Contains(answer, "bucket") {
			t.Errorf("%s = %d %s", body, status, answer)
		}
	}
	if es, err := w.cat.Audit(t.Context(), catalog.AuditFilter{}, 0); err != nil || len(es) != 0 {
		t.Errorf("audited %+v %v", es, err)
	}
	status, _, answer := w.do(http.MethodGet, "/api/v1/sites", "")
	if status != 200 || !strings.Contains(answer, `"usage":null`) || strings.Count(answer, `"bytes":0`) != 1 {
		t.Errorf("sites = %d %s", status, answer)
	}
}

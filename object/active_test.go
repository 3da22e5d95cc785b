package object

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestActiveInJSON(t *testing.T) {
	for text, want := range map[string]struct {
		allows, refuses string
		back            string
	}{
		`true`:                                {"text/html", "", `true`},
		`false`:                               {"", "text/html", `false`},
		`[]`:                                  {"", "text/html", `false`},
		`["application/pdf","image/svg+xml"]`: {"image/svg+xml", "text/html", `["application/pdf","image/svg+xml"]`},
	} {
		var a Active
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if want.allows != "" && !a.Allows(want.allows) || want.refuses != "" && a.Allows(want.refuses) || !a.All && a.Allows("") {
			t.Errorf("%s: %+v", text, a)
		}
		if b, err := json.Marshal(a); err != nil || string(b) != want.back {
			t.Errorf("%s became %s, %v", text, b, err)
		}
	}
	for _, bad := range []string{`1`, `"text/html"`, `["TEXT/HTML"]`, `["text/html; charset=utf-8"]`, `["html"]`, `["/"]`, `[7]`, `{}`} {
		var a Active
		if err := json.Unmarshal([]byte(bad), &a); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s was taken: %v", bad, err)
		}
	}
	rules, err := json.Marshal(SiteRules{})
	if err != nil || string(rules) != `{}` {
		t.Errorf("%s, %v", rules, err)
	}
}

func TestActiveTypes(t *testing.T) {
	for name, want := range map[string]bool{
		"text/html": true, "application/xhtml+xml": true, "image/svg+xml": true, "application/xml": true, "text/xml": true, "application/rss+xml": true, "text/xsl": true,
		"application/pdf": true, "text/javascript": true, "application/ecmascript": true, "multipart/x-mixed-replace": true, "message/rfc822": true,
		"text/plain": false, "image/png": false, "text/css": false, "application/json": false, "application/octet-stream": false, "video/mp4": false, "application/wasm": false,
	} {
		if ActiveType(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestPathsHaveALimitedDepth(t *testing.T) {
	deep := ""
	for range MaxDepth {
		deep += "/a"
	}
	if _, err := ParsePath(deep); err != nil {
		t.Error(err)
	}
	if _, err := ParsePath(deep + "/a"); !errors.Is(err, ErrInvalid) {
		t.Errorf("%d segments: %v", MaxDepth+1, err)
	}
}

package object

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestRules(t *testing.T) {
	for _, c := range []struct{ kind, rule, want string }{
		{"pull", `{"path":"*","ttl":60,"jitter":0,"status_ttl":{"404":5,"5xx":0},"max_object":1000,"bypass":false}`, ""},
		{"pull", `{"path":"/a/*","query":{"keep":["v"]},"request_headers":{"set":{"X-A":"1"},"remove":["Cookie"]}}`, ""},
		{"pull", `{"path":"*.css","response_headers":{"remove":["Set-Cookie"],"add":{"Link":"</x>"}}}`, ""},
		{"published", `{"path":"/a","client_ttl":60,"redirect":{"to":"https://www.example/{rest}{query}","status":301}}`, ""},
		{"published", `{"path":"/a/*","cors":{"origins":["https://a.example","http://b.example:81"],"methods":["PUT"],"credentials":true},"error_pages":{"404":"<h1>","5xx":"x"}}`, ""},
		{"published", `{"path":"/a","ttl":60}`, "ttl is for pull sites"},
		{"published", `{"path":"/a","query":{"keep":[]}}`, "query is for pull sites"},
		{"published", `{"path":"/a","response_headers":{"set":{"Etag":"x"}}}`, "edge's own"},
		{"pull", `{"path":"a"}`, "path must be"},
		{"pull", `{"path":"/a*/b"}`, "only at its end"},
		{"pull", `{"path":"/a?b"}`, "no query"},
		{"pull", `{"path":"*.tar.gz"}`, "*.css"},
		{"pull", `{"path":"*","ttl":-1}`, "0 to"},
		{"pull", `{"path":"*","jitter":51}`, "0 to 50"},
		{"pull", `{"path":"*","status_ttl":{"4x":5}}`, "no status"},
		{"pull", `{"path":"*","status_ttl":{"404":-5}}`, "0 to"},
		{"pull", `{"path":"*","max_object":0}`, "bypass"},
		{"pull", `{"path":"*","query":{"keep":["a"],"ignore":["b"]}}`, "exclude each other"},
		{"pull", `{"path":"*","request_headers":{"set":{"X A":"1"}}}`, "no name of a field"},
		{"pull", `{"path":"*","request_headers":{"set":{"Host":"x"}}}`, "edge's own"},
		{"pull", `{"path":"*","response_headers":{"set":{"X-A":"a\r\nSet-Cookie: b"}}}`, "X-A"},
		{"pull", `{"path":"*","redirect":{"to":"ftp://x/"}}`, "must begin with /"},
		{"pull", `{"path":"*","redirect":{"to":"//evil.example/"}}`, "must begin with /"},
		{"pull", `{"path":"*","redirect":{"to":"https://{rest}/x"}}`, "written out"},
		{"pull", `{"path":"*","redirect":{"to":"/a b"}}`, "no URL"},
		{"pull", `{"path":"*","redirect":{"to":"/a","status":200}}`, "301"},
		{"pull", `{"path":"*","cors":{"origins":[]}}`, "1 to"},
		{"pull", `{"path":"*","cors":{"origins":["*","https://a.example"]}}`, "stands alone"},
		{"pull", `{"path":"*","cors":{"origins":["*"],"credentials":true}}`, "written out"},
		{"pull", `{"path":"*","cors":{"origins":["a.example/x"]}}`, "no origin"},
		{"pull", `{"path":"*","cors":{"origins":["*"],"max_age":100000}}`, "86400"},
		{"pull", `{"path":"*","error_pages":{"200":"x"}}`, "no error"},
		{"pull", `{"path":"*","error_pages":{"404":"` + strings.Repeat("x", maxErrorPage+1) + `"}}`, "more than"},
	} {
		r := SiteRecord{Format: 1, Site: "www", Kind: SiteKind(c.kind), Version: "001j0sftorgu8000"}
		if c.kind == "pull" {
			r.Origin = &PullOrigin{URL: "https://origin.example"}
		}
		r.Rules.Paths = make([]Rule, 1)
		if err := json.Unmarshal([]byte(c.rule), &r.Rules.Paths[0]); err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		err := r.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.rule, err)
		case c.want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q in it", c.rule, err, c.want)
		}
	}
}

func TestPullOrigins(t *testing.T) {
	for url, want := range map[string]string{
		"https://origin.example": "", "http://10.0.0.1:81/base": "", "h2c://origin": "",
		"origin.example": "must begin", "ftp://x": "must begin", "https://": "no host", "https://a:b@c": "user name", "https://a/?b": "no query", "https://a/#b": "no fragment",
	} {
		r := SiteRecord{Format: 1, Site: "www", Kind: Pull, Version: "001j0sftorgu8000", Origin: &PullOrigin{URL: url}}
		if err := r.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

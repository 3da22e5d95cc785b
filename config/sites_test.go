package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func declare(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sites.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReadSites(t *testing.T) {
	sites, err := ReadSites(declare(t, `
- site: shop
  kind: pull
  hosts: [Shop.Example, www.shop.example]
  origin: {url: "https://origin.example", stale_unreachable: 60}
  rules:
    paths:
      - path: /static/*
        ttl: 86400
        status_ttl: {404: 10, 5xx: 0}
        error_pages: {404: no}     # text, whatever YAML takes it for
        response_headers: {set: {X-Number: 12}}
- {"site": "docs", "hosts": ["docs.example"], "rules": {"allow_active": true}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(sites) != 2 || sites[0].Hosts[0] != "shop.example" || sites[0].Origin.URL != "https://origin.example" || *sites[0].Origin.StaleUnreachable != 60 {
		t.Fatalf("%+v", sites)
	}
	r := sites[0].Rules.Paths[0]
	if *r.TTL != 86400 || r.StatusTTL["404"] != 10 || r.ErrorPages["404"] != "no" || r.ResponseHeaders.Set["X-Number"] != "12" {
		t.Errorf("%+v", r)
	}
	if sites[1].Kind != "published" || !sites[1].Rules.AllowActive.All {
		t.Errorf("%+v", sites[1])
	}
	if sites, err := ReadSites(declare(t, "# nothing yet\n")); err != nil || len(sites) > 0 {
		t.Errorf("%v %v", sites, err)
	}
}

// Each mistake says where it is and what is expected, and none hides another.
func TestReadSitesSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"site: shop\n", `sites.yaml:1: expected a list`},
		{"- site: shop\n  hots: [a]\n", `sites.yaml:2: hots: unknown key; did you mean "hosts"?`},
		{"- site: a\n- site: b\n  rules:\n    paths:\n      - path: /x\n        tll: 5\n", `sites.yaml:6: rules.paths.0.tll: unknown key; did you mean "ttl"?`},
		{"- site: a\n  site: b\n", `sites.yaml:2: site: it is given twice`},
		{"- site: Bad Name\n", `sites.yaml:1: site "Bad Name"`},
		{"- site: a\n  kind: pull\n", "needs an origin"},
		{"- site: a\n  kind: pull\n  origin: {url: ftp://x}\n", "must begin with http://"},
		{"- site: a\n  rules: {paths: [{path: '*', client_ttl: soon}]}\n", "client_ttl must be a whole number, and is a string"},
		{"- site: a\n  rules: {paths: [{path: 'a*b'}]}\n", "sites.yaml:1: "},
		{"- site: a\n- site: a\n", "sites.yaml:2: site a is declared twice"},
		{"- site: a\n  hosts: [x.example]\n- site: b\n  hosts: [X.example.]\n", "sites.yaml:3: host x.example belongs to site a already"},
		{"- &x {site: a}\n- *x\n", "anchors and aliases are not read here"},
		{"- [\n", "this is not YAML"},
		{"- site: a\n---\n- site: b\n", "a second document begins here"},
		{"- " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "nested deeper"},
	} {
		_, err := ReadSites(declare(t, c.text))
		var ms Mistakes
		if !errors.As(err, &ms) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
	_, err := ReadSites(declare(t, "- site: a\n  hots: []\n- site: b\n  knd: pull\n"))
	if err == nil || strings.Count(err.Error(), "unknown key") != 2 {
		t.Errorf("%v", err)
	}
	if _, err := ReadSites(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	// The configuration is checked with what it names.
	c, err := Load("", nil, []string{"api.sites_file=" + declare(t, "- site: shop\n  hots: [a]\n")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), `hots: unknown key`) {
		t.Error(err)
	}
}

// A server that is moved without its clients would be used by nobody; where it is a role alone, that is as it should be.
func TestMovedServers(t *testing.T) {
	for _, c := range []struct {
		sets []string
		want string
	}{
		{nil, ""},
		{[]string{"bus.listen=127.0.0.1:14222"}, "bus.listen: nobody would use the server there"},
		{[]string{"bus.listen=127.0.0.1:14222", "bus.url=nats://127.0.0.1:14222"}, ""},
		{[]string{"storage.embedded.listen=127.0.0.1:19000"}, "set it to http://127.0.0.1:19000"},
		{[]string{"storage.endpoint=https://s3.example"}, ""},
	} {
		cfg, err := Load("", nil, append(c.sets, "data="+t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("%v: %v", c.sets, err)
		}
		err = cfg.ValidateTogether()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v", c.sets, err)
		}
	}
}

func TestReadRules(t *testing.T) {
	rules, err := ReadRules(declare(t, `[{"path": "*.css", "ttl": 3600}, {"path": "*", "bypass": true}]`))
	if err != nil || len(rules) != 2 || *rules[0].TTL != 3600 || !*rules[1].Bypass {
		t.Fatalf("%+v %v", rules, err)
	}
	if _, err := ReadRules(declare(t, "- path: '*'\n  ttl: -1\n")); err == nil || !strings.Contains(err.Error(), "sites.yaml:1: ") {
		t.Error(err)
	}
}

// FuzzReadSites: whatever a file has, there is an error or there are sites that may be stored.
func FuzzReadSites(f *testing.F) {
	f.Add("- site: shop\n  kind: pull\n  hosts: [shop.example]\n  origin: {url: 'https://o.example'}\n  rules: {paths: [{path: '*', ttl: 5}]}\n")
	f.Add("- &a [*a]\n")
	f.Add(`[{"site":"a","rules":{"paths":[{"path":"/","error_pages":{"404":null}}]}}]`)
	f.Fuzz(func(t *testing.T, text string) {
		file := declare(t, text)
		sites, err := ReadSites(file)
		if err == nil {
			for _, s := range sites {
				if s.Site == "" || s.Format != 1 {
					t.Errorf("%+v", s)
				}
			}
		}
		ReadRules(file)
	})
}

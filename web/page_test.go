package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gin-gonic/gin"

	"perigee/clock"
	"perigee/fleet"
	"perigee/keys"
	"perigee/object"
	"perigee/openapi"
	"perigee/purge"
)

func mapFS(namesAndContents ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(namesAndContents); i += 2 {
		m[namesAndContents[i]] = &fstest.MapFile{Data: []byte(namesAndContents[i+1])}
	}
	return m
}

func purgeAll() purge.Entry { return purge.Entry{Kind: purge.KindSite, Site: testSite} }

func TestPageWithoutScriptsIsComplete(t *testing.T) {
	w, _ := newWorld(t, false)
	w.report("fra", func(r *fleet.Report) { r.Cache = &fleet.CacheUse{Hits: 9, Misses: 1} })
	w.report("gone", func(r *fleet.Report) { r.State = fleet.Stopping })
	w.publish(`/a <b>&"c".txt`, []byte("hello"), "text/plain", "")

	status, h, page := w.do("GET", "/", "")
	if status != 200 || !strings.HasPrefix(h.Get("Content-Type"), "text/html") || h.Get("Cache-Control") != "no-store" {
		t.Fatalf("GET / = %d %v", status, h)
	}
	for _, want := range []string{
		`action="/api/v1/sites/www/files"`, `enctype="multipart/form-data"`, `type="file" name="file" multiple`,
		`/a &lt;b&gt;&amp;&#34;c&#34;.txt`, `5 B`, `2cf24dba5fb0`, `<strong>fra</strong>`, `90.0 %`, `class="state ok">ready`, `class="state idle">stopped`,
		`IP Geolocation by DB-IP`, `Perigee 1.2.3`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "csrf=") || strings.Contains(page, "Sign out") {
		t.Error("the page of keyless mode has a token or a session")
	}
}

// TestPagePolicy: nothing inline, nothing from elsewhere, no frame.
func TestPagePolicy(t *testing.T) {
	w, _ := newWorld(t, false)
	for _, path := range []string{"/", "/login"} {
		_, h, page := w.do("GET", path, "")
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: policy %q lacks %q", path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: header %v", path, h)
		}
		if m := regexp.MustCompile(`(?i)<script(?: [^>]*)?>[^<]|<style| style=| on[a-z]+=|(?:src|href)="(?:https?:)?//`).FindString(strings.ReplaceAll(page, `href="https://db-ip.com"`, "")); m != "" {
			t.Errorf("%s: the policy would block %q", path, m)
		}
	}
}

func TestPageSaysWhatCannotBeShown(t *testing.T) {
	w, _ := newWorld(t, false)
	w.mu.Lock()
	w.broken = errBroken
	w.sites = nil
	w.mu.Unlock()
	status, h, page := w.do("GET", "/", "")
	if status != 200 || strings.Count(page, "cannot be listed now") != 2 || strings.Contains(page, "secret") || !strings.Contains(page, h.Get("X-Request-Id")) {
		t.Errorf("page with broken sources = %d %s", status, page)
	}
	w.mu.Lock()
	w.broken = nil
	w.mu.Unlock()
	if _, _, page := w.do("GET", "/", ""); !strings.Contains(page, "no site to upload to") || strings.Contains(page, "<form") {
		t.Error("the page offers a form without a site")
	}
}

func TestFormOutcome(t *testing.T) {
	w, _ := newWorld(t, false)
	for name, c := range map[string]struct {
		files []FormFile
		want  []string
	}{
		"some": {[]FormFile{{Path: "/a", URL: "http://h/a"}, {Path: "/<b>", Problem: "It is too large.", RequestID: "r1"}},
			[]string{"Not every file", `href="http://h/a"`, "/&lt;b&gt;", "It is too large.", "r1"}},
		"none": {[]FormFile{{Problem: "The form has no file."}}, []string{"Nothing was published", "The form has no file."}},
	} {
		rec := httptest.NewRecorder()
		g, _ := gin.CreateTestContext(rec)
		g.Request = httptest.NewRequest("POST", "/", nil)
		w.server.FormOutcome(g, 207, c.files)
		for _, want := range c.want {
			if rec.Code != 207 || !strings.Contains(rec.Body.String(), want) {
				t.Errorf("%s: %d %s lacks %q", name, rec.Code, rec.Body, want)
			}
		}
		if !strings.Contains(rec.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s: no policy", name)
		}
	}
	if _, _, page := w.do("GET", "/?uploaded=3", ""); !strings.Contains(page, "3 files were published") {
		t.Error("the page does not say that files were published")
	}
	if _, _, page := w.do("GET", "/?uploaded=x", ""); strings.Contains(page, "published. The newest") {
		t.Error("the page says that x files were published")
	}
}

func TestPageSites(t *testing.T) {
	w, _ := newWorld(t, false)
	w.sites = append(w.sites, object.SiteRecord{Site: "docs", Kind: object.Published}, object.SiteRecord{Site: "pulled", Kind: object.Pull})
	_, _, page := w.do("GET", "/?site=docs", "")
	if !strings.Contains(page, `action="/api/v1/sites/docs/files"`) || !strings.Contains(page, `href="/?site=www"`) || strings.Contains(page, "pulled") {
		t.Error("the page does not offer the sites that take uploads")
	}
	if _, _, page := w.do("GET", "/?site=%22%3E%3Cscript%3E", ""); !strings.Contains(page, `action="/api/v1/sites/www/files"`) {
		t.Error("an unknown site is not replaced by the first one")
	}
}

func TestSessionPutsTokenIntoForms(t *testing.T) {
	w, key := newWorld(t, true)
	if status, h, _ := w.do("GET", "/", "", "Accept: text/html"); status != 303 || h.Get("Location") != "/login?next=%2F" {
		t.Fatalf("a stranger's GET / = %d %v", status, h)
	}
	if status, _, page := w.do("GET", "/login?failed=key-refused&next=%2F", ""); status != 200 || !strings.Contains(page, `role="alert"`) || !strings.Contains(page, `name="key"`) {
		t.Errorf("log-in page = %d %s", status, page)
	}
	status, h, _ := w.do("POST", "/session", "key="+key+"&next=/", "Content-Type: application/x-www-form-urlencoded", "Accept: text/html")
	cookie := h.Get("Set-Cookie")
	if status != 303 || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") {
		t.Fatalf("log-in = %d %v", status, h)
	}
	session, _, _ := strings.Cut(cookie, ";")
	_, _, page := w.do("GET", "/", "", "Cookie: "+session)
	m := regexp.MustCompile(`action="(/api/v1/sites/www/files\?csrf=[^"]+)"`).FindStringSubmatch(page)
	if m == nil || !strings.Contains(page, "Signed in as tester") {
		t.Fatalf("the page of a session has no token: %s", page)
	}
	token, _ := strings.CutPrefix(m[1], "/api/v1/sites/www/files?csrf=")
	if !strings.Contains(page, `<meta name="csrf-token" content="`) || strings.Contains(page, key) {
		t.Error("no token for scripts, or the key itself, in the page")
	}
	purge := func(path string) int {
		status, _, _ := w.do("POST", path, `{"all":true}`, "Cookie: "+session)
		return status
	}
	if with, without := purge("/api/v1/sites/www/purge?csrf="+token), purge("/api/v1/sites/www/purge"); with != 202 || without != 403 {
		t.Errorf("with token %d, without %d", with, without)
	}
}

func TestAssets(t *testing.T) {
	w, _ := newWorld(t, true) // strangers need them for the log-in page
	_, _, page := w.do("GET", "/login", "")
	style := regexp.MustCompile(`href="(/assets/style-[0-9a-f]{10}\.css)"`).FindStringSubmatch(page)
	if style == nil {
		t.Fatal("the log-in page has no style sheet")
	}
	status, h, plain := w.do("GET", style[1], "", "Accept-Encoding: identity")
	if status != 200 || h.Get("Cache-Control") != "public, max-age=31536000, immutable" || h.Get("Content-Type") != "text/css; charset=utf-8" || h.Get("Vary") != "Accept-Encoding" {
		t.Errorf("style sheet = %d %v", status, h)
	}
	_, h, packed := w.do("GET", style[1], "", "Accept-Encoding: br, gzip;q=0.5")
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != plain || h.Get("Content-Encoding") != "gzip" {
		t.Errorf("packed style sheet differs: %v %v", h, err)
	}
	if !strings.Contains(plain, "@media (prefers-color-scheme: dark)") || !strings.Contains(plain, ".drop") || !strings.Contains(plain, "max-width: 760px") {
		t.Error("the style sheet is not whole")
	}
}

func TestAcceptsGzip(t *testing.T) {
	for field, want := range map[string]bool{"": false, "gzip": true, "GZIP": true, "br, gzip": true, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=0.1": true, "x-gzipped": false, "*": false} {
		if got := acceptsGzip(field); got != want {
			t.Errorf("acceptsGzip(%q) = %v", field, got)
		}
	}
}

// TestBuiltAndUnbuilt: the page loads the front end when there is one, and says how to build it when there is none.
func TestBuiltAndUnbuilt(t *testing.T) {
	for name, c := range map[string]struct {
		dist       fstest.MapFS
		has, lacks string
	}{
		"unbuilt": {mapFS("dist/.gitkeep", ""), "make console", "<script"},
		"built": {mapFS("dist/.vite/manifest.json", `{"main.tsx":{"file":"assets/main-1.js","isEntry":true}}`,
			"dist/assets/main-1.js", "x", "dist/.vite/license.md", "MIT"), `<script type="module" src="/assets/main-1.js">`, "make console"},
	} {
		w, _ := newWorld(t, false)
		s, err := New(Config{Fleet: w, Purges: w, Sites: w, Explainer: w, Files: w.publishing, Contents: w, Ledger: w.cat, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if s.assets, err = loadAssets(c.dist); err != nil {
			t.Fatal(err)
		}
		engine := gin.New()
		s.Register(engine, openapi.New(openapi.Info{}))
		srv := httptest.NewUnstartedServer(nil)
		guard, err := keys.NewGuard(keys.GuardConfig{Ring: w.ring, Listen: srv.Listener.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		srv.Config.Handler = guard.Wrap(engine)
		srv.Start()
		res, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		var page bytes.Buffer
		if _, err := page.ReadFrom(res.Body); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		srv.Close()
		if !strings.Contains(page.String(), c.has) || strings.Contains(page.String(), c.lacks) || !strings.Contains(page.String(), "<form") {
			t.Errorf("%s: %s", name, page.String())
		}
	}
}

func TestFormatBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 99_949: "99.9 kB", 99_950: "100 kB", 999_499: "999 kB", 999_500: "1.0 MB", 12_345_678: "12.3 MB", 5 << 40: "5.5 TB", 1<<63 - 1: "9.2 EB"} {
		if got := formatBytes(n); got != want {
			t.Errorf("formatBytes(%d) = %q, want %q", n, got, want)
		}
	}
}

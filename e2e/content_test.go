package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// hostile are uploads that want to run script.
var hostile = map[string]string{
	"/page.html":    `<!doctype html><title>quiet</title><body>a page<script>document.title = "ran"</script>`,
	"/image.svg":    `<svg xmlns="http://www.w3.org/2000/svg"><title>quiet</title><script>document.querySelector("title").textContent = "ran"; document.title = "ran"</script><text y="20">an image</text></svg>`,
	"/sheet.xhtml":  `<html xmlns="http://www.w3.org/1999/xhtml"><head><title>quiet</title></head><body>xhtml<script>document.title = "ran"</script></body></html>`,
	"/polyglot.gif": `GIF89a=1;/*<!doctype html><title>quiet</title><script>document.title = "ran"</script>*/`,
	"/notes.txt":    `<!doctype html><title>quiet</title><script>document.title = "ran"</script>`,
	"/page":         `<!doctype html><title>quiet</title><script>document.title = "ran"</script>`,
	"/paper.pdf":    "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>",
}

// active are those of them that run where a site allows it.
var active = []string{"/page.html", "/image.svg", "/sheet.xhtml"}

// TestUploadsRunNoScript publishes what wants to run script, and opens it in a real browser: on a site that does not allow it no script runs and the
// document has no origin; on one that does it runs; a change of the site's record counts at once; and the console's origin never shows any of it.
func TestUploadsRunNoScript(t *testing.T) {
	s := up(t)
	addr := chosen(t, s, "udp", places[0].network)
	host, _, _ := strings.Cut(addr, ":")
	setActive := func(value string) {
		t.Helper()
		body := `{"hosts":["strict.perigee.test"],"rules":{"allow_active":` + value + `}}`
		req := must(http.NewRequest(http.MethodPut, s.URL("/api/v1/sites/strict"), jsonBody(body)))
		if a, err := do(fetchClient(s.API), req); err != nil || a.Status != 200 {
			t.Fatalf("%d %s %v", a.Status, a.Body, err)
		}
	}
	made := must(do(fetchClient(s.API), must(http.NewRequest(http.MethodPost, s.URL("/api/v1/sites"), jsonBody(`{"site":"strict","hosts":["strict.perigee.test"]}`)))))
	if made.Status != 201 {
		t.Fatalf("%d %s", made.Status, made.Body)
	}
	for path, body := range hostile {
		for _, site := range []string{"strict", "www"} {
			req := must(http.NewRequest(http.MethodPut, s.URL("/api/v1/sites/"+site+"/files"+path+"?wait=20s"), strings.NewReader(body)))
			req.Header.Set("Content-Type", "text/html") // a hint, and a lie
			if a := must(do(fetchClient(s.API), req)); a.Status != 201 {
				t.Fatalf("%s: %d %s", path, a.Status, a.Body)
			}
		}
	}
	b := newBrowser(t, chromedp.Flag("host-resolver-rules", "MAP *.perigee.test "+host))
	at := func(site, path string) string { return strings.Replace(s.siteURL(path), "www.", site+".", 1) }
	open := func(url string) (ran bool, origin string) {
		t.Helper()
		b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(url))
		return b.js("document.title") == "ran", b.js("self.origin")
	}
	for path := range hostile {
		a := fetchOK(t, addr, at("strict", path))
		if a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: a browser may guess its type: %v", path, a.Header)
		}
		if path == "/paper.pdf" { // shown by an extension, if at all
			if !strings.Contains(a.Header.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("%s: no sandbox: %v", path, a.Header)
			}
			continue
		}
		if ran, _ := open(at("strict", path)); ran {
			t.Errorf("%s ran on a site that allows nothing", path)
		}
	}
	for _, path := range active {
		if _, origin := open(at("strict", path)); origin != "null" {
			t.Errorf("%s has the origin %s on a site that allows nothing", path, origin)
		}
		if ran, origin := open(at("www", path)); !ran || !strings.HasPrefix(origin, "http://www.perigee.test") {
			t.Errorf("%s on a site that allows everything: ran %v, origin %s", path, ran, origin)
		}
	}
	setActive(`["image/svg+xml"]`)
	eventually(t, "the site's new record reaches the edge", func() bool {
		return fetchOK(t, addr, at("strict", "/image.svg")).Header.Get("Content-Security-Policy") == ""
	})
	if ran, _ := open(at("strict", "/image.svg")); !ran {
		t.Error("an image does not run on a site that lists its type")
	}
	if ran, _ := open(at("strict", "/page.html")); ran {
		t.Error("a page runs on a site that lists another type")
	}
	setActive("false")
	eventually(t, "the site's old record reaches the edge", func() bool {
		return fetchOK(t, addr, at("strict", "/image.svg")).Header.Get("Content-Security-Policy") != ""
	})
	consoleShowsNone(t, s, b)
}

// consoleShowsNone asks the console's origin for the uploads in every way that might show one.
func consoleShowsNone(t *testing.T, s *System, b *browser) {
	t.Helper()
	for path, body := range hostile {
		for _, url := range []string{path, "/api/v1/sites/www/files" + path, "/api/v1/sites/www/files" + path + "?versions", "/api/v1/sites/www/files?prefix=" + path} {
			resp, err := http.Get(s.URL(url))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || strings.Contains(string(got), body) {
				t.Errorf("%s on the console's origin has the upload: %v", url, err)
			}
			if h := resp.Header; strings.HasPrefix(url, "/api/") && (h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox")) {
				t.Errorf("%s: %v", url, h)
			}
		}
	}
	// A name that is markup stays a name, in the page without scripts and in an answer that a browser is made to show.
	const name = "/%3Cscript%3Edocument.title='ran'%3C%2Fscript%3E"
	put(t, s, strings.ReplaceAll(name, "%2F", ""), []byte("x"), "?wait=5s")
	for _, url := range []string{"/", "/api/v1/sites/www/files"} {
		b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(s.URL(url)))
		if b.js("document.title") == "ran" {
			t.Errorf("the name of an upload ran at %s", url)
		}
	}
}

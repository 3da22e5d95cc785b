package web

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/fleet"
	"perigee/keys"
	"perigee/object"
)

//go:embed page.html login.html outcome.html
var pages embed.FS

// The pages the server renders.
var (
	pageHTML    = template.Must(template.New("page.html").Funcs(pageFuncs).ParseFS(pages, "page.html"))
	loginHTML   = template.Must(template.New("login.html").ParseFS(pages, "login.html"))
	outcomeHTML = template.Must(template.New("outcome.html").ParseFS(pages, "outcome.html"))
)

var pageFuncs = template.FuncMap{
	"bytes": formatBytes,
	"date":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"rfc":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"short": func(h object.Hash) string { return h.String()[:12] },
	"state": stateOf,
	"hits":  hitRatio,
}

const (
	// pageTimeout bounds how long a page waits for what it shows.
	pageTimeout = 2 * time.Second
	recentFiles = 20
)

// pageData is what page.html shows. The problems are sentences that stand where the data would.
type pageData struct {
	Style, Icon, Script string
	Licences            string // empty with Script
	Version             string
	CSRF                string // empty in keyless mode
	User                string // name of the key of this session; empty without one
	Stores              string // names of buckets, with blanks between; empty for whoever may not make sites

	Sites        []object.Site
	Site         object.Site // that the form uploads to; empty when there is none
	SitesProblem string

	Uploaded     int // files that the plain form has just published
	Files        []File
	FilesProblem string

	Nodes []fleet.Node
	Now   time.Time
}

// FormAction is where the plain form sends its files. The token stands in the URL so that it is checked before
// the first byte of a file is read.
func (d *pageData) FormAction() string {
	u := "/api/v1/sites/" + url.PathEscape(string(d.Site)) + "/files"
	if d.CSRF != "" {
		u += "?csrf=" + url.QueryEscape(d.CSRF)
	}
	return u
}

// LogoutAction ends the session.
func (d *pageData) LogoutAction() string { return "/session/logout?csrf=" + url.QueryEscape(d.CSRF) }

// Age is how long ago a node reported.
func (d *pageData) Age(n fleet.Node) string {
	return strconv.FormatFloat(max(0, d.Now.Sub(n.Heard).Seconds()), 'f', 1, 64) + " s ago"
}

func (s *Server) page(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), pageTimeout)
	defer cancel()
	d := &pageData{
		Style: s.assets.style, Icon: s.assets.icon, Script: s.assets.script, Licences: s.assets.licences, Version: s.cfg.Version,
		CSRF: keys.CSRF(c.Request.Context()), Now: s.cfg.Clock.Now(),
	}
	d.Uploaded, _ = strconv.Atoi(c.Query("uploaded")) // what is no number says nothing
	id, _ := keys.FromContext(c.Request.Context())
	if id.Session {
		d.User = id.Name
	}
	if id.Whole() && id.May(keys.ScopeAdmin) {
		d.Stores = strings.Join(s.cfg.Stores, " ")
	}
	if id.Whole() {
		d.Nodes = s.cfg.Fleet.Snapshot().Nodes
	}
	sites, err := s.cfg.Sites.Sites(ctx)
	if err != nil {
		s.cfg.Log.Warn("page without sites", "err", err, "request", requestID(c))
		d.SitesProblem = "The sites cannot be listed now. Try again in a moment; the log has the reason under request " + requestID(c) + "."
	}
	for _, r := range sites {
		if r.Kind == object.Published && id.Site(r.Site) {
			d.Sites = append(d.Sites, r.Site)
		}
	}
	d.Site = chooseSite(d.Sites, c.Query("site"))
	if d.Files, err = s.recent(ctx, &id); err != nil {
		s.cfg.Log.Warn("page without files", "err", err, "request", requestID(c))
		d.FilesProblem = "The files cannot be listed now. Try again in a moment; the log has the reason under request " + requestID(c) + "."
	}
	s.render(c, http.StatusOK, pageHTML, d)
}

// recent returns the newest files that the sender may see. Of a key with limits only the newest maxLimit of all sites are looked at.
func (s *Server) recent(ctx context.Context, id *keys.Identity) ([]File, error) {
	if id.Whole() {
		return s.cfg.Files.Recent(ctx, recentFiles)
	}
	all, err := s.cfg.Files.Recent(ctx, maxLimit)
	mine := slices.DeleteFunc(all, func(f File) bool { return !id.Under(f.Site, string(f.Path)) })
	return mine[:min(len(mine), recentFiles)], err
}

// chooseSite returns the site asked for if it exists, else the first one, else "".
func chooseSite(all []object.Site, asked string) object.Site {
	for _, s := range all {
		if string(s) == asked {
			return s
		}
	}
	if len(all) > 0 {
		return all[0]
	}
	return ""
}

// loginData is what login.html shows.
type loginData struct {
	Style, Icon, Version string
	Next                 string
	Problem              string
}

func (s *Server) login(c *gin.Context) {
	d := loginData{Style: s.assets.style, Icon: s.assets.icon, Version: s.cfg.Version, Next: c.Query("next")}
	switch c.Query("failed") { // the slugs are those of package keys
	case "":
	case "too-many-logins":
		d.Problem = "Too many wrong keys came from your address. Wait a minute, then try again."
	default:
		d.Problem = "This key was not accepted: it is unknown, was revoked, or has expired."
	}
	s.render(c, http.StatusOK, loginHTML, d)
}

// FormFile is what became of one file of the plain form.
type FormFile struct {
	Path string
	URL  string // of the published file
	// Problem is a sentence that says why it was not published; empty when it was. Without a Path it is about the form.
	Problem   string
	RequestID string
}

// FormOutcome answers a browser's plain form when not every file was published. The program connects it with
// upload.Config.FormResult; when all is well that package sends the browser back to the page.
func (s *Server) FormOutcome(c *gin.Context, status int, files []FormFile) {
	harden(c) // the route is not one of ours
	d := struct {
		Style, Icon string
		Files       []FormFile
		Published   bool
	}{Style: s.assets.style, Icon: s.assets.icon, Files: files}
	for _, f := range files {
		d.Published = d.Published || f.Problem == ""
	}
	s.render(c, status, outcomeHTML, d)
}

// pagePolicy lets the page load its own script, style, icon and data, and nothing else from anywhere. Trusted Types
// with no policy allowed means that no script can write HTML.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

func (s *Server) render(c *gin.Context, status int, t *template.Template, data any) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		s.failWith(c, "draw the page", err)
		return
	}
	h := c.Writer.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	c.Data(status, "text/html; charset=utf-8", b.Bytes())
}

// formatBytes writes a size as people read it, in powers of 1,000.
func formatBytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"kB", "MB", "GB", "TB", "PB", "EB"} {
		if v /= 1000; v < 999.5 {
			break
		}
	}
	digits := 0
	if v < 99.95 {
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + unit
}

// stateOf is the word for a node's state: what it says of itself, unless it says nothing any more.
func stateOf(n fleet.Node) string {
	switch {
	case n.Down && n.State == fleet.Stopping:
		return "stopped"
	case n.Down:
		return "down"
	case n.State == fleet.Ready && !n.Fit():
		return string(n.Why())
	}
	return string(n.State)
}

// hitRatio is the share of requests answered from the cache since the node started.
func hitRatio(n fleet.Node) string {
	if n.Cache == nil || n.Cache.Hits+n.Cache.Misses == 0 {
		return "–"
	}
	return strconv.FormatFloat(100*float64(n.Cache.Hits)/float64(n.Cache.Hits+n.Cache.Misses), 'f', 1, 64) + " %"
}

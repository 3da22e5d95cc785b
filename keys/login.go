package keys

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// sessionAnswer is what /session tells a console.
type sessionAnswer struct {
	Keyless bool    `json:"keyless"`
	ID      string  `json:"id"`
	Name    string  `json:"name"`
	Scopes  []Scope `json:"scopes"`
	Limits
	CSRF    string    `json:"csrf,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// serveSession serves /session and /session/logout. c, t and d are what identify found.
func (g *Guard) serveSession(w http.ResponseWriter, r *http.Request, c caller, t ticket, d *Denied) {
	w.Header().Set("Cache-Control", "no-store")
	logout := r.URL.Path == "/session/logout" && r.Method == http.MethodPost || r.URL.Path == "/session" && r.Method == http.MethodDelete
	login := r.URL.Path == "/session" && r.Method == http.MethodPost
	switch {
	case d != nil:
		WriteProblem(w, d)
	case login:
		g.login(w, r, c)
	case c.identity == nil:
		WriteProblem(w, errAnonymous)
	case logout:
		g.logout(w, r, t)
	case r.URL.Path == "/session" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		writeJSON(w, "application/json", http.StatusOK, g.describe(c, t))
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		WriteProblem(w, &Denied{Status: http.StatusMethodNotAllowed, Slug: "method", Title: "Method not allowed", Detail: "use GET, POST or DELETE on /session, or POST on /session/logout"})
	}
}

func (g *Guard) describe(c caller, t ticket) sessionAnswer {
	a := sessionAnswer{Keyless: g.Keyless(), ID: c.identity.ID, Name: c.identity.Name, Scopes: c.identity.Scopes, Limits: c.identity.Limits, CSRF: c.csrf}
	if t.Expires != 0 {
		a.Expires = time.Unix(t.Expires, 0).UTC()
	}
	return a
}

// login turns an API key into a session. c has an identity already in keyless mode, and when the key itself or an
// older session was sent.
func (g *Guard) login(w http.ResponseWriter, r *http.Request, c caller) {
	if g.Keyless() {
		g.answerLogin(w, r, "/", g.describe(c, ticket{}))
		return
	}
	// Without this a stranger's page could log a browser in under the stranger's own key, and then read what is uploaded.
	if g.origins.Check(r) != nil {
		WriteProblem(w, errCrossOrigin)
		return
	}
	ip := remoteIP(r)
	if !g.limiter.allowed(ip) {
		g.refuseLogin(w, r, errLimited)
		return
	}
	key, next, err := readLogin(w, r)
	if err != nil {
		WriteProblem(w, err)
		return
	}
	k, cerr := g.c.Ring.check(key)
	if errors.Is(cerr, ErrUnsure) {
		WriteProblem(w, refusedKey(cerr))
		return
	}
	if cerr != nil {
		g.limiter.failed(ip)
		g.c.Log.Warn("log-in refused", "remote", ip.String(), "err", cerr)
		g.refuseLogin(w, r, asDenied(cerr))
		return
	}
	id := k.identity()
	value, t := g.sessions.issue(k)
	g.setCookie(w, r, value, int(g.c.SessionFor/time.Second))
	id.Session = true
	g.answerLogin(w, r, next, g.describe(caller{identity: &id, csrf: g.sessions.csrf(t)}, t))
}

// maxLogin bounds the body of a log-in, in bytes.
const maxLogin = 8 << 10

// readLogin reads {"key":…} or a form with the field "key", and where to go next.
func readLogin(w http.ResponseWriter, r *http.Request) (key, next string, d *Denied) {
	bad := &Denied{Status: http.StatusBadRequest, Slug: "bad-login", Title: "No key in this log-in", Detail: `send the API key as the form field "key", or as JSON {"key":"pk_…"}`}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLogin))
	if err != nil {
		return "", "", bad
	}
	ct, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch ct {
	case "application/json":
		var j struct{ Key, Next string }
		if json.Unmarshal(b, &j) != nil {
			return "", "", bad
		}
		key, next = j.Key, j.Next
	case "application/x-www-form-urlencoded":
		v, err := url.ParseQuery(string(b))
		if err != nil {
			return "", "", bad
		}
		key, next = v.Get("key"), v.Get("next")
	}
	if key = strings.TrimSpace(key); key == "" {
		return "", "", bad
	}
	return key, localPath(next), nil
}

// localPath returns next if it stays on this console, else "/": "//host" and "/\host" are other sites to a browser.
func localPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

// isForm reports whether a page without scripts sent r and wants to be sent on.
func isForm(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

func (g *Guard) answerLogin(w http.ResponseWriter, r *http.Request, next string, a sessionAnswer) {
	if isForm(r) {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	writeJSON(w, "application/json", http.StatusOK, a)
}

func (g *Guard) refuseLogin(w http.ResponseWriter, r *http.Request, d *Denied) {
	if isForm(r) && g.c.LoginPage != "" {
		http.Redirect(w, r, g.c.LoginPage+"?failed="+string(d.Slug), http.StatusSeeOther)
		return
	}
	WriteProblem(w, d)
}

func (g *Guard) logout(w http.ResponseWriter, r *http.Request, t ticket) {
	if t.Nonce != "" {
		g.sessions.end(t)
	}
	g.setCookie(w, r, "", -1)
	if isForm(r) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// secure reports whether the browser talks https to us, or to the proxy before us.
func (g *Guard) secure(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(g.c.PublicURL, "https://")
}

// cookieName has the __Host- prefix where it may: then no other host or port without TLS can plant the cookie (RFC 6265bis §4.1.3).
func (g *Guard) cookieName(r *http.Request) string {
	if g.secure(r) {
		return "__Host-perigee_session"
	}
	return "perigee_session"
}

func (g *Guard) setCookie(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: g.cookieName(r), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: g.secure(r),
	})
}

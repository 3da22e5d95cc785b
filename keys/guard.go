package keys

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/problem"
)

// GuardConfig is what a Guard is made from.
type GuardConfig struct {
	Ring *Ring
	// Listen is the address the server really listens on, "host:port".
	Listen string
	// PublicURL is the console's address as browsers see it, when a proxy stands before it; "https://…" makes the cookie Secure.
	PublicURL string
	// SessionKey signs sessions: SessionKeyLen random bytes. When empty a new one is made, and sessions end with the process.
	SessionKey []byte
	// SessionFor is how long a session lasts; 12 h when zero.
	SessionFor time.Duration
	// Public reports whether a stranger may make this request: the log-in page and its assets. Nil lets none.
	Public func(*http.Request) bool
	// LoginPage is where a browser without a session is sent, such as "/login"; it must be public. "" sends 401.
	LoginPage string
	// Rates bound how fast the API is used, but for keyless requests.
	Rates Rates
	Clock clock.Clock  // clock.System when nil
	Log   *slog.Logger // hears of failed logins, never of keys; nil is silent
}

// Guard lets in who may come in. It is safe for concurrent use.
type Guard struct {
	c        GuardConfig
	hosts    map[string]bool // by which the console is called in keyless mode
	loopback bool
	locked   atomic.Bool // a key was seen: there is no way back to keyless in this process
	origins  *http.CrossOriginProtection
	sessions sessions
	limiter  limiter
	rater    *rater
}

// NewGuard returns a Guard. It refuses, as CheckListen does, a listener beyond loopback while the ring is empty.
func NewGuard(c GuardConfig) (*Guard, error) {
	if err := CheckListen(c.Listen, !c.Ring.Empty(), "the API and console (api.listen)"); err != nil {
		return nil, err
	}
	c = withDefaults(c)
	if len(c.SessionKey) != SessionKeyLen {
		return nil, fmt.Errorf("session key: it has %d bytes, not %d", len(c.SessionKey), SessionKeyLen)
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("guard %q: %w", c.Listen, err)
	}
	g := &Guard{
		c: c, loopback: Loopback(c.Listen), hosts: map[string]bool{}, origins: http.NewCrossOriginProtection(),
		sessions: sessions{key: c.SessionKey, last: c.SessionFor, clock: c.Clock, ended: map[string]time.Time{}},
		limiter:  limiter{clock: c.Clock, seen: map[netip.Prefix]window{}},
		rater:    newRater(c.Rates, c.Clock),
	}
	// The listener's own address is an IP literal, which no name can be rebound to.
	for _, h := range []string{"127.0.0.1", "::1", "localhost", host} {
		g.hosts[net.JoinHostPort(h, port)] = true
		if port == "80" {
			g.hosts[strings.TrimSuffix(net.JoinHostPort(h, port), ":80")] = true
		}
	}
	if u, err := url.Parse(c.PublicURL); err == nil && u.Host != "" {
		if err := g.origins.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, fmt.Errorf("guard %s: %w", c.PublicURL, err)
		}
	}
	return g, nil
}

func withDefaults(c GuardConfig) GuardConfig {
	if len(c.SessionKey) == 0 {
		c.SessionKey = make([]byte, SessionKeyLen)
		rand.Read(c.SessionKey)
	}
	if c.SessionFor == 0 {
		c.SessionFor = 12 * time.Hour
	}
	if c.Public == nil {
		c.Public = func(*http.Request) bool { return false }
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Keyless reports whether requests need no key now. The first key ends keyless mode, for good in this process:
// revoking it does not open the door again.
func (g *Guard) Keyless() bool {
	if !g.loopback || g.locked.Load() {
		return false
	}
	if !g.c.Ring.Empty() {
		g.locked.Store(true)
		return false
	}
	return true
}

// Wrap returns next behind the guard. It serves /session itself: POST logs in (form field or JSON member "key"), GET says who
// one is and gives the CSRF token, DELETE and POST /session/logout log out.
//
// The CSRF token of a request made with the cookie is read from X-CSRF-Token or from ?csrf= of the URL, never from the
// body: an upload form is thus checked before its first byte is read, and nothing is buffered. The token is taken out
// of the URL before next, or a log of it, sees the request; it is worth nothing without its HttpOnly cookie.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, token, err := g.identify(r)
		r = withoutToken(r)
		if r.URL.Path == "/session" || r.URL.Path == "/session/logout" {
			g.serveSession(w, r, c, token, err)
			return
		}
		if err == nil && c.identity == nil && !g.c.Public(r) {
			if g.c.LoginPage != "" && wantsPage(r) {
				http.Redirect(w, r, g.c.LoginPage+"?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
				return
			}
			err = errAnonymous
		}
		r, err = g.counted(w.Header(), r, c, err)
		if err != nil {
			WriteProblem(w, err)
			return
		}
		c.holds = func() error { return g.holds(c.identity) }
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// holds returns nil if a request of id would be let in now.
func (g *Guard) holds(id *Identity) error {
	if id.ID == localID {
		if !g.Keyless() {
			return ErrUnknown
		}
		return g.c.Ring.Sure()
	}
	k, err := g.c.Ring.find(id.ID)
	if err == nil && k.Expired(g.c.Clock.Now()) {
		err = ErrExpired
	}
	return err
}

// counted holds a request against the rates of its sender; d is why it is refused, if it is.
func (g *Guard) counted(answer http.Header, r *http.Request, c caller, d *Denied) (*http.Request, *Denied) {
	switch {
	case d != nil && d.Status == http.StatusUnauthorized:
		return r, g.rater.refused(r, d)
	case d != nil || c.identity == nil || c.identity.ID == localID:
		return r, d
	}
	if d := g.rater.admit(answer, c.identity); d != nil {
		return r, d
	}
	return g.rater.metered(r, c.identity), nil
}

// localID is who sends requests in keyless mode.
const localID = "local"

// identify finds out who sent r. A nil identity without an error is a stranger.
func (g *Guard) identify(r *http.Request) (caller, ticket, *Denied) {
	if g.Keyless() {
		if d := g.checkLocal(r); d != nil {
			return caller{}, ticket{}, d
		}
		if err := g.c.Ring.Sure(); err != nil { // there may be a first key by now
			return caller{}, ticket{}, refusedKey(err)
		}
		return caller{identity: &Identity{ID: localID, Name: "this machine", Scopes: []Scope{ScopeAdmin}}}, ticket{}, nil
	}
	if auth := r.Header.Get("Authorization"); auth != "" {
		id, d := g.bearer(auth)
		return caller{identity: id}, ticket{}, d
	}
	cookie, err := r.Cookie(g.cookieName(r))
	if err != nil {
		return caller{}, ticket{}, nil
	}
	t, k, err := g.sessions.open(cookie.Value, g.c.Ring)
	if errors.Is(err, ErrUnsure) {
		return caller{}, ticket{}, refusedKey(err)
	}
	if err != nil {
		return caller{}, ticket{}, nil
	}
	id := k.identity()
	id.Session = true
	c := caller{identity: &id, csrf: g.sessions.csrf(t)}
	if safe(r.Method) || r.Method == http.MethodPost && r.URL.Path == "/session" {
		return c, t, nil
	}
	if g.origins.Check(r) != nil {
		return caller{}, ticket{}, errCrossOrigin
	}
	sent := r.Header.Get("X-CSRF-Token")
	if sent == "" {
		sent = r.URL.Query().Get("csrf")
	}
	if !hmac.Equal([]byte(sent), []byte(c.csrf)) {
		return caller{}, ticket{}, errCSRF
	}
	return c, t, nil
}

func (g *Guard) bearer(auth string) (*Identity, *Denied) {
	scheme, key, _ := strings.Cut(auth, " ")
	if !strings.EqualFold(scheme, "Bearer") || len(key) > 1024 {
		return nil, errAnonymous
	}
	id, err := g.c.Ring.Check(strings.TrimSpace(key))
	if err != nil {
		return nil, refusedKey(err)
	}
	return &id, nil
}

// forwarding are the fields by which a proxy says that it stands between us and somebody else.
var forwarding = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"}

// checkLocal refuses what did not come straight from a program or console page on this machine.
func (g *Guard) checkLocal(r *http.Request) *Denied {
	refuse := func(slug problem.Kind, detail string) *Denied {
		return &Denied{Status: http.StatusForbidden, Slug: slug, Title: "Refused in keyless mode", Detail: detail}
	}
	if ip := remoteIP(r); !ip.IsLoopback() {
		return refuse("not-local", "without API keys only this machine is served; make one with `perigee keys create`")
	}
	if !g.hosts[strings.ToLower(r.Host)] {
		return refuse("wrong-host", "without API keys the console answers only to its own loopback address, http://"+g.c.Listen+", not to the host name of this request")
	}
	for _, f := range forwarding {
		if r.Header.Get(f) != "" {
			return refuse("proxied", "this request came through a proxy ("+f+"); without API keys that is refused: make one with `perigee keys create`")
		}
	}
	if g.origins.Check(r) != nil {
		return errCrossOrigin
	}
	return nil
}

func remoteIP(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// wantsPage reports whether a person's browser asks for a page, not a script for data.
func wantsPage(r *http.Request) bool {
	return safe(r.Method) && strings.Contains(r.Header.Get("Accept"), "text/html") && !strings.HasPrefix(r.URL.Path, "/api/")
}

// withoutToken returns r without ?csrf=. Other parameters keep their spelling.
func withoutToken(r *http.Request) *http.Request {
	if !strings.Contains(r.URL.RawQuery, "csrf=") {
		return r
	}
	var kept []string
	for p := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if !strings.HasPrefix(p, "csrf=") {
			kept = append(kept, p)
		}
	}
	u := *r.URL
	u.RawQuery = strings.Join(kept, "&")
	c := *r
	c.URL, c.RequestURI = &u, u.RequestURI()
	return &c
}

func asDenied(err error) *Denied {
	var d *Denied
	if errors.As(err, &d) {
		return d
	}
	return refusedKey(err)
}

func refusedKey(err error) *Denied {
	if errors.Is(err, ErrUnsure) {
		return &Denied{Status: http.StatusServiceUnavailable, Slug: "catalogue-unavailable", Title: "API keys cannot be checked", Detail: err.Error(), RetryAfter: 1}
	}
	return &Denied{Status: http.StatusUnauthorized, Slug: "key-refused", Title: "The API key was refused", Detail: err.Error()}
}

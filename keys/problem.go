package keys

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"perigee/problem"
)

// Denied is why a request was refused.
type Denied struct {
	Status int          // of the HTTP answer
	Slug   problem.Kind // what programs decide by
	Title  string
	Detail string // a sentence that says what to do
	// RetryAfter is how many seconds to wait; 0 says nothing.
	RetryAfter int
}

// Error returns the detail.
func (d *Denied) Error() string { return d.Detail }

var (
	errAnonymous = &Denied{Status: http.StatusUnauthorized, Slug: "key-required", Title: "An API key is required",
		Detail: "send an API key as \"Authorization: Bearer pk_…\", or log in at the console; `perigee keys create` makes one"}
	errCSRF = &Denied{Status: http.StatusForbidden, Slug: "csrf", Title: "The CSRF token is missing or wrong",
		Detail: "a request made with the session cookie must carry the session's token as X-CSRF-Token or ?csrf=; load the page again"}
	errCrossOrigin = &Denied{Status: http.StatusForbidden, Slug: "cross-origin", Title: "Cross-origin request",
		Detail: "a page of another origin sent this request; only the console's own pages may change anything"}
	errLimited = &Denied{Status: http.StatusTooManyRequests, Slug: "too-many-logins", Title: "Too many failed logins",
		Detail: "too many wrong keys came from this address; wait a minute", RetryAfter: 60}
)

// WriteProblem sends d as a problem document, RFC 9457. The request id is the one an outer handler put in
// X-Request-Id, else a new one.
func WriteProblem(w http.ResponseWriter, d *Denied) {
	h := w.Header()
	if d.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="perigee"`)
	}
	if d.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(d.RetryAfter))
	}
	h.Set("Cache-Control", "no-store")
	doc := problem.New(d.Status, d.Slug, d.Detail, problem.RequestID(h))
	doc.Title = d.Title
	problem.Write(w, doc)
}

func writeJSON(w http.ResponseWriter, contentType string, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("keys: an answer always marshals: " + err.Error())
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	w.Write(append(b, '\n')) // the client may be gone; there is nobody left to tell
}

// caller is what Guard puts in a request's context.
type caller struct {
	identity *Identity // nil for a stranger on a public path
	csrf     string
	// holds returns why the identity is no longer good: its key may have been revoked, or have ended, since the request came.
	// Nil in a context of NewContext.
	holds func() error
}

type callerKey struct{}

// FromContext returns who sent the request; false for a stranger, who gets no further than public paths.
func FromContext(ctx context.Context) (Identity, bool) {
	c, ok := ctx.Value(callerKey{}).(caller)
	if !ok || c.identity == nil {
		return Identity{}, false
	}
	return *c.identity, true
}

// Holds returns nil while the key of a request is still good, else ErrUnknown, ErrExpired or ErrUnsure. What takes long, such as an upload or a stream of
// events, asks again; the checks of this package do.
func Holds(ctx context.Context) error {
	c, ok := ctx.Value(callerKey{}).(caller)
	switch {
	case !ok || c.identity == nil:
		return ErrUnknown
	case c.holds == nil:
		return nil
	}
	return c.holds()
}

// CSRF returns the token a page must put into its forms as ?csrf= of the action; empty when none is needed.
func CSRF(ctx context.Context) string {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c.csrf
}

// Check returns nil if the request of ctx may do what s allows, else a *Denied: 401 for a stranger, 403 for a key
// without the scope, 503 when nobody knows whether the key is still good.
func Check(ctx context.Context, s Scope) error {
	id, ok := FromContext(ctx)
	if !ok {
		return errAnonymous
	}
	if err := Holds(ctx); err != nil {
		return refusedKey(err)
	}
	if !id.May(s) {
		return &Denied{Status: http.StatusForbidden, Slug: "scope-required", Title: "The API key does not allow this",
			Detail: "the key " + id.ID + " (" + id.Name + ") lacks the scope \"" + string(s) + "\"; `perigee keys create --scope " + string(s) + "` makes one that has it"}
	}
	return nil
}

// Require is middleware that lets only requests through that have scope s.
func Require(s Scope, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := Check(r.Context(), s); err != nil {
			WriteProblem(w, err.(*Denied))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// NewContext returns a context of a request that id sends. A Guard does that for the requests it lets in.
func NewContext(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, callerKey{}, caller{identity: &id})
}

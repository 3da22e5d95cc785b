// Package idempotency lets a client send a request again that may have been carried out already: with the field
// Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07) a repetition gets the answer of the first, and changes nothing.
//
// It is net/http middleware behind a keys.Guard, for POST, PUT, PATCH and DELETE. Uploads by tus are left alone: their
// offsets do the same. A request without the field passes untouched. The keys of one API key are its own.
//
//	the key has never come              the request is carried out, its answer kept for a day
//	the same request again              the kept answer, with Idempotency-Replayed: true
//	another request with the key        422
//	the first is still being carried out  409, with Retry-After
//	the server died in between          if a change was made: 409 that says which, and nothing is done; else it is carried out
//
// What makes requests the same: method, URL, the conditions and descriptions in the header, and the body, whose SHA-256 is
// taken while it is read; a repetition's body is read for that, and not kept. Answers of 5xx, and those that say that a
// key, a rate or a lock was in the way, are not kept, nor what a request was refused with whose body broke off: it may come again. A handler whose answer holds a secret says
// with Instead what is kept in its place. An answer beyond 1 MiB is not kept; a repetition is then told that it took effect.
//
// It starts one goroutine for each request that it watches, which ends with the request. When the store fails before the
// request was carried out, the answer is 503; when it fails after, the answer is given and a repetition may be told that
// the answer was lost.
package idempotency

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"perigee/catalog"
	"perigee/clock"
	"perigee/keys"
	"perigee/openapi"
	"perigee/problem"
)

// Store keeps the records; *catalog.Catalog is one, and its documentation names the outcomes. Safe for concurrent use.
type Store interface {
	BeginOnce(ctx context.Context, id, owner, fingerprint string) (catalog.Once, error)
	RenewOnce(ctx context.Context, o catalog.Once) error
	FinishOnce(ctx context.Context, o catalog.Once, a catalog.Answer) error
	DropOnce(ctx context.Context, o catalog.Once) error
	AuditEntry(ctx context.Context, id string) (catalog.AuditEntry, error)
}

// Config is what New needs.
type Config struct {
	Store Store
	Clock clock.Clock
	Log   *slog.Logger
	// Skip reports requests that are let through although they have the field; may be nil.
	Skip func(*http.Request) bool
}

// Keeper keeps answers. Make one with New.
type Keeper struct{ c Config }

// New checks c. It starts nothing.
func New(c Config) (*Keeper, error) {
	if c.Store == nil || c.Clock == nil || c.Log == nil {
		return nil, errors.New("idempotency: Config needs Store, Clock and Log")
	}
	if c.Skip == nil {
		c.Skip = func(*http.Request) bool { return false }
	}
	return &Keeper{c}, nil
}

const (
	field    = "Idempotency-Key"
	replayed = "Idempotency-Replayed"

	maxKey    = 255     // characters of a client's key
	maxAnswer = 1 << 20 // bytes of an answer that is kept
	storeTime = 10 * time.Second
)

// Wrap returns next behind the keeper.
func (k *Keeper) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := r.Header.Values(field)
		who, known := keys.FromContext(r.Context())
		if len(given) == 0 || !known || !k.heeds(r) {
			next.ServeHTTP(w, r)
			return
		}
		key, ok := parseKey(given)
		if !ok {
			deny(w, http.StatusBadRequest, "invalid", fmt.Sprintf("Idempotency-Key is one string of 1 to %d characters, such as \"8e03978e-40d5-43dd-bc93-6894a57f9324\".", maxKey), 0)
			return
		}
		once, err := k.c.Store.BeginOnce(r.Context(), catalog.OnceID(who.ID, key), who.ID, fingerprint(r))
		if err != nil {
			k.c.Log.Error("look for an idempotency key", "err", err)
			deny(w, http.StatusServiceUnavailable, "timeout", "The server could not look up the idempotency key. Nothing was changed. Try again in a moment.", 1)
			return
		}
		switch once.State {
		case catalog.OnceNew:
			k.carryOut(w, r, next, once)
		case catalog.OnceDone:
			k.again(w, r, once)
		case catalog.OnceRunning:
			deny(w, http.StatusConflict, "in-progress", "The first request with this idempotency key is still being carried out. Try again in a moment.", 1)
		case catalog.OnceOther:
			deny(w, http.StatusUnprocessableEntity, "key-reused", errReused, 0)
		default:
			k.lost(w, r, once)
		}
	})
}

// heeds reports whether the field means something with r.
func (k *Keeper) heeds(r *http.Request) bool { return !safe(r.Method) && !k.c.Skip(r) }

// Describe adds the field to the operations with which it means something, whenever they are added.
func (k *Keeper) Describe(d *openapi.Document) {
	heeded := func(o *openapi.Operation) bool {
		return !o.Beside && o.Scope != "" && k.heeds(&http.Request{Method: o.Method, URL: &url.URL{Path: o.Path}})
	}
	d.Common(openapi.Param{In: openapi.Header, Name: field,
		Doc: "A string of the client's choice, for this request and its repetitions alone: a repetition gets the answer of the first, and changes nothing. Kept for a day"}, heeded)
	d.CommonHeader(replayed, "true in the answer to a repetition", heeded)
}

const errReused = "This idempotency key came with another request before. Give each request a key of its own."

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// parseKey reads a string of RFC 9651 §3.3.3; without quotation marks it is taken as it is, as many clients send it.
func parseKey(lines []string) (string, bool) {
	v := strings.TrimSpace(lines[0])
	if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
		v = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(v[1 : len(v)-1])
	}
	if len(lines) > 1 || v == "" || len(v) > maxKey {
		return "", false
	}
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return "", false
		}
	}
	return v, true
}

// telling are the fields of a request that change what it does.
var telling = []string{
	"Content-Type", "Content-Length", "Content-Encoding", "Content-Range", "If-Match", "If-None-Match", "Repr-Digest", "Content-Digest",
	"Perigee-Tags", "Perigee-Cache-Control",
}

// fingerprint tells requests apart by all but their body.
func fingerprint(r *http.Request) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d", r.Method, r.URL.RequestURI(), r.ContentLength)
	for _, name := range telling {
		if v := r.Header.Values(name); len(v) > 0 && !(name == "Content-Type" && strings.HasPrefix(v[0], "multipart/")) { // whose boundary is new each time
			fmt.Fprintf(h, " %s %q", name, v)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

type insteadKey struct{}

// Instead sets what is kept in place of the answer's body, because that holds a secret: v as JSON. Without a record
// nothing is kept anyway.
func Instead(ctx context.Context, v any) error {
	to, ok := ctx.Value(insteadKey{}).(*[]byte)
	if !ok {
		return nil
	}
	b, err := json.Marshal(v)
	if err == nil {
		*to = append(b, '\n')
	}
	return err
}

func deny(w http.ResponseWriter, status int, slug problem.Kind, detail string, retry int) {
	keys.WriteProblem(w, &keys.Denied{Status: status, Slug: slug, Title: http.StatusText(status), Detail: detail, RetryAfter: retry})
}

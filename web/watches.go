package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/keys"
	"perigee/origin/watch"
	"perigee/problem"
)

// Watches tells how bucket sites are watched. Safe for concurrent use.
type Watches interface {
	// Status returns every bucket site, sorted by name.
	Status(ctx context.Context) ([]watch.Status, error)
}

// watches answers GET /api/v1/watches?cursor=&limit=.
func (s *Server) watches(c *gin.Context) {
	after, limit, ok := paging(c, maxLimit)
	if !ok || !allowWhole(c, keys.ScopeRead) {
		return
	}
	list := []watch.Status{}
	if s.cfg.Watches != nil {
		var err error
		if list, err = s.cfg.Watches.Status(c.Request.Context()); err != nil {
			s.failWith(c, "tell how bucket sites are watched", err)
			return
		}
	}
	list, next := cutPage(list, after, limit, func(w watch.Status) string { return string(w.Site) })
	c.JSON(http.StatusOK, watchPage{list, next})
}

// watchPage is a page of how bucket sites are watched.
type watchPage struct {
	Watches []watch.Status `json:"watches"`
	Next    string         `json:"next" doc:"Cursor of the next page; empty on the last"`
}

// eventsTaken says what became of a message.
type eventsTaken struct {
	Events int `json:"events" doc:"That the message names"`
	Taken  int `json:"taken" doc:"Of objects of bucket sites"`
}

// BucketEventsPath is where stores post what happens to the objects of bucket sites. It has an authentication of its own, and is
// served beside keys.Guard.
const BucketEventsPath = "/api/v1/bucket-events"

// EventsConfig is what NewBucketEvents needs.
type EventsConfig struct {
	// Secret is what senders show; "" refuses everybody.
	Secret string
	// Take looks at the objects that events name, and returns when that is recorded; see watch.Watcher.
	Take func(ctx context.Context, source string, events []watch.Event) (int, error)
	Log  *slog.Logger
}

// eventsTime is how long a message may take; senders give up after some seconds, and send it again.
const eventsTime = 30 * time.Second

// eventsAtOnce is how many messages may be worked on at a time.
const eventsAtOnce = 64

// NewBucketEvents returns the handler of BucketEventsPath: POST of one message (watch.ParseEvents), with the secret as a bearer token or as the
// password of basic authentication, whichever the sender can. 200 says that all of it is recorded. It repeats nothing: 503 asks the sender to.
func NewBucketEvents(cfg EventsConfig) http.Handler {
	turns := make(chan struct{}, eventsAtOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if p := cfg.receive(w, r, turns); p != nil {
			switch p.Status {
			case http.StatusUnauthorized:
				h.Set("WWW-Authenticate", `Bearer, Basic realm="bucket events"`)
			case http.StatusServiceUnavailable:
				h.Set("Retry-After", "1")
			}
			problem.Write(w, *p)
		}
	})
}

func (cfg EventsConfig) receive(w http.ResponseWriter, r *http.Request, turns chan struct{}) *problem.Document {
	no := func(status int, k problem.Kind, detail string) *problem.Document {
		p := problem.New(status, k, detail, problem.RequestID(w.Header()))
		return &p
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return no(http.StatusMethodNotAllowed, "method", "Events of a store are posted here.")
	}
	if !sameSecret(cfg.Secret, r) {
		return no(http.StatusUnauthorized, "key-refused", "The secret of api.events_secret is missing or another one: send it as a bearer token, or as the password of basic authentication.")
	}
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	default:
		return no(http.StatusServiceUnavailable, "busy", "Too many messages at once. Send it again.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, watch.MaxMessage))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return no(http.StatusRequestEntityTooLarge, "too-large", "A message has at most 1 MiB.")
	case err != nil:
		return no(http.StatusBadRequest, "incomplete", "The body broke off.")
	}
	m, err := watch.ParseEvents(body)
	if err != nil {
		return no(http.StatusBadRequest, "invalid", err.Error())
	}
	if m.Confirm != "" {
		cfg.Log.Warn("a topic of SNS asks for its subscription to be confirmed: open this address once, if it is yours", "address", clip(m.Confirm))
	}
	ctx, cancel := context.WithTimeout(r.Context(), eventsTime)
	defer cancel()
	n, err := cfg.Take(ctx, watch.SourceWebhook, m.Events)
	if err != nil {
		cfg.Log.Warn("events of a store could not be recorded; the sender is asked to send them again", "events", len(m.Events), "err", err)
		return no(http.StatusServiceUnavailable, "storage-unavailable", "The store or the catalogue does not answer. Send it again.")
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(eventsTaken{len(m.Events), n}) // an error means that the sender is gone
	return nil
}

// sameSecret compares in constant time, whatever the lengths.
func sameSecret(secret string, r *http.Request) bool {
	_, shown, basic := r.BasicAuth()
	if !basic {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return false
		}
		shown = strings.TrimSpace(token)
	}
	want, have := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(shown))
	return subtle.ConstantTimeCompare(want[:], have[:]) == 1 && secret != ""
}

// clip shortens what a stranger sent before it goes into the log.
func clip(s string) string {
	const most = 500
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

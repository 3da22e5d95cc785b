package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/idempotency"
	"perigee/keys"
	"perigee/object"
)

// Keys administers API keys. Safe for concurrent use.
type Keys interface {
	// List returns every key.
	List() []keys.Key
	// Create makes a key and returns it; nobody can read it again. A request that breaks a rule wraps object.ErrInvalid.
	Create(ctx context.Context, n keys.NewKey) (string, keys.Key, error)
	// Revoke ends a key at once. An unknown id is fs.ErrNotExist.
	Revoke(ctx context.Context, id string) error
	// Uses returns when keys were last used, by id, on this node until now and on others to half a minute.
	Uses(ctx context.Context) (map[string]time.Time, error)
}

// keyView is a key as the API shows it: not its hash, which is of no use to anyone who may ask.
type keyView struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Scopes  []keys.Scope `json:"scopes"`
	Created time.Time    `json:"created,omitzero"`
	Expires time.Time    `json:"expires,omitzero"`
	// LastUsed is absent if the key never was.
	LastUsed time.Time `json:"last_used,omitzero" doc:"To half a minute; absent if it never was"`
	keys.Limits
}

func viewOf(k keys.Key) keyView {
	return keyView{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Created: k.Created, Expires: k.Expires, Limits: k.Limits}
}

// keyPage is a page of keys.
type keyPage struct {
	Keys []keyView `json:"keys"`
	Next string    `json:"next" doc:"Cursor of the next page; empty on the last"`
}

// madeKey is a key that was just made.
type madeKey struct {
	keyView
	Secret string `json:"key" doc:"The key itself. It is never shown again: a repetition of the request gets an empty one"`
}

// keys answers GET /api/v1/keys?cursor=&limit=, by id.
func (s *Server) keys(c *gin.Context) {
	after, limit, ok := paging(c, maxLimit)
	if !ok || !allowWhole(c, keys.ScopeAdmin) {
		return
	}
	all := s.cfg.Keys.List()
	slices.SortFunc(all, func(a, b keys.Key) int { return strings.Compare(a.ID, b.ID) })
	list, next := cutPage(all, after, limit, func(k keys.Key) string { return k.ID })
	used, err := s.cfg.Keys.Uses(c.Request.Context())
	if err != nil {
		s.failWith(c, "find out when the keys were used", err)
		return
	}
	page := keyPage{Keys: make([]keyView, len(list)), Next: next}
	for i, k := range list {
		page.Keys[i] = viewOf(k)
		page.Keys[i].LastUsed = used[k.ID]
	}
	c.JSON(http.StatusOK, page)
}

// newKey is the body of POST /api/v1/keys.
type newKey struct {
	Name    string    `json:"name" required:"true" doc:"Who uses it, 1 to 200 characters"`
	Scopes  []string  `json:"scopes" doc:"read, publish, purge or admin; read alone if there are none"`
	Expires time.Time `json:"expires" doc:"Never when absent"`
	keys.Limits
}

func (s *Server) createKey(c *gin.Context) {
	var body newKey
	if !allowWhole(c, keys.ScopeAdmin) || !s.readJSON(c, &body) {
		return
	}
	n := keys.NewKey{Name: body.Name, Expires: body.Expires, Limits: body.Limits}
	var err error
	if len(body.Scopes) > 0 {
		if n.Scopes, err = keys.ParseScopes(strings.Join(body.Scopes, ",")); err != nil {
			s.failWith(c, "read the key", fmt.Errorf("key: %w: %v", object.ErrInvalid, err))
			return
		}
	}
	secret, k, err := s.cfg.Keys.Create(c.Request.Context(), n)
	if err != nil {
		s.failWith(c, "create the key", err)
		return
	}
	s.cfg.Log.Info("API key created", "id", k.ID, "name", k.Name, "request", requestID(c))
	if err := idempotency.Instead(c.Request.Context(), madeKey{keyView: viewOf(k)}); err != nil {
		s.cfg.Log.Warn("the answer to a new key is not kept for a repetition", "err", err, "request", requestID(c))
	}
	c.JSON(http.StatusCreated, madeKey{viewOf(k), secret})
}

func (s *Server) revokeKey(c *gin.Context) {
	if !allowWhole(c, keys.ScopeAdmin) {
		return
	}
	id := c.Param("id")
	for _, k := range s.cfg.Keys.List() {
		if k.ID == id && k.Created.IsZero() {
			fail(c, http.StatusConflict, "from-environment", "Key "+id+" comes from the environment. Take it out there and restart.")
			return
		}
	}
	if err := s.cfg.Keys.Revoke(c.Request.Context(), id); err != nil {
		s.failWith(c, "revoke the key", err)
		return
	}
	s.cfg.Log.Info("API key revoked", "id", id, "request", requestID(c))
	c.Status(http.StatusNoContent)
}

package web

import (
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/gin-gonic/gin"

	"perigee/keys"
	"perigee/object"
)

// Keys administers API keys; *keys.Ring is one. Safe for concurrent use.
type Keys interface {
	// List returns every key.
	List() []keys.Key
	// Create makes a key that ends at expires (zero: never) and returns it; nobody can read it again.
	Create(name string, scopes []keys.Scope, expires time.Time) (string, keys.Key, error)
	// Revoke ends a key at once. An unknown id is fs.ErrNotExist.
	Revoke(id string) error
}

// keyView is a key as the API shows it: not its hash, which is of no use to anyone who may ask.
type keyView struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Scopes  []keys.Scope `json:"scopes"`
	Created time.Time    `json:"created,omitzero"`
	Expires time.Time    `json:"expires,omitzero"`
}

func viewOf(k keys.Key) keyView { return keyView{k.ID, k.Name, k.Scopes, k.Created, k.Expires} }

// keyList is all keys.
type keyList struct {
	Keys []keyView `json:"keys"`
}

// madeKey is a key with the secret that nobody can read again.
type madeKey struct {
	keyView
	Secret string `json:"key" doc:"The key itself; it is never shown again"`
}

func (s *Server) keys(c *gin.Context) {
	list := []keyView{}
	for _, k := range s.cfg.Keys.List() {
		list = append(list, viewOf(k))
	}
	c.JSON(http.StatusOK, keyList{list})
}

// newKey is the body of POST /api/v1/keys.
type newKey struct {
	Name    string    `json:"name" required:"true" doc:"Who uses it, 1 to 200 characters"`
	Scopes  []string  `json:"scopes" required:"true" doc:"read, publish, purge or admin"`
	Expires time.Time `json:"expires" doc:"Never when absent"`
}

func (s *Server) createKey(c *gin.Context) {
	var body newKey
	if !s.readJSON(c, &body) {
		return
	}
	scopes, err := body.check(s.cfg.Clock.Now())
	if err != nil {
		s.failWith(c, "read the key", err)
		return
	}
	secret, k, err := s.cfg.Keys.Create(body.Name, scopes, body.Expires)
	if err != nil {
		s.failWith(c, "create the key", err)
		return
	}
	s.cfg.Log.Info("API key created", "id", k.ID, "name", k.Name, "request", requestID(c))
	c.JSON(http.StatusCreated, madeKey{viewOf(k), secret})
}

// check returns the scopes without repetitions. Errors wrap object.ErrInvalid.
func (k newKey) check(now time.Time) ([]keys.Scope, error) {
	if n := len(strings.TrimSpace(k.Name)); n == 0 || n > 200 || strings.ContainsFunc(k.Name, unicode.IsControl) {
		return nil, fmt.Errorf("key: %w: give it a name of 1 to 200 characters that says who uses it", object.ErrInvalid)
	}
	if !k.Expires.IsZero() && !k.Expires.After(now) {
		return nil, fmt.Errorf("key: %w: it would have expired already", object.ErrInvalid)
	}
	scopes, err := keys.ParseScopes(strings.Join(k.Scopes, ","))
	if err != nil {
		return nil, fmt.Errorf("key: %w: %v", object.ErrInvalid, err)
	}
	return scopes, nil
}

func (s *Server) revokeKey(c *gin.Context) {
	id := c.Param("id")
	for _, k := range s.cfg.Keys.List() {
		if k.ID == id && k.Created.IsZero() {
			fail(c, http.StatusConflict, "from-environment", "Key "+id+" comes from the environment. Take it out there and restart.")
			return
		}
	}
	if err := s.cfg.Keys.Revoke(id); err != nil {
		s.failWith(c, "revoke the key", err)
		return
	}
	s.cfg.Log.Info("API key revoked", "id", id, "request", requestID(c))
	c.Status(http.StatusNoContent)
}

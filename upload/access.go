package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"perigee/keys"
	"perigee/object"
)

// Who may do what is asked three times: the routes ask for a scope before anything else, handlers ask for the path as
// soon as they know it and before a body is read, and record asks again for what is really written, so that a route
// that forgets cannot publish.

// allowed is the middleware of all routes: reading needs keys.ScopeRead, everything else keys.ScopePublish.
func (p *Publisher) allowed(c *gin.Context) {
	scope := keys.ScopePublish
	if m := c.Request.Method; m == http.MethodGet || m == http.MethodHead || m == http.MethodOptions {
		scope = keys.ScopeRead
	}
	if err := keys.Check(c.Request.Context(), scope); err != nil {
		p.fail(c, "check the key", err)
	}
}

// ownUpload is the middleware of the routes of one upload: it must be of a path that the key may publish. Another's
// upload does not exist for it.
func (p *Publisher) ownUpload(c *gin.Context) {
	ctx := c.Request.Context()
	if err := keys.Check(ctx, keys.ScopePublish); err != nil && c.Request.Method != http.MethodOptions {
		p.fail(c, "check the key", err)
		return
	}
	id, _ := keys.FromContext(ctx)
	if id.Whole() || c.Request.Method == http.MethodOptions {
		return
	}
	uid, err := object.ParseUploadID(c.Param("id"))
	if err != nil {
		return // the handler says so
	}
	u, err := p.cfg.Catalog.Upload(ctx, uid)
	if err == nil && !id.Under(u.Site, string(u.Path)) {
		err = fmt.Errorf("upload %s: %w", uid, fs.ErrNotExist)
	}
	if err != nil {
		p.fail(c, "look for an upload", err)
	}
}

// mayWrite returns nil if the sender of a request may publish to the path. What the program does by itself has no sender.
func mayWrite(ctx context.Context, site object.Site, path object.Path) error {
	if _, ok := keys.FromContext(ctx); !ok {
		return nil
	}
	return keys.CheckUnder(ctx, keys.ScopePublish, site, string(path))
}

// Resumes reports whether a request belongs to the resumable uploads, which have their own way of being sent again.
func Resumes(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, uploadsRoute) }

// denied returns err as the keys.Denied it is, if it is one.
func denied(err error) (*keys.Denied, bool) {
	var d *keys.Denied
	return d, errors.As(err, &d)
}

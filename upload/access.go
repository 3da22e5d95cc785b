package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
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

// ownUpload is the middleware of the routes of uploads: one that a request names must be the sender's.
func (p *Publisher) ownUpload(c *gin.Context) {
	id, err := object.ParseUploadID(c.Param("id"))
	if err != nil || c.Request.Method == http.MethodOptions {
		return // it names none; the handler says so
	}
	ctx := c.Request.Context()
	if err = keys.Check(ctx, keys.ScopePublish); err == nil {
		err = p.owned(ctx, id)
	}
	if err != nil {
		p.fail(c, "look for an upload", err)
	}
}

// owned returns nil if the sender may go on with an upload: its path is one to publish to or, while it has none, it began
// the upload itself. Another's upload does not exist for it.
func (p *Publisher) owned(ctx context.Context, id object.UploadID) error {
	who, ok := keys.FromContext(ctx)
	if !ok || who.Whole() {
		return nil
	}
	u, err := p.cfg.Catalog.Upload(ctx, id)
	if err == nil && !mine(&who, u) {
		err = fmt.Errorf("upload %s: %w", id, fs.ErrNotExist)
	}
	return err
}

func mine(who *keys.Identity, u catalog.Upload) bool {
	if u.Site == "" {
		return who.Whole() || u.Owner == who.ID
	}
	return who.Under(u.Site, string(u.Path))
}

// welcome returns nil if the sender may publish a file of that size to a path, as far as that can be said before its bytes
// come; a size of -1 is not known.
func (p *Publisher) welcome(ctx context.Context, site object.Site, path object.Path, size int64) error {
	if err := mayWrite(ctx, site, path); err != nil {
		return err
	}
	_, err := p.room(ctx, site, path, size)
	return err
}

// partRoom returns nil if a part of a file, which has no path yet, may have that size.
func (p *Publisher) partRoom(ctx context.Context, size int64) error {
	id, _ := keys.FromContext(ctx)
	if id.MaxFile > 0 && size > id.MaxFile {
		return room{most: id.MaxFile}.exceeded(size)
	}
	return nil
}

// noteGivenUp puts it into the audit log that an upload was given up.
func (p *Publisher) noteGivenUp(ctx context.Context, u catalog.Upload) error {
	return p.cfg.Catalog.Note(ctx, catalog.AuditEntry{Action: catalog.UploadGivenUp, Site: u.Site, Object: string(u.Path), Detail: "upload " + string(u.ID)})
}

// mayWrite returns nil if the sender of a request may publish to the path. What the program does by itself has no sender.
func mayWrite(ctx context.Context, site object.Site, path object.Path) error {
	if _, ok := keys.FromContext(ctx); !ok {
		return nil
	}
	return keys.CheckUnder(ctx, keys.ScopePublish, site, string(path))
}

// Resumes reports whether a request belongs to the resumable uploads, which have their own way of being sent again.
func Resumes(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, uploadsRoute) || strings.HasPrefix(r.URL.Path, directRoute)
}

// denied returns err as the keys.Denied it is, if it is one.
func denied(err error) (*keys.Denied, bool) {
	var d *keys.Denied
	return d, errors.As(err, &d)
}

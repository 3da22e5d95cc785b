package upload

import (
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/keys"
	"perigee/object"
)

// uploadRecord is a resumable upload as the listing tells it.
type uploadRecord struct {
	ID      object.UploadID     `json:"id"`
	Kind    catalog.UploadKind  `json:"kind"`
	Site    object.Site         `json:"site"`
	Path    object.Path         `json:"path"`
	State   catalog.UploadState `json:"state"`
	Version object.Version      `json:"version,omitempty"`
	Expires time.Time           `json:"expires,omitzero"`
}

// uploadPage is a page of them.
type uploadPage struct {
	Uploads []uploadRecord `json:"uploads"`
	Next    string         `json:"next" doc:"Cursor of the next page; empty on the last"`
}

// uploads answers GET /api/v1/uploads?cursor=&limit= with an uploadPage of the resumable uploads that the sender may continue. A
// page may have fewer than limit: what is not the sender's is left out.
func (p *Publisher) uploads(c *gin.Context) {
	limit, lerr := limitOf(c)
	after, cerr := cursorOf(c)
	if err := errors.Join(lerr, cerr); err != nil {
		p.fail(c, "read a listing request", first(err))
		return
	}
	ctx := c.Request.Context()
	us, err := p.cfg.Catalog.Uploads(ctx, object.UploadID(after), limit)
	if err != nil {
		p.fail(c, "list uploads", err)
		return
	}
	who, _ := keys.FromContext(ctx)
	page := uploadPage{Uploads: []uploadRecord{}}
	for _, u := range us {
		if mine(&who, u) {
			page.Uploads = append(page.Uploads, uploadRecord{u.ID, u.Kind, u.Site, u.Path, u.State, u.Version, u.Expires})
		}
	}
	if len(us) == limit {
		page.Next = cursorAt(string(us[limit-1].ID))
	}
	c.JSON(http.StatusOK, page)
}

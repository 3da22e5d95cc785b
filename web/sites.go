package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/keys"
	"perigee/object"
)

// siteView is a site in a list.
type siteView struct {
	object.SiteRecord
	Usage *catalog.Usage `json:"usage" doc:"null if what the site serves is not stored by Perigee: it is not counted, and there is no quota"`
}

// sitePage is a page of sites.
type sitePage struct {
	Sites []siteView `json:"sites"`
	Next  string     `json:"next" doc:"Cursor of the next page; empty on the last"`
}

// sites answers GET /api/v1/sites?cursor=&limit= with the sites of which the sender may see anything.
func (s *Server) sites(c *gin.Context) {
	after, limit, ok := paging(c, maxLimit)
	if !ok {
		return
	}
	ctx := c.Request.Context()
	list, err := s.cfg.Sites.Sites(ctx)
	if err != nil {
		s.failWith(c, "list the sites", err)
		return
	}
	id, _ := keys.FromContext(ctx)
	list = slices.DeleteFunc(slices.Clone(list), func(r object.SiteRecord) bool { return !id.Site(r.Site) })
	list, next := cutPage(list, after, limit, func(r object.SiteRecord) string { return string(r.Site) })
	page := sitePage{Sites: make([]siteView, len(list)), Next: next}
	if len(list) > 0 {
		us, err := s.cfg.Ledger.Usages(ctx, list[0].Site, list[len(list)-1].Site)
		if err != nil {
			s.failWith(c, "list what the sites use", err)
			return
		}
		for i, r := range list {
			page.Sites[i] = siteView{SiteRecord: r}
			if r.Stored() != nil {
				continue
			}
			page.Sites[i].Usage = &catalog.Usage{Site: r.Site}
			if j := slices.IndexFunc(us, func(u catalog.Usage) bool { return u.Site == r.Site }); j >= 0 {
				page.Sites[i].Usage = &us[j]
			}
		}
	}
	c.JSON(http.StatusOK, page)
}

func (s *Server) createSite(c *gin.Context) {
	var body object.SiteDeclaration
	if !allowWhole(c, keys.ScopeAdmin) || !s.readJSON(c, &body) {
		return
	}
	rec, err := body.Record()
	if err != nil {
		s.failWith(c, "read the site", err)
		return
	}
	rec, err = s.cfg.Sites.CreateSite(c.Request.Context(), rec)
	if err != nil {
		s.failWith(c, "create the site", err)
		return
	}
	s.cfg.Log.Info("site created", "site", rec.Site, "request", requestID(c))
	c.JSON(http.StatusCreated, rec)
}

// updateSite replaces a site's record: hosts, rules and origin. Its kind stays. If-Match compares the version.
func (s *Server) updateSite(c *gin.Context) {
	var body object.SiteDeclaration
	if !allow(c, keys.CheckSite(c.Request.Context(), keys.ScopeAdmin, object.Site(c.Param("site")))) || !s.readJSON(c, &body) {
		return
	}
	if body.Site == "" {
		body.Site = c.Param("site")
	}
	rec, err := body.Record()
	if err == nil && string(rec.Site) != c.Param("site") {
		fail(c, http.StatusBadRequest, "invalid", "The body is about another site than the address.")
		return
	}
	if err != nil {
		s.failWith(c, "read the site", err)
		return
	}
	rec, err = s.cfg.Sites.UpdateSite(c.Request.Context(), rec, object.Version(strings.Trim(c.GetHeader("If-Match"), `"`)))
	if err != nil {
		s.failWith(c, "change the site", err)
		return
	}
	s.cfg.Log.Info("site changed", "site", rec.Site, "version", rec.Version, "request", requestID(c))
	c.JSON(http.StatusOK, rec)
}

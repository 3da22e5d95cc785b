package web

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"perigee/object"
)

// siteList is all sites.
type siteList struct {
	Sites []object.SiteRecord `json:"sites"`
}

func (s *Server) sites(c *gin.Context) {
	list, err := s.cfg.Sites.Sites(c.Request.Context())
	if err != nil {
		s.failWith(c, "list the sites", err)
		return
	}
	if list == nil {
		list = []object.SiteRecord{}
	}
	c.JSON(http.StatusOK, siteList{list})
}

func (s *Server) createSite(c *gin.Context) {
	var body object.SiteDeclaration
	if !s.readJSON(c, &body) {
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
	if !s.readJSON(c, &body) {
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

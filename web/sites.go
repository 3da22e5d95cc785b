package web

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"perigee/object"
)

func (s *Server) sites(c *gin.Context) {
	list, err := s.cfg.Sites.Sites(c.Request.Context())
	if err != nil {
		s.failWith(c, "list the sites", err)
		return
	}
	if list == nil {
		list = []object.SiteRecord{}
	}
	c.JSON(http.StatusOK, gin.H{"sites": list})
}

// newSite is the body of POST /api/v1/sites.
type newSite struct {
	Site  string           `json:"site"`
	Kind  object.SiteKind  `json:"kind"`
	Hosts []string         `json:"hosts"`
	Rules object.SiteRules `json:"rules"`
	// Origin is of a pull site.
	Origin *object.PullOrigin `json:"origin"`
}

func (s *Server) createSite(c *gin.Context) {
	var body newSite
	if !s.readJSON(c, &body) {
		return
	}
	rec, err := body.record()
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
	var body newSite
	if !s.readJSON(c, &body) {
		return
	}
	if body.Site == "" {
		body.Site = c.Param("site")
	}
	rec, err := body.record()
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

// record returns the record to store; whoever stores it sets the version and validates the rest.
func (b newSite) record() (object.SiteRecord, error) {
	r := object.SiteRecord{Format: 1, Kind: b.Kind, Rules: b.Rules, Origin: b.Origin}
	if r.Kind == "" {
		r.Kind = object.Published
	}
	var err error
	if r.Site, err = object.ParseSite(b.Site); err != nil {
		return r, err
	}
	for _, h := range b.Hosts {
		host, err := object.ParseHost(h)
		if err != nil {
			return r, err
		}
		r.Hosts = append(r.Hosts, host)
	}
	return r, nil
}

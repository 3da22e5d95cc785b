package web

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"perigee/dnsgeo/steer"
	"perigee/keys"
)

// whatIf tells what draining or adding edges would move. It changes nothing.
func (s *Server) whatIf(c *gin.Context) {
	if !allowWhole(c, keys.ScopeRead) {
		return
	}
	change := steer.Change{Drain: c.QueryArray("drain")}
	for _, text := range c.QueryArray("add") {
		site, err := steer.ParseSite(text)
		if err != nil {
			s.failWith(c, "read the edges to add", err)
			return
		}
		change.Add = append(change.Add, site)
	}
	if len(change.Drain)+len(change.Add) == 0 {
		fail(c, http.StatusBadRequest, "invalid", "Nothing would change: name edges with drain=NAME or add=NAME@LAT,LON.")
		return
	}
	found, err := s.cfg.Explainer.WhatIf(c.Request.Context(), change)
	if err != nil {
		s.failWith(c, "work out what would move", err)
		return
	}
	if found.Moves == nil {
		found.Moves = []steer.Move{}
	}
	if found.Edges == nil {
		found.Edges = []steer.EdgeShare{}
	}
	c.JSON(http.StatusOK, found)
}

package web

import (
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/fleet"
	"perigee/keys"
	"perigee/purge"
)

// fleetView is the answer of GET /api/v1/fleet and the data of the event "fleet".
type fleetView struct {
	Gen uint64 `json:"gen"`
	// Now is when the view was made, by the clock that also sets Heard: the age of a report is the difference.
	Now   time.Time  `json:"now"`
	Nodes []nodeView `json:"nodes"`
	// Frozen is set while this is what was known last, because this process has lost touch with the fleet.
	Frozen *fleet.Frozen `json:"frozen,omitempty" doc:"Set while this is what was known last, because the server has lost touch with the fleet"`
	Next   string        `json:"next,omitempty" doc:"Cursor of the next page; absent on the last, and in events, which have every node"`
}

type nodeView struct {
	fleet.Node
	// Behind is how many entries of the log the node has not applied, compared with the furthest that anyone
	// has; null when that cannot be said: it follows no log or another one.
	Behind *uint64 `json:"behind" doc:"Log entries not yet applied; null when that cannot be said"`
}

func (s *Server) fleetView(snap *fleet.Snapshot) fleetView {
	head := s.hub.headPosition()
	for i := range snap.Nodes {
		head = later(head, snap.Nodes[i].Position)
	}
	v := fleetView{Gen: snap.Gen, Frozen: snap.Frozen, Now: s.cfg.Clock.Now().UTC(), Nodes: make([]nodeView, len(snap.Nodes))}
	for i := range snap.Nodes {
		v.Nodes[i].Node = snap.Nodes[i]
		p := snap.Nodes[i].Position
		if n, ok := p.Behind(head); ok && !p.IsZero() {
			v.Nodes[i].Behind = &n
		}
	}
	return v
}

// later returns the further of two positions; a when they cannot be compared.
func later(a, b purge.Position) purge.Position {
	if b.Covers(a) {
		return b
	}
	return a
}

func (s *Server) fleet(c *gin.Context) {
	after, limit, ok := paging(c, maxLimit)
	if !ok || !allowWhole(c, keys.ScopeRead) {
		return
	}
	v := s.fleetView(s.cfg.Fleet.Snapshot())
	slices.SortFunc(v.Nodes, func(a, b nodeView) int { return strings.Compare(a.Node.Node, b.Node.Node) })
	v.Nodes, v.Next = cutPage(v.Nodes, after, limit, func(n nodeView) string { return n.Node.Node })
	c.JSON(http.StatusOK, v)
}

// drainOrder is an order that is on its way.
type drainOrder struct {
	Node  string `json:"node"`
	Drain bool   `json:"drain"`
}

func (s *Server) drain(c *gin.Context, drain bool) {
	if !allowWhole(c, keys.ScopeAdmin) {
		return
	}
	node := c.Param("node")
	if s.cfg.Fleet.Snapshot().Find(node) == nil {
		fail(c, http.StatusNotFound, "not-found", "No node "+quoted(node)+" is known. GET /api/v1/fleet lists the nodes.")
		return
	}
	done := catalog.AuditEntry{Action: catalog.NodeDrained, Object: node}
	if !drain {
		done.Action = catalog.NodeUndrained
	}
	err := s.cfg.Fleet.Drain(c.Request.Context(), node, drain)
	if err != nil {
		done.Outcome = catalog.OutcomeUnknown
	}
	if !errors.Is(err, fs.ErrNotExist) && !s.note(c, done) {
		return
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.failWith(c, "reach the node", err)
		return
	case err != nil:
		s.cfg.Log.Warn("node does not take orders", "node", node, "err", err, "request", requestID(c))
		fail(c, http.StatusBadGateway, "no-answer", "Node "+node+" did not confirm the order. See whether it still reports, then try again.")
		return
	}
	s.cfg.Log.Info("drain ordered", "node", node, "drain", drain, "request", requestID(c))
	c.JSON(http.StatusAccepted, drainOrder{node, drain})
}

func (s *Server) forget(c *gin.Context) {
	if !allowWhole(c, keys.ScopeAdmin) {
		return
	}
	node := c.Param("node")
	n := s.cfg.Fleet.Snapshot().Find(node)
	switch {
	case n == nil:
		fail(c, http.StatusNotFound, "not-found", "No node "+quoted(node)+" is known.")
		return
	case !n.Down:
		fail(c, http.StatusConflict, "alive", "Node "+node+" still reports. Stop it first, then forget it.")
		return
	}
	if err := s.cfg.Fleet.Forget(node); err != nil {
		s.failWith(c, "forget the node", err)
		return
	}
	if !s.note(c, catalog.AuditEntry{Action: catalog.NodeForgotten, Object: node}) {
		return
	}
	s.cfg.Log.Info("node forgotten", "node", node, "request", requestID(c))
	c.Status(http.StatusNoContent)
}

// quoted shows what a stranger sent inside a sentence, shortened.
func quoted(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return "“" + s + "”"
}

package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/keys"
	"perigee/object"
	"perigee/openapi"
	"perigee/problem"
)

// Catalogue tells where the rows of the catalogue are, and moves them. Safe for concurrent use.
type Catalogue interface {
	// Layout returns the servers, what they have and what is being moved.
	Layout(ctx context.Context) (CatalogueLayout, error)
	// Move has slots moved to a server. An unknown server is fs.ErrNotExist, a slot that is being moved fs.ErrExist; one that is
	// none or is there already wraps object.ErrInvalid. Then nothing was ordered.
	Move(ctx context.Context, slots []object.Slot, to string) error
	// Rebalance orders the moves that give all servers as many slots, and returns how many. While moves are under way it is
	// fs.ErrExist.
	Rebalance(ctx context.Context) (int, error)
	// CancelMove gives a move up. A slot that is not being moved is fs.ErrNotExist; one that has arrived wraps object.ErrInvalid.
	CancelMove(ctx context.Context, slot object.Slot) error
}

// CatalogueLayout is where the rows of the catalogue are.
type CatalogueLayout struct {
	Epoch   int64             `json:"epoch" doc:"Rises with every slot that has moved"`
	Servers []CatalogueServer `json:"servers"`
	Moves   []CatalogueMove   `json:"moves" doc:"The first 1,000 of those that are under way or waiting"`
	Waiting int               `json:"waiting" doc:"How many moves there are in all"`
}

// CatalogueServer is one server of the catalogue.
type CatalogueServer struct {
	Name  string `json:"name"`
	ID    string `json:"id" doc:"Begins the ids of its entries in the log"`
	Slots int    `json:"slots" doc:"How many of the 4,096 it has"`
	Up    bool   `json:"up" doc:"It answered just now"`
}

// CatalogueMove is a slot on its way.
type CatalogueMove struct {
	Slot    object.Slot `json:"slot"`
	From    string      `json:"from"`
	To      string      `json:"to"`
	Step    string      `json:"step" doc:"copying, placed (it has taken effect) or undoing"`
	Running bool        `json:"running" doc:"A process works on it"`
	Copied  int64       `json:"copied" doc:"Rows, by all tries"`
	Tries   int         `json:"tries"`
	Trouble string      `json:"trouble,omitempty" doc:"Why the last try ended early"`
	Ordered time.Time   `json:"ordered"`
}

// moveOrder is the body of POST /api/v1/catalogue/moves.
type moveOrder struct {
	Slots []object.Slot `json:"slots,omitempty" doc:"0 to 4095"`
	To    string        `json:"to,omitempty" doc:"Name of a server"`
	// Rebalance is in place of the others.
	Rebalance bool `json:"rebalance,omitempty" doc:"In place of slots and to: give all servers as many slots"`
}

// orderedMoves says how many moves were ordered.
type orderedMoves struct {
	Ordered int `json:"ordered"`
}

func (s *Server) catalogueRoutes(route adder) {
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/catalogue", ID: "getCatalogue", Tag: "catalogue", Scope: string(keys.ScopeAdmin),
		Summary: "The servers of the catalogue, what they have and what is being moved",
		Answers: []openapi.Answer{{Status: 200, Doc: "The layout", Content: openapi.Content{Type: CatalogueLayout{}}}},
	}, s.catalogue)
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/catalogue/moves", ID: "moveSlots", Tag: "catalogue", Scope: string(keys.ScopeAdmin),
		Summary: "Move slots of the catalogue to another server, or spread them evenly", Body: []openapi.Content{{Type: moveOrder{}}},
		Answers:  []openapi.Answer{{Status: 202, Doc: "Ordered; the layout tells how far they are", Content: openapi.Content{Type: orderedMoves{}}}},
		Problems: []problem.Kind{"invalid", "invalid-json", "too-large", "not-found", "exists"},
	}, s.moveSlots)
	route(openapi.Operation{
		Method: http.MethodDelete, Path: "/api/v1/catalogue/moves/{slot}", ID: "cancelMove", Tag: "catalogue", Scope: string(keys.ScopeAdmin),
		Summary: "Give the move of a slot up", Answers: []openapi.Answer{{Status: 204, Doc: "It stays where it is", Empty: true}},
		Problems: []problem.Kind{"invalid", "not-found"},
	}, s.cancelMove)
}

func (s *Server) catalogue(c *gin.Context) {
	if !allowWhole(c, keys.ScopeAdmin) {
		return
	}
	l, err := s.cfg.Catalogue.Layout(c.Request.Context())
	if err != nil {
		s.failWith(c, "read the layout of the catalogue", err)
		return
	}
	c.JSON(http.StatusOK, l)
}

func (s *Server) moveSlots(c *gin.Context) {
	var o moveOrder
	if !allowWhole(c, keys.ScopeAdmin) || !s.readJSON(c, &o) {
		return
	}
	n, err := len(o.Slots), error(nil)
	switch {
	case o.Rebalance && (n > 0 || o.To != "") || !o.Rebalance && (n == 0 || n > object.Slots || o.To == ""):
		err = fmt.Errorf("moves: %w: give slots and the server they go to, or rebalance", object.ErrInvalid)
	case o.Rebalance:
		n, err = s.cfg.Catalogue.Rebalance(c.Request.Context())
	default:
		err = s.cfg.Catalogue.Move(c.Request.Context(), o.Slots, o.To)
	}
	if err != nil {
		s.failWith(c, "order moves", err)
		return
	}
	if !s.note(c, catalog.AuditEntry{Action: catalog.SlotsMoved, Object: o.To, Detail: fmt.Sprintf("%d slots, rebalance %v", n, o.Rebalance)}) {
		return
	}
	s.cfg.Log.Info("moves of the catalogue ordered", "slots", n, "to", o.To, "rebalance", o.Rebalance, "request", requestID(c))
	c.JSON(http.StatusAccepted, orderedMoves{n})
}

func (s *Server) cancelMove(c *gin.Context) {
	if !allowWhole(c, keys.ScopeAdmin) {
		return
	}
	n, err := strconv.ParseUint(c.Param("slot"), 10, 16)
	if err != nil || n >= object.Slots {
		err = fmt.Errorf("slot %q: %w: there are slots 0 to %d", c.Param("slot"), object.ErrInvalid, object.Slots-1)
	} else {
		err = s.cfg.Catalogue.CancelMove(c.Request.Context(), object.Slot(n))
	}
	if err != nil {
		s.failWith(c, "cancel a move", err)
		return
	}
	if !s.note(c, catalog.AuditEntry{Action: catalog.MoveCancelled, Object: c.Param("slot")}) {
		return
	}
	s.cfg.Log.Info("a move of the catalogue was cancelled", "slot", n, "request", requestID(c))
	c.Status(http.StatusNoContent)
}

package client

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"perigee/object"
)

// Catalogue is where the rows of the catalogue are.
type Catalogue struct {
	Epoch   int64             `json:"epoch"`
	Servers []CatalogueServer `json:"servers"`
	// Moves are the first 1,000 of those that are under way or waiting, Waiting how many there are in all.
	Moves   []CatalogueMove `json:"moves"`
	Waiting int             `json:"waiting"`
}

// CatalogueServer is one server of the catalogue.
type CatalogueServer struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	Slots int    `json:"slots"`
	Up    bool   `json:"up"`
}

// CatalogueMove is a slot on its way from one server to another.
type CatalogueMove struct {
	Slot    object.Slot `json:"slot"`
	From    string      `json:"from"`
	To      string      `json:"to"`
	Step    string      `json:"step"`
	Running bool        `json:"running"`
	Copied  int64       `json:"copied"`
	Tries   int         `json:"tries"`
	Trouble string      `json:"trouble,omitempty"`
	Ordered time.Time   `json:"ordered"`
}

// Catalogue returns the servers of the catalogue, what they have and what is being moved.
func (c *Client) Catalogue(ctx context.Context) (Catalogue, error) {
	var l Catalogue
	if err := c.get(ctx, "/catalogue", nil, &l); err != nil {
		return Catalogue{}, fmt.Errorf("layout of the catalogue: %w", err)
	}
	return l, nil
}

// MoveSlots orders that slots move to a server. An unknown server is fs.ErrNotExist.
func (c *Client) MoveSlots(ctx context.Context, slots []object.Slot, to string) error {
	body := struct {
		Slots []object.Slot `json:"slots"`
		To    string        `json:"to"`
	}{slots, to}
	if _, err := c.send(ctx, http.MethodPost, "/catalogue/moves", nil, body, nil); err != nil {
		return fmt.Errorf("move slots to %s: %w", to, err)
	}
	return nil
}

// Rebalance orders the moves that give all servers of the catalogue as many slots, and returns how many.
func (c *Client) Rebalance(ctx context.Context) (int, error) {
	var answer struct {
		Ordered int `json:"ordered"`
	}
	if _, err := c.send(ctx, http.MethodPost, "/catalogue/moves", nil, map[string]bool{"rebalance": true}, &answer); err != nil {
		return 0, fmt.Errorf("rebalance the catalogue: %w", err)
	}
	return answer.Ordered, nil
}

// CancelMove gives the move of a slot up. A slot that is not being moved is fs.ErrNotExist.
func (c *Client) CancelMove(ctx context.Context, slot object.Slot) error {
	if _, err := c.send(ctx, http.MethodDelete, "/catalogue/moves/"+strconv.Itoa(int(slot)), nil, nil, nil); err != nil {
		return fmt.Errorf("cancel the move of slot %d: %w", slot, err)
	}
	return nil
}

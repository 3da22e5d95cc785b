package client

import (
	"context"
	"fmt"
	"net/url"
)

// Share is a part of all clients, each number 0 to 1.
type Share struct {
	IPv4   float64 `json:"ipv4"` // of the addresses whose place is known
	IPv6   float64 `json:"ipv6"`
	Demand float64 `json:"demand"`
}

// Move is the clients that would go from one edge to another; "" stands for no edge.
type Move struct {
	From string `json:"from"`
	To   string `json:"to"`
	Share
}

// EdgeShare is the clients of one edge before and after.
type EdgeShare struct {
	Name   string `json:"name"`
	Before Share  `json:"before"`
	After  Share  `json:"after"`
}

// Comparison is what a change of the fleet would move.
type Comparison struct {
	Moved Share       `json:"moved"`
	Moves []Move      `json:"moves"` // the largest demand first
	Edges []EdgeShare `json:"edges"` // by name
}

// WhatIf returns what would move if edges were drained, by name, or added, as "NAME@LAT,LON" in degrees. Nothing is changed.
func (c *Client) WhatIf(ctx context.Context, drain, add []string) (Comparison, error) {
	var found Comparison
	if err := c.get(ctx, "/whatif", url.Values{"drain": drain, "add": add}, &found); err != nil {
		return Comparison{}, fmt.Errorf("work out what would move: %w", err)
	}
	return found, nil
}

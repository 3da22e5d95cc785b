package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"perigee/object"
	"perigee/purge"
)

// PurgeOrder is what is to be purged of a site.
type PurgeOrder struct {
	URLs     []string `json:"urls,omitempty"` // whole URLs, or paths as they stand in one
	Prefixes []string `json:"prefixes,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	All      bool     `json:"all,omitempty"`
	Soft     bool     `json:"soft,omitempty"` // revalidate, do not drop
}

// Proof says how far a purge has been applied. Only its ID and Position are set when it was not waited for.
type Proof struct {
	ID        string         `json:"id"`
	Position  purge.Position `json:"position"`
	Effective bool           `json:"effective"` // on every edge of Edges
	Edges     []EdgeProof    `json:"edges"`
}

// EdgeProof is one edge's part of a Proof.
type EdgeProof struct {
	Node    string `json:"node"`
	Applied bool   `json:"applied"`
	// MS is the time in milliseconds from the durable order to the report that proved it; nil if nobody measured.
	MS *float64 `json:"ms"`
}

// Purge orders a purge. With wait it returns when every edge has applied it, or as it is after that time.
func (c *Client) Purge(ctx context.Context, site object.Site, o PurgeOrder, wait time.Duration) (Proof, error) {
	var p Proof
	if _, err := c.send(ctx, http.MethodPost, "/sites/"+string(site)+"/purge", waitQuery(wait), o, &p); err != nil {
		return Proof{}, fmt.Errorf("purge site %s: %w", site, err)
	}
	return p, nil
}

// PurgeStatus returns how far a purge has been applied. One that is not remembered is fs.ErrNotExist.
func (c *Client) PurgeStatus(ctx context.Context, id string) (Proof, error) {
	p := Proof{}
	if err := c.get(ctx, "/purges/"+url.PathEscape(id), nil, &p); err != nil {
		return Proof{}, fmt.Errorf("status of purge %s: %w", id, err)
	}
	if p.ID == "" {
		p.ID = id
	}
	return p, nil
}

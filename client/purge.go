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

// Erased says what became of an order to erase, and how far the edges have applied it.
type Erased struct {
	Proof
	Files         int `json:"files"`          // that lost versions
	Versions      int `json:"versions"`       // that were removed
	Blobs         int `json:"blobs"`          // objects with bytes that were deleted from the bucket
	KeptHere      int `json:"kept_here"`      // blobs that stay because the site uses them elsewhere
	KeptElsewhere int `json:"kept_elsewhere"` // blobs that stay because other sites use them
	Unfinished    int `json:"unfinished"`     // versions that the sweeper has still to finish
}

// EraseOrder is what is to be destroyed: all versions of paths, or everything with a content.
type EraseOrder struct {
	Paths  []object.Path `json:"paths,omitempty"`
	SHA256 object.Hash   `json:"sha256,omitzero"`
}

// Erase destroys what a site has published, or, if site is "", a content of all sites. With wait it returns when every edge has applied it, or as it is after that
// time. A path that was never published is fs.ErrNotExist.
func (c *Client) Erase(ctx context.Context, site object.Site, o EraseOrder, wait time.Duration) (Erased, error) {
	path := "/erase"
	if site != "" {
		path = "/sites/" + string(site) + path
	}
	var e Erased
	if _, err := c.send(ctx, http.MethodPost, path, waitQuery(wait), o, &e); err != nil {
		return Erased{}, fmt.Errorf("erase: %w", err)
	}
	return e, nil
}

// Garbage is what the collector has before it.
type Garbage struct {
	After     int64            `json:"after"` // seconds that nothing must have referred to a blob before it is deleted
	Condemned Heap             `json:"condemned"`
	Deleting  Heap             `json:"deleting"`
	Done      map[string]int64 `json:"done"` // since the start of the API
	Strays    *Strays          `json:"strays,omitempty"`
	Blobs     []Condemned      `json:"blobs"`
}

// Heap counts blobs and their bytes.
type Heap struct {
	Blobs int64 `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

// Strays are objects of the bucket that the catalogue does not know, as of a moment.
type Strays struct {
	At       time.Time `json:"at"`
	Objects  int64     `json:"objects"`
	Bytes    int64     `json:"bytes"`
	Examples []string  `json:"examples"`
}

// Condemned is a blob that nothing refers to.
type Condemned struct {
	Key    object.Key  `json:"key"`
	SHA256 object.Hash `json:"sha256"`
	Size   int64       `json:"size"` // bytes
	Since  time.Time   `json:"since"`
	Due    time.Time   `json:"due"`
}

// Garbage returns what is going to be deleted because nothing refers to it; with collect, after one round of the collector.
func (c *Client) Garbage(ctx context.Context, collect bool) (Garbage, error) {
	method := http.MethodGet
	if collect {
		method = http.MethodPost
	}
	var g Garbage
	if _, err := c.send(ctx, method, "/gc", nil, nil, &g); err != nil {
		return Garbage{}, fmt.Errorf("look at what is condemned: %w", err)
	}
	return g, nil
}

package client

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"perigee/fleet"
	"perigee/object"
)

// Fleet is the fleet at one moment.
type Fleet struct {
	Gen uint64 `json:"gen"`
	// Now is when the answer was made, by the clock that also sets Node.Heard.
	Now   time.Time `json:"now,omitzero"`
	Nodes []Node    `json:"nodes"`
	// Frozen is set while this is what was known last, because the API has lost touch with the fleet.
	Frozen *fleet.Frozen `json:"frozen,omitempty"`
}

// Node is a node as the API sees it.
type Node struct {
	fleet.Node
	// Behind is how many entries of the log the node has not applied; nil when that cannot be said.
	Behind *uint64 `json:"behind"`
}

// Fleet returns which nodes exist and how they are.
func (c *Client) Fleet(ctx context.Context) (Fleet, error) {
	var f Fleet
	if err := c.get(ctx, "/fleet", nil, &f); err != nil {
		return Fleet{}, fmt.Errorf("fleet: %w", err)
	}
	return f, nil
}

// Drain asks a node to take no new clients. It returns when the order is on its way. An unknown node is fs.ErrNotExist.
func (c *Client) Drain(ctx context.Context, node string) error {
	return c.order(ctx, http.MethodPost, node, "/drain", "drain")
}

// Undrain asks a node to take new clients again.
func (c *Client) Undrain(ctx context.Context, node string) error {
	return c.order(ctx, http.MethodPost, node, "/undrain", "undrain")
}

// Forget removes a node that is down, so that proofs no longer wait for it.
func (c *Client) Forget(ctx context.Context, node string) error {
	return c.order(ctx, http.MethodDelete, node, "", "forget")
}

func (c *Client) order(ctx context.Context, method, node, path, verb string) error {
	if _, err := c.send(ctx, method, "/fleet/"+url.PathEscape(node)+path, nil, nil, nil); err != nil {
		return fmt.Errorf("%s %s: %w", verb, node, err)
	}
	return nil
}

// Explanation is every step from an address and a path to bytes, as it would be taken now.
type Explanation struct {
	Site  object.Site `json:"site"`
	Path  object.Path `json:"path"`
	IP    netip.Addr  `json:"ip"`
	Place struct {
		Country string  `json:"country"`
		City    string  `json:"city"`
		Lat     float64 `json:"lat"`
		Lon     float64 `json:"lon"`
		Known   bool    `json:"known"`
	} `json:"place"`
	Geo struct {
		Source string `json:"source"`
		Built  string `json:"built"`
	} `json:"geo"`
	Candidates []Candidate `json:"candidates"`
	Chosen     string      `json:"chosen"` // "" when DNS gives no address
	Answer     struct {
		Type  string `json:"type"`
		Addr  string `json:"addr"`
		TTL   int    `json:"ttl"` // seconds
		Scope string `json:"scope"`
	} `json:"answer"`
	Edge struct {
		Outcome string          `json:"outcome"` // hit, miss …; "" when the edge could not be asked
		Reason  string          `json:"reason"`
		Pointer *object.Pointer `json:"pointer"`
		Blob    string          `json:"blob"` // ram, disk or absent
	} `json:"edge"`
}

// Candidate is one edge that was weighed.
type Candidate struct {
	Node   string           `json:"node"`
	Km     float64          `json:"km"`
	State  fleet.State      `json:"state"`
	Down   bool             `json:"down"`
	Reason string           `json:"reason"`
	Addrs  []netip.AddrPort `json:"addrs"`
}

// Explain returns why a client at ip gets what it gets for a path. The zero ip is the caller's own.
func (c *Client) Explain(ctx context.Context, site object.Site, path object.Path, ip netip.Addr) (Explanation, error) {
	q := url.Values{"site": {string(site)}, "path": {string(path)}}
	if ip.IsValid() {
		q.Set("ip", ip.String())
	}
	var e Explanation
	if err := c.get(ctx, "/explain", q, &e); err != nil {
		return Explanation{}, fmt.Errorf("explain %s:%s: %w", site, path, err)
	}
	return e, nil
}

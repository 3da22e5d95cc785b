package web

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"

	"perigee/fleet"
	"perigee/keys"
	"perigee/object"
)

// Explanation is the answer of GET /api/v1/explain: every step from an address and a path to bytes, as it would
// be taken now.
type Explanation struct {
	Site       object.Site `json:"site"`
	Path       object.Path `json:"path"`
	IP         netip.Addr  `json:"ip"`
	Place      Place       `json:"place"`
	Geo        GeoSource   `json:"geo"`
	Candidates []Candidate `json:"candidates"`
	// Chosen is the node whose address DNS gives; empty when it gives none.
	Chosen string    `json:"chosen"`
	Answer DNSAnswer `json:"answer"`
	Edge   EdgeState `json:"edge"`
}

// Place is where the address is thought to be.
type Place struct {
	Country string  `json:"country"` // ISO 3166-1 alpha-2
	City    string  `json:"city"`
	Lat     float64 `json:"lat"` // degrees north
	Lon     float64 `json:"lon"` // degrees east
	Known   bool    `json:"known"`
}

// GeoSource says which table knew the place.
type GeoSource struct {
	Source string `json:"source"`
	Built  string `json:"built"`
}

// Candidate is one edge that was weighed, in the order of preference.
type Candidate struct {
	Node   string           `json:"node"`
	Km     float64          `json:"km"` // great-circle distance; 0 when the place is unknown
	State  fleet.State      `json:"state"`
	Down   bool             `json:"down"`
	Reason string           `json:"reason"` // why it won or lost
	Addrs  []netip.AddrPort `json:"addrs"`
}

// DNSAnswer is what a resolver would be told.
type DNSAnswer struct {
	Type string `json:"type"` // A or AAAA
	Addr string `json:"addr"`
	TTL  int    `json:"ttl"` // seconds
	// Scope is the network the answer holds for, RFC 7871 §7.2.1.
	Scope string `json:"scope"`
}

// EdgeState is what the chosen edge would do with the request.
type EdgeState struct {
	Outcome string `json:"outcome"` // hit, miss …; empty when the edge could not be asked
	Reason  string `json:"reason"`  // the same word as in Cache-Status, or why the edge could not be asked
	// Pointer is what the edge, or the catalogue for it, knows of the path; nil when it was never published.
	Pointer *object.Pointer `json:"pointer"`
	Blob    string          `json:"blob"` // ram, disk or absent
}

func (s *Server) explain(c *gin.Context) {
	site, err := object.ParseSite(c.Query("site"))
	if err != nil {
		s.failWith(c, "read the site", err)
		return
	}
	wanted := c.Query("path")
	if strings.HasSuffix(wanted, "/") {
		wanted += object.IndexDocument // as an edge would read it
	}
	path, err := object.ParsePath(wanted)
	if err != nil {
		s.failWith(c, "read the path", err)
		return
	}
	if !allow(c, keys.CheckUnder(c.Request.Context(), keys.ScopeRead, site, string(path))) {
		return
	}
	ip, err := netip.ParseAddr(c.DefaultQuery("ip", c.RemoteIP()))
	if err != nil || ip.Zone() != "" {
		fail(c, http.StatusBadRequest, "invalid", "ip="+quoted(c.Query("ip"))+" is no IPv4 or IPv6 address.")
		return
	}
	ex, err := s.cfg.Explainer.Explain(c.Request.Context(), site, path, ip.Unmap())
	if err != nil {
		s.failWith(c, "explain the decision", err)
		return
	}
	if ex.Candidates == nil {
		ex.Candidates = []Candidate{}
	}
	c.JSON(http.StatusOK, ex)
}

package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/clock"
	"perigee/dnsgeo/steer"
	"perigee/fleet"
	"perigee/keys"
	"perigee/object"
	"perigee/purge"
)

// Fleet is what the console sees and orders of the nodes. fleet.Board is most of it. Safe for concurrent use.
type Fleet interface {
	// Snapshot returns the fleet as it is now; never nil.
	Snapshot() *fleet.Snapshot
	// Changed returns a channel that is closed at the next change of the snapshot.
	Changed() <-chan struct{}
	// Drain asks a node to take no new clients, or, with drain false, to take them again. It returns when the order
	// is on its way; the node's next report says whether it was followed. An unknown node is fs.ErrNotExist; any
	// other error means that the node did not confirm the order.
	Drain(ctx context.Context, node string, drain bool) error
	// Forget removes a node that is down, so that proofs no longer wait for it. An unknown node is fs.ErrNotExist.
	Forget(node string) error
}

// Purges orders purges and proves them. Safe for concurrent use.
type Purges interface {
	// Purge records the order durably and returns its id and its position in the log; a zero position means that
	// it could not be appended yet and will be. An unknown site is fs.ErrNotExist.
	Purge(ctx context.Context, site object.Site, req PurgeRequest) (id string, pos purge.Position, err error)
	// Subject returns what a change is about: its site, and the path, or the directory (ending in '/'); "" for more than
	// that. One that is not known is fs.ErrNotExist.
	Subject(ctx context.Context, id string) (site object.Site, path string, err error)
	// Proof tells how far a purge, or any other change, named by its id in the log, has been applied. One that is
	// unknown or too old to be remembered is fs.ErrNotExist.
	Proof(id string) (Proof, error)
	// Changed returns a channel that is closed when a proof may have changed.
	Changed() <-chan struct{}
}

// Sites lists and creates sites. Safe for concurrent use.
type Sites interface {
	// Sites returns all sites, sorted by name.
	Sites(ctx context.Context) ([]object.SiteRecord, error)
	// CreateSite stores a new site and returns its record with the version set. A name or host that is taken is
	// fs.ErrExist; a record that breaks a rule is object.ErrInvalid.
	CreateSite(ctx context.Context, r object.SiteRecord) (object.SiteRecord, error)
	// UpdateSite replaces a site's record, if match is empty or its current version; else the error is ErrPrecondition's. A site that does not exist is
	// fs.ErrNotExist; else as CreateSite. What was in force before stays in force if it fails.
	UpdateSite(ctx context.Context, r object.SiteRecord, match object.Version) (object.SiteRecord, error)
}

// Explainer says why a client at ip gets what it gets for a path. Safe for concurrent use.
type Explainer interface {
	// Explain returns the decision as it would be made now. An unknown site is fs.ErrNotExist; a path that was
	// never published is no error, the edge part says so.
	Explain(ctx context.Context, site object.Site, path object.Path, ip netip.Addr) (Explanation, error)
	// WhatIf returns what a change of the fleet would move; nothing is changed. An edge to drain that there is not is fs.ErrNotExist, one to add that
	// there is already fs.ErrExist, too many are object.ErrInvalid.
	WhatIf(ctx context.Context, change steer.Change) (steer.Comparison, error)
}

// Files gives the page without scripts its list. Safe for concurrent use.
type Files interface {
	// Recent returns up to limit live files of all sites, the newest first.
	Recent(ctx context.Context, limit int) ([]File, error)
}

// File is one live file as the page lists it.
type File struct {
	Site        object.Site
	Path        object.Path
	URL         string
	SHA256      object.Hash
	Size        int64 // bytes
	ContentType string
	Modified    time.Time
}

// Config is what New needs. Keys and Catalogue may be nil, everything else is required.
type Config struct {
	Fleet     Fleet
	Purges    Purges
	Sites     Sites
	Explainer Explainer
	Files     Files
	Contents  Contents
	Ledger    Ledger
	// Keys adds the routes of API keys; nil leaves them out.
	Keys Keys
	// Catalogue adds the routes of the catalogue's servers; nil leaves them out.
	Catalogue Catalogue
	// Watches tells how bucket sites are watched; nil tells of none.
	Watches Watches
	// Stores are the names of the buckets beside Perigee's own that a bucket site may have its objects in.
	Stores []string

	Clock clock.Clock
	Log   *slog.Logger
	// Version of the software, shown in the footer.
	Version string
}

// Server answers the routes of this package. Make one with New.
type Server struct {
	cfg    Config
	assets *assets
	hub    *hub
}

// New checks cfg and loads the assets. It starts nothing.
func New(cfg Config) (*Server, error) {
	for _, need := range []struct {
		name string
		ok   bool
	}{
		{"Fleet", cfg.Fleet != nil}, {"Purges", cfg.Purges != nil}, {"Sites", cfg.Sites != nil},
		{"Explainer", cfg.Explainer != nil}, {"Files", cfg.Files != nil}, {"Contents", cfg.Contents != nil}, {"Ledger", cfg.Ledger != nil}, {"Clock", cfg.Clock != nil}, {"Log", cfg.Log != nil},
	} {
		if !need.ok {
			return nil, errors.New("web: Config." + need.name + " is missing")
		}
	}
	a, err := loadAssets(built)
	if err != nil {
		return nil, fmt.Errorf("load console: %w", err)
	}
	return &Server{cfg: cfg, assets: a, hub: newHub()}, nil
}

// LoginPath is the page that asks for an API key, for keys.GuardConfig.LoginPage.
const LoginPath = "/login"

// Public reports whether a stranger may make the request, for keys.GuardConfig.Public: the log-in page and what it
// is drawn with.
func Public(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		(r.URL.Path == LoginPath || strings.HasPrefix(r.URL.Path, assetPrefix))
}

// need lets only requests through whose sender has the scope.
func need(scope keys.Scope) gin.HandlerFunc {
	return func(c *gin.Context) {
		allow(c, keys.Check(c.Request.Context(), scope))
	}
}

// allow returns whether a check of package keys let the request through; if not, it has answered.
func allow(c *gin.Context, err error) bool {
	if err == nil {
		return true
	}
	var d *keys.Denied
	if !errors.As(err, &d) {
		d = &keys.Denied{Status: http.StatusForbidden, Slug: "forbidden", Title: "Forbidden", Detail: err.Error()}
	}
	c.Abort()
	keys.WriteProblem(c.Writer, d)
	return false
}

// allowWhole is allow for what concerns the whole installation.
func allowWhole(c *gin.Context, scope keys.Scope) bool {
	return allow(c, keys.CheckWhole(c.Request.Context(), scope))
}

// harden sets the headers that every answer of the console and its API carries; pages and assets relax them.
func harden(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it browsers send "Origin: null" with our own forms, which looks like a stranger's.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	requestID(c)
}

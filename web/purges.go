package web

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/keys"
	"perigee/object"
	"perigee/purge"
)

// PurgeRequest is what is to be purged of a site: everything it names, or All.
type PurgeRequest struct {
	Paths    []object.Path
	Prefixes []object.Prefix
	Tags     []object.Tag
	All      bool
	// Soft asks caches to revalidate instead of to drop.
	Soft bool
}

// Proof says how far a change has been applied.
type Proof struct {
	ID       string         `json:"id"`
	Position purge.Position `json:"position"`
	// Effective is set when every edge of Edges has applied it; of no edge it is false, for nothing is proved.
	Effective bool        `json:"effective"`
	Applied   int         `json:"applied" doc:"Edges that have applied it"`
	Total     int         `json:"total" doc:"Edges"`
	Edges     []EdgeProof `json:"edges"`
}

// EdgeProof is one edge's part of a Proof.
type EdgeProof struct {
	Node    string `json:"node"`
	Applied bool   `json:"applied"`
	// MS is the time in milliseconds from the durable append to the report that proved it; nil when it is not
	// applied, or was before anyone measured.
	MS *float64 `json:"ms" doc:"From the durable append to the report that proves it; null when nobody measured"`
}

// NewProof counts what purge.Tracker says into a Proof. It is for implementations of Purges.
func NewProof(id string, at purge.Position, nodes []purge.NodeProof) Proof {
	p := Proof{ID: id, Position: at, Effective: purge.Effective(nodes), Total: len(nodes), Edges: make([]EdgeProof, len(nodes))}
	for i, n := range nodes {
		p.Edges[i] = EdgeProof{Node: n.Node, Applied: n.Applied}
		if n.Applied {
			p.Applied++
		}
		if n.Applied && n.After > 0 {
			ms := float64(n.After.Microseconds()) / 1000
			p.Edges[i].MS = &ms
		}
	}
	return p
}

// maxPurgeItems is how many things one purge may name.
const maxPurgeItems = 1000

// maxWait is the longest ?wait= that is honoured.
const maxWait = 30 * time.Second

// purgeBody is the body of POST /api/v1/sites/{site}/purge.
type purgeBody struct {
	URLs     []string `json:"urls" doc:"URLs of the site, or their paths, escaped as in a URL"`
	Prefixes []string `json:"prefixes" doc:"Directories, not escaped"`
	Tags     []string `json:"tags"`
	All      bool     `json:"all" doc:"The whole site"`
	Soft     bool     `json:"soft" doc:"Revalidate instead of drop"`
}

// orderedPurge is a purge that nobody waited for.
type orderedPurge struct {
	ID       string         `json:"id" doc:"For /api/v1/purges/{id}"`
	Position purge.Position `json:"position"`
}

func (s *Server) purge(c *gin.Context) {
	site, err := object.ParseSite(c.Param("site"))
	if err != nil {
		s.failWith(c, "read the site", err)
		return
	}
	wait, ok := waitParam(c)
	if id, _ := keys.FromContext(c.Request.Context()); ok && !id.Site(site) { // before a purge of a host says which sites there are
		ok = allow(c, keys.CheckSite(c.Request.Context(), keys.ScopePurge, site))
	}
	if !ok {
		return
	}
	var body purgeBody
	if !s.readJSON(c, &body) {
		return
	}
	ctx := c.Request.Context()
	req, err := s.purgeRequest(ctx, site, body)
	if err != nil {
		s.failWith(c, "read the purge", err)
		return
	}
	if !allow(c, mayPurge(ctx, site, req)) {
		return
	}
	id, pos, err := s.cfg.Purges.Purge(ctx, site, req)
	if err != nil {
		s.failWith(c, "record the purge", err)
		return
	}
	s.cfg.Log.Info("purge ordered", "site", site, "id", id, "paths", len(req.Paths), "prefixes", len(req.Prefixes),
		"tags", len(req.Tags), "all", req.All, "soft", req.Soft, "request", requestID(c))
	if wait <= 0 {
		c.JSON(http.StatusAccepted, orderedPurge{id, pos})
		return
	}
	p, err := s.awaitProof(ctx, id, wait)
	if err != nil {
		s.failWith(c, "prove the purge "+id+", which was recorded", err)
		return
	}
	status := http.StatusOK
	if !p.Effective {
		status = http.StatusAccepted
	}
	c.JSON(status, p)
}

// waitParam reads ?wait=, a duration as Go writes it or a number of seconds, as the routes of files do. It answers the
// request itself when it returns false.
func waitParam(c *gin.Context) (time.Duration, bool) {
	v, ok := c.GetQuery("wait")
	if !ok {
		return 0, true
	}
	d, err := time.ParseDuration(v)
	if n, nerr := strconv.Atoi(v); nerr == nil && n <= int(maxWait/time.Second) {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < 0 || d > maxWait {
		fail(c, http.StatusBadRequest, "invalid", "wait="+quoted(v)+" is not a time such as 5s, or longer than "+maxWait.String()+".")
		return 0, false
	}
	return d, true
}

// purgeRequest checks and canonicalises what the client named. Errors wrap object.ErrInvalid or are those of Sites.
func (s *Server) purgeRequest(ctx context.Context, site object.Site, b purgeBody) (PurgeRequest, error) {
	req := PurgeRequest{All: b.All, Soft: b.Soft}
	n := len(b.URLs) + len(b.Prefixes) + len(b.Tags)
	switch {
	case n > maxPurgeItems:
		return req, fmt.Errorf("purge: %w: it names %d things, the limit is %d; purge a prefix or a tag", object.ErrInvalid, n, maxPurgeItems)
	case n == 0 && !b.All:
		return req, fmt.Errorf(`purge: %w: it names nothing; give urls, prefixes or tags, or "all": true`, object.ErrInvalid)
	}
	for _, u := range b.URLs {
		p, err := s.purgePath(ctx, site, u)
		if err != nil {
			return req, err
		}
		req.Paths = append(req.Paths, p)
	}
	for _, v := range b.Prefixes {
		p, err := object.ParsePrefix(v)
		if err != nil {
			return req, err
		}
		req.Prefixes = append(req.Prefixes, p)
	}
	for _, v := range b.Tags {
		t, err := object.ParseTag(v)
		if err != nil {
			return req, err
		}
		req.Tags = append(req.Tags, t)
	}
	return req, nil
}

// purgePath returns the path that a URL, or the path of one, means. A URL of another site is refused: the purge
// would succeed and change nothing the caller meant.
func (s *Server) purgePath(ctx context.Context, site object.Site, raw string) (object.Path, error) {
	bad := func(why string) error { return fmt.Errorf("url %s: %w: %s", quoted(raw), object.ErrInvalid, why) }
	if len(raw) > 8<<10 {
		return "", bad("it is longer than 8 KiB")
	}
	if !strings.HasPrefix(raw, "http://") && !strings.HasPrefix(raw, "https://") {
		path, _, _ := strings.Cut(raw, "?")
		if !strings.HasPrefix(path, "/") {
			return "", bad("write a whole URL, or its path starting with '/'")
		}
		return object.ParseRequestPath(path)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", bad("it is no URL")
	}
	host, err := object.ParseHost(u.Host)
	if err != nil {
		return "", err
	}
	all, err := s.cfg.Sites.Sites(ctx)
	if err != nil {
		return "", fmt.Errorf("list sites: %w", err)
	}
	for _, r := range all {
		if r.Site == site && slices.Contains(r.Hosts, host) {
			return object.ParseRequestPath(u.EscapedPath())
		}
	}
	return "", bad(fmt.Sprintf("%s is no host of site %s", host, site))
}

// awaitProof returns the proof as soon as it is effective, else as it is after d.
func (s *Server) awaitProof(ctx context.Context, id string, d time.Duration) (Proof, error) {
	timer := s.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	for {
		changed := s.cfg.Purges.Changed()
		p, err := s.cfg.Purges.Proof(id)
		if err != nil || p.Effective {
			return p, err
		}
		select {
		case <-changed:
		case <-timer.C():
			return p, nil
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
}

// mayPurge returns nil if the sender may purge all that req names. Tags and everything are the whole site's.
func mayPurge(ctx context.Context, site object.Site, req PurgeRequest) error {
	if req.All || len(req.Tags) > 0 {
		return keys.CheckSite(ctx, keys.ScopePurge, site)
	}
	for _, p := range req.Paths {
		if err := keys.CheckUnder(ctx, keys.ScopePurge, site, string(p)); err != nil {
			return err
		}
	}
	for _, p := range req.Prefixes {
		if err := keys.CheckUnder(ctx, keys.ScopePurge, site, string(p)); err != nil {
			return err
		}
	}
	return nil
}

// seesChange returns nil if the sender may see the change of that id, else what a change that does not exist gives.
func (s *Server) seesChange(ctx context.Context, id string) error {
	if who, _ := keys.FromContext(ctx); who.Whole() {
		return nil
	}
	site, path, err := s.cfg.Purges.Subject(ctx, id)
	if err == nil && !keys.Seen(ctx, site, path) {
		err = fmt.Errorf("change %s: %w", quoted(id), fs.ErrNotExist)
	}
	return err
}

func (s *Server) proof(c *gin.Context) {
	if err := s.seesChange(c.Request.Context(), c.Param("id")); err != nil {
		s.failWith(c, "look up the purge", err)
		return
	}
	p, err := s.cfg.Purges.Proof(c.Param("id"))
	if err != nil {
		s.failWith(c, "look up the purge", err)
		return
	}
	c.JSON(http.StatusOK, p)
}

package web

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/keys"
	"perigee/object"
)

// Ledger is what the catalogue keeps of sites besides their files: quotas, the audit log, past purges. *catalog.Catalog is
// one, and its documentation names the outcomes. Safe for concurrent use.
type Ledger interface {
	Usages(ctx context.Context, first, last object.Site) ([]catalog.Usage, error)
	SetQuota(ctx context.Context, site object.Site, q catalog.Quota) (catalog.Usage, error)
	Recount(ctx context.Context, site object.Site) (before, after catalog.Usage, err error)
	Audit(ctx context.Context, f catalog.AuditFilter, limit int) ([]catalog.AuditEntry, error)
	// Note adds an entry to the audit log for a change that the catalogue does not make itself.
	Note(ctx context.Context, e catalog.AuditEntry) error
	Purges(ctx context.Context, site object.Site, before catalog.PurgeMark, limit int) ([]catalog.Purge, error)
}

// note adds an entry to the audit log before an order is answered. It answers the request itself when it returns false: what
// was ordered is done, but must not be done unseen.
func (s *Server) note(c *gin.Context, e catalog.AuditEntry) bool {
	if err := s.cfg.Ledger.Note(c.Request.Context(), e); err != nil {
		s.failWith(c, "note in the audit log that it was done: "+string(e.Action)+" "+e.Object, err)
		return false
	}
	return true
}

// Lists are cut into pages: limit says how many, and next is the opaque cursor of the page after, empty on the last. A
// cursor is the last item of its page, so what is added or removed meanwhile neither repeats nor skips the others. A page may have
// fewer than limit: what the sender may not see is left out.

const (
	usualLimit = 100
	maxLimit   = 1000
	maxCursor  = 4 << 10 // bytes, decoded
)

// paging reads limit, which is usual if it is not given, and cursor. It answers the request itself when it returns false.
func paging(c *gin.Context, usual int) (after string, limit int, ok bool) {
	limit = usual
	if v, given := c.GetQuery("limit"); given {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxLimit {
			fail(c, http.StatusBadRequest, "invalid", fmt.Sprintf("limit=%s is not a number from 1 to %d.", quoted(v), maxLimit))
			return "", 0, false
		}
		limit = n
	}
	b, err := base64.RawURLEncoding.DecodeString(c.Query("cursor"))
	if err != nil || len(b) > maxCursor {
		fail(c, http.StatusBadRequest, "invalid", "cursor="+quoted(c.Query("cursor"))+" is none that a listing gave.")
		return "", 0, false
	}
	return string(b), limit, true
}

// nextCursor returns the cursor after last if the page is full.
func nextCursor(n, limit int, last func() string) string {
	if n < limit {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(last()))
}

// cutPage returns a page of a sorted list that is in memory: what comes after the item of that name, and the cursor.
func cutPage[T any](all []T, after string, limit int, name func(T) string) ([]T, string) {
	page := []T{}
	for _, x := range all {
		if name(x) <= after {
			continue
		}
		if len(page) == limit {
			return page, nextCursor(limit, limit, func() string { return name(page[limit-1]) })
		}
		page = append(page, x)
	}
	return page, ""
}

// auditPage is a page of the audit log.
type auditPage struct {
	Entries []catalog.AuditEntry `json:"entries"`
	Next    string               `json:"next" doc:"Cursor of the next page; empty on the last"`
}

// audit answers GET /api/v1/audit?site=&key=&cursor=&limit=, the newest entry first. An admin of a site sees that site's.
func (s *Server) audit(c *gin.Context) {
	before, limit, ok := paging(c, usualLimit)
	if !ok {
		return
	}
	f := catalog.AuditFilter{Key: c.Query("key"), Before: before}
	if v := c.Query("site"); v != "" {
		var err error
		if f.Site, err = object.ParseSite(v); err != nil {
			s.failWith(c, "read the site", err)
			return
		}
	}
	ctx := c.Request.Context()
	es, err := s.cfg.Ledger.Audit(ctx, f, limit)
	if err != nil {
		s.failWith(c, "read the audit log", err)
		return
	}
	page := auditPage{Entries: []catalog.AuditEntry{}}
	for _, e := range es {
		if keys.Seen(ctx, e.Site, auditedPath(e)) {
			page.Entries = append(page.Entries, e)
		}
	}
	page.Next = nextCursor(len(es), limit, func() string { return es[len(es)-1].ID })
	c.JSON(http.StatusOK, page)
}

// auditedPath is the path that an entry is about; "" if it is about more.
func auditedPath(e catalog.AuditEntry) string {
	switch e.Action {
	case catalog.FilePublished, catalog.FileDeleted, catalog.FileRolledBack:
		return e.Object
	}
	return ""
}

// quotaBody is the body of PATCH /api/v1/sites/{site}.
type quotaBody struct {
	Quota *catalog.Quota `json:"quota"`
}

// setQuota answers PATCH /api/v1/sites/{site}, which sets what is not part of the site's record.
func (s *Server) setQuota(c *gin.Context) {
	var body quotaBody
	site, err := object.ParseSite(c.Param("site"))
	if err != nil {
		s.failWith(c, "read the site", err)
		return
	}
	if !allowWhole(c, keys.ScopeAdmin) || !s.readJSON(c, &body) {
		return
	}
	if body.Quota == nil {
		fail(c, http.StatusBadRequest, "invalid", `Nothing would change: send {"quota":{"bytes":…,"files":…,"file":…,"form":…}}; 0 or nothing is no limit.`)
		return
	}
	u, err := s.cfg.Ledger.SetQuota(c.Request.Context(), site, *body.Quota)
	if err != nil {
		s.failWith(c, "set the quota", err)
		return
	}
	c.JSON(http.StatusOK, u)
}

// recounted is the answer of POST /api/v1/sites/{site}/recount.
type recounted struct {
	Before catalog.Usage `json:"before"`
	After  catalog.Usage `json:"after"`
	Drift  bool          `json:"drift" doc:"Whether what was counted was wrong. It is corrected now"`
}

// recount counts anew what a site uses.
func (s *Server) recount(c *gin.Context) {
	site, err := object.ParseSite(c.Param("site"))
	if err != nil {
		s.failWith(c, "read the site", err)
		return
	}
	if !allowWhole(c, keys.ScopeAdmin) {
		return
	}
	before, after, err := s.cfg.Ledger.Recount(c.Request.Context(), site)
	if err != nil {
		s.failWith(c, "count what the site uses", err)
		return
	}
	if before != after {
		s.cfg.Log.Warn("what a site uses was counted wrong; it is corrected", "site", site, "before", before, "after", after, "request", requestID(c))
	}
	c.JSON(http.StatusOK, recounted{before, after, before != after})
}

// purgeView is a past purge in a list.
type purgeView struct {
	ID      string               `json:"id"`
	Site    object.Site          `json:"site"`
	Created string               `json:"created"`
	Request catalog.PurgeRequest `json:"request"`
}

// purgePage is a page of past purges.
type purgePage struct {
	Purges []purgeView `json:"purges"`
	Next   string      `json:"next" doc:"Cursor of the next page; empty on the last"`
}

// purges answers GET /api/v1/purges?site=&cursor=&limit=, the newest first.
func (s *Server) purges(c *gin.Context) {
	after, limit, ok := paging(c, usualLimit)
	if !ok {
		return
	}
	before, err := parseMark(after)
	if err != nil {
		fail(c, http.StatusBadRequest, "invalid", "cursor="+quoted(c.Query("cursor"))+" is none that a listing gave.")
		return
	}
	var site object.Site
	if v := c.Query("site"); v != "" {
		if site, err = object.ParseSite(v); err != nil {
			s.failWith(c, "read the site", err)
			return
		}
	}
	ctx := c.Request.Context()
	ps, err := s.cfg.Ledger.Purges(ctx, site, before, limit)
	if err != nil {
		s.failWith(c, "list the purges", err)
		return
	}
	page := purgePage{Purges: []purgeView{}}
	for _, p := range ps {
		if seenPurge(ctx, p.Site, p.Request) {
			page.Purges = append(page.Purges, purgeView{p.ID, p.Site, p.Created.Format("2006-01-02T15:04:05.000000Z"), p.Request})
		}
	}
	page.Next = nextCursor(len(ps), limit, func() string { return formatMark(ps[len(ps)-1]) })
	c.JSON(http.StatusOK, page)
}

// seenPurge reports whether all that a purge names is the sender's.
func seenPurge(ctx context.Context, site object.Site, r catalog.PurgeRequest) bool {
	if r.All || len(r.Tags) > 0 {
		return keys.Seen(ctx, site, "")
	}
	for _, p := range r.Paths {
		if !keys.Seen(ctx, site, string(p)) {
			return false
		}
	}
	for _, p := range r.Prefixes {
		if !keys.Seen(ctx, site, string(p)) {
			return false
		}
	}
	return true
}

// The cursor of the list of purges is the time of the last one in microseconds, and its id.

func formatMark(p catalog.Purge) string { return fmt.Sprintf("%d %s", p.Created.UnixMicro(), p.ID) }

func parseMark(cursor string) (m catalog.PurgeMark, err error) {
	if cursor == "" {
		return m, nil
	}
	us, id, _ := strings.Cut(cursor, " ")
	n, err := strconv.ParseInt(us, 10, 64)
	return catalog.PurgeMark{Created: time.UnixMicro(n), ID: id}, err
}

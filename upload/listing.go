package upload

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/object"
)

// fileRecord is a file as the catalogue's routes tell it.
type fileRecord struct {
	Result
	State        object.PointerState `json:"state"`
	Modified     time.Time           `json:"modified"`
	Tags         []object.Tag        `json:"tags,omitempty"`
	CacheControl string              `json:"cache_control,omitempty"`
	// ObjectETag is what readers of a bucket site's object get as ETag, without quotes.
	ObjectETag      string `json:"object_etag,omitempty"`
	ContentEncoding string `json:"content_encoding,omitempty"`
}

func (p *Publisher) fileRecord(rec object.SiteRecord, ptr object.Pointer) fileRecord {
	return fileRecord{p.result(rec, ptr), ptr.State, ptr.Modified, ptr.Tags, ptr.CacheControl, ptr.ETag, ptr.ContentEncoding}
}

// filePage is a page of a listing.
type filePage struct {
	Files []fileRecord `json:"files"`
	Next  string       `json:"next" doc:"Cursor of the next page; empty on the last"`
	// Missing is set with ?partial=1 only.
	Missing []catalog.Missing `json:"missing,omitempty" doc:"With partial=1: servers of the catalogue that do not answer, whose files are not in the page"`
}

// versionPage is a page of the versions of a path.
type versionPage struct {
	Versions []fileRecord `json:"versions"`
	Next     string       `json:"next" doc:"Cursor of the next page; empty on the last"`
}

// list answers GET …/files?prefix=&cursor=&limit=&partial= with a filePage.
func (p *Publisher) list(c *gin.Context) {
	site, _, err := target(c)
	limit, lerr := limitOf(c)
	prefix, perr := prefixOf(c)
	after, cerr := cursorOf(c)
	if err := errors.Join(err, lerr, perr, cerr); err != nil {
		p.fail(c, "read a listing request", first(err))
		return
	}
	ctx := c.Request.Context()
	rec, err := p.cfg.Catalog.Site(ctx, site)
	var files []catalog.File
	if err == nil {
		files, err = p.cfg.Catalog.ListFiles(ctx, site, prefix, object.Path(after), limit)
	}
	var partial *catalog.PartialError
	var missing []catalog.Missing
	if errors.As(err, &partial) {
		p.cfg.Log.Warn("a listing lacks the part of a server of the catalogue", "err", err)
		missing, err = partial.Missing, nil
		if c.Query("partial") != "1" {
			err = incomplete(missing)
		}
	}
	if err != nil {
		p.fail(c, "list files", err)
		return
	}
	next, list := "", make([]fileRecord, len(files))
	for i, f := range files {
		list[i] = p.fileRecord(rec, f.Pointer)
	}
	if len(files) == limit {
		next = cursorAt(string(files[limit-1].Pointer.Path))
	}
	c.JSON(http.StatusOK, filePage{list, next, missing})
}

// incomplete is what a listing is answered with that lacks the files of servers of the catalogue.
func incomplete(missing []catalog.Missing) error {
	var names []string
	slots := 0
	for _, m := range missing {
		names = append(names, m.Server)
		slots += m.Slots
	}
	return refuse(http.StatusServiceUnavailable, "catalogue-incomplete",
		"The catalogue's part on %s does not answer, about %d %% of all paths. Try again in a moment, or ask with partial=1 for what there is.",
		strings.Join(names, ", "), max(1, 100*slots/object.Slots))
}

func limitOf(c *gin.Context) (int, error) {
	s := c.DefaultQuery("limit", "100")
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1000 {
		return 0, refuse(http.StatusBadRequest, "invalid", "limit=%q is not a number from 1 to 1000.", clip(s))
	}
	return n, nil
}

func prefixOf(c *gin.Context) (string, error) {
	s := c.Query("prefix")
	if len(s) > object.MaxPath || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", refuse(http.StatusBadRequest, "invalid", "prefix=%q is no beginning of a path.", clip(s))
	}
	if s != "" && s[0] != '/' {
		s = "/" + s
	}
	return s, nil
}

// Cursors are opaque: the last item of the page before.

func cursorAt(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

func cursorOf(c *gin.Context) (string, error) {
	s := c.Query("cursor")
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) > object.MaxPath || !utf8.Valid(b) {
		return "", refuse(http.StatusBadRequest, "invalid", "cursor=%q is none that a listing gave.", clip(s))
	}
	return string(b), nil
}

// get answers GET and HEAD …/files/{path}: the file's record, or its versions.
func (p *Publisher) get(c *gin.Context) {
	site, escaped, err := target(c)
	if err == nil && escaped == "" {
		p.list(c)
		return
	}
	var path object.Path
	if err == nil {
		path, err = object.ParseEscapedPath(escaped)
	}
	if err != nil {
		p.fail(c, "read a GET", err)
		return
	}
	if _, ok := c.GetQuery("versions"); ok {
		p.versions(c, site, path)
		return
	}
	ctx := c.Request.Context()
	f, err := p.cfg.Catalog.File(ctx, site, path)
	if err == nil && f.Pointer.State != object.Live {
		err = noFile(site, path)
	}
	if base, ok := strings.CutSuffix(string(path), versionsSuffix); ok && base != "" && errors.Is(err, fs.ErrNotExist) {
		p.versions(c, site, object.Path(base))
		return
	}
	var rec object.SiteRecord
	if err == nil {
		rec, err = p.cfg.Catalog.Site(ctx, site)
	}
	if err != nil {
		p.fail(c, "get a file", err)
		return
	}
	out := p.fileRecord(rec, f.Pointer)
	c.Header("ETag", out.ETag)
	if any, known, err := entityTags("If-None-Match", c.GetHeader("If-None-Match"), true); err == nil && (any || slices.Contains(known, out.Version)) {
		c.Status(http.StatusNotModified)
		return
	}
	c.JSON(http.StatusOK, out)
}

func noFile(site object.Site, path object.Path) error {
	return fmt.Errorf("file %s of site %s: %w", path, site, fs.ErrNotExist)
}

// versions answers with the versions of a path, the newest first, as a versionPage; a path that was never
// published is 404.
func (p *Publisher) versions(c *gin.Context, site object.Site, path object.Path) {
	limit, lerr := limitOf(c)
	before, cerr := cursorOf(c)
	if err := errors.Join(lerr, cerr); err != nil {
		p.fail(c, "read a listing request", first(err))
		return
	}
	ctx := c.Request.Context()
	rec, err := p.cfg.Catalog.Site(ctx, site)
	var vs []object.Pointer
	if err == nil {
		vs, err = p.cfg.Catalog.Versions(ctx, site, path, object.Version(before), limit)
	}
	if err == nil && len(vs) == 0 && before == "" {
		err = noFile(site, path)
	}
	if err != nil {
		p.fail(c, "list versions", err)
		return
	}
	next, list := "", make([]fileRecord, len(vs))
	for i, v := range vs {
		list[i] = p.fileRecord(rec, v)
	}
	if len(vs) == limit {
		next = cursorAt(string(vs[limit-1].Version))
	}
	c.JSON(http.StatusOK, versionPage{list, next})
}

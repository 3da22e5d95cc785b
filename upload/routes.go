package upload

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/object"
)

// The routes under a site's files take the path of the file as it stands in the URL, still escaped: "%2F" is not '/'.
//
// …/files/{path}/versions lists the versions of {path}, unless there is a file of that very name, which then is
// what the URL means; …/files/{path}?versions always lists versions. …/files/{path}/rollback, by POST, always means {path}.
const (
	filesRoute   = "/api/v1/sites/:site/files"
	uploadsRoute = "/api/v1/uploads"

	versionsSuffix = "/versions"
	rollbackSuffix = "/rollback"
)

// maxWait is the longest ?wait= that is honoured.
const maxWait = 30 * time.Second

// target returns what a request under filesRoute names. A path that is "/" is the listing and returned as "".
func target(c *gin.Context) (site object.Site, escaped string, err error) {
	// The route's pattern says how many segments come before the path; the request's own path is escaped.
	full := c.FullPath()
	skip := strings.Count(full, "/")
	if !strings.HasSuffix(full, "/*path") {
		skip++
	}
	segments := strings.SplitN(c.Request.URL.EscapedPath(), "/", skip+1)
	name, err := url.PathUnescape(c.Param("site"))
	if err != nil {
		return "", "", refuse(http.StatusBadRequest, "invalid", "The name of the site is not well escaped.")
	}
	if site, err = object.ParseSite(name); err != nil {
		return "", "", err
	}
	if len(segments) <= skip {
		return site, "", nil
	}
	return site, segments[skip], nil
}

// fileTarget is target for requests that need a file.
func fileTarget(c *gin.Context) (object.Site, object.Path, error) {
	site, escaped, err := target(c)
	if err != nil {
		return "", "", err
	}
	path, err := object.ParseEscapedPath(escaped)
	return site, path, err
}

// waitTime reads ?wait=, a duration as Go writes it or a number of seconds; zero if it is absent.
func waitTime(c *gin.Context) (time.Duration, error) {
	s, ok := c.GetQuery("wait")
	if !ok {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if n, nerr := strconv.Atoi(s); nerr == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < 0 || d > maxWait {
		return 0, refuse(http.StatusBadRequest, "invalid", "wait=%q is not a time such as 5s, or longer than %v.", clip(s), maxWait)
	}
	return d, nil
}

// attributes reads what a request says of its file outside the body.
func attributes(c *gin.Context) (Attributes, error) {
	tags, _ := field(c.Request.Header, "Perigee-Tags")
	if q := c.QueryArray("tags"); len(q) > 0 {
		tags += "," + strings.Join(q, ",")
	}
	list, err := object.ParseTags(tags)
	if err != nil {
		return Attributes{}, err
	}
	control, _ := field(c.Request.Header, "Perigee-Cache-Control")
	return Attributes{TypeHint: c.GetHeader("Content-Type"), Tags: list, CacheControl: control},
		object.ValidateFieldValue("Perigee-Cache-Control", control)
}

// put answers PUT …/files/{path}.
func (p *Publisher) put(c *gin.Context) {
	f, wait, err := p.putFile(c)
	if err != nil {
		p.fail(c, "read a PUT", err)
		return
	}
	res, err := p.Publish(c.Request.Context(), f)
	if err != nil {
		p.fail(c, "publish by PUT", err)
		return
	}
	p.answer(c, res, wait)
}

func (p *Publisher) putFile(c *gin.Context) (f File, wait time.Duration, err error) {
	f.Size = c.Request.ContentLength
	site, path, terr := fileTarget(c)
	f.Site, f.Path = site, path
	var errs [4]error
	f.Attributes, errs[0] = attributes(c)
	f.Condition, errs[1] = condition(c.Request.Header)
	f.SHA256, errs[2] = digest(c.Request.Header)
	// RFC 9110 §10.1.1: the client waits for our word before it sends the body, and a final answer spares it that.
	f.Offer = strings.EqualFold(c.GetHeader("Expect"), "100-continue")
	wait, errs[3] = waitTime(c)
	if err := errors.Join(append([]error{terr, plainBody(c.Request)}, errs[:]...)...); err != nil {
		return File{}, 0, first(err)
	}
	if err := mayWrite(c.Request.Context(), site, path); err != nil {
		return File{}, 0, err
	}
	f.Body = p.body(c.Writer, c.Request)
	return f, wait, nil
}

// first returns the first of joined errors: one problem at a time is told.
func first(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()[0]
	}
	return err
}

// answer tells the result of a change, after waiting for its proof if that was asked for.
func (p *Publisher) answer(c *gin.Context, res Result, wait time.Duration) {
	if wait > 0 {
		p.prove(c.Request.Context(), &res, wait)
	}
	status := http.StatusOK
	if res.Created {
		status = http.StatusCreated
	}
	c.Header("ETag", res.ETag)
	c.JSON(status, res)
}

// delete answers DELETE …/files/{path}.
func (p *Publisher) delete(c *gin.Context) {
	site, path, err := fileTarget(c)
	cond, cerr := condition(c.Request.Header)
	wait, werr := waitTime(c)
	which, versions := c.GetQuery("versions")
	if versions && which != "all" && err == nil {
		err = refuse(http.StatusBadRequest, "invalid", "versions=%q: with ?versions=all all versions are removed; without it the file is deleted and they stay.", clip(which))
	}
	if err := errors.Join(err, cerr, werr); err != nil {
		p.fail(c, "read a DELETE", first(err))
		return
	}
	if err := mayWrite(c.Request.Context(), site, path); err != nil {
		p.fail(c, "delete", err)
		return
	}
	if versions {
		p.answerRemoved(c, site, path, cond, wait)
		return
	}
	res, err := p.Delete(c.Request.Context(), site, path, cond)
	if err != nil {
		p.fail(c, "delete", err)
		return
	}
	res.Created = false
	p.answer(c, res, wait)
}

// removed is the answer to DELETE …?versions=all.
type removed struct {
	Site object.Site `json:"site"`
	Path object.Path `json:"path"`
	Erased
	Effective *bool `json:"effective,omitempty"` // only set when it was waited for
}

func (p *Publisher) answerRemoved(c *gin.Context, site object.Site, path object.Path, cond catalog.Condition, wait time.Duration) {
	sum, err := p.RemoveFile(c.Request.Context(), site, path, cond)
	if err != nil {
		p.fail(c, "remove all versions", err)
		return
	}
	out := removed{Site: site, Path: path, Erased: sum}
	var res Result
	if sum.ID != "" {
		p.placed(c.Request.Context(), &res, sum.ID)
		out.Position = res.Position
	}
	if wait > 0 && sum.ID != "" {
		p.prove(c.Request.Context(), &res, wait)
		out.Position, out.Effective = res.Position, res.Effective
	}
	c.JSON(http.StatusOK, out)
}

// post answers POST …/files/{path}/rollback, with ?version= or a JSON body {"version"}.
func (p *Publisher) post(c *gin.Context) {
	site, escaped, err := target(c)
	if err == nil && escaped == "" {
		p.form(c)
		return
	}
	base, ok := strings.CutSuffix(escaped, rollbackSuffix)
	if err == nil && !ok {
		err = refuse(http.StatusMethodNotAllowed, "method", "A file is published with PUT, or by POST of a form to …/files. POST to a path is for …%s.", rollbackSuffix)
	}
	if err != nil {
		p.fail(c, "read a POST", err)
		return
	}
	path, err := object.ParseEscapedPath(base)
	cond, cerr := condition(c.Request.Header)
	wait, werr := waitTime(c)
	to, verr := rollbackVersion(c)
	if err := errors.Join(err, cerr, werr, verr); err != nil {
		p.fail(c, "read a rollback", first(err))
		return
	}
	if err := mayWrite(c.Request.Context(), site, path); err != nil {
		p.fail(c, "roll back", err)
		return
	}
	res, err := p.Rollback(c.Request.Context(), site, path, to, cond)
	if err != nil {
		p.fail(c, "roll back", err)
		return
	}
	p.answer(c, res, wait)
}

// rollbackBody says to which version a path goes back.
type rollbackBody struct {
	Version string `json:"version" required:"true"`
}

func rollbackVersion(c *gin.Context) (object.Version, error) {
	v, ok := c.GetQuery("version")
	if !ok {
		var body rollbackBody
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 4<<10)
		if err := c.ShouldBindJSON(&body); err != nil {
			return "", refuse(http.StatusBadRequest, "invalid", `Which version? Send {"version":"…"} or ?version=…; GET …%s lists them.`, versionsSuffix)
		}
		v = body.Version
	}
	return object.ParseVersion(v)
}

package upload

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"perigee/object"
	"perigee/problem"
)

// Limits of a form.
const (
	maxFormParts   = 1000     // fields and files
	maxFormFields  = 100      // fields
	maxFormField   = 16 << 10 // bytes of one field
	maxFormHeaders = 16 << 10 // bytes of one part's header
)

// FormResult is what became of one file of a form.
type FormResult struct {
	// Path is where the file was to go; as it was sent, if it is no path.
	Path string `json:"path"`
	// Result is set when it was published, Problem when it was not.
	Result  *Result           `json:"result,omitempty"`
	Problem *problem.Document `json:"problem,omitempty"`
}

// formAnswer is what became of a form.
type formAnswer struct {
	Files []FormResult `json:"files"`
}

// formFields are the fields that came before the files. They hold for all files that follow.
type formFields struct {
	path   string // of the only file
	prefix string // directory of the files
	Attributes
}

// form answers POST …/files: what an HTML form sends. Files are published while they stream in, in their order, each by
// itself: one that is refused does not stop the others.
func (p *Publisher) form(c *gin.Context) {
	site, _, err := target(c)
	var reader *multipart.Reader
	if err == nil {
		_, err = p.publishable(c.Request.Context(), site, Attributes{}) // before a byte is sent by who expects 100-continue
	}
	if err == nil {
		c.Request.Body = ahead(p.body(c.Writer, c.Request))
		reader, err = c.Request.MultipartReader()
		if err != nil {
			err = refuse(http.StatusUnsupportedMediaType, "not-a-form", "Files are posted as multipart/form-data. To send one file as it is, use PUT …/files/{path}.")
		}
	}
	var results []FormResult
	if err == nil {
		results, err = p.formFiles(c, site, reader)
	}
	if err == nil && len(results) == 0 {
		err = refuse(http.StatusBadRequest, "no-file", "The form has no file. Choose at least one.")
	}
	if err != nil {
		prob, _ := problemOf(c, err)
		p.cfg.Log.Debug("read a form", "err", err, "request_id", prob.RequestID)
		results = append(results, FormResult{Problem: &prob})
	}
	p.answerForm(c, site, results)
}

// formFiles publishes the files of a form. The error is about the form as a whole, after the results so far.
func (p *Publisher) formFiles(c *gin.Context, site object.Site, reader *multipart.Reader) (results []FormResult, err error) {
	attrs, err := attributes(c)
	if err != nil {
		return nil, err
	}
	most, err := p.maxForm(c.Request.Context(), site)
	if err != nil {
		return nil, err
	}
	fields := formFields{Attributes: attrs}
	given := 0
	for n := 0; ; n++ {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return results, nil
		}
		if err != nil {
			return results, &BodyError{err}
		}
		if n == maxFormParts {
			return results, refuse(http.StatusRequestEntityTooLarge, "too-many", "A form may have %d fields and files, this one has more. The first %d files were published.", maxFormParts, published(results))
		}
		name, isFile, err := partName(part)
		if err != nil {
			return results, err
		}
		if !isFile {
			if given++; given > maxFormFields {
				return results, refuse(http.StatusRequestEntityTooLarge, "too-many", "A form may have %d fields besides its files, this one has more. The first %d files were published.", maxFormFields, published(results))
			}
			if err := fields.read(part); err != nil {
				return results, err
			}
			continue
		}
		if name == "" {
			continue // a file field in which nothing was chosen
		}
		if fields.path != "" && len(results) == 1 {
			return results, refuse(http.StatusBadRequest, "invalid", `The field "path" names one file, and the form has more. Use the field "prefix" for a directory.`)
		}
		if len(results) == most {
			return results, refuse(http.StatusRequestEntityTooLarge, "too-many", "A form may bring %d files, this one has more. The first %d files were published.", most, published(results))
		}
		r, goOn := p.formFile(c, site, fields, name, part)
		results = append(results, r)
		if !goOn {
			return results, nil
		}
	}
}

// formFile publishes one file of a form; goOn says that the rest of the form can still be read.
func (p *Publisher) formFile(c *gin.Context, site object.Site, fields formFields, name string, part *multipart.Part) (r FormResult, goOn bool) {
	to := fields.path
	if to == "" {
		to = strings.TrimSuffix(fields.prefix, "/") + "/" + name
	}
	r.Path = to
	path, err := object.ParsePath(to)
	var res Result
	if err == nil {
		attrs := fields.Attributes
		attrs.TypeHint = part.Header.Get("Content-Type")
		res, err = p.Publish(c.Request.Context(), File{
			Site: site, Path: path, Body: part, Size: -1, AtMost: max(c.Request.ContentLength, 0), Attributes: attrs,
		})
	}
	if err == nil {
		r.Result = &res
		return r, true
	}
	prob, logged := problemOf(c, err)
	if logged {
		p.cfg.Log.Error("publish by form", "err", err, "status", prob.Status, "request_id", prob.RequestID)
	}
	r.Problem = &prob
	var broken *BodyError
	return r, prob.Status < 500 && !errors.As(err, &broken) && c.Request.Context().Err() == nil
}

// read takes one field that is not a file. Fields that mean nothing here, such as a token for the guard, are skipped.
func (f *formFields) read(part *multipart.Part) error {
	b, err := io.ReadAll(io.LimitReader(part, maxFormField+1))
	if err != nil {
		return &BodyError{err}
	}
	if len(b) > maxFormField {
		return refuse(http.StatusRequestEntityTooLarge, "too-large", "The field %q is longer than %d bytes.", clip(part.FormName()), maxFormField)
	}
	v := strings.TrimSpace(string(b))
	switch part.FormName() {
	case "path":
		f.path = v
	case "prefix", "directory":
		f.prefix = v
	case "tags":
		f.Tags, err = object.ParseTags(v)
	case "cache_control":
		f.CacheControl, err = v, object.ValidateFieldValue("cache_control", v)
	}
	return err
}

// partName returns the file name of a part, with directories if the browser gave them, and whether it is a file at all.
func partName(part *multipart.Part) (name string, isFile bool, err error) {
	size := 0
	for k, vs := range part.Header {
		for _, v := range vs {
			size += len(k) + len(v)
		}
	}
	if size > maxFormHeaders {
		return "", false, refuse(http.StatusRequestEntityTooLarge, "too-large", "The header of a part of the form is longer than %d bytes.", maxFormHeaders)
	}
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil || part.FormName() == "" {
		return "", false, refuse(http.StatusBadRequest, "invalid", "A part of the form has no name. Its Content-Disposition is %q.", clip(part.Header.Get("Content-Disposition")))
	}
	name, isFile = params["filename"]
	// How HTML (§4.10.21.8) escapes a quotation mark in a file name. It does not escape '%', so nothing else is undone.
	return strings.ReplaceAll(name, "%22", `"`), isFile, nil
}

func published(results []FormResult) (n int) {
	for _, r := range results {
		if r.Result != nil {
			n++
		}
	}
	return n
}

// answerForm answers a browser with a redirection to the console when all went well, and with Config.FormResult when
// not; everything else with a formAnswer.
func (p *Publisher) answerForm(c *gin.Context, site object.Site, results []FormResult) {
	status := http.StatusCreated
	good := published(results)
	if good < len(results) {
		status = http.StatusMultiStatus
		if good == 0 {
			status = results[0].Problem.Status
		}
	}
	if !strings.Contains(c.GetHeader("Accept"), "text/html") {
		answerProgram(c, status, results)
		return
	}
	if good == len(results) {
		q := url.Values{"site": {string(site)}, "uploaded": {fmt.Sprint(good)}}
		c.Redirect(http.StatusSeeOther, "/?"+q.Encode())
		return
	}
	if p.cfg.FormResult != nil {
		p.cfg.FormResult(c, status, results)
		return
	}
	c.String(status, "%s", plainResults(results))
}

// answerProgram answers with what became of each file. Where none was published the whole is a problem: the first one's, with what there is to
// say of the others.
func answerProgram(c *gin.Context, status int, results []FormResult) {
	switch {
	case published(results) > 0:
		c.JSON(status, formAnswer{results})
	case len(results) == 1:
		problem.Write(c.Writer, *results[0].Problem)
	default:
		c.Header("Content-Type", problem.MediaType)
		c.JSON(status, struct {
			problem.Document
			formAnswer
		}{*results[0].Problem, formAnswer{results}})
	}
}

// plainResults tells a person what became of a form.
func plainResults(results []FormResult) string {
	var b strings.Builder
	for _, r := range results {
		switch {
		case r.Result != nil:
			fmt.Fprintf(&b, "%s: published as %s\n", r.Path, r.Result.URL)
		case r.Path != "":
			fmt.Fprintf(&b, "%s: not published: %s (request %s)\n", clip(r.Path), r.Problem.Detail, r.Problem.RequestID)
		default:
			fmt.Fprintf(&b, "%s (request %s)\n", r.Problem.Detail, r.Problem.RequestID)
		}
	}
	return b.String()
}

package upload

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
)

// Problem is an error as a client gets it, RFC 9457.
type Problem struct {
	Type      string `json:"type"` // "/problems/<slug>"
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
}

const requestIDHeader = "X-Request-Id"

// requestID returns the id that an earlier middleware gave the request, or gives it one.
func requestID(c *gin.Context) string {
	id := c.Writer.Header().Get(requestIDHeader)
	if id == "" {
		id = rand.Text()[:16]
		c.Header(requestIDHeader, id)
	}
	return id
}

// requestError is an error with the answer it deserves; handlers make them for what only HTTP knows.
type requestError struct {
	status int
	slug   string
	detail string
}

func (e *requestError) Error() string { return e.detail }

func refuse(status int, slug, format string, args ...any) error {
	return &requestError{status, slug, fmt.Sprintf(format, args...)}
}

// answers maps errors to answers: the first that matches counts. detail, if set, is told in place of the error, which
// is then logged.
var answers = []struct {
	err    error
	status int
	slug   string
	detail string
}{
	{ErrUnsettled, http.StatusServiceUnavailable, "unsettled",
		"The storage did not answer at the moment the change was made. Within minutes it takes effect or is undone. Look at the file, or send it again."},
	{catalog.ErrQuota, http.StatusInsufficientStorage, "quota-exceeded", ""},
	{ErrTooLarge, http.StatusRequestEntityTooLarge, "too-large", ""},
	{ErrIncomplete, http.StatusBadRequest, "incomplete", ""},
	{ErrDigest, http.StatusBadRequest, "digest-mismatch", ""},
	{catalog.ErrPrecondition, http.StatusPreconditionFailed, "precondition-failed", ""},
	{catalog.ErrBusy, http.StatusConflict, "busy", "Another change of this file is under way. Try again in a moment."},
	{errLocked, http.StatusLocked, "locked", "Another request is still writing to this upload. Try again in a moment."},
	{object.ErrInvalid, http.StatusBadRequest, "invalid", ""},
	{origin.ErrFull, http.StatusInsufficientStorage, "storage-full", "The storage is full. Nothing was changed."},
	{origin.ErrDenied, http.StatusBadGateway, "storage-denied",
		"The storage refused the server's credentials. Nothing was changed. The operator has to look at the storage keys."},
	{origin.ErrUnavailable, http.StatusServiceUnavailable, "storage-unavailable",
		"The storage does not answer. Nothing was changed. Try again in a moment."},
	{catalog.ErrTaken, http.StatusLocked, "locked", "Another server has taken over this upload. Ask how far it is and go on from there."},
	{fs.ErrNotExist, http.StatusNotFound, "not-found", ""},
	{fs.ErrExist, http.StatusConflict, "exists", ""},
	{errTooSlow, http.StatusRequestTimeout, "too-slow", "The request took too long. Nothing was published; use a resumable upload (tus)."},
	{os.ErrDeadlineExceeded, http.StatusRequestTimeout, "idle", "No bytes came for too long. Nothing was published; send the file again."},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "timeout", "The server could not answer in time. Try again in a moment."},
}

// problem turns an error into its answer; logged says that it is our trouble and not the client's.
func problem(c *gin.Context, err error) (p Problem, logged bool) {
	p = Problem{Status: http.StatusInternalServerError, RequestID: requestID(c)}
	slug, detail := "internal", "The server failed. The request id leads to the reason in its log."
	var own *requestError
	var body *BodyError
	if d, ok := denied(err); ok {
		p.Status, slug, detail = d.Status, d.Slug, d.Detail
	} else if errors.As(err, &own) {
		p.Status, slug, detail = own.status, own.slug, own.detail
	} else if a := answerTo(err); a >= 0 {
		p.Status, slug, detail = answers[a].status, answers[a].slug, answers[a].detail
		if detail == "" {
			detail = told(err)
		}
	} else if errors.As(err, &body) {
		p.Status, slug = http.StatusBadRequest, "incomplete"
		detail = "The body broke off. Nothing was published; send the file again."
	}
	p.Type, p.Title, p.Detail = "/problems/"+slug, statusText(p.Status), detail
	return p, p.Status >= 500 && slug != "quota-exceeded"
}

// told is an error's message as a sentence for the client.
func told(err error) string {
	if thing, ok := strings.CutSuffix(err.Error(), ": "+fs.ErrNotExist.Error()); ok {
		return thing + " does not exist"
	}
	return err.Error()
}

func answerTo(err error) int {
	for i := range answers {
		if errors.Is(err, answers[i].err) {
			return i
		}
	}
	return -1
}

// fail answers with err as a problem document and ends the request. A client that has gone is told nothing.
func (p *Publisher) fail(c *gin.Context, doing string, err error) {
	prob, logged := problem(c, err)
	switch {
	case c.Request.Context().Err() != nil:
		p.cfg.Log.Debug("the client has gone", "doing", doing, "err", err, "request_id", prob.RequestID)
	case logged:
		p.cfg.Log.Error(doing, "err", err, "status", prob.Status, "request_id", prob.RequestID)
	default:
		p.cfg.Log.Debug(doing, "err", err, "status", prob.Status, "request_id", prob.RequestID)
	}
	if prob.Status == http.StatusConflict || prob.Status == http.StatusServiceUnavailable || prob.Status == http.StatusLocked {
		c.Header("Retry-After", "1")
	}
	body, merr := json.Marshal(prob)
	if merr != nil {
		panic("upload: a Problem always marshals: " + merr.Error())
	}
	c.Abort()
	c.Data(prob.Status, "application/problem+json", body)
}

// statusText is http.StatusText, with the status that tus has made up.
func statusText(status int) string {
	if status == statusChecksum {
		return "Checksum Mismatch"
	}
	return http.StatusText(status)
}

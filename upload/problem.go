package upload

import (
	"context"
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
	"perigee/problem"
)

// requestError is an error with the answer it deserves; handlers make them for what only HTTP knows.
type requestError struct {
	status int
	kind   problem.Kind
	detail string
}

func (e *requestError) Error() string { return e.detail }

func refuse(status int, k problem.Kind, format string, args ...any) error {
	return &requestError{status, k, fmt.Sprintf(format, args...)}
}

// answers maps errors to answers: the first that matches counts. detail, if set, is told in place of the error, which
// is then logged.
var answers = []struct {
	err    error
	status int
	kind   problem.Kind
	detail string
}{
	{ErrUnsettled, http.StatusServiceUnavailable, "unsettled",
		"The storage did not answer at the moment the change was made. Within minutes it takes effect or is undone. Look at the file, or send it again."},
	{catalog.ErrQuota, http.StatusInsufficientStorage, "quota-exceeded", ""},
	{ErrTooLarge, http.StatusRequestEntityTooLarge, "too-large", ""},
	{ErrIncomplete, http.StatusBadRequest, "incomplete", ""},
	{ErrDigest, http.StatusBadRequest, "digest-mismatch", ""},
	{catalog.ErrPrecondition, http.StatusPreconditionFailed, "precondition-failed", ""},
	{catalog.ErrUnclaimed, http.StatusServiceUnavailable, "storage-unavailable",
		"The storage took so long that the bytes may have been removed again. Nothing was changed. Send the file again."},
	{catalog.ErrDeleting, http.StatusServiceUnavailable, "storage-unavailable",
		"The storage took so long that the bytes were removed again. Nothing was changed. Send the file again."},
	{catalog.ErrBusy, http.StatusConflict, "busy", "Another change of this file is under way. Try again in a moment."},
	{errLocked, http.StatusLocked, "locked", "Another request is still writing to this upload. Try again in a moment."},
	{object.ErrKind, http.StatusConflict, "other-kind", ""},
	{object.ErrInvalid, http.StatusBadRequest, "invalid", ""},
	{origin.ErrFull, http.StatusInsufficientStorage, "storage-full", "The storage is full. Nothing was changed."},
	{origin.ErrDenied, http.StatusBadGateway, "storage-denied",
		"The storage refused the server's credentials. Nothing was changed. The operator has to look at the storage keys."},
	{origin.ErrUnavailable, http.StatusServiceUnavailable, "storage-unavailable",
		"The storage does not answer. Nothing was changed. Try again in a moment."},
	{catalog.ErrUnavailable, http.StatusServiceUnavailable, "catalogue-unavailable",
		"The catalogue's database does not answer. Nothing was published. Try again in a moment."},
	{catalog.ErrTaken, http.StatusLocked, "locked", "Another server has taken over this upload. Ask how far it is and go on from there."},
	{errStarting, http.StatusServiceUnavailable, "storage-unavailable",
		"The server has just started, and its storage and its sites are not there yet. Nothing was changed. Try again in a moment."},
	{fs.ErrNotExist, http.StatusNotFound, "not-found", ""},
	{fs.ErrExist, http.StatusConflict, "exists", ""},
	{errTooSlow, http.StatusRequestTimeout, "too-slow", "The request took too long. Nothing was published; use a resumable upload (tus)."},
	{os.ErrDeadlineExceeded, http.StatusRequestTimeout, "idle", "No bytes came for too long. Nothing was published; send the file again."},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "timeout", "The server could not answer in time. Try again in a moment."},
}

// errStarting is in place of fs.ErrNotExist until Config.Started.
var errStarting = errors.New("the server is starting")

// problemOf turns an error into its answer; logged says that it is our trouble and not the client's.
func problemOf(c *gin.Context, err error) (d problem.Document, logged bool) {
	status, kind := http.StatusInternalServerError, problem.Kind("internal")
	detail := "The server failed. The request id leads to the reason in its log."
	var own *requestError
	var body *BodyError
	if d, ok := denied(err); ok {
		status, kind, detail = d.Status, d.Slug, d.Detail
	} else if errors.As(err, &own) {
		status, kind, detail = own.status, own.kind, own.detail
	} else if a := answerTo(err); a >= 0 {
		status, kind, detail = answers[a].status, answers[a].kind, answers[a].detail
		if detail == "" {
			detail = told(err)
		}
	} else if errors.As(err, &body) {
		status, kind = http.StatusBadRequest, "incomplete"
		detail = "The body broke off. Nothing was published; send the file again."
	}
	return problem.New(status, kind, detail, problem.RequestID(c.Writer.Header())), status >= 500 && kind != "quota-exceeded"
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
	if errors.Is(err, fs.ErrNotExist) && p.cfg.Started != nil && !p.cfg.Started() {
		err = fmt.Errorf("%w: %w", errStarting, err)
	}
	prob, logged := problemOf(c, err)
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
	c.Abort()
	problem.Write(c.Writer, prob)
}

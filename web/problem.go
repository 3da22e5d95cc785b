package web

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"perigee/object"
	"perigee/problem"
)

// ErrUnavailable says that a part which the answer needs, such as the catalogue's database, does not answer now.
var ErrUnavailable = errors.New("a part of the service does not answer")

// ErrPrecondition says that something has changed since the version that a request names.
var ErrPrecondition = errors.New("it has another version by now")

// requestID returns the id that an earlier middleware gave the request, or gives it one.
func requestID(c *gin.Context) string {
	return problem.RequestID(c.Writer.Header())
}

// fail answers with a problem and ends the request. detail is a sentence a person can act on.
func fail(c *gin.Context, status int, k problem.Kind, detail string) {
	c.Abort()
	problem.Write(c.Writer, problem.New(status, k, detail, requestID(c)))
}

// failWith maps an error of the packages behind this face to an answer. What is our own fault is logged and not told.
func (s *Server) failWith(c *gin.Context, doing string, err error) {
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		fail(c, http.StatusRequestEntityTooLarge, "too-large", "The request is too large.")
	case errors.Is(err, object.ErrKind):
		fail(c, http.StatusConflict, "other-kind", err.Error())
	case errors.Is(err, object.ErrInvalid):
		fail(c, http.StatusBadRequest, "invalid", err.Error())
	case errors.Is(err, fs.ErrNotExist):
		fail(c, http.StatusNotFound, "not-found", told(err, fs.ErrNotExist, " does not exist"))
	case errors.Is(err, ErrPrecondition):
		fail(c, http.StatusPreconditionFailed, "precondition-failed", err.Error())
	case errors.Is(err, fs.ErrExist):
		fail(c, http.StatusConflict, "exists", told(err, fs.ErrExist, " exists already"))
	case errors.Is(err, fs.ErrPermission):
		fail(c, http.StatusForbidden, "forbidden", told(err, fs.ErrPermission, ""))
	case errors.Is(err, ErrUnavailable):
		s.cfg.Log.Error("a part does not answer", "doing", doing, "request", requestID(c), "err", err)
		c.Header("Retry-After", "1")
		fail(c, http.StatusServiceUnavailable, "catalogue-unavailable", "The catalogue's database does not answer: Perigee could not "+doing+". Try again in a moment.")
	case errors.Is(err, context.DeadlineExceeded):
		s.cfg.Log.Warn("request took too long", "doing", doing, "request", requestID(c), "err", err)
		fail(c, http.StatusGatewayTimeout, "timeout", "It took too long to "+doing+". Try again; perigee doctor tells which part does not answer.")
	default:
		if c.Request.Context().Err() != nil {
			c.Abort() // the client left; nobody reads an answer
			return
		}
		s.cfg.Log.Error("request failed", "doing", doing, "request", requestID(c), "err", err)
		fail(c, http.StatusInternalServerError, "internal", "Perigee could not "+doing+". Its log says why, under the request id given here.")
	}
}

// told is an error's message as a sentence: package fs speaks of files where we speak of sites and nodes.
func told(err, known error, says string) string {
	if thing, ok := strings.CutSuffix(err.Error(), ": "+known.Error()); ok {
		return thing + says
	}
	return err.Error()
}

// maxBody bounds the body of every JSON request, in bytes.
const maxBody = 1 << 20

// readJSON decodes the body into v. Fields that v does not have are refused: a misspelt one must not be
// taken for an absent one. It answers the request itself when it returns false.
func (s *Server) readJSON(c *gin.Context, v any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		fail(c, http.StatusRequestEntityTooLarge, "too-large", "The body is larger than 1 MiB.")
	case err != nil:
		fail(c, http.StatusBadRequest, "invalid-json", "The body is not the JSON this call takes: "+err.Error())
	case dec.More():
		fail(c, http.StatusBadRequest, "invalid-json", "The body has something after the JSON object.")
	default:
		return true
	}
	return false
}

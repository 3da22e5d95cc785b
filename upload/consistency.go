package upload

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/openapi"
)

// ConsistencyHeader carries what a client has seen of the catalogue: an answer to a change has it, and a client that sends
// it back, with any later request to any node, is answered from no older state. It is opaque, and may be sent several
// times, or as a list with commas, to join what was seen in parallel.
const ConsistencyHeader = "Perigee-Consistency"

// describeConsistency says so of every operation that goes through Consistency.
func describeConsistency(d *openapi.Document) {
	behind := func(o *openapi.Operation) bool { return !o.Beside }
	d.Common(openapi.Param{In: openapi.Header, Name: ConsistencyHeader,
		Doc: "What the client has seen of the catalogue, as earlier answers told it, several with commas between: it is answered from no older state"}, behind)
	d.CommonHeader(ConsistencyHeader, "What the client has now seen of the catalogue, to be sent with later requests. Where the catalogue has replicas, "+
		"the answer to a change has it; and every answer to a request that has one", behind)
}

// Consistency is the middleware that makes this so for every route behind it. Reading requests may then be answered from a
// replica of the catalogue; deciding ones never are.
func (p *Publisher) Consistency(c *gin.Context) {
	var tokens []string
	for _, value := range c.Request.Header.Values(ConsistencyHeader) {
		for token := range strings.SplitSeq(value, ",") {
			tokens = append(tokens, strings.TrimSpace(token))
		}
	}
	s, err := catalog.NewSession(tokens...)
	if err != nil {
		p.fail(c, "read "+ConsistencyHeader, err)
		return
	}
	within := s.Deciding
	if c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead {
		within = s.In
	}
	c.Request = c.Request.WithContext(within(c.Request.Context()))
	w := &consistentWriter{ResponseWriter: c.Writer, session: s}
	c.Writer = w
	c.Next()
	w.mark() // an answer without a body is written after the handlers
}

// consistentWriter puts the session's token into the header at the last moment: what is written last counts.
type consistentWriter struct {
	gin.ResponseWriter
	session *catalog.Session
}

func (w *consistentWriter) mark() {
	if w.Written() {
		return
	}
	if t := w.session.Token(); t != "" {
		w.Header().Set(ConsistencyHeader, t)
	}
}

// WriteHeaderNow implements gin.ResponseWriter.
func (w *consistentWriter) WriteHeaderNow() {
	w.mark()
	w.ResponseWriter.WriteHeaderNow()
}

// Write implements http.ResponseWriter.
func (w *consistentWriter) Write(b []byte) (int, error) {
	w.mark()
	return w.ResponseWriter.Write(b)
}

// WriteString implements io.StringWriter.
func (w *consistentWriter) WriteString(s string) (int, error) {
	w.mark()
	return w.ResponseWriter.WriteString(s)
}

// Flush implements http.Flusher.
func (w *consistentWriter) Flush() {
	w.mark()
	w.ResponseWriter.Flush()
}

// Unwrap is for http.ResponseController.
func (w *consistentWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

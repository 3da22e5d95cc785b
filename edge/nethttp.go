package edge

import (
	"errors"
	"net/http"
	"time"
)

// bodyPatience is how long a client may take to send a body that nobody asked for.
const bodyPatience = 10 * time.Second

// ServeHTTP implements http.Handler: the steps over net/http.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.pulled(w, r) {
		return
	}
	out := &httpResponder{s: s, w: w, c: http.NewResponseController(w)}
	if r.ContentLength != 0 {
		// Nobody reads the body, but net/http throws it away before it answers, and must not wait for it for ever.
		out.c.SetReadDeadline(s.clock.Now().Add(bodyPatience))
	}
	x := &exchange{s: s, out: out, ctx: r.Context(), began: s.clock.Now(), slot: s.tally.others()}
	x.req = requestOf(r)
	x.serve()
}

func requestOf(r *http.Request) request {
	path := r.URL.RawPath
	if path == "" {
		// The path is as its default encoding. EscapedPath says more only of a RawPath it does not like: it would encode Path
		// anew, and a %2F in it would have become a '/' by then.
		path = r.URL.EscapedPath()
	}
	h := r.Header
	q := request{
		method: r.Method, host: r.Host, target: r.RequestURI, path: path, minor: r.ProtoMinor, client: r.RemoteAddr,
		referer: h.Get("Referer"), agent: h.Get("User-Agent"), origin: h.Get("Origin"), asksFor: h.Get("Access-Control-Request-Method"),
		conditions: conditions{
			ifMatch: fieldList(h, "If-Match"), ifNoneMatch: fieldList(h, "If-None-Match"), ifModifiedSince: h.Get("If-Modified-Since"),
			ifUnmodifiedSince: h.Get("If-Unmodified-Since"), ifRange: h.Get("If-Range"),
		},
	}
	if len(h["Range"]) == 1 {
		q.rng = h.Get("Range")
	}
	return q
}

// httpResponder answers through net/http. It lets a slow client take its time as long as it takes anything: the deadline
// is for one writePiece.
type httpResponder struct {
	s *Server
	w http.ResponseWriter
	c *http.ResponseController
}

func (o *httpResponder) begin(status int, f fields) {
	h := o.w.Header()
	f.each(func(name, value string) { h[name] = append(h[name], value) })
	o.allowWrite()
	o.w.WriteHeader(status)
}

// allowWrite gives the client writeIdle from now. net/http clears the deadline between requests. A writer without
// deadlines, behind somebody's middleware, leaves them to whoever put it there.
func (o *httpResponder) allowWrite() error {
	err := o.c.SetWriteDeadline(o.s.clock.Now().Add(o.s.writeIdle))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// Write implements responder.
func (o *httpResponder) Write(b []byte) (int, error) {
	total := 0
	for len(b) > 0 {
		if err := o.allowWrite(); err != nil {
			return total, err
		}
		n, err := o.w.Write(b[:min(len(b), writePiece)])
		total += n
		o.s.tally.sending(n)
		if err != nil {
			return total, err
		}
		b = b[n:]
	}
	return total, nil
}

func (o *httpResponder) end() {}

func (o *httpResponder) abort() { panic(http.ErrAbortHandler) }

package edge

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"perigee/edge/cache"
)

const (
	defaultCacheControl   = "public, max-age=0, must-revalidate"
	immutableCacheControl = "public, max-age=31536000, immutable"
	// sandbox keeps an uploaded document from running script in the site's origin.
	sandbox = "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; sandbox"
)

// writeHead sets the fields every answer about a file has; 304 has them as well (RFC 9110 §15.4.5).
func (x *exchange) writeHead() {
	h, p := x.w.Header(), x.pointer
	h.Set("ETag", p.Hash.ETag())
	h.Set("Last-Modified", p.Modified.UTC().Format(http.TimeFormat))
	h.Set("Cache-Control", x.cacheControl())
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Content-Type-Options", "nosniff")
	if !x.site.Rules.AllowActive && isActive(p.ContentType) {
		h.Set("Content-Security-Policy", sandbox)
	}
	x.writeCacheStatus()
}

func (x *exchange) cacheControl() string {
	switch {
	case x.version != "":
		return immutableCacheControl
	case x.pointer.CacheControl != "":
		return x.pointer.CacheControl
	case x.site.Rules.CacheControl != "":
		return x.site.Rules.CacheControl
	}
	return defaultCacheControl
}

// isActive reports whether a browser may run script in a document of this type.
func isActive(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.Contains(t, "/") {
		return true // a browser may make anything of it
	}
	return strings.HasSuffix(t, "html") || strings.HasSuffix(t, "xml") || strings.HasPrefix(t, "multipart/") ||
		t == "text/xsl" || t == "application/pdf"
}

// writeCacheStatus says what the cache did (RFC 9211) and, on a hit, how long ago the log or the bucket last vouched for
// the answer (Age, RFC 9111 §5.1).
func (x *exchange) writeCacheStatus() {
	h, o := x.w.Header(), x.outcome
	var b strings.Builder
	b.WriteString(x.s.node)
	if o.Hit() {
		b.WriteString("; hit")
		fmt.Fprintf(&b, "; ttl=%d", int64(x.writeAge()/time.Second))
	} else {
		b.WriteString("; fwd=")
		b.WriteString(string(o.Fwd))
		if o.Stored {
			b.WriteString("; stored")
		}
		if o.Collapsed {
			b.WriteString("; collapsed")
		}
	}
	b.WriteString("; detail=")
	b.WriteString(string(o.Reason))
	h.Set("Cache-Status", b.String())
}

// writeAge sets Age and returns how long the answer is still vouched for.
func (x *exchange) writeAge() (left time.Duration) {
	ago, left := x.s.engine.Vouched(x.site, x.path, x.version)
	x.w.Header().Set("Age", strconv.FormatInt(int64(ago/time.Second), 10))
	return left
}

// judgeUnread completes the outcome of an answer that sends no bytes of the blob: it went nowhere for them.
func (x *exchange) judgeUnread() {
	if held := x.s.engine.Held(x.pointer); held.Hit() || x.outcome.Hit() {
		x.outcome = x.outcome.And(cache.Outcome{Reason: held.Reason})
	}
}

// start writes the head. The client has writeIdle to take it, and what little follows it.
func (x *exchange) start(status int) {
	allowWrite(http.NewResponseController(x.w), x.s)
	x.w.WriteHeader(status)
}

// send writes a 200 or 206 with its body. Once the head is out, a failure can only be told by cutting the
// connection, and that is what panic(http.ErrAbortHandler) does: the client must not take a part for the whole.
func (x *exchange) send() *failure {
	var body *cache.Body
	if x.r.Method == http.MethodGet {
		b, f := x.locate()
		if f != nil {
			return f
		}
		defer b.Close()
		body = b
	} else {
		x.judgeUnread()
	}
	x.writeHead()
	h := x.w.Header()
	h.Set("Content-Type", cmp.Or(x.pointer.ContentType, "application/octet-stream"))
	h.Set("Content-Length", strconv.FormatInt(x.rng.Length, 10))
	h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(x.pointer.Hash[:])+":")
	if x.partial {
		h.Set("Content-Range", x.rng.ContentRange(x.pointer.Size))
	}
	x.start(x.status)
	if body == nil {
		return nil
	}
	n, err := body.Copy(x.r.Context(), x.patient())
	x.sent = n
	if err != nil {
		if x.r.Context().Err() == nil && n < x.rng.Length {
			x.s.log.Debug("transfer broken off", "site", x.site.Site, "path", x.path, "sent", n, "of", x.rng.Length, "err", err)
		}
		x.s.logAccess(x)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// patient returns a writer that lets a slow client take its time as long as it takes anything: the deadline is for
// each write, not for the whole.
func (x *exchange) patient() io.Writer {
	return &patientWriter{w: x.w, c: http.NewResponseController(x.w), s: x.s}
}

type patientWriter struct {
	w io.Writer
	c *http.ResponseController
	s *Server
}

// allowWrite gives the client writeIdle from now. net/http clears the deadline between requests. A writer without
// deadlines, behind somebody's middleware, leaves them to whoever put it there.
func allowWrite(c *http.ResponseController, s *Server) error {
	err := c.SetWriteDeadline(s.clock.Now().Add(s.writeIdle))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// writePiece is how much must be taken by the client within Server.writeIdle.
const writePiece = 64 << 10

func (p *patientWriter) Write(b []byte) (int, error) {
	total := 0
	for len(b) > 0 {
		if err := allowWrite(p.c, p.s); err != nil {
			return total, err
		}
		n, err := p.w.Write(b[:min(len(b), writePiece)])
		total += n
		p.s.counters.sent.Add(int64(n))
		if err != nil {
			return total, err
		}
		b = b[n:]
	}
	return total, nil
}

// sendEmpty writes 304, 412 or 416. The latter two answer this request only: a cache on the way that took the file's
// Cache-Control for theirs would give them to everybody.
func (x *exchange) sendEmpty() {
	x.judgeUnread()
	x.writeHead()
	if x.status != http.StatusNotModified {
		x.w.Header().Set("Cache-Control", "no-store")
	}
	if x.status == http.StatusRequestedRangeNotSatisfiable {
		x.w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", x.pointer.Size))
	}
	x.start(x.status)
}

// sendFailure writes an error page: a sentence, never cached by others.
func (x *exchange) sendFailure(f *failure) {
	x.status, x.outcome.Reason = f.status, f.reason
	if f.status == http.StatusNotFound && x.site == nil || f.status == http.StatusBadRequest || f.status == http.StatusMethodNotAllowed {
		x.outcome.Fwd = cache.NotForwarded
	}
	h := x.w.Header()
	x.writeFailureStatus()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	text := fmt.Sprintf("%d %s\n%s\n", f.status, http.StatusText(f.status), f.text)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	x.start(f.status)
	if x.r.Method != http.MethodHead {
		io.WriteString(x.w, text)
	}
}

func (x *exchange) writeFailureStatus() {
	o := x.outcome
	s := x.s.node
	if x.remembered() {
		s += "; hit" // the absence itself
		x.writeAge()
	} else if !o.Hit() {
		s += "; fwd=" + string(o.Fwd)
	}
	x.w.Header().Set("Cache-Status", s+"; detail="+string(o.Reason))
}

// steps runs the steps; see the package comment.
func (x *exchange) steps() {
	if f := x.parse(); f != nil {
		x.sendFailure(f)
		return
	}
	if f := x.resolve(); f != nil {
		x.sendFailure(f)
		return
	}
	x.evaluate()
	if x.status != http.StatusOK && x.status != http.StatusPartialContent {
		x.sendEmpty()
		return
	}
	if f := x.send(); f != nil {
		x.sendFailure(f)
	}
}

package edge

import (
	"io"
	"net/http"
	"strconv"

	"perigee/edge/cache"
)

// responder is the way out of one answer, over one of the transports. It adds Date, and Connection where that is needed;
// all other fields are the steps'.
type responder interface {
	// begin sends the head, or keeps it to go out with the first bytes of the body. An error shows at the latest when the body is written.
	begin(status int, f fields)
	// Write sends bytes of the body. The client has writeIdle for each writePiece; an error says that it is gone, or was too slow.
	io.Writer
	// end sends what is still kept of an answer that is complete.
	end()
	// abort cuts the connection, so that the client does not take a part for the whole. It need not return.
	abort()
}

// judgeUnread completes the outcome of an answer that sends no bytes of the blob: it went nowhere for them.
func (x *exchange) judgeUnread() {
	if held := x.s.engine.Held(x.pointer); held.Hit() || x.outcome.Hit() {
		x.outcome = x.outcome.And(cache.Outcome{Reason: held.Reason})
	}
}

// begin sends the head of an answer about the file.
func (x *exchange) begin(f *fileFields) {
	b := make(fields, 0, 1024).add("Server", serverName)
	x.out.begin(x.status, f.appendTo(x.cacheStatus(b), x.verdict, x.pointer.Size))
}

// send writes a 200 or 206 with its body. Once the head is out, a failure can only be told by cutting the
// connection: the client must not take a part for the whole.
func (x *exchange) send() *failure {
	var body *cache.Body
	if x.req.method == http.MethodGet {
		b, f := x.locate()
		if f != nil {
			return f
		}
		defer b.Close()
		body = b
	} else {
		x.judgeUnread()
	}
	f := x.fileFieldsOf()
	if body == nil {
		x.begin(&f)
		return nil
	}
	x.prepare(body, &f)
	x.begin(&f)
	n, err := body.Copy(x.ctx, x.out)
	x.sent = n
	if err != nil {
		if x.ctx.Err() == nil && n < x.rng.Length {
			x.s.log.Debug("transfer broken off", "site", x.site.Site, "path", x.path, "sent", n, "of", x.rng.Length, "err", err)
		}
		x.broken = true
	}
	return nil
}

// writePiece is how much must be taken by the client within Server.writeIdle.
const writePiece = 64 << 10

// sendEmpty writes 304, 412 or 416.
func (x *exchange) sendEmpty() {
	x.judgeUnread()
	f := x.fileFieldsOf()
	x.begin(&f)
}

// sendFailure writes an error page: a sentence, never cached by others.
func (x *exchange) sendFailure(f *failure) {
	x.status, x.outcome.Reason = f.status, f.reason
	if f.status == http.StatusNotFound && x.site == nil || f.status == http.StatusBadRequest || f.status == http.StatusMethodNotAllowed {
		x.outcome.Fwd = cache.NotForwarded
	}
	text, kind := strconv.Itoa(f.status)+" "+http.StatusText(f.status)+"\n"+f.text+"\n", "text/plain; charset=utf-8"
	if page, ok := x.rule.ErrorPage(f.status); ok {
		text, kind = page, "text/html; charset=utf-8"
	}
	b := make(fields, 0, 512).add("Server", serverName)
	if f.name != "" {
		b = b.add(f.name, f.value)
	}
	b = x.failureStatus(b).
		add("Cache-Control", "no-store").
		add("Content-Type", kind).
		add("X-Content-Type-Options", "nosniff").
		addInt("Content-Length", int64(len(text)))
	x.out.begin(f.status, b)
	if x.req.method != http.MethodHead {
		n, _ := io.WriteString(x.out, text)
		x.page = int64(n)
	}
}

package pull

import (
	"crypto/rand"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"time"
)

// respond answers with a stored response, or with one that is on its way (r). reused says that another request has brought it. It returns true.
func (x *exchange) respond(h *head, r *reader, reused bool) bool {
	p := x.plan(h)
	f := x.fieldsFor(h, r, reused)
	if r == nil || reused {
		left := h.facts.Lifetime - h.facts.Age(x.c.clock.Now())
		x.out.TTL, x.out.HasTTL = left.Truncate(time.Second), true
	}
	if x.sendPage(p.status) {
		return true
	}
	contentType, boundary := f.Get("Content-Type"), ""
	x.setRange(f, h, p)
	if len(p.parts) > 1 {
		boundary = rand.Text()
		f.Set("Content-Type", "multipart/byteranges; boundary="+boundary)
	}
	x.begin(p.status, f)
	if len(p.parts) == 0 || x.r.Method == http.MethodHead || noContent(p.status) {
		return true
	}
	s := &source{x: x, h: h, r: r}
	defer s.close()
	if len(p.parts) > 1 {
		x.sendParts(s, h, p.parts, contentType, boundary)
		return true
	}
	x.send(s, p)
	return true
}

// fieldsFor returns the fields of an answer. Who has brought a response gets it as it came; everybody else gets what is kept, and its age (RFC 9111 §5.1).
func (x *exchange) fieldsFor(h *head, r *reader, reused bool) http.Header {
	if r != nil && !reused {
		return r.f.first.Clone()
	}
	f := h.header.Clone()
	age := h.facts.Age(x.c.clock.Now())
	f.Set("Age", strconv.FormatInt(int64(age/time.Second), 10))
	return f
}

// setRange sets what depends on which bytes are sent.
func (x *exchange) setRange(f http.Header, h *head, p plan) {
	switch {
	case p.status == http.StatusNotModified:
		for _, name := range []string{"Content-Length", "Content-Type", "Content-Encoding", "Content-Range", "Content-Language"} {
			delete(f, name)
		}
	case p.status == http.StatusRequestedRangeNotSatisfiable:
		delete(f, "Content-Type")
		f.Set("Content-Length", "0")
		f.Set("Content-Range", "bytes */"+strconv.FormatInt(h.size, 10))
	case p.status == http.StatusPartialContent && len(p.parts) == 1:
		f.Set("Content-Range", p.parts[0].contentRange(h.size))
		f.Set("Content-Length", strconv.FormatInt(p.parts[0].to-p.parts[0].from, 10))
	case p.status == http.StatusPartialContent:
		delete(f, "Content-Length")
	case h.size >= 0 && !noContent(p.status):
		f.Set("Content-Length", strconv.FormatInt(h.size, 10))
	}
}

// begin sends the head of an answer.
func (x *exchange) begin(status int, f http.Header) {
	if x.out.Hit() {
		x.c.count(func(s *Stats) { s.Hits++ })
	}
	if x.out.FwdStatus == status {
		x.out.FwdStatus = 0
	}
	x.status = status
	x.dress(status, f)
	out := x.w.Header()
	clear(out)
	for name, lines := range f {
		out[name] = lines
	}
	out["Cache-Status"] = append(out["Cache-Status"][:len(out["Cache-Status"]):len(out["Cache-Status"])], x.out.status(x.c.name))
	if _, ok := out["Content-Type"]; !ok {
		out["Content-Type"] = nil // net/http would guess one
	}
	x.w.WriteHeader(status)
}

// send copies the bytes of an answer. A failure cuts the connection: the client must not take a part for the whole.
func (x *exchange) send(s *source, p plan) {
	part := p.parts[0]
	if p.whole && part.to < 0 {
		part.to = 1<<63 - 1
	}
	if err := s.copy(x.w, part); err != nil && !(errors.Is(err, io.EOF) && p.whole && s.h.size < 0) {
		x.broken(err)
	}
}

func (x *exchange) broken(err error) {
	if x.ctx.Err() == nil {
		x.c.log.Debug("transfer broken off", "uri", x.addr.key, "err", err)
	}
	x.c.count(func(s *Stats) { s.Broken++ })
	x.brokenOff = true
	panic(http.ErrAbortHandler)
}

// sendParts sends several ranges (RFC 9110 §14.6).
func (x *exchange) sendParts(s *source, h *head, parts []span, contentType, boundary string) {
	m := multipart.NewWriter(x.w)
	if err := m.SetBoundary(boundary); err != nil {
		x.broken(err)
	}
	for _, part := range parts {
		head := textproto.MIMEHeader{"Content-Range": {part.contentRange(h.size)}}
		if contentType != "" {
			head.Set("Content-Type", contentType)
		}
		w, err := m.CreatePart(head)
		if err == nil {
			err = s.copy(w, part)
		}
		if err != nil {
			x.broken(err)
		}
	}
	if err := m.Close(); err != nil {
		x.broken(err)
	}
}

// respondAs answers with a part as the origin sent it.
func (x *exchange) respondAs(f *fill, r *reader) {
	x.begin(f.status, f.first.Clone())
	if x.r.Method == http.MethodHead {
		return
	}
	s := &source{x: x, h: f.head, r: r}
	defer s.close()
	to := f.from + f.expect
	if f.expect < 0 {
		to = 1<<63 - 1
	}
	if err := s.copy(x.w, span{f.from, to}); err != nil && !(errors.Is(err, io.EOF) && f.expect < 0) {
		x.broken(err)
	}
}

// relay passes a response on as it comes.
func (x *exchange) relay(resp *http.Response) {
	defer resp.Body.Close()
	if x.sendPage(resp.StatusCode) {
		return
	}
	f := resp.Header.Clone()
	if resp.ContentLength >= 0 && !noContent(resp.StatusCode) && f.Get("Content-Length") == "" {
		f.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	for name := range resp.Trailer {
		f.Add("Trailer", name)
	}
	x.begin(resp.StatusCode, f)
	if x.r.Method == http.MethodHead || noContent(resp.StatusCode) {
		return
	}
	if err := x.stream(resp.Body); err != nil {
		x.broken(err)
	}
	for name, lines := range resp.Trailer {
		x.w.Header()[name] = lines
	}
}

// stream copies a body, and lets what has come go on at once: nobody knows how long it takes until there is more.
func (x *exchange) stream(body io.Reader) error {
	buf, done := x.c.piece()
	defer done()
	c := http.NewResponseController(x.w)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if err := x.write(x.w, buf[:n]); err != nil {
				return err
			}
			if err := c.Flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fail answers with a page of our own.
func (x *exchange) fail(status int, why Reason, text string) {
	x.out.Reason = why
	if x.sendPage(status) {
		return
	}
	body := strconv.Itoa(status) + " " + http.StatusText(status) + "\n" + text + "\n"
	f := http.Header{
		"Cache-Control": {"no-store"}, "Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"},
		"Content-Length": {strconv.Itoa(len(body))},
	}
	x.begin(status, f)
	if x.r.Method != http.MethodHead {
		_, _ = io.WriteString(x.w, body)
	}
}

// write sends bytes of a body. The client has writeIdle for each pieceSize.
func (x *exchange) write(w io.Writer, b []byte) error {
	c := http.NewResponseController(x.w)
	for len(b) > 0 {
		if err := c.SetWriteDeadline(x.c.clock.Now().Add(writeIdle)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		n, err := w.Write(b[:min(len(b), pieceSize)])
		x.sent += int64(n)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// writeIdle is how long a client may take for a piece of a body.
const writeIdle = time.Minute

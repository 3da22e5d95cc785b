package upload

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/clock"
	"perigee/object"
)

// body reads a request's body with a limit on silence: each read may take Config.Idle, and all of them together, with what is done
// between them, Config.Longest.
type body struct {
	r     io.ReadCloser
	rc    *http.ResponseController
	clock clock.Clock
	idle  time.Duration
	until time.Time

	mu    sync.Mutex
	ended bool
}

// errTooSlow is what a body's reader gets after Config.Longest.
var errTooSlow = errors.New("the request took too long")

// errEnded is what a body's reader gets when a newer request has taken over.
var errEnded = errors.New("a newer request has taken over")

func (p *Publisher) body(w http.ResponseWriter, r *http.Request) *body {
	return &body{r: r.Body, rc: http.NewResponseController(w), clock: p.cfg.Clock, idle: p.cfg.Idle, until: p.cfg.Clock.Now().Add(p.cfg.Longest)}
}

func (b *body) Read(to []byte) (int, error) {
	now := b.clock.Now()
	if !now.Before(b.until) {
		return 0, errTooSlow
	}
	limit := now.Add(b.idle)
	if limit.After(b.until) {
		limit = b.until
	}
	if !b.allow(limit) {
		return 0, errEnded
	}
	n, err := b.r.Read(to)
	if err != nil && err != io.EOF {
		switch {
		case b.isEnded():
			err = errEnded
		case !b.clock.Now().Before(b.until):
			err = errTooSlow
		}
		return n, err // with the limit in place: the server would wait for the rest of the body
	}
	// The limit is on the publisher. While we are busy with what it sent there is none, or it would end the request.
	b.allow(time.Time{})
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error { return b.r.Close() }

// readAhead is how much is read of a body at a time for a reader that asks for less, as that of forms does: 4 KiB each time.
const readAhead = 128 << 10

// ahead reads more of b at a time than it is asked for.
func ahead(b *body) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{bufio.NewReaderSize(b, readAhead), b}
}

// allow sets until when the connection may be read; false means that the body was ended.
func (b *body) allow(until time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return false
	}
	// A connection without deadlines, as some tests have, is read without.
	_ = b.rc.SetReadDeadline(until)
	return true
}

func (b *body) isEnded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// end makes the present and all later reads fail. It does not block and may be called from any goroutine.
func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	_ = b.rc.SetReadDeadline(time.Unix(1, 0))
}

// drainTime is how long a publisher that was answered before the end of its body may go on sending. The server reads a
// little of such a rest before it sends the answer.
const drainTime = 2 * time.Second

// drained is a middleware: it makes sure that the server does not wait for ever for the rest of a body.
func (p *Publisher) drained(c *gin.Context) {
	c.Next()
	if s := c.Writer.Status(); s == http.StatusRequestTimeout || s == http.StatusLocked {
		return // its time is over already
	}
	_ = http.NewResponseController(c.Writer).SetReadDeadline(p.cfg.Clock.Now().Add(drainTime))
}

// plainBody refuses bodies that are not the file itself.
func plainBody(r *http.Request) error {
	if r.Header.Get("Content-Range") != "" {
		return refuse(http.StatusBadRequest, "partial", "A part of a file cannot be put. Send the whole file, or use a resumable upload.")
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return refuse(http.StatusUnsupportedMediaType, "encoded", "Content-Encoding %q is not taken off here. Send the file as it shall be served.", e)
	}
	return nil
}

// digest returns the SHA-256 that Repr-Digest or Content-Digest (RFC 9530) give; zero if neither has one. Without a
// content coding the two mean the same bytes.
func digest(h http.Header) (object.Hash, error) {
	var found object.Hash
	for _, name := range []string{"Repr-Digest", "Content-Digest"} {
		for _, field := range h.Values(name) {
			for member := range strings.SplitSeq(field, ",") {
				alg, value, ok := strings.Cut(strings.TrimSpace(member), "=")
				if !ok || !strings.EqualFold(alg, "sha-256") {
					continue
				}
				d, err := parseDigest(value)
				if err != nil || !found.IsZero() && found != d {
					return object.Hash{}, fmt.Errorf("%s %q: %w: write sha-256=:<base64 of 32 bytes>:, and the same in both fields", name, clip(field), object.ErrInvalid)
				}
				found = d
			}
		}
	}
	return found, nil
}

// parseDigest reads a byte sequence of RFC 9651 §3.3.5 that is a SHA-256.
func parseDigest(v string) (object.Hash, error) {
	v, _, _ = strings.Cut(v, ";")
	if len(v) < 2 || v[0] != ':' || v[len(v)-1] != ':' {
		return object.Hash{}, object.ErrInvalid
	}
	b, err := base64.StdEncoding.DecodeString(v[1 : len(v)-1])
	if err != nil || len(b) != len(object.Hash{}) {
		return object.Hash{}, object.ErrInvalid
	}
	return object.Hash(b), nil
}

// clip shortens what a stranger sent before it goes into a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

package pull

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"perigee/edge/pull/rfc9111"
	"perigee/object"
)

// plan is what a request gets of a response: the verdict of its own conditions and ranges.
type plan struct {
	status int
	parts  []span // the bytes to send; none for an answer without content
	whole  bool   // all of it, however long it turns out to be
}

// maxRanges bounds the ranges of one request that are answered one by one; a request with more gets everything (RFC 9110 §14.2).
const maxRanges = 16

// plan evaluates the conditions that a cache may evaluate (RFC 9111 §4.3.2), and Range.
func (x *exchange) plan(h *head) plan {
	p := plan{status: h.status, parts: []span{{0, h.size}}, whole: true}
	if h.status == http.StatusOK && x.unchanged(h) {
		return plan{status: http.StatusNotModified}
	}
	if h.status != http.StatusOK || x.r.Method != http.MethodGet || h.size < 0 {
		return p
	}
	field := x.r.Header["Range"]
	if len(field) != 1 || !x.rangeApplies(h) {
		return p
	}
	parts, ok := ranges(field[0], h.size)
	switch {
	case !ok:
		return p
	case len(parts) == 0:
		return plan{status: http.StatusRequestedRangeNotSatisfiable}
	}
	return plan{status: http.StatusPartialContent, parts: parts}
}

// unchanged reports whether the client's If-None-Match, or else If-Modified-Since, says that it has this response (RFC 9110 §13.1.2, §13.1.3).
func (x *exchange) unchanged(h *head) bool {
	if lines := x.r.Header["If-None-Match"]; len(lines) > 0 {
		return matches(strings.Join(lines, ", "), h.header.Get("Etag"))
	}
	since, ok := rfc9111.ParseDate(x.r.Header.Get("If-Modified-Since"), x.now)
	if !ok {
		return false
	}
	modified, ok := rfc9111.ParseDate(h.header.Get("Last-Modified"), x.now)
	if !ok { // RFC 9111 §4.3.2
		modified = h.date()
	}
	return !modified.Truncate(time.Second).After(since)
}

// matches is the weak comparison of a list of entity tags with one (RFC 9110 §8.8.3.2). A tag that is none matches itself alone.
func matches(list, tag string) bool {
	s := strings.TrimSpace(list)
	if s == "*" || s == tag && tag != "" {
		return true
	}
	if tag == "" {
		return false
	}
	opaque := strings.TrimPrefix(tag, "W/")
	for rest := list; ; {
		rest = strings.TrimLeft(rest, " \t,")
		rest = strings.TrimPrefix(rest, "W/")
		if rest == "" || rest[0] != '"' {
			return false
		}
		end := strings.IndexByte(rest[1:], '"')
		if end < 0 {
			return false
		}
		if rest[:end+2] == opaque {
			return true
		}
		rest = rest[end+2:]
	}
}

// rangeApplies evaluates If-Range, by the strong comparison (RFC 9110 §13.1.5).
func (x *exchange) rangeApplies(h *head) bool {
	v := x.r.Header.Get("If-Range")
	return v == "" || v == h.strong()
}

// ranges reads a Range field (RFC 9110 §14.1.2): the satisfiable ones, in the order asked for. false says that the field is to be ignored.
func ranges(field string, size int64) (parts []span, ok bool) {
	specs, isBytes := strings.CutPrefix(field, "bytes=")
	if !isBytes || strings.Count(specs, ",") >= maxRanges {
		return nil, false
	}
	total := int64(0)
	for spec := range strings.SplitSeq(specs, ",") {
		if spec = strings.Trim(spec, " \t"); spec == "" {
			continue
		}
		r, kind := object.ParseRange("bytes="+spec, size)
		switch kind {
		case object.RangeIgnored:
			return nil, false
		case object.RangeSatisfiable:
			parts = append(parts, span{r.Start, r.Start + r.Length})
			total += r.Length
		}
	}
	if len(parts) > 1 && total > size { // overlapping ones would cost more than everything
		return nil, false
	}
	return parts, true
}

// wanted returns the bytes that an answer needs, from the first to the last; false if it needs none.
func (x *exchange) wanted(h *head) (span, bool) {
	p := x.plan(h)
	if len(p.parts) == 0 || x.r.Method == http.MethodHead || h.size == 0 {
		return span{}, false
	}
	want := p.parts[0]
	for _, s := range p.parts[1:] {
		want = span{min(want.from, s.from), max(want.to, s.to)}
	}
	return want, true
}

// rangeOf is the Range field that asks for s of a content of size bytes.
func rangeOf(s span, size int64) string {
	if s.to == size {
		return "bytes=" + strconv.FormatInt(s.from, 10) + "-"
	}
	return fmt.Sprintf("bytes=%d-%d", s.from, s.to-1)
}

func (s span) contentRange(size int64) string {
	return object.Range{Start: s.from, Length: s.to - s.from}.ContentRange(size)
}

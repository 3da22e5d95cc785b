package edge

import (
	"net/http"
	"strings"

	"perigee/object"
)

// conditions are the fields that decide between the file, a part of it, and neither. One that is absent is "". A list field
// has its lines joined (RFC 9110 §5.3); Range is "" as well if it came more than once.
type conditions struct {
	ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince, ifRange, rng string
}

// verdict is what evaluate makes of a request for a file.
type verdict struct {
	status  int          // 200, 206, 304, 412 or 416
	rng     object.Range // what to send with 200 and 206
	partial bool
}

// representation is what preconditions are compared with.
type representation struct {
	etag     string
	modified int64 // Unix seconds
	size     int64
	// weakDate says that modified does not tell two states apart that followed each other within a second.
	weakDate bool
}

// representationOf is what a pointer means.
func representationOf(p *object.Pointer) representation {
	return representation{p.EntityTag(), p.Modified.Unix(), p.Size, p.Object()}
}

// evaluate applies the preconditions in the order of RFC 9110 §13.2.2, then Range (§14.2), which is for GET alone.
// It does not allocate, but for a date that cannot be read.
func evaluate(c *conditions, r representation, get bool) verdict {
	whole := verdict{status: http.StatusOK, rng: object.Range{Start: 0, Length: r.size}}
	if c.ifMatch != "" {
		if !matchAny(c.ifMatch, r.etag, strongly) {
			whole.status = http.StatusPreconditionFailed
			return whole
		}
	} else if t, ok := parseDate(c.ifUnmodifiedSince); ok && r.modified > t {
		whole.status = http.StatusPreconditionFailed
		return whole
	}
	if c.ifNoneMatch != "" {
		if matchAny(c.ifNoneMatch, r.etag, weakly) {
			whole.status = http.StatusNotModified
			return whole
		}
	} else if t, ok := parseDate(c.ifModifiedSince); ok && r.modified <= t {
		whole.status = http.StatusNotModified
		return whole
	}
	if c.rng == "" || !get {
		return whole
	}
	return evaluateRange(c, r, whole)
}

func evaluateRange(c *conditions, r representation, whole verdict) verdict {
	if c.ifRange != "" {
		// A date is a strong validator of a published file, whose time strictly increases in whole seconds (RFC 9110 §13.1.5).
		t, isDate := parseDate(c.ifRange)
		if isDate && (t != r.modified || r.weakDate) || !isDate && c.ifRange != r.etag {
			return whole
		}
	}
	switch rng, kind := object.ParseRange(c.rng, r.size); kind {
	case object.RangeSatisfiable:
		return verdict{http.StatusPartialContent, rng, true}
	case object.RangeUnsatisfiable:
		whole.status = http.StatusRequestedRangeNotSatisfiable
	}
	return whole
}

type comparison bool

const (
	strongly comparison = false
	weakly   comparison = true
)

// matchAny reports whether a list of entity tags (RFC 9110 §8.8.3) has etag, or is "*". A malformed list
// matches up to where it is malformed.
func matchAny(list, etag string, c comparison) bool {
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			return false
		}
		if list[0] == '*' {
			return true
		}
		weak := strings.HasPrefix(list, "W/")
		if weak {
			list = list[2:]
		}
		if list == "" || list[0] != '"' {
			return false
		}
		end := strings.IndexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		if list[:end+2] == etag && (!weak || c == weakly) {
			return true
		}
		list = list[end+2:]
	}
}

// fieldList joins the lines of a list field (RFC 9110 §5.3).
func fieldList(h http.Header, name string) string {
	if v := h[name]; len(v) > 1 {
		return strings.Join(v, ", ")
	}
	return h.Get(name)
}

// parseDate returns an HTTP date in Unix seconds.
func parseDate(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	t, err := http.ParseTime(s)
	if err != nil {
		return 0, false
	}
	return t.Unix(), true
}

package edge

import (
	"net/http"
	"strings"
	"time"

	"perigee/object"
)

// evaluate applies the preconditions in the order of RFC 9110 §13.2.2, then Range (§14.2). It sets x.status to 200,
// 206, 304, 412 or 416.
func (x *exchange) evaluate() {
	h, etag, modified := x.r.Header, x.pointer.Hash.ETag(), x.pointer.Modified
	x.rng = object.Range{Start: 0, Length: x.pointer.Size}
	x.status = http.StatusOK
	if im := fieldList(h, "If-Match"); im != "" {
		if !matchAny(im, etag, strongly) {
			x.status = http.StatusPreconditionFailed
			return
		}
	} else if t, ok := parseDate(h.Get("If-Unmodified-Since")); ok && modified.After(t) {
		x.status = http.StatusPreconditionFailed
		return
	}
	if inm := fieldList(h, "If-None-Match"); inm != "" {
		if matchAny(inm, etag, weakly) {
			x.status = http.StatusNotModified
			return
		}
	} else if t, ok := parseDate(h.Get("If-Modified-Since")); ok && !modified.After(t) {
		x.status = http.StatusNotModified
		return
	}
	x.evaluateRange(etag)
}

func (x *exchange) evaluateRange(etag string) {
	field := x.r.Header.Get("Range")
	if field == "" || x.r.Method != http.MethodGet || len(x.r.Header["Range"]) > 1 {
		return
	}
	if ir := x.r.Header.Get("If-Range"); ir != "" {
		// A date is a strong validator here: Modified strictly increases in whole seconds (RFC 9110 §13.1.5).
		t, isDate := parseDate(ir)
		if isDate && !t.Equal(x.pointer.Modified) || !isDate && ir != etag {
			return
		}
	}
	switch r, kind := object.ParseRange(field, x.pointer.Size); kind {
	case object.RangeSatisfiable:
		x.rng, x.partial, x.status = r, true, http.StatusPartialContent
	case object.RangeUnsatisfiable:
		x.status = http.StatusRequestedRangeNotSatisfiable
	}
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

func parseDate(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, false
	}
	t, err := http.ParseTime(s)
	return t, err == nil
}

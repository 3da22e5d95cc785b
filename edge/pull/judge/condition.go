package judge

import (
	"net/http"
	"strings"
	"time"
)

// isETag tells whether s is an entity-tag (RFC 9110 §8.8.3).
func isETag(s string) bool {
	s = strings.TrimPrefix(s, "W/")
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return false
	}
	for _, c := range []byte(s[1 : len(s)-1]) {
		if c <= ' ' || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}

// etag is the entity-tag of h, "" if there is none or it is no entity-tag.
func etag(h http.Header) string {
	if s := h.Get("Etag"); isETag(s) {
		return s
	}
	return ""
}

// strongEqual and weakEqual are the two comparisons of RFC 9110 §8.8.3.2.
func strongEqual(a, b string) bool { return a != "" && a == b && !strings.HasPrefix(a, "W/") }

func weakEqual(a, b string) bool {
	return a != "" && b != "" && strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}

// tags splits If-None-Match. An entity-tag may hold commas, and a backslash escapes nothing in it.
func tags(lines []string) []string {
	var out []string
	for _, line := range lines {
		for line != "" {
			line = strings.TrimLeft(line, ", \t")
			end := strings.IndexByte(line, ',')
			if open := strings.IndexByte(line, '"'); open >= 0 && (end < 0 || open < end) {
				end = len(line)
				if n := strings.IndexByte(line[open+1:], '"'); n >= 0 {
					end = open + n + 2
				}
			}
			if end < 0 {
				end = len(line)
			}
			if tag := strings.TrimRight(line[:end], " \t"); tag != "" {
				out = append(out, tag)
			}
			line = line[end:]
		}
	}
	return out
}

// modified is the Last-Modified date of h.
func modified(h http.Header, now time.Time) (time.Time, bool) {
	return parseDate(h.Get("Last-Modified"), now)
}

// conditional tells whether a request asks for validation.
func conditional(h http.Header) bool {
	return h.Get("If-None-Match") != "" || h.Get("If-Modified-Since") != ""
}

// unmodified tells whether the preconditions in asked call for a 304 instead of a response with these fields (RFC 9110 §13.2.2): If-None-Match,
// else If-Modified-Since, which counts only as one valid date. received stands for the time of a response that has neither Last-Modified nor
// Date (RFC 9111 §4.3.2).
func unmodified(asked, stored http.Header, received time.Time) bool {
	if lines, ok := asked["If-None-Match"]; ok {
		for _, tag := range tags(lines) {
			if tag == "*" || isETag(tag) && weakEqual(tag, etag(stored)) {
				return true
			}
		}
		return false
	}
	if len(asked.Values("If-Modified-Since")) != 1 {
		return false
	}
	since, ok := parseDate(asked.Get("If-Modified-Since"), received)
	last, known := modified(stored, received)
	if !known {
		last, known = parseDate(stored.Get("Date"), received)
	}
	if !known {
		last = received.Truncate(time.Second)
	}
	return ok && !last.After(since)
}

// ranged tells whether If-Range, if present, lets Range apply (RFC 9110 §13.1.5): the same strong entity-tag, or exactly the Last-Modified date,
// which is strong if Date is at least a second later (§8.8.2.2).
func ranged(asked, stored http.Header, received time.Time) bool {
	lines, ok := asked["If-Range"]
	if !ok {
		return true
	}
	if len(lines) != 1 {
		return false
	}
	if strings.HasSuffix(lines[0], `"`) {
		return isETag(lines[0]) && strongEqual(lines[0], etag(stored))
	}
	want, ok := parseDate(lines[0], received)
	last, strong := firm(stored, received)
	return ok && strong && want.Equal(last)
}

// firm is Last-Modified, if it is a strong validator (RFC 9110 §8.8.2.2).
func firm(stored http.Header, received time.Time) (last time.Time, ok bool) {
	last, known := modified(stored, received)
	date, dated := parseDate(stored.Get("Date"), received)
	if stored.Get("Date") == "" {
		date, dated = received, true
	}
	return last, known && dated && date.Sub(last) >= time.Second
}

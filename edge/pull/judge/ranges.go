package judge

import (
	"fmt"
	"net/http"
	"strings"
)

// byteRange is one range-spec: first-last, first- (last is -1), or the last so many bytes (first is -1).
type byteRange struct{ first, last int }

// parseRange reads Range (RFC 9110 §14.1.1, §14.2). known is false for a unit other than bytes or no Range at all; valid is false for bad syntax.
func parseRange(h http.Header) (ranges []byteRange, known, valid bool) {
	unit, set, ok := strings.Cut(h.Get("Range"), "=")
	if !ok || !strings.EqualFold(unit, "bytes") || len(h.Values("Range")) != 1 {
		return nil, false, false
	}
	for _, spec := range members([]string{set}) {
		first, last, dash := strings.Cut(spec, "-")
		a, aOK := digits(first)
		b, bOK := digits(last)
		switch {
		case dash && aOK && bOK && a <= b:
			ranges = append(ranges, byteRange{int(a), int(b)})
		case dash && aOK && last == "":
			ranges = append(ranges, byteRange{int(a), -1})
		case dash && first == "" && bOK:
			ranges = append(ranges, byteRange{-1, int(b)})
		default:
			return nil, true, false
		}
	}
	return ranges, true, len(ranges) > 0
}

// resolve gives the first and last position of r in a representation of size bytes; ok is false if it has none of them (RFC 9110 §14.1.2).
func (r byteRange) resolve(size int) (first, last int, ok bool) {
	first, last = r.first, r.last
	if first < 0 {
		first, last = max(0, size-r.last), size-1
		return first, last, r.last > 0 && size > 0
	}
	if last < 0 || last >= size {
		last = size - 1
	}
	return first, last, first < size
}

// parseContentRange reads "bytes first-last/total" or "bytes */total" (RFC 9110 §14.4). An unknown total, and the positions of the second form,
// are -1.
func parseContentRange(s string) (first, last, total int, ok bool) {
	rest, unit := strings.CutPrefix(s, "bytes ")
	span, size, slash := strings.Cut(rest, "/")
	n, sizeOK := digits(size)
	if size == "*" {
		n, sizeOK = -1, true
	}
	if span == "*" {
		return -1, -1, int(n), unit && slash && n >= 0 && sizeOK
	}
	from, to, dash := strings.Cut(span, "-")
	a, aOK := digits(from)
	b, bOK := digits(to)
	return int(a), int(b), int(n), unit && slash && dash && aOK && bOK && sizeOK && a <= b && (n < 0 || b < n)
}

// maxContent bounds what a Content-Range makes the model allocate.
const maxContent = 1 << 24

// content is what is known of the bytes of a representation.
type content struct {
	total int // -1: unknown
	data  []byte
	have  []bool
}

// contentOf is the content of one response; nil if its status or fields do not tell which bytes its body is.
func contentOf(status int, h http.Header, body string) *content {
	if status != http.StatusPartialContent {
		c := &content{total: len(body)}
		c.add(0, body)
		return c
	}
	first, last, total, ok := parseContentRange(h.Get("Content-Range"))
	if !ok || last-first+1 != len(body) || last >= maxContent {
		return nil
	}
	c := &content{total: total}
	c.add(first, body)
	return c
}

func (c *content) add(first int, part string) {
	if n := first + len(part) - len(c.data); n > 0 {
		c.data = append(c.data, make([]byte, n)...)
		c.have = append(c.have, make([]bool, n)...)
	}
	for i := range len(part) {
		c.data[first+i], c.have[first+i] = part[i], true
	}
}

// join adds what another response with the same strong validator brought (RFC 9111 §3.4). It refuses what contradicts it.
func (c *content) join(d *content) bool {
	if c.total != d.total {
		return false
	}
	for i := range min(len(c.data), len(d.data)) {
		if c.have[i] && d.have[i] && c.data[i] != d.data[i] {
			return false
		}
	}
	for i, known := range d.have {
		if known {
			c.add(i, string(d.data[i]))
		}
	}
	return true
}

// check tells what is wrong with part as the bytes from first on.
func (c *content) check(first int, part string) error {
	for i := range len(part) {
		at := first + i
		if at >= len(c.have) || !c.have[at] {
			return fmt.Errorf("byte %d never came from the origin", at)
		}
		if c.data[at] != part[i] {
			return fmt.Errorf("byte %d is %q, the origin sent %q", at, part[i], c.data[at])
		}
	}
	return nil
}

package object

import (
	"fmt"
	"strconv"
	"strings"
)

// Range is a run of bytes of a representation: Start to Start+Length-1. Length is at least 1.
type Range struct {
	Start, Length int64
}

// RangeKind is what became of a Range header field.
type RangeKind int

// The outcomes of ParseRange, RFC 9110 §14.2.
const (
	RangeIgnored       RangeKind = iota // absent, not bytes, malformed or more than one range: answer 200 in full
	RangeSatisfiable                    // answer 206
	RangeUnsatisfiable                  // answer 416
)

// ParseRange reads a Range field (RFC 9110 §14.1.2) for a representation of size bytes. Several ranges in one field
// are ignored, as §14.2 allows.
func ParseRange(field string, size int64) (Range, RangeKind) {
	spec, ok := strings.CutPrefix(field, "bytes=")
	if !ok || strings.IndexByte(spec, ',') >= 0 {
		return Range{}, RangeIgnored
	}
	first, last, ok := strings.Cut(strings.Trim(spec, " \t"), "-")
	if !ok || !digits(first) || !digits(last) || first == "" && last == "" {
		return Range{}, RangeIgnored
	}
	if first == "" {
		return suffixRange(atoi(last), size)
	}
	start, end := atoi(first), size-1
	if last != "" {
		if n := atoi(last); n < start {
			return Range{}, RangeIgnored
		} else if n < end {
			end = n
		}
	}
	if start >= size {
		return Range{}, RangeUnsatisfiable
	}
	return Range{start, end - start + 1}, RangeSatisfiable
}

func suffixRange(n, size int64) (Range, RangeKind) {
	if n == 0 || size == 0 {
		return Range{}, RangeUnsatisfiable
	}
	n = min(n, size)
	return Range{size - n, n}, RangeSatisfiable
}

// ContentRange returns the value of Content-Range for r, RFC 9110 §14.4.
func (r Range) ContentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", r.Start, r.Start+r.Length-1, size)
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// atoi reads digits; a number too large for an int64 is the largest one, which is beyond any size.
func atoi(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1
	}
	return n
}

package object

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPath is the longest Path in bytes, after decoding.
const MaxPath = 2048

// MaxSegment is the longest segment of a Path in bytes.
const MaxSegment = 255

// MaxDepth is how many segments a Path may have.
const MaxDepth = 128

// ReservedPrefix begins the paths that Perigee keeps for itself; no file can be uploaded below it.
const ReservedPrefix = "/_perigee/"

// IndexDocument is what a request for a path ending in '/' means: the file of this name below it.
const IndexDocument = "index.html"

// Path names a file of a site: absolute, decoded, '/'-separated UTF-8, at most MaxPath bytes, at most MaxDepth segments of at most
// MaxSegment bytes, none empty, "." or "..", no control character. There is one spelling per file: two Paths are the same file if and only if
// they are equal. Unicode normalisation is not applied: NFC and NFD names are two files, as on an S3 server.
type Path string

// ParsePath checks a decoded path. A missing leading '/' is added; everything else that is not canonical is
// refused, never repaired, so that nobody's file lands under a name they did not write. Errors wrap ErrInvalid.
func ParsePath(s string) (Path, error) {
	p := s
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	if len(p) > MaxPath {
		return "", fmt.Errorf("path %q: %w: it is %d bytes long, the limit is %d", clip(p), ErrInvalid, len(p), MaxPath)
	}
	if !utf8.ValidString(p) {
		return "", fmt.Errorf("path %q: %w: it is not valid UTF-8", clip(p), ErrInvalid)
	}
	if p == "/" {
		return "", fmt.Errorf("path %q: %w: it names no file", p, ErrInvalid)
	}
	if strings.HasSuffix(p, "/") {
		return "", fmt.Errorf("path %q: %w: a file name cannot end in '/'", clip(p), ErrInvalid)
	}
	if strings.HasPrefix(p+"/", ReservedPrefix) {
		return "", fmt.Errorf("path %q: %w: paths below %s are reserved", clip(p), ErrInvalid, ReservedPrefix)
	}
	if n := strings.Count(p, "/"); n > MaxDepth {
		return "", fmt.Errorf("path %q: %w: it is %d directories deep, the limit is %d", clip(p), ErrInvalid, n, MaxDepth)
	}
	for seg := range strings.SplitSeq(p[1:], "/") {
		if err := checkSegment(p, seg); err != nil {
			return "", err
		}
	}
	return Path(p), nil
}

func checkSegment(p, seg string) error {
	switch {
	case seg == "":
		return fmt.Errorf("path %q: %w: it has an empty segment ('//')", clip(p), ErrInvalid)
	case seg == "." || seg == "..":
		return fmt.Errorf("path %q: %w: it has a %q segment", clip(p), ErrInvalid, seg)
	case len(seg) > MaxSegment:
		return fmt.Errorf("path %q: %w: a segment is %d bytes long, the limit is %d", clip(p), ErrInvalid, len(seg), MaxSegment)
	}
	for _, r := range seg {
		if unicode.IsControl(r) || r == '\\' || r == '\u2028' || r == '\u2029' {
			return fmt.Errorf("path %q: %w: it contains the character %U", clip(p), ErrInvalid, r)
		}
	}
	return nil
}

// ParseEscapedPath decodes the path of a request target (RFC 3986 §3.3) and checks it. "%2F" and "%5C" are refused:
// servers before and behind us disagree on whether they separate segments, and that disagreement is an attack.
// A malformed escape is refused as well. Errors wrap ErrInvalid.
func ParseEscapedPath(escaped string) (Path, error) {
	s, err := unescapePath(escaped)
	if err != nil {
		return "", err
	}
	return ParsePath(s)
}

// ParseRequestPath is ParseEscapedPath for readers: a path that ends in '/' means its IndexDocument.
func ParseRequestPath(escaped string) (Path, error) {
	if strings.HasSuffix(escaped, "/") {
		escaped += IndexDocument
	}
	return ParseEscapedPath(escaped)
}

func unescapePath(escaped string) (string, error) {
	if len(escaped) > 3*MaxPath {
		return "", fmt.Errorf("path %q: %w: it is %d bytes long, the limit is %d after decoding", clip(escaped), ErrInvalid, len(escaped), MaxPath)
	}
	if strings.IndexByte(escaped, '%') < 0 {
		return escaped, nil
	}
	out := make([]byte, 0, len(escaped))
	for i := 0; i < len(escaped); i++ {
		if escaped[i] != '%' {
			out = append(out, escaped[i])
			continue
		}
		if i+2 >= len(escaped) {
			return "", fmt.Errorf("path %q: %w: it ends inside a %%-escape", clip(escaped), ErrInvalid)
		}
		hi, lo := unhex(escaped[i+1]), unhex(escaped[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("path %q: %w: %q is no %%-escape", clip(escaped), ErrInvalid, escaped[i:i+3])
		}
		c := byte(hi<<4 | lo)
		if c == '/' || c == '\\' {
			return "", fmt.Errorf("path %q: %w: %s is refused; write '/' between directories", clip(escaped), ErrInvalid, escaped[i:i+3])
		}
		out = append(out, c)
		i += 2
	}
	return string(out), nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Escape returns p as it stands in a URL: every byte outside RFC 3986's unreserved set and '/' is %-escaped with
// upper-case digits. ParseEscapedPath(p.Escape()) == p.
func (p Path) Escape() string {
	const hex = "0123456789ABCDEF"
	n := 0
	for i := range len(p) {
		if !plainInURL(p[i]) {
			n++
		}
	}
	if n == 0 {
		return string(p)
	}
	out := make([]byte, 0, len(p)+2*n)
	for i := range len(p) {
		if c := p[i]; plainInURL(c) {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}

func plainInURL(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~' || c == '/'
}

// Name returns the last segment.
func (p Path) Name() string { return string(p[strings.LastIndexByte(string(p), '/')+1:]) }

// Prefixes yields every prefix of p that ends at a '/', shortest first: "/", "/a/", "/a/b/" for "/a/b/c".
// A prefix purge names one of them.
func (p Path) Prefixes(yield func(Prefix) bool) {
	for i := range len(p) {
		if p[i] == '/' && !yield(Prefix(p[:i+1])) {
			return
		}
	}
}

// Prefix is a directory of a site: it starts and ends with '/' and is otherwise as Path.
type Prefix string

// ParsePrefix checks a decoded prefix and adds missing outer slashes. Errors wrap ErrInvalid.
func ParsePrefix(s string) (Prefix, error) {
	trimmed := strings.TrimSuffix(strings.TrimPrefix(s, "/"), "/")
	if trimmed == "" {
		return "/", nil
	}
	p, err := ParsePath(trimmed)
	if err != nil {
		return "", err
	}
	return Prefix(p) + "/", nil
}

package rfc9111

import (
	"net/http"
	"strings"
	"time"
)

// maxDelta is what numbers of seconds are capped at (RFC 9111 §1.2.2).
const maxDelta = 1 << 31

// directive is one member of a Cache-Control field.
type directive struct {
	name   string // lower case
	arg    string // unquoted
	hasArg bool
	bad    bool // its argument is no token and no quoted string
}

// Directives are what Cache-Control (RFC 9111 §5.2), or a field that stands in its place, says.
type Directives struct{ list []directive }

// maxDirectives bounds how many are looked at; no real field has that many.
const maxDirectives = 64

// ParseDirectives reads the lines of a Cache-Control field. What cannot be read is left out; a quote that is never closed hides nothing that comes after it.
func ParseDirectives(lines []string) Directives {
	var d Directives
	for _, line := range lines {
		for line != "" && len(d.list) < maxDirectives {
			var one directive
			if one, line = nextDirective(line); one.name != "" {
				d.list = append(d.list, one)
			}
		}
	}
	return d
}

// nextDirective takes one member off the front of a list.
func nextDirective(s string) (d directive, rest string) {
	s = strings.TrimLeft(s, " \t,")
	end := strings.IndexAny(s, "=,")
	if end < 0 || s[end] == ',' {
		name, rest, _ := strings.Cut(s, ",")
		return directive{name: directiveName(strings.TrimRight(name, " \t"))}, rest
	}
	d = directive{name: directiveName(s[:end]), hasArg: true}
	s = s[end+1:]
	if strings.HasPrefix(s, `"`) {
		if arg, after, ok := unquote(s); ok {
			junk, rest, _ := strings.Cut(after, ",")
			d.arg, d.bad = arg, strings.Trim(junk, " \t") != ""
			return d, rest
		}
	}
	arg, rest, _ := strings.Cut(s, ",")
	d.arg = strings.TrimRight(arg, " \t")
	d.bad = !isToken(d.arg)
	return d, rest
}

// directiveName returns a name in lower case, "" if it is none.
func directiveName(s string) string {
	if !isToken(s) {
		return ""
	}
	return strings.ToLower(s)
}

// unquote reads a quoted string (RFC 9110 §5.6.4) at the front of s.
func unquote(s string) (value, rest string, ok bool) {
	if !strings.Contains(s, `\`) {
		value, rest, ok = strings.Cut(s[1:], `"`)
		return value, rest, ok
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && !strings.Contains("!#$%&'*+-.^_`|~", s[i:i+1]) {
			return false
		}
	}
	return s != ""
}

// Has reports whether there is a directive of that name, with an argument or without.
func (d Directives) Has(name string) bool { return d.find(name) != nil }

func (d Directives) find(name string) *directive {
	for i := range d.list {
		if d.list[i].name == name {
			return &d.list[i]
		}
	}
	return nil
}

// Seconds returns the argument of a directive, its first one. One that is no number of seconds counts as 0: there the text asks for stale responses.
func (d Directives) Seconds(name string) (v time.Duration, given bool) {
	one := d.find(name)
	if one == nil {
		return 0, false
	}
	if v, ok := parseDelta(one.arg); ok && !one.bad {
		return v, true
	}
	return 0, true
}

// bare reports whether a directive that may have field names stands without them: it is then about the whole response.
func (d Directives) bare(name string) bool {
	for i := range d.list {
		if one := &d.list[i]; one.name == name && (!one.hasArg || one.bad || strings.Trim(one.arg, " \t,") == "") {
			return true
		}
	}
	return false
}

// Fields returns the field names that a directive lists, in canonical form (RFC 9111 §5.2.2.4, §5.2.2.7).
func (d Directives) Fields(name string) (fields []string) {
	for i := range d.list {
		if one := &d.list[i]; one.name == name && !one.bad {
			for f := range strings.SplitSeq(one.arg, ",") {
				if f = strings.Trim(f, " \t"); isToken(f) {
					fields = append(fields, http.CanonicalHeaderKey(f))
				}
			}
		}
	}
	return fields
}

// parseDelta reads a number of seconds (RFC 9111 §1.2.2).
func parseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	v := int64(0)
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = min(10*v+int64(c-'0'), maxDelta)
	}
	return time.Duration(v) * time.Second, true
}

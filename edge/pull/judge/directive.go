package judge

import (
	"net/http"
	"strings"
)

// form is how the argument of a directive was written.
type form int

const (
	bare   form = iota // no argument
	word               // token
	quoted             // quoted-string
	number             // Integer of a structured field
	text               // any other type of a structured field
	broken             // nothing that the grammar knows
)

// directive is one member of Cache-Control, its name in lower case.
type directive struct {
	name, arg string
	form      form
}

// directives are the members of one message in their order.
type directives []directive

// parseDirectives reads Cache-Control (RFC 9111 §5.2). Names have either case, and arguments may be tokens or quoted strings whatever the
// directive defines, since recipients ought to accept both.
func parseDirectives(lines []string) directives {
	var ds directives
	for _, m := range members(lines) {
		name, arg, eq := strings.Cut(m, "=")
		d := directive{name: strings.ToLower(strings.TrimSpace(name))}
		switch unquoted, ok := unquote(arg); {
		case name != strings.TrimSpace(name):
			d.form = broken
		case !eq:
			d.form = bare
		case ok:
			d.arg, d.form = unquoted, quoted
		case isToken(arg):
			d.arg, d.form = arg, word
		default:
			d.arg, d.form = arg, broken
		}
		ds = append(ds, d)
	}
	return ds
}

// responseDirectives are those that a CDN obeys: CDN-Cache-Control if it is valid and not empty, which then stands for Expires, too
// (RFC 9213 §2.2), else Cache-Control.
func responseDirectives(h http.Header) (ds directives, targeted bool) {
	if ds, ok := parseTargeted(h.Values("Cdn-Cache-Control")); ok && len(ds) > 0 {
		return ds, true
	}
	return parseDirectives(h.Values("Cache-Control")), false
}

// has tells whether the directive is present, with or without an argument.
func (ds directives) has(name string) bool { return ds.count(name) > 0 }

// count is how often a directive is present.
func (ds directives) count(name string) int {
	n := 0
	for _, d := range ds {
		if d.name == name {
			n++
		}
	}
	return n
}

// seconds is the delta-seconds of the first directive of that name: valid says whether it is one.
func (ds directives) seconds(name string) (n int64, present, valid bool) {
	for _, d := range ds {
		if d.name != name {
			continue
		}
		if d.form == word || d.form == quoted || d.form == number {
			n, valid = digits(d.arg)
		}
		return n, true, valid
	}
	return 0, false, false
}

// within tells whether a directive that is a limit in seconds permits n. An invalid one permits nothing.
func (ds directives) within(name string, n int64) bool {
	limit, _, valid := ds.seconds(name)
	return valid && n <= limit
}

// qualified splits no-cache or private (RFC 9111 §5.2.2.4, §5.2.2.7) into fields that it names and whether it concerns the whole response. An
// argument that names no field counts as none, the restrictive reading.
func (ds directives) qualified(name string) (fields []string, all bool) {
	for _, d := range ds {
		if d.name != name {
			continue
		}
		names := members([]string{d.arg})
		if d.form == bare || d.form == broken || len(names) == 0 {
			all = true
		}
		for _, field := range names {
			fields = append(fields, http.CanonicalHeaderKey(field))
		}
	}
	return fields, all
}

// members splits a list at its commas, those within quotes aside, and leaves out empty members (RFC 9110 §5.6.1.2).
func members(lines []string) []string {
	var out []string
	for _, line := range lines {
		start, inside := 0, false
		for i := 0; i <= len(line); i++ {
			switch {
			case i == len(line) || line[i] == ',' && !inside:
				if m := strings.Trim(line[start:i], " \t"); m != "" {
					out = append(out, m)
				}
				start = i + 1
			case line[i] == '\\' && inside && i+1 < len(line):
				i++
			case line[i] == '"':
				inside = !inside
			}
		}
	}
	return out
}

// unquote reads a quoted-string (RFC 9110 §5.6.4).
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' {
			i++
		} else if s[i] == '"' {
			return "", false
		}
		if i == len(s)-1 {
			return "", false
		}
		b.WriteByte(s[i])
	}
	return b.String(), true
}

// isToken tells whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

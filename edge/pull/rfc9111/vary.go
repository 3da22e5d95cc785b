package rfc9111

import (
	"net/http"
	"slices"
	"strings"
)

// Vary returns the names that a response's Vary lists, canonical, sorted and each once; star says that it varies by more than fields (RFC 9110 §12.5.5).
func Vary(h http.Header) (names []string, star bool) {
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			switch name = strings.Trim(name, " \t"); {
			case name == "*":
				star = true
			case name != "":
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), star
}

// freeText are fields in which a comma separates nothing, so that the space around it may mean something.
var freeText = map[string]bool{"User-Agent": true, "Cookie": true, "Referer": true, "Authorization": true, "From": true}

// Selecting returns what a request has in the fields of names, normalised as RFC 9111 §4.1 allows: lines combined, the space around the members of
// lists gone, and members without a meaning of their case in lower case. Equal results select the same response.
func Selecting(names []string, h http.Header) string {
	var b strings.Builder
	for _, name := range names {
		lines, present := h[name]
		if !present {
			b.WriteString("-\n") // an absent field is not an empty one
			continue
		}
		b.WriteByte('+')
		b.WriteString(normal(name, lines))
		b.WriteByte('\n')
	}
	return b.String()
}

func normal(name string, lines []string) string {
	if freeText[name] {
		return strings.Join(lines, ", ")
	}
	members := make([]string, 0, 8)
	for _, line := range lines {
		for m := range splitList(line) {
			members = append(members, normalMember(name, m))
		}
	}
	if name == "Accept-Language" {
		slices.Sort(members) // their order means nothing that can be relied upon (RFC 9110 §12.5.4)
	}
	return strings.Join(members, ",")
}

// normalMember lowers the case where it means nothing: language ranges (RFC 9110 §12.5.4), codings (§8.4.1).
func normalMember(name, m string) string {
	if name != "Accept-Language" && name != "Accept-Encoding" {
		return m
	}
	tag, weight, weighed := strings.Cut(strings.ToLower(m), ";")
	if !weighed {
		return tag
	}
	return strings.TrimRight(tag, " \t") + ";" + strings.TrimLeft(weight, " \t")
}

// splitList yields the members of a list (RFC 9110 §5.6.1), the empty ones left out; commas in quotes separate nothing.
func splitList(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		start, quoted := 0, false
		for i := 0; i <= len(s); i++ {
			switch {
			case i < len(s) && quoted && s[i] == '\\':
				i++
			case i < len(s) && s[i] == '"':
				quoted = !quoted
			case i >= len(s) || s[i] == ',' && !quoted:
				m := strings.Trim(s[start:min(i, len(s))], " \t")
				start = i + 1
				if m != "" && !yield(m) {
					return
				}
			}
		}
		if start < len(s) && quoted { // never closed, and ended by a backslash
			yield(strings.Trim(s[start:], " \t"))
		}
	}
}

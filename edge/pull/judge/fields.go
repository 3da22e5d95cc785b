package judge

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// connectionFields are meant for one connection (RFC 9110 §7.6.1) or for one proxy (RFC 9111 §3.1).
var connectionFields = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization"}

// hopByHop are the fields of h that must not be passed on: the known ones and those that Connection names.
func hopByHop(h http.Header) []string {
	names := slices.Clone(connectionFields)
	for _, name := range members(h.Values("Connection")) {
		names = append(names, http.CanonicalHeaderKey(name))
	}
	return names
}

// endToEnd is a copy of h without the fields that must not be passed on.
func endToEnd(h http.Header) http.Header {
	kept := h.Clone()
	if kept == nil {
		kept = http.Header{}
	}
	for _, name := range hopByHop(h) {
		delete(kept, name)
	}
	return kept
}

// combined is the value of a field whose lines are put together (RFC 9110 §5.3), white space around its commas normalised.
func combined(h http.Header, name string) (value string, present bool) {
	lines, present := h[http.CanonicalHeaderKey(name)]
	return strings.Join(members(lines), ", "), present
}

// sameField tells whether both have the field with the same value, or both lack it.
func sameField(a, b http.Header, name string) bool {
	x, inA := combined(a, name)
	y, inB := combined(b, name)
	return inA == inB && x == y
}

// varies are the request fields that Vary names, in order; "*" is left as it is (RFC 9110 §12.5.5).
func varies(h http.Header) (names []string) {
	for _, name := range members(h.Values("Vary")) {
		names = append(names, http.CanonicalHeaderKey(name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// selects tells whether a request with fields now may get what a request with fields then got, if Vary names these fields (RFC 9111 §4.1). Values
// are compared byte by byte once lists are normalised: what else means the same is unknown here.
func selects(names []string, then, now http.Header) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return name == "*" || !sameField(then, now, name) })
}

// names are those of the fields of h in a fixed order, so that the same history gets the same findings.
func names(h http.Header) []string { return slices.Sorted(maps.Keys(h)) }

// safe tells whether a method is (RFC 9110 §9.2.1); an unknown one is not.
func safe(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace}, method)
}

// reads tells whether a cache can answer the method from store.
func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

package rfc9111

import (
	"net/http"

	"github.com/dunglas/httpsfv"
)

// maxGroups and maxGroupLength bound what a response may say (RFC 9875 §2: at least 32 of 32 characters each must be taken).
const (
	maxGroups      = 128
	maxGroupLength = 128
)

// CacheGroups returns the groups that a response belongs to (RFC 9875 §2). A field that is no List of Strings says nothing.
func CacheGroups(h http.Header) []string { return groups(h["Cache-Groups"]) }

// InvalidatedGroups returns the groups whose responses an answer makes invalid: of one to an unsafe method that was no error (RFC 9875 §3).
func InvalidatedGroups(method string, status int, h http.Header) []string {
	if safe[method] || status < 200 || status >= 400 {
		return nil
	}
	return groups(h["Cache-Group-Invalidation"])
}

func groups(lines []string) (out []string) {
	if len(lines) == 0 {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	for _, m := range list {
		item, ok := m.(httpsfv.Item)
		if !ok {
			return nil
		}
		s, ok := item.Value.(string)
		if !ok {
			return nil
		}
		if len(s) <= maxGroupLength && len(out) < maxGroups {
			out = append(out, s)
		}
	}
	return out
}

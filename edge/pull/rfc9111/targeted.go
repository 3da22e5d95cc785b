package rfc9111

import (
	"net/http"
	"strconv"

	"github.com/dunglas/httpsfv"
)

// TargetedField is the field of RFC 9213 that is meant for us.
const TargetedField = "Cdn-Cache-Control"

// controlOf returns the directives that count: those of CDN-Cache-Control if that is a Dictionary with a member (RFC 9213 §2.2), else those of Cache-Control.
func controlOf(h http.Header) (d Directives, targeted bool) {
	if lines := h[TargetedField]; len(lines) > 0 {
		dict, err := httpsfv.UnmarshalDictionary(lines)
		if err == nil && len(dict.Names()) > 0 {
			return fromDictionary(dict), true
		}
	}
	return ParseDirectives(h["Cache-Control"]), false
}

// fromDictionary makes directives of a Dictionary's members. A lifetime is an Integer, anything else of it is ignored; false is as if the member were not
// there (RFC 9213 §2.1). Parameters mean nothing.
func fromDictionary(dict *httpsfv.Dictionary) (d Directives) {
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		item, ok := member.(httpsfv.Item)
		if !ok || len(d.list) == maxDirectives {
			continue
		}
		one := directive{name: name}
		switch v := item.Value.(type) {
		case bool:
			if !v || isLifetime(name) {
				continue
			}
		case int64:
			one.arg, one.hasArg = strconv.FormatInt(v, 10), true
		case string:
			one.arg, one.hasArg = v, true
		case httpsfv.Token:
			one.arg, one.hasArg = string(v), true
		default:
			continue
		}
		if _, isInt := item.Value.(int64); isLifetime(name) && !isInt {
			continue
		}
		d.list = append(d.list, one)
	}
	return d
}

func isLifetime(name string) bool {
	switch name {
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
		return true
	}
	return false
}

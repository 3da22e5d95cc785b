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

// fromDictionary makes directives of a Dictionary's members (RFC 9213 §2.1). A lifetime is an Integer; one that is anything else is invalid, and counts as 0 like one of Cache-Control
// (RFC 9111 §4.2.1). False is as if the member were not there. Parameters mean nothing.
func fromDictionary(dict *httpsfv.Dictionary) (d Directives) {
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		if len(d.list) == maxDirectives {
			break
		}
		one := directive{name: name, bad: isLifetime(name)}
		item, ok := member.(httpsfv.Item)
		if !ok { // an inner list
			d.list = append(d.list, one)
			continue
		}
		switch v := item.Value.(type) {
		case bool:
			if !v {
				continue
			}
		case int64:
			one.arg, one.hasArg, one.bad = strconv.FormatInt(v, 10), true, v < 0
		case string:
			one.arg, one.hasArg = v, true
		case httpsfv.Token:
			one.arg, one.hasArg = string(v), true
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

package upload

import (
	"fmt"
	"net/http"
	"strings"

	"perigee/catalog"
	"perigee/object"
)

// condition reads If-Match and If-None-Match (RFC 9110 §13.1.1, §13.1.2); entity tags of this API are versions.
func condition(h http.Header) (catalog.Condition, error) {
	var c catalog.Condition
	var err error
	if f, ok := field(h, "If-Match"); ok {
		// If-Match compares strongly, so a weak tag matches nothing. A list of nothing known is never met.
		if c.MatchAny, c.Match, err = entityTags("If-Match", f, false); err != nil {
			return catalog.Condition{}, err
		}
		if c.Match == nil && !c.MatchAny {
			c.Match = []object.Version{}
		}
	}
	if f, ok := field(h, "If-None-Match"); ok {
		if c.NoneMatchAny, c.NoneMatch, err = entityTags("If-None-Match", f, true); err != nil {
			return catalog.Condition{}, err
		}
	}
	return c, nil
}

// field returns all lines of a field as one, RFC 9110 §5.2.
func field(h http.Header, name string) (string, bool) {
	lines := h.Values(name)
	return strings.Join(lines, ","), len(lines) > 0
}

// entityTags reads "*" or a list of entity tags and returns those that are versions.
func entityTags(name, list string, weak bool) (any bool, vs []object.Version, err error) {
	if strings.TrimSpace(list) == "*" {
		return true, nil, nil
	}
	rest := strings.Trim(list, " \t,")
	for rest != "" {
		isWeak := strings.HasPrefix(rest, "W/")
		rest = strings.TrimPrefix(rest, "W/")
		end := -1
		if strings.HasPrefix(rest, `"`) {
			end = strings.IndexByte(rest[1:], '"')
		}
		if end < 0 {
			return false, nil, fmt.Errorf("%s %q: %w: write * or versions in double quotes", name, clip(list), object.ErrInvalid)
		}
		if v, err := object.ParseVersion(rest[1 : end+1]); err == nil && (weak || !isWeak) {
			vs = append(vs, v)
		}
		rest = strings.TrimLeft(rest[end+2:], " \t,")
	}
	return false, vs, nil
}

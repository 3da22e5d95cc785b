package rules

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"perigee/object"
)

// Allow adds to an answer what lets a page of an origin read it. An answer that depends on who asks says so in Vary, whether or not it allows.
func (r *Rule) Allow(h http.Header, origin string) {
	if r == nil || r.CORS == nil {
		return
	}
	c := r.CORS
	if c.Origins[0] == "*" {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		if !varies(h, "Origin") {
			h.Add("Vary", "Origin")
		}
		if !slices.Contains(c.Origins, origin) {
			h.Del("Access-Control-Allow-Origin")
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		if c.Credentials {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	}
	if len(c.Expose) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(c.Expose, ", "))
	}
}

func varies(h http.Header, name string) bool {
	for _, line := range h["Vary"] {
		for f := range strings.SplitSeq(line, ",") {
			if f = strings.TrimSpace(f); f == "*" || strings.EqualFold(f, name) {
				return true
			}
		}
	}
	return false
}

// Preflight answers the question whether a request may be made; false if q is none.
func (r *Rule) Preflight(q *http.Request) (http.Header, bool) {
	if r == nil || r.CORS == nil || q.Method != http.MethodOptions || q.Header.Get("Origin") == "" || q.Header.Get("Access-Control-Request-Method") == "" {
		return nil, false
	}
	h := http.Header{"Vary": {"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}}
	r.Allow(h, q.Header.Get("Origin"))
	if h.Get("Access-Control-Allow-Origin") != "" {
		allowed(h, r.CORS)
	}
	return h, true
}

func allowed(h http.Header, c *object.CORSRule) {
	h.Set("Access-Control-Allow-Methods", strings.Join(append([]string{"GET", "HEAD", "POST"}, c.Methods...), ", "))
	if len(c.Headers) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(c.Headers, ", "))
	}
	if c.MaxAge > 0 {
		h.Set("Access-Control-Max-Age", strconv.FormatInt(c.MaxAge, 10))
	}
}

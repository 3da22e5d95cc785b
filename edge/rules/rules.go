// Package rules compiles the rules of a site into tables, so that what holds for a path is found by a few look-ups, whatever the number of rules.
//
// It validates nothing (object.Rule does), and answers no request: the faces ask what holds and do it. A Set is not changed once it is made.
package rules

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"perigee/object"
)

// Set is the compiled rules of one site.
type Set struct {
	exact   map[string]*object.Rule
	folders map[string]*object.Rule // with the slash at their end
	exts    map[string]*object.Rule
	all     *object.Rule
	each    bool // see PerOrigin
}

// PerOrigin reports whether some answers depend on the Origin of the request.
func (s *Set) PerOrigin() bool { return s != nil && s.each }

// maxDepth bounds how many folders of a path are looked up; deeper ones have the rules of that depth.
const maxDepth = 32

// Compile makes a Set; nil if there are no rules. Of two rules with one path the later one counts.
func Compile(list []object.Rule) *Set {
	if len(list) == 0 {
		return nil
	}
	s := &Set{exact: map[string]*object.Rule{}, folders: map[string]*object.Rule{}, exts: map[string]*object.Rule{}}
	for i := range list {
		r := &list[i]
		s.each = s.each || r.CORS != nil && r.CORS.Origins[0] != "*"
		switch p := r.Path; {
		case p == "*":
			s.all = r
		case strings.HasPrefix(p, "*."):
			s.exts[strings.ToLower(p[2:])] = r
		case strings.HasSuffix(p, "/*"):
			s.folders[p[:len(p)-1]] = r
		default:
			s.exact[p] = r
		}
	}
	return s
}

// For returns what holds for a decoded path, nil if nothing does.
func (s *Set) For(path string) *Rule {
	if s == nil {
		return nil
	}
	var found []*object.Rule // from the least exact to the most
	if s.all != nil {
		found = append(found, s.all)
	}
	if i := strings.LastIndexByte(path, '.'); i > strings.LastIndexByte(path, '/') && len(s.exts) > 0 {
		if r := s.exts[strings.ToLower(path[i+1:])]; r != nil {
			found = append(found, r)
		}
	}
	folder := ""
	if len(s.folders) > 0 {
		for i, depth := 0, 0; depth < maxDepth; depth++ {
			j := strings.IndexByte(path[i:], '/')
			if j < 0 {
				break
			}
			i += j + 1
			if r := s.folders[path[:i]]; r != nil {
				found, folder = append(found, r), path[:i]
			}
		}
	}
	if r := s.exact[path]; r != nil {
		found = append(found, r)
	}
	if len(found) == 0 {
		return nil
	}
	return merge(found, folder)
}

// Rule is what holds for one path.
type Rule struct {
	object.Rule
	folder string // of the most exact rule for one, with its slash
}

// merge takes each field from the most exact rule that has it.
func merge(found []*object.Rule, folder string) *Rule {
	out := &Rule{Rule: *found[len(found)-1], folder: folder}
	for i := len(found) - 2; i >= 0; i-- {
		r := found[i]
		out.TTL = first(out.TTL, r.TTL)
		out.Jitter = first(out.Jitter, r.Jitter)
		out.ClientTTL = first(out.ClientTTL, r.ClientTTL)
		out.Query = first(out.Query, r.Query)
		out.RequestHeaders = first(out.RequestHeaders, r.RequestHeaders)
		out.ResponseHeaders = first(out.ResponseHeaders, r.ResponseHeaders)
		out.Redirect = first(out.Redirect, r.Redirect)
		out.CORS = first(out.CORS, r.CORS)
		out.MaxObject = first(out.MaxObject, r.MaxObject)
		out.Bypass = first(out.Bypass, r.Bypass)
		if out.StatusTTL == nil {
			out.StatusTTL = r.StatusTTL
		}
		if out.ErrorPages == nil {
			out.ErrorPages = r.ErrorPages
		}
	}
	return out
}

func first[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// defaultJitter is in percent.
const defaultJitter = 10

// Lifetime returns how long a response with a status is used, if a rule says so, spread by the rule's jitter.
func (r *Rule) Lifetime(status int) (time.Duration, bool) {
	if r == nil {
		return 0, false
	}
	seconds, ok := byStatus(r.StatusTTL, status)
	if !ok {
		if r.TTL == nil {
			return 0, false
		}
		seconds = *r.TTL
	}
	jitter := int64(defaultJitter)
	if r.Jitter != nil {
		jitter = *r.Jitter
	}
	d := time.Duration(seconds) * time.Second
	if jitter > 0 && d > 0 {
		d += time.Duration((rand.Float64()*2 - 1) * float64(d) * float64(jitter) / 100)
	}
	return d, true
}

// byStatus looks a status up, then its class.
func byStatus[T any](m map[string]T, status int) (v T, ok bool) {
	if len(m) == 0 {
		return v, false
	}
	if v, ok = m[strconv.Itoa(status)]; ok {
		return v, true
	}
	v, ok = m[strconv.Itoa(status/100)+"xx"]
	return v, ok
}

// ErrorPage returns the document for an error.
func (r *Rule) ErrorPage(status int) (string, bool) {
	if r == nil || status < 400 {
		return "", false
	}
	return byStatus(r.ErrorPages, status)
}

// Query returns what counts of a raw query.
func (r *Rule) QueryOf(raw string) string {
	if r == nil || r.Query == nil || raw == "" {
		return raw
	}
	var out []string
	for pair := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err == nil {
			name = decoded
		}
		keep := !slices.Contains(r.Query.Ignore, name)
		if r.Query.Keep != nil {
			keep = slices.Contains(*r.Query.Keep, name)
		}
		if keep && pair != "" {
			out = append(out, pair)
		}
	}
	return strings.Join(out, "&")
}

// Change changes fields.
func Change(h http.Header, r *object.HeaderRule) {
	if r == nil {
		return
	}
	for _, name := range r.Remove {
		h.Del(name)
	}
	for name, value := range r.Set {
		h.Set(name, value)
	}
	for name, value := range r.Add {
		h.Add(name, value)
	}
}

// Location returns where a request is redirected, by the path and query as the client wrote them; false if it is not.
func (r *Rule) Location(path, query string) (to string, status int, ok bool) {
	if r == nil || r.Redirect == nil {
		return "", 0, false
	}
	if query != "" {
		query = "?" + query
	}
	rest := strings.TrimLeft(strings.TrimPrefix(path, r.folder), "/") // never another host
	to = strings.NewReplacer("{path}", "/"+strings.TrimLeft(path, "/"), "{rest}", rest, "{query}", query).Replace(r.Redirect.To)
	if strings.HasPrefix(to, "//") {
		to = "/" + strings.TrimLeft(to, "/")
	}
	status = r.Redirect.Status
	if status == 0 {
		status = http.StatusFound
	}
	return to, status, true
}

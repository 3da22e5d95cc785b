package edge

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"perigee/edge/cache"
	"perigee/edge/rules"
	"perigee/object"
)

// ruleSets are the rules of sites, compiled when their record changed.
type ruleSets struct {
	mu   sync.RWMutex
	sets map[object.Site]ruleSet
}

type ruleSet struct {
	version object.Version
	set     *rules.Set
}

// of returns the rules of a site, nil if it has none.
func (s *ruleSets) of(site *object.SiteRecord) *rules.Set {
	if site == nil || len(site.Rules.Paths) == 0 {
		return nil
	}
	s.mu.RLock()
	known, ok := s.sets[site.Site]
	s.mu.RUnlock()
	if ok && known.version == site.Version {
		return known.set
	}
	set := rules.Compile(site.Rules.Paths)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sets == nil {
		s.sets = map[object.Site]ruleSet{}
	}
	s.sets[site.Site] = ruleSet{site.Version, set}
	return set
}

// ruled does what the rules of a site say before a file is looked for: a redirect, or the answer to a preflight. true says that it has answered.
func (x *exchange) ruled() bool {
	x.rule = x.s.rules.of(x.site).For(string(x.path))
	if x.rule == nil || x.version != "" {
		return false
	}
	_, query, _ := strings.Cut(x.req.target, "?")
	if to, status, ok := x.rule.Location(x.path.Escape(), query); ok {
		x.sendBare(status, cache.ReasonRedirected, http.Header{"Location": {to}, "Cache-Control": {"no-cache"}})
		return true
	}
	return false
}

// preflight answers OPTIONS where a rule allows other origins to ask (CORS); false if there is nothing to say.
func (x *exchange) preflight() bool {
	if x.req.method != http.MethodOptions || x.req.origin == "" || x.parseHost() != nil {
		return false
	}
	path, err := object.ParseRequestPath(x.req.path)
	if err != nil {
		return false
	}
	x.path = path
	x.rule = x.s.rules.of(x.site).For(string(path))
	h, ok := x.rule.Preflight(&http.Request{Method: x.req.method, Header: http.Header{
		"Origin": {x.req.origin}, "Access-Control-Request-Method": {x.req.asksFor},
	}})
	if ok {
		x.sendBare(http.StatusNoContent, cache.ReasonPreflight, h)
	}
	return ok
}

// sendBare answers without content and without a file.
func (x *exchange) sendBare(status int, why cache.Reason, h http.Header) {
	x.status, x.outcome = status, cache.Outcome{Reason: why}
	b := x.failureStatus(make(fields, 0, 512).add("Server", serverName))
	for name, lines := range h {
		for _, v := range lines {
			b = b.add(name, v)
		}
	}
	if status != http.StatusNoContent {
		b = b.addInt("Content-Length", 0)
	}
	x.out.begin(status, b)
}

// ruledLines are the lines that a rule adds to every answer about a file, and those that it takes away: names in lower case.
func (x *exchange) ruledLines() (add fields, gone map[string]bool) {
	if x.rule == nil {
		return nil, nil
	}
	h := http.Header{}
	x.rule.Allow(h, x.req.origin)
	gone = map[string]bool{}
	if r := x.rule.ResponseHeaders; r != nil {
		for _, name := range r.Remove {
			gone[strings.ToLower(name)] = true
		}
		for name := range r.Set {
			gone[strings.ToLower(name)] = true
		}
		rules.Change(h, r)
	}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			add = add.add(name, v)
		}
	}
	return add, gone
}

// without returns the lines whose names are not in gone.
func (f fields) without(gone map[string]bool) fields {
	if len(gone) == 0 {
		return f
	}
	out := make(fields, 0, len(f))
	f.each(func(name, value string) {
		if !gone[strings.ToLower(name)] {
			out = out.add(name, value)
		}
	})
	return out
}

// clientControl is what clients are told of a lifetime in seconds.
func clientControl(ttl int64) string {
	if ttl == 0 {
		return "public, no-cache"
	}
	return "public, max-age=" + strconv.FormatInt(ttl, 10)
}

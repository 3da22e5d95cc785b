package object

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// PullOrigin is where a pull site's responses come from.
type PullOrigin struct {
	// URL is http, https or h2c (HTTP/2 without TLS), a host, and perhaps a path that is put before every target.
	URL string `json:"url" doc:"http, https or h2c"`
	// ClientHost sends the client's Host instead of the origin's own.
	ClientHost bool `json:"client_host,omitempty"`
	// StaleUnreachable is for how many seconds after its lifetime a response is used while the origin cannot be reached; an hour if not given.
	StaleUnreachable *int64 `json:"stale_unreachable,omitempty" doc:"Seconds; 3600"`
	// BothSchemes declares that http and https name the same resources.
	BothSchemes bool `json:"both_schemes,omitempty"`
}

// validate checks the form of an origin. Whether it may be where it is shows when it is connected to.
func (o *PullOrigin) validate() error {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return invalid("origin %q is no URL", clip(o.URL))
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c":
		return invalid("origin %q must begin with http://, https:// or h2c://", clip(o.URL))
	case u.Hostname() == "":
		return invalid("origin %q names no host", clip(o.URL))
	case u.User != nil:
		return invalid("origin: a user name in the URL is sent nowhere: remove it, or set a field by a rule")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return invalid("origin %q can have a path, but no query and no fragment", clip(o.URL))
	case o.StaleUnreachable != nil && (*o.StaleUnreachable < 0 || *o.StaleUnreachable > maxTTL):
		return invalid("stale_unreachable is %d: it must be 0 to %d seconds", *o.StaleUnreachable, int64(maxTTL))
	}
	return nil
}

// validatePaths checks the rules of a site.
func (r SiteRecord) validatePaths() error {
	list := r.Rules.Paths
	if len(list) > MaxRules {
		return invalid("site %s has %d rules, at most %d", r.Site, len(list), MaxRules)
	}
	pages := 0
	for i := range list {
		if err := list[i].Validate(); err != nil {
			return err
		}
		for _, p := range list[i].ErrorPages {
			pages += len(p)
		}
		if r.Kind == Pull {
			continue
		}
		if name := list[i].ownField(); name != "" {
			return invalid("rule for %q: %s is the edge's own on a site that is published to: no rule may change it", clip(list[i].Path), name)
		}
		if name := list[i].pullOnly(); name != "" {
			return invalid("rule for %q: %s is for pull sites: what is published stays in the edges until the log says otherwise", clip(list[i].Path), name)
		}
	}
	if pages > 4*maxErrorPage { // the record travels in the log
		return invalid("site %s: the error pages have more than %d bytes together", r.Site, 4*maxErrorPage)
	}
	return nil
}

// published are fields that tell what a published file is.
var published = map[string]bool{
	"etag": true, "last-modified": true, "accept-ranges": true, "repr-digest": true, "content-type": true, "cache-control": true, "content-encoding": true,
}

// ownField returns a field that a rule wants to change although it tells what a published file is, "" if there is none.
func (r *Rule) ownField() string {
	h := r.ResponseHeaders
	if h == nil {
		return ""
	}
	names := append(slices.Collect(maps.Keys(h.Set)), slices.Collect(maps.Keys(h.Add))...)
	for _, name := range append(names, h.Remove...) {
		if published[strings.ToLower(name)] {
			return name
		}
	}
	return ""
}

// pullOnly returns the name of a part that means something for pull sites alone, "" if there is none.
func (r *Rule) pullOnly() string {
	for _, part := range []struct {
		name  string
		given bool
	}{
		{"ttl", r.TTL != nil}, {"status_ttl", r.StatusTTL != nil}, {"jitter", r.Jitter != nil}, {"query", r.Query != nil},
		{"request_headers", r.RequestHeaders != nil}, {"max_object", r.MaxObject != nil}, {"bypass", r.Bypass != nil},
	} {
		if part.given {
			return part.name
		}
	}
	return ""
}

// validateKind checks what belongs to the kind of a site.
func (r SiteRecord) validateKind() error {
	switch {
	case r.Kind == Pull && r.Origin == nil:
		return invalid(`site %s: a pull site needs an origin: "origin": {"url": "https://…"}`, r.Site)
	case r.Kind != Pull && r.Origin != nil:
		return invalid("site %s: only a pull site has an origin", r.Site)
	case r.Kind == Bucket && r.Bucket == nil:
		return invalid(`site %s: a bucket site needs to know where its objects are: "bucket": {"prefix": "media/"}`, r.Site)
	case r.Kind != Bucket && r.Bucket != nil:
		return invalid("site %s: only a bucket site has a bucket", r.Site)
	case r.Kind == Bucket:
		return r.Bucket.validate()
	case r.Kind == Pull:
		return r.Origin.validate()
	}
	return nil
}

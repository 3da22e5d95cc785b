package object

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Rule says how requests for some paths of a site are answered. Of several that match, the most exact one decides, field by field: a path before a
// folder, a longer folder before a shorter one, a folder before an extension, an extension before "*".
type Rule struct {
	// Path is "/a/file", "/a/folder/*" (that folder and all below), "*.ext" or "*".
	Path string `json:"path" doc:"/file, /folder/*, *.ext or *. Of several rules that match, the most exact one decides, field by field"`
	// TTL is how long an edge uses a response of a pull site, in seconds, whatever the origin says of its freshness. What must not be stored is not stored.
	TTL *int64 `json:"ttl,omitempty" doc:"Seconds that an edge uses a response of a pull site, whatever its origin says"`
	// StatusTTL is TTL by status, "404", or by class, "5xx"; it comes before TTL.
	StatusTTL map[string]int64 `json:"status_ttl,omitempty" doc:"The same by status, 404, or class, 5xx"`
	// Jitter spreads TTL and StatusTTL by up to so many percent up or down; 10 if not given.
	Jitter *int64 `json:"jitter,omitempty" doc:"Percent by which these are spread; 10"`
	// ClientTTL is the max-age that clients are told, in seconds; 0 has them ask each time.
	ClientTTL *int64 `json:"client_ttl,omitempty" doc:"Seconds that clients are told"`
	// Query says which parameters are part of the key, and reach the origin, of a pull site.
	Query *QueryRule `json:"query,omitempty" doc:"Which parameters are part of the key of a pull site"`
	// RequestHeaders change what the origin of a pull site gets, ResponseHeaders what clients get.
	RequestHeaders  *HeaderRule   `json:"request_headers,omitempty"`
	ResponseHeaders *HeaderRule   `json:"response_headers,omitempty"`
	Redirect        *RedirectRule `json:"redirect,omitempty"`
	CORS            *CORSRule     `json:"cors,omitempty"`
	// ErrorPages are documents in HTML in place of errors, by status or class, "404" or "5xx".
	ErrorPages map[string]string `json:"error_pages,omitempty" doc:"HTML in place of errors, by status or class"`
	// MaxObject is the size of the largest response that is kept, in bytes.
	MaxObject *int64 `json:"max_object,omitempty" doc:"Bytes of the largest response that is kept"`
	// Bypass has every request go to the origin, and nothing kept.
	Bypass *bool `json:"bypass,omitempty" doc:"Every request goes to the origin, and nothing is kept"`
}

// QueryRule keeps some parameters, or all but some.
type QueryRule struct {
	// Keep lists the only parameters that count; an empty list is none. Nil is all but those of Ignore.
	Keep   *[]string `json:"keep,omitempty"`
	Ignore []string  `json:"ignore,omitempty"`
}

// HeaderRule changes fields: first those to remove, then those to set, then those to add.
type HeaderRule struct {
	Remove []string          `json:"remove,omitempty"`
	Set    map[string]string `json:"set,omitempty"`
	Add    map[string]string `json:"add,omitempty"`
}

// RedirectRule answers with another place.
type RedirectRule struct {
	// To is a path or a URL. {path} in it is the path of the request, {rest} what stands for the * of the rule's folder, {query} the query with its question mark.
	To     string `json:"to" doc:"A path or URL; {path}, {rest} and {query} stand for parts of the request"`
	Status int    `json:"status,omitempty" doc:"301, 302, 303, 307 or 308; 302"` // 301, 302, 303, 307 or 308; 302 if not given
}

// CORSRule lets pages of other origins read what a site answers (https://fetch.spec.whatwg.org/#http-cors-protocol).
type CORSRule struct {
	// Origins are "https://example.com", or "*" alone for all.
	Origins     []string `json:"origins"`
	Methods     []string `json:"methods,omitempty"` // beyond GET, HEAD and POST
	Headers     []string `json:"headers,omitempty"` // that requests may have
	Expose      []string `json:"expose,omitempty"`  // that pages may read
	MaxAge      int64    `json:"max_age,omitempty"` // seconds that a preflight is good for
	Credentials bool     `json:"credentials,omitempty"`
}

// The limits of rules.
const (
	MaxRules     = 256
	maxRuleList  = 64
	maxErrorPage = 64 << 10
	maxTTL       = 10 * 366 * 24 * 3600
)

// Validate checks a rule. Errors wrap ErrInvalid and say what to write instead.
func (r *Rule) Validate() error {
	for _, check := range []func() error{r.checkPath, r.checkTimes, r.checkQuery, r.checkHeaders, r.checkRedirect, r.checkCORS, r.checkPages} {
		if err := check(); err != nil {
			return fmt.Errorf("rule for %q: %w", clip(r.Path), err)
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func (r *Rule) checkPath() error {
	p := r.Path
	switch {
	case p == "*":
		return nil
	case strings.HasPrefix(p, "*."):
		if ext := p[2:]; ext == "" || strings.ContainsAny(ext, "/*?#.") {
			return invalid("an extension is written *.css")
		}
		return nil
	case !strings.HasPrefix(p, "/"):
		return invalid("path must be /file, /folder/*, *.ext or *")
	case strings.Contains(strings.TrimSuffix(p, "/*"), "*"):
		return invalid("path can have a * only at its end, as /folder/*")
	case strings.ContainsAny(p, "?#") || len(p) > MaxPath:
		return invalid("path has no query and no fragment, and at most %d bytes", MaxPath)
	}
	return nil
}

func (r *Rule) checkTimes() error {
	for name, v := range map[string]*int64{"ttl": r.TTL, "client_ttl": r.ClientTTL} {
		if v != nil && (*v < 0 || *v > maxTTL) {
			return invalid("%s is %d: it must be 0 to %d seconds", name, *v, int64(maxTTL))
		}
	}
	if r.Jitter != nil && (*r.Jitter < 0 || *r.Jitter > 50) {
		return invalid("jitter is %d: it must be 0 to 50 percent", *r.Jitter)
	}
	if r.MaxObject != nil && *r.MaxObject < 1 {
		return invalid("max_object is %d: it must be at least 1 byte; to keep nothing, set bypass", *r.MaxObject)
	}
	for status, v := range r.StatusTTL {
		if err := checkStatusName(status); err != nil {
			return fmt.Errorf("status_ttl: %w", err)
		}
		if v < 0 || v > maxTTL {
			return invalid("status_ttl of %s is %d: it must be 0 to %d seconds", status, v, int64(maxTTL))
		}
	}
	return nil
}

// checkStatusName: "404" or "4xx".
func checkStatusName(s string) error {
	if len(s) == 3 && s[0] >= '2' && s[0] <= '5' && s[1:] == "xx" {
		return nil
	}
	if n, err := strconv.Atoi(s); err == nil && len(s) == 3 && n >= 200 && n <= 599 {
		return nil
	}
	return invalid("%q is no status: write 404, or 5xx for all of a class", clip(s))
}

func (r *Rule) checkQuery() error {
	q := r.Query
	if q == nil {
		return nil
	}
	if q.Keep != nil && len(q.Ignore) > 0 {
		return invalid("query: keep and ignore exclude each other")
	}
	names := q.Ignore
	if q.Keep != nil {
		names = *q.Keep
	}
	if len(names) > maxRuleList {
		return invalid("query: more than %d names", maxRuleList)
	}
	return nil
}

func (r *Rule) checkHeaders() error {
	for what, h := range map[string]*HeaderRule{"request_headers": r.RequestHeaders, "response_headers": r.ResponseHeaders} {
		if h == nil {
			continue
		}
		if err := h.check(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// framing are fields that decide where a message ends or who it is for: no rule may touch them.
var framing = map[string]bool{
	"connection": true, "content-length": true, "content-range": true, "host": true, "keep-alive": true, "te": true, "trailer": true, "transfer-encoding": true,
	"upgrade": true, "cache-status": true, "age": true, "date": true, "via": true,
}

func (h *HeaderRule) check() error {
	if len(h.Remove)+len(h.Set)+len(h.Add) > maxRuleList {
		return invalid("more than %d fields", maxRuleList)
	}
	names := append([]string(nil), h.Remove...)
	for _, m := range []map[string]string{h.Set, h.Add} {
		for name, value := range m {
			names = append(names, name)
			if err := ValidateFieldValue(name, value); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		if !isFieldName(name) {
			return invalid("%q is no name of a field", clip(name))
		}
		if framing[strings.ToLower(name)] {
			return invalid("%s is the edge's own: no rule may change it", name)
		}
	}
	return nil
}

// isFieldName reports whether s is a token (RFC 9110 §5.6.2).
func isFieldName(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

func (r *Rule) checkRedirect() error {
	d := r.Redirect
	if d == nil {
		return nil
	}
	switch d.Status {
	case 0, 301, 302, 303, 307, 308:
	default:
		return invalid("redirect: status is %d: it must be 301, 302, 303, 307 or 308", d.Status)
	}
	to := strings.NewReplacer("{path}", "/p", "{rest}", "r", "{query}", "").Replace(d.To)
	u, err := url.Parse(to)
	switch {
	case err != nil || strings.ContainsAny(to, "{} \t\r\n\\"):
		return invalid("redirect: %q is no URL", clip(d.To))
	case u.Scheme == "" && u.Host == "" && strings.HasPrefix(d.To, "/"):
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && !strings.Contains(strings.SplitN(d.To, "/", 4)[2], "{"):
	default:
		return invalid("redirect: to must begin with / or be an http or https URL whose host is written out")
	}
	return ValidateFieldValue("redirect", d.To)
}

func (r *Rule) checkCORS() error {
	c := r.CORS
	if c == nil {
		return nil
	}
	if len(c.Origins) == 0 || len(c.Origins) > maxRuleList {
		return invalid("cors: origins must have 1 to %d members", maxRuleList)
	}
	for _, o := range c.Origins {
		u, err := url.Parse(o)
		switch {
		case o == "*" && len(c.Origins) > 1:
			return invalid("cors: * stands alone")
		case o == "*" && c.Credentials:
			return invalid("cors: credentials need origins that are written out")
		case o != "*" && (err != nil || u.Host == "" || u.Scheme+"://"+u.Host != o):
			return invalid("cors: %q is no origin: write https://example.com", clip(o))
		}
	}
	for _, list := range [][]string{c.Methods, c.Headers, c.Expose} {
		if len(list) > maxRuleList {
			return invalid("cors: more than %d members", maxRuleList)
		}
		for _, name := range list {
			if !isFieldName(name) {
				return invalid("cors: %q is no token", clip(name))
			}
		}
	}
	if c.MaxAge < 0 || c.MaxAge > 86400 {
		return invalid("cors: max_age is %d: it must be 0 to 86400 seconds", c.MaxAge)
	}
	return nil
}

func (r *Rule) checkPages() error {
	for status, page := range r.ErrorPages {
		if err := checkStatusName(status); err != nil {
			return fmt.Errorf("error_pages: %w", err)
		}
		if status[0] < '4' {
			return invalid("error_pages: %s is no error", status)
		}
		if len(page) > maxErrorPage {
			return invalid("error_pages: the page of %s has more than %d bytes", status, maxErrorPage)
		}
	}
	return nil
}

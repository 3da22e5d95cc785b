package rfc9111

import (
	"net/http"
	"net/url"
	"strings"
)

// hopByHop are fields of one connection (RFC 9110 §7.6.1), beside those that Connection names.
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// StripHop removes from h what must not be forwarded (RFC 9110 §7.6.1).
func StripHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(strings.Trim(name, " \t")); !endToEnd[name] {
				delete(h, name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// endToEnd are fields that Connection cannot take away: without them a message would mean something else.
var endToEnd = map[string]bool{"Cache-Control": true, "Content-Length": true, "Host": true, "Date": true}

// proxyFields are not kept (RFC 9111 §3.1).
var proxyFields = []string{"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization"}

// Kept returns the fields of a response to be kept (RFC 9111 §3.1): h, already without those of the connection, less those that are a proxy's own and those that no-cache
// or private name.
func Kept(h http.Header, f *Facts) http.Header {
	kept := h.Clone()
	for _, name := range proxyFields {
		delete(kept, name)
	}
	f.Control.omit(kept)
	return kept
}

// omit deletes the fields that no-cache and private name.
func (d Directives) omit(h http.Header) {
	for _, directive := range []string{"no-cache", "private"} {
		for _, name := range d.Fields(directive) {
			delete(h, name)
		}
	}
}

// own are fields of the stored content, which what confirms it does not change (RFC 9111 §3.2).
var own = map[string]bool{"Content-Encoding": true, "Content-Length": true, "Content-Md5": true, "Content-Range": true, "Content-Digest": true, "Etag": true}

// Update brings the fields of a stored response up to date with those that came with 304, or with the answer to HEAD (RFC 9111 §3.2), already without those of the connection. What
// is left out is what the updated response's own directives name. What is stored is not changed.
func Update(stored, news http.Header) http.Header {
	h := stored.Clone()
	// The stored age is that of the stored response.
	delete(h, "Age")
	for name, lines := range news {
		if !own[name] {
			h[name] = lines
		}
	}
	for _, name := range proxyFields {
		delete(h, name)
	}
	control, _ := controlOf(h)
	control.omit(h) // what was stored may be named only now
	return h
}

// SameRepresentation reports whether the answer to HEAD speaks of the stored response (RFC 9111 §4.3.5).
func SameRepresentation(stored, head http.Header) bool {
	for _, name := range []string{"Etag", "Last-Modified", "Content-Length"} {
		if now := head.Get(name); now != "" && now != stored.Get(name) {
			return false
		}
	}
	return true
}

// safe are the methods that change nothing (RFC 9110 §9.2.1). One that is not known may change anything.
var safe = map[string]bool{http.MethodGet: true, http.MethodHead: true, http.MethodOptions: true, http.MethodTrace: true}

// Invalidated returns the URIs whose stored responses an answer makes invalid (RFC 9111 §4.4).
func Invalidated(method string, status int, h http.Header, target *url.URL) (uris []*url.URL) {
	if safe[method] || status < 200 || status >= 400 {
		return nil
	}
	uris = append(uris, target)
	for _, name := range []string{"Location", "Content-Location"} {
		u, err := target.Parse(h.Get(name))
		if h.Get(name) != "" && err == nil && sameOrigin(u, target) {
			uris = append(uris, u)
		}
	}
	return uris
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}

// SpeaksOf reports whether 304 is about a stored response (RFC 9111 §4.3.4): of the validators that both have, the strongest is the same. One that has none says that what was asked about is
// current.
func SpeaksOf(notModified, stored http.Header) bool {
	if now, was := notModified.Get("Etag"), stored.Get("Etag"); now != "" && was != "" {
		return strings.TrimPrefix(now, "W/") == strings.TrimPrefix(was, "W/")
	}
	now, was := notModified.Get("Last-Modified"), stored.Get("Last-Modified")
	return notModified.Get("Etag") == "" && (now == "" || was == "" || now == was)
}

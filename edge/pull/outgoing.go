package pull

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"perigee/edge/pull/rfc9111"
)

// newVia returns a pseudonym for Via (RFC 9110 §7.6.3).
func newVia() string {
	return "perigee-" + strings.ToLower(rand.Text()[:10])
}

// outgoing makes the request that the origin gets: the client's, without what belongs to its connection and what nobody has keyed.
func (c *Cache) outgoing(r *http.Request, site *Site, a address, h http.Header) *http.Request {
	u := &url.URL{Scheme: site.Origin.Scheme, Host: site.Origin.Host}
	prefix := strings.TrimSuffix(site.Origin.EscapedPath(), "/")
	path, query, asked := strings.Cut(prefix+a.target, "?")
	u.RawQuery, u.ForceQuery = query, asked && query == ""
	if strings.HasPrefix(path, "//") { // net/http would take it for a host
		u.Path, u.RawPath = prefix+a.uri.Path, prefix+a.uri.EscapedPath()
	} else {
		u.Opaque = path
	}
	out := (&http.Request{
		Method: r.Method, URL: u, Host: site.Origin.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, ContentLength: 0,
	})
	if site.ClientHost {
		out.Host = a.uri.Host
	}
	h.Set("X-Forwarded-Host", a.uri.Host)
	h.Set("X-Forwarded-Proto", a.uri.Scheme)
	if client, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		h.Set("X-Forwarded-For", client)
	}
	h.Add("Via", strconv.Itoa(r.ProtoMajor)+"."+strconv.Itoa(r.ProtoMinor)+" "+c.via)
	return out
}

// unkeyed are fields by which some origins change what they answer although no cache keys them: they are not let through (the field's well-known ways to
// poison a cache). Those of them that tell who the client is are set anew.
var unkeyed = []string{
	"Forwarded", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Scheme", "X-Forwarded-Server",
	"X-Forwarded-Prefix", "X-Forwarded-Path", "X-Forwarded-Ssl", "X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", "X-Original-Host", "X-Host", "X-Http-Host-Override",
	"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Real-Ip", "X-Client-Ip", "Client-Ip", "True-Client-Ip", "X-Cluster-Client-Ip", "X-Scheme", "X-Url-Scheme",
	"X-Proxy-Url", "X-Backend-Host", "X-Wap-Profile", "Base-Url", "Front-End-Https", "X-Middleware-Subrequest",
}

// forwardable returns a client's fields as they may be forwarded.
func forwardable(in http.Header) http.Header {
	h := in.Clone()
	rfc9111.StripHop(h)
	for _, name := range unkeyed {
		delete(h, name)
	}
	for name := range h {
		if strings.Contains(name, "_") && slices.Contains(unkeyed, http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			delete(h, name) // some origins take '_' for '-'
		}
	}
	if h.Get("User-Agent") == "" {
		h["User-Agent"] = nil // net/http would add its own
	}
	return h
}

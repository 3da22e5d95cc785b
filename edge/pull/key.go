package pull

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"perigee/edge/cache/store"
)

// maxTarget is the length of the longest target that is answered, in bytes (RFC 9110 §4.1 asks for 8,000 at least).
const maxTarget = 16 << 10

var (
	errTarget = errors.New("the request target is not a path")
	errLong   = errors.New("the request target is too long")
	errHost   = errors.New("the host name is malformed")
)

// address is what a request asks for.
type address struct {
	uri    *url.URL
	target string // path and query, as the client wrote them
	key    string // the primary key (RFC 9111 §2)
}

// addressOf reads what a request asks for. Scheme and host are put in lower case and a default port is left out, and nothing else is changed: what the origin is asked for is
// what the key is made of.
func addressOf(r *http.Request, site *Site) (address, error) {
	a := address{target: r.RequestURI}
	if len(a.target) > maxTarget {
		return a, errLong
	}
	scheme := "http"
	if r.TLS != nil && !site.BothSchemes {
		scheme = "https"
	}
	host, err := canonicalHost(r.Host, scheme)
	if err != nil {
		return a, err
	}
	if !strings.HasPrefix(a.target, "/") {
		if a.target, err = relative(a.target); err != nil {
			return a, err
		}
	}
	for i := range len(a.target) {
		if c := a.target[i]; c <= ' ' || c == 0x7f || c == '#' {
			return a, errTarget
		}
	}
	u := *r.URL // net/http has parsed the same target
	u.Scheme, u.Host, u.User = scheme, host, nil
	a.uri, a.key = &u, scheme+"://"+host+a.target
	return a, nil
}

// relative returns the path and query of a target in absolute form (RFC 9112 §3.2.2).
func relative(target string) (string, error) {
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return "", errTarget
	}
	i := strings.IndexAny(rest, "/?")
	switch {
	case i < 0:
		return "/", nil
	case rest[i] == '?':
		return "/" + rest[i:], nil
	}
	return rest[i:], nil
}

// canonicalHost lowers the case of a host and drops the scheme's default port.
func canonicalHost(s, scheme string) (string, error) {
	host, port := s, ""
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		if a.Zone() != "" { // it means something on one machine only
			return "", errHost
		}
		host = a.String()
	} else if host = strings.ToLower(strings.TrimSuffix(host, ".")); !isHostName(host) {
		return "", errHost
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return "", errTarget
		}
	}
	if port == "" || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		if strings.Contains(host, ":") {
			return "[" + host + "]", nil
		}
		return host, nil
	}
	return net.JoinHostPort(host, port), nil
}

// keyOf makes the key of another URI, as Location may name it; "" if it has none.
func keyOf(u *url.URL) string {
	host, err := canonicalHost(u.Host, u.Scheme)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + host + u.RequestURI()
}

// isHostName is more generous than object.ParseHost: names inside of networks have underscores.
func isHostName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 253 && s[0] != '.' && !strings.Contains(s, "..")
}

// recordKey is where a record of a kind lies.
func recordKey(kind byte, parts ...string) (k store.Key) {
	h := sha256.New()
	h.Write([]byte("pull\x00"))
	h.Write([]byte{kind})
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	copy(k[:], h.Sum(nil))
	return k
}

// The kinds of records.
const (
	kindVary  = 'v' // which fields select, of a key
	kindHead  = 'h' // a stored response, of a key and selecting fields
	kindChunk = 'c' // bytes, of a content and the number of the chunk
)

// contentID names the bytes of one response.
type contentID [16]byte

func (id contentID) chunk(i int64) store.Key {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(i))
	return recordKey(kindChunk, string(id[:]), string(n[:]))
}

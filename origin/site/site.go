// Package site reaches the HTTP origins of pull sites: HTTP/1.1, HTTP/2 and HTTPS, with limits on everything that an origin could keep us waiting for, and
// on where an origin may be.
//
// It is a transport of single round trips: it follows no redirects, unpacks nothing, keeps no cookies and caches nothing. A Transport starts goroutines for its
// connections, as http.Transport does; CloseIdleConnections ends the idle ones.
//
// # Where an origin may be
//
// A name in a site's configuration is resolved each time a connection is made, and whoever owns the name decides what comes of it. Therefore an address that is not of the public
// Internet is refused after it was resolved and before a packet is sent to it, unless the operator has allowed it. Proxies of the environment are not used: they would
// resolve names themselves.
package site

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"perigee/clock"
	"perigee/origin/silence"
)

// ErrForbidden says that an origin is at an address where none may be.
var ErrForbidden = errors.New("the origin is at an address that is not allowed")

// Config says how origins are reached.
type Config struct {
	// Allow are addresses outside the public Internet where origins may be.
	Allow []netip.Prefix
	// Silence is how long an origin may say nothing in the middle of an answer, and Patience how long before it begins; 0 means the defaults.
	Silence, Patience time.Duration
	// Cleartext2 speaks HTTP/2 to http origins, without asking whether they do (RFC 9113 §3.3).
	Cleartext2 bool
	Clock      clock.Clock
}

// The defaults of Config.
const (
	DefaultSilence  = time.Minute
	DefaultPatience = time.Minute
)

const (
	connectTimeout = 5 * time.Second
	poolSize       = 256
	maxHead        = 64 << 10 // bytes of an answer's head
)

// NewTransport returns a transport for origins.
func NewTransport(cfg Config) *http.Transport {
	if cfg.Silence == 0 {
		cfg.Silence = DefaultSilence
	}
	if cfg.Patience == 0 {
		cfg.Patience = DefaultPatience
	}
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second, ControlContext: cfg.control}
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return silence.Limit(conn, max(cfg.Silence, cfg.Patience), cfg.Clock), nil
		},
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  cfg.Patience,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConns:           4 * poolSize,
		MaxIdleConnsPerHost:    poolSize,
		IdleConnTimeout:        cfg.Silence * 3 / 4,
		MaxResponseHeaderBytes: maxHead,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
	if cfg.Cleartext2 {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
		t.Protocols.SetHTTP2(true)
	}
	return t
}

// control refuses a connection to an address where no origin may be. It is called with the address that is about to be used.
func (c Config) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connect to %q: %w", address, ErrForbidden)
	}
	addr := at.Addr().Unmap().WithZone("")
	for _, p := range c.Allow {
		if p.Contains(addr) {
			return nil
		}
	}
	if !Public(addr) {
		return fmt.Errorf("connect to %s: %w: allow it, if it is meant", addr, ErrForbidden)
	}
	return nil
}

// special are blocks that are not of the public Internet (the IANA registries of special-purpose addresses), or that carry an IPv4 address inside
// which would be reached through a translator.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
	"192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
	"fec0::/10", "ff00::/8",
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Public reports whether an address is one of the public Internet.
func Public(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// ParseOrigin reads the URL of an origin: http or https, a host, and perhaps a path that is put before every target. h2c is http that speaks HTTP/2.
func ParseOrigin(s string) (u *url.URL, cleartext2 bool, err error) {
	u, err = url.Parse(s)
	if err != nil {
		return nil, false, fmt.Errorf("origin %q: %w", s, errors.Unwrap(err))
	}
	if u.Scheme == "h2c" {
		u.Scheme, cleartext2 = "http", true
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, false, fmt.Errorf("origin %q: it must begin with http://, https:// or h2c://", s)
	case u.Hostname() == "":
		return nil, false, fmt.Errorf("origin %q: it names no host", s)
	case u.User != nil:
		return nil, false, fmt.Errorf("origin of %s: a user name in it would be sent nowhere: remove it", u.Host)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, false, fmt.Errorf("origin %q: it can have a path, but no query and no fragment", s)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	u.RawPath = strings.TrimSuffix(u.RawPath, "/")
	return u, cleartext2, nil
}

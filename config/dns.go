package config

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"perigee/dnsgeo/cookie"
	"perigee/dnsgeo/limit"
	"perigee/dnsgeo/querylog"
	"perigee/dnsgeo/tap"
)

// DNSLog is the log of the DNS server's queries.
type DNSLog struct {
	Path    string  `yaml:"path"`
	Format  string  `yaml:"format"`
	Sample  float64 `yaml:"sample"`
	Client  string  `yaml:"client"`
	MaxSize Bytes   `yaml:"max_size"`
	Keep    int     `yaml:"keep"`
}

// Config returns the log for querylog.Open, but for its clock, stream and logger. The log is off if the path is empty.
func (l DNSLog) Config() (querylog.Config, error) {
	clients, err := querylog.ParseClients(l.Client)
	return querylog.Config{
		Path: l.Path, Format: querylog.Format(l.Format), Sample: l.Sample, Clients: clients, MaxSize: int64(l.MaxSize), Keep: l.Keep,
	}, err
}

// DNSTap is where whole messages go.
type DNSTap struct {
	Socket   string `yaml:"socket"`
	File     string `yaml:"file"`
	Identity string `yaml:"identity"`
	MaxSize  Bytes  `yaml:"max_size"`
	Keep     int    `yaml:"keep"`
}

// Enabled reports whether messages go anywhere.
func (t DNSTap) Enabled() bool { return t.Socket != "" || t.File != "" }

// Config returns the tap for tap.Open, but for its version, clock, stream and logger.
func (t DNSTap) Config() tap.Config {
	return tap.Config{Socket: t.Socket, File: t.File, MaxSize: int64(t.MaxSize), Keep: t.Keep, Identity: t.Identity}
}

// DNSLimit bounds how many answers go to one network.
type DNSLimit struct {
	Enabled  bool           `yaml:"enabled"`
	Positive int            `yaml:"positive"`
	NoData   int            `yaml:"nodata"`
	NXDomain int            `yaml:"nxdomain"`
	Referral int            `yaml:"referral"`
	Error    int            `yaml:"error"`
	All      int            `yaml:"all"`
	Burst    Duration       `yaml:"burst"`
	Slip     int            `yaml:"slip"`
	IPv4     int            `yaml:"ipv4"`
	IPv6     int            `yaml:"ipv6"`
	Exempt   []netip.Prefix `yaml:"exempt"`
	Buckets  int            `yaml:"buckets"`
}

// Config returns the bounds for limit.New.
func (l DNSLimit) Config() limit.Config {
	c := limit.Config{All: l.All, Burst: l.Burst.Std(), Slip: l.Slip, IPv4: l.IPv4, IPv6: l.IPv6, Exempt: l.Exempt, Buckets: l.Buckets}
	c.Rates[limit.Positive], c.Rates[limit.NoData], c.Rates[limit.NXDomain] = l.Positive, l.NoData, l.NXDomain
	c.Rates[limit.Referral], c.Rates[limit.Error] = l.Referral, l.Error
	return c
}

// New makes what bounds answers from now on; nil, which bounds nothing, if it is not enabled.
func (l DNSLimit) New(now time.Time) (*limit.Limiter, error) {
	if !l.Enabled {
		return nil, nil
	}
	return limit.New(l.Config(), now)
}

// DNSCookies are what clients show their address with.
type DNSCookies struct {
	Enabled  bool     `yaml:"enabled"`
	Secret   Secret   `yaml:"secret"`
	Rollover Duration `yaml:"rollover"`
	Previous Secret   `yaml:"previous"`
	Next     Secret   `yaml:"next"`
}

// Jar makes what cookies are made and checked with; nil if they are not enabled. Own is used when no secret is configured: SecretSet.CookieKey.
func (c DNSCookies) Jar(own []byte) (*cookie.Jar, error) {
	if !c.Enabled {
		return nil, nil
	}
	if c.Rollover == 0 {
		s, err := c.fixed()
		if err != nil {
			return nil, err
		}
		return cookie.New(s)
	}
	if !c.Secret.IsZero() {
		own = []byte(c.Secret.Reveal())
	}
	return cookie.NewDerived(own, c.Rollover.Std())
}

// fixed reads the secrets that are taken as they are.
func (c DNSCookies) fixed() (s cookie.Secrets, err error) {
	for _, f := range []struct {
		name string
		from Secret
		to   *cookie.Secret
	}{{"secret", c.Secret, &s.Current}, {"previous", c.Previous, &s.Previous}, {"next", c.Next, &s.Next}} {
		if f.from.IsZero() && f.to != &s.Current {
			continue
		}
		if *f.to, err = cookie.ParseSecret(f.from.Reveal()); err != nil {
			return s, fmt.Errorf("dns.cookies.%s: %w", f.name, err)
		}
	}
	return s, nil
}

// file checks what bounds a file that is moved aside.
func (v validator) file(key string, maxSize Bytes, keep int) {
	if maxSize != 0 && maxSize < 1<<20 {
		v.bad(key+".max_size", "%v is too small; give it at least 1MiB, or 0 for no bound", maxSize)
	}
	if keep < 0 || keep > 1000 {
		v.bad(key+".keep", "%d is not between 0 and 1000", keep)
	}
}

func (v validator) dnsLog(l DNSLog) {
	v.oneOf("dns.log.format", l.Format, string(querylog.Text), string(querylog.JSON))
	if !(l.Sample > 0 && l.Sample <= 1) {
		v.bad("dns.log.sample", "%v is no part of the queries; write a number above 0, up to 1 for all of them, or leave dns.log.path empty for no log", l.Sample)
	}
	if _, err := querylog.ParseClients(l.Client); err != nil {
		v.bad("dns.log.client", "%v", err)
	}
	v.file("dns.log", l.MaxSize, l.Keep)
}

func (v validator) dnsTap(t DNSTap) {
	if t.Socket != "" {
		if _, _, err := tap.Socket(t.Socket); err != nil {
			v.bad("dns.tap.socket", "%v", err)
		}
	}
	if t.Socket != "" && t.File != "" {
		v.bad("dns.tap.file", "dns.tap.socket is given, too; messages go to one of them")
	}
	if t.File != "" && t.File != "-" && t.File == v.c.DNS.Log.Path {
		v.bad("dns.tap.file", "it is also dns.log.path; give each a file of its own")
	}
	if len(t.Identity) > tap.MaxIdentity {
		v.bad("dns.tap.identity", "it is longer than %d bytes", tap.MaxIdentity)
	}
	v.file("dns.tap", t.MaxSize, t.Keep)
}

func (v validator) dnsGuards(l DNSLimit, c DNSCookies) {
	var wrong *limit.Wrong
	if err := l.Config().Check(); errors.As(err, &wrong) {
		v.bad("dns.limit."+wrong.Key, "%s", wrong.Reason)
	}
	if c.Rollover == 0 {
		if _, err := c.fixed(); c.Enabled && err != nil {
			v.bad("dns.cookies.secret", "with rollover 0s it is taken as it is: %v", err)
		}
		return
	}
	if c.Rollover.Std() < cookie.MinPeriod || c.Rollover.Std() > cookie.MaxPeriod || c.Rollover.Std()%time.Second != 0 {
		v.bad("dns.cookies.rollover", "%v is not a whole number of seconds between %v and %v, nor 0s", c.Rollover, Duration(cookie.MinPeriod), Duration(cookie.MaxPeriod))
	}
	if n := len(c.Secret.Reveal()); n > 0 && n < cookie.MinKey {
		v.bad("dns.cookies.secret", "it has %d characters; give it at least %d, for example the output of `openssl rand -hex 32`", n, cookie.MinKey)
	}
	if !c.Previous.IsZero() || !c.Next.IsZero() {
		v.bad("dns.cookies.rollover", "previous and next are given, but keys are derived every %v; set it to 0s, or leave them out", c.Rollover)
	}
}

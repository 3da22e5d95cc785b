package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"perigee/dnsgeo/cookie"
	"perigee/dnsgeo/limit"
	"perigee/dnsgeo/querylog"
)

func mustLoad(t *testing.T, sets ...string) *Config {
	t.Helper()
	c, err := Load("", nil, sets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What stands in default.yaml is what the packages are given.
func TestDNSDefaults(t *testing.T) {
	d := mustLoad(t).DNS
	log, err := d.Log.Config()
	if err != nil || log.Clients != (querylog.Clients{IPv4: 24, IPv6: 56}) || log.Sample != 1 || log.Path != "" || log.Format != querylog.Text || d.Tap.Enabled() {
		t.Errorf("%+v, %v", log, err)
	}
	l, err := d.Limit.New(time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for client, most := range map[string]int{"192.0.2.1": 200, "127.0.0.1": 1000, "::1": 1000} {
		answers := 0
		for range 1000 {
			if l.Check(netip.MustParseAddr(client), limit.NXDomain, nil, time.Unix(0, 0)) == limit.Answer {
				answers++
			}
		}
		if answers != most {
			t.Errorf("%s gets %d answers at once, want %d", client, answers, most)
		}
	}
	c := d.Limit.Config()
	if c.Rates != [5]int{1000, 100, 100, 100, 50} || c.All != 5000 || c.Slip != 2 {
		t.Errorf("%+v", c)
	}
	off := mustLoad(t, "dns.limit.enabled=false", "dns.cookies.enabled=false").DNS
	if l, err := off.Limit.New(time.Time{}); l != nil || err != nil {
		t.Errorf("%v, %v", l, err)
	}
	if j, err := off.Cookies.Jar(nil); j != nil || err != nil {
		t.Errorf("%v, %v", j, err)
	}
}

// Which servers take each other's cookies: those with one secret, and those of one data directory.
func TestDNSCookies(t *testing.T) {
	dir := t.TempDir()
	set, err := Secrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Secrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Secrets(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	jar := func(own SecretSet, sets ...string) *cookie.Jar {
		j, err := mustLoad(t, sets...).DNS.Cookies.Jar(own.CookieKey())
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	a, b := strings.Repeat("a", 32), strings.Repeat("b", 32)
	for _, c := range []struct {
		name     string
		one, two *cookie.Jar
		want     cookie.Verdict
	}{
		{"one directory", jar(set), jar(again), cookie.Good},
		{"two directories", jar(set), jar(other), cookie.Bad},
		{"one secret", jar(set, "dns.cookies.secret="+a), jar(other, "dns.cookies.secret="+a), cookie.Good},
		{"two secrets", jar(set, "dns.cookies.secret="+a), jar(set, "dns.cookies.secret="+b), cookie.Bad},
		{"as it is", jar(set, "dns.cookies.secret="+a, "dns.cookies.rollover=0s"), jar(other, "dns.cookies.secret="+a, "dns.cookies.rollover=0s"), cookie.Good},
		{"as it is and derived", jar(set, "dns.cookies.secret="+a, "dns.cookies.rollover=0s"), jar(set, "dns.cookies.secret="+a), cookie.Bad},
		{"the next one", jar(set, "dns.cookies.secret="+b, "dns.cookies.rollover=0s"),
			jar(set, "dns.cookies.secret="+a, "dns.cookies.next="+b, "dns.cookies.rollover=0s"), cookie.Renew},
	} {
		client, now := netip.MustParseAddr("192.0.2.1"), time.Unix(1_800_000_000, 0)
		if v := c.two.Check(c.one.Make(nil, [8]byte{1}, client, now), client, now); v != c.want {
			t.Errorf("%s: %v, want %v", c.name, v, c.want)
		}
	}
}

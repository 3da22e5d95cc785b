package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	maxGeoFiles = 8       // that make up one database
	maxGeoSize  = 1 << 30 // bytes of one of them
)

// geo checks the files of the GeoIP database and where newer ones come from.
func (v validator) geo(d DNS) {
	if len(d.Geo) > maxGeoFiles {
		v.bad("dns.geo", "at most %d files make up a database", maxGeoFiles)
	}
	for i, f := range d.Geo {
		if slices.Contains(d.Geo[:i], f) {
			v.bad("dns.geo", "%s stands there twice", f)
		}
	}
	u := d.GeoUpdate
	if n := len(v.c.GeoFiles()); len(u.URL) > 0 && len(u.URL) != n {
		v.bad("dns.geo_update.url", "%d URLs for %d files; give one for each file of dns.geo, in the same order", len(u.URL), n)
	}
	v.pair("dns.geo_update.account", "dns.geo_update.license_key", u.Account != "", !u.LicenseKey.IsZero())
	for _, s := range u.URL {
		v.geoURL("dns.geo_update.url", s, u.Account != "")
	}
	if c := strings.ReplaceAll(u.Checksum, "{url}", "https://example.net/geo.mmdb"); c != "" {
		if p, err := url.Parse(c); err != nil || p.Host == "" || p.Scheme != "https" && p.Scheme != "http" {
			v.bad("dns.geo_update.checksum", "%q is no URL; write {url} for that of the download, as in {url}.sha256", u.Checksum)
		}
	}
	if e := u.Every.Std(); e < time.Minute || e > 90*24*time.Hour {
		v.bad("dns.geo_update.every", "%v is not between 1m and 2160h", u.Every)
	}
	if u.MaxSize < 1<<10 || u.MaxSize > maxGeoSize {
		v.bad("dns.geo_update.max_size", "%v is not between 1KiB and 1GiB", u.MaxSize)
	}
}

// geoURL checks where one file comes from.
func (v validator) geoURL(key, s string, credentials bool) {
	if strings.HasPrefix(s, "maxmind:") {
		if !credentials {
			v.bad(key, "MaxMind asks for credentials; set dns.geo_update.account and dns.geo_update.license_key")
		}
		return
	}
	if filepath.IsAbs(s) {
		return
	}
	// Placeholders are no part of a URL: it is checked with something in their places.
	u, err := url.Parse(strings.NewReplacer("{yyyy}", "2026", "{mm}", "01", "{md5}", "0").Replace(s))
	switch {
	case err != nil || u.Scheme != "file" && u.Host == "" || !slices.Contains([]string{"https", "http", "file"}, u.Scheme):
		v.bad(key, "it is no source; write https://host/path, maxmind:GeoLite2-City, or the whole path of a file")
	case u.User != nil:
		v.bad(key, "it carries a password; give that as dns.geo_update.account and license_key, so that it is never shown")
	case u.Scheme == "http" && credentials && !sameMachine(u.Hostname()):
		v.bad(key, "dns.geo_update.license_key is not sent to %s in the clear; use https", u.Host)
	}
}

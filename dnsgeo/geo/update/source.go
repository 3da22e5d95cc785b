package update

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// Source is where one file comes from.
type Source struct {
	// URL is one of
	//	https://host/path#member   any URL, http too; in it {md5} stands for the MD5 of the file at hand, {yyyy} and {mm} for the year and month
	//	                           (when there is nothing yet for this month, the one before it), and #member names the file within a tar archive
	//	maxmind:EDITION            an edition of MaxMind's update service, such as maxmind:GeoLite2-City
	//	/path or file:///path      a file of this machine
	URL string
	// File is the file that is kept up to date.
	File string
}

// maxMind is the URL of MaxMind's update service: it answers 304 when the MD5 is that of the newest database, else with the database in gzip and its MD5
// in X-Database-MD5 (the protocol of geoipupdate).
const maxMind = "https://updates.maxmind.com/geoip/databases/%s/update?db_md5={md5}"

// target is a Source that was read.
type target struct {
	Source
	path     string // of a local file; "" for a URL
	pattern  string // of the URL, with its placeholders
	member   string
	edition  bool // of MaxMind: needs credentials
	insecure bool // http to another machine: gets no credentials
}

// parse reads a source.
func parse(s Source) (target, error) {
	t := target{Source: s}
	if s.File == "" {
		return t, fmt.Errorf("geo update from %q: say which file is to be kept up to date", s.URL)
	}
	if edition, ok := strings.CutPrefix(s.URL, "maxmind:"); ok {
		if edition == "" || strings.Trim(edition, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return t, fmt.Errorf("geo update from %q: write an edition as MaxMind names it, such as maxmind:GeoLite2-City", s.URL)
		}
		t.pattern, t.edition = fmt.Sprintf(maxMind, edition), true
		return t, nil
	}
	if filepath.IsAbs(s.URL) {
		t.path = s.URL
		return t, nil
	}
	pattern, member, _ := strings.Cut(s.URL, "#")
	// Braces are no part of URLs: they are checked filled in.
	u, err := url.Parse(expand(pattern, time.Unix(0, 0), ""))
	switch {
	case err != nil:
		return t, fmt.Errorf("geo update from %q: it is no URL", pattern)
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path):
		t.path, t.member = u.Path, member
		return t, nil
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return t, fmt.Errorf("geo update from %q: write https://host/path, maxmind:EDITION, or the path of a file", pattern)
	case u.User != nil:
		return t, errors.New("geo update: a URL must not carry a password; give it as account and license_key, so that it is never shown")
	}
	t.pattern, t.member, t.insecure = pattern, member, u.Scheme == "http" && !isLoopback(u.Hostname())
	return t, nil
}

// host returns host and port of the URL; "" of a local file.
func (t *target) host() string {
	u, err := url.Parse(expand(t.pattern, time.Unix(0, 0), ""))
	if err != nil {
		return ""
	}
	return u.Host
}

// ofMaxMind reports whether the source is a server of MaxMind.
func (t *target) ofMaxMind() bool {
	h := t.host()
	return h == "maxmind.com" || strings.HasSuffix(h, ".maxmind.com")
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || host == "localhost"
}

// noMD5 is what MaxMind's service is told when there is no file yet.
const noMD5 = "00000000000000000000000000000000"

// expand fills in the placeholders of a URL.
func expand(pattern string, month time.Time, md5 string) string {
	if md5 == "" {
		md5 = noMD5
	}
	return strings.NewReplacer("{md5}", md5, "{yyyy}", month.Format("2006"), "{mm}", month.Format("01")).Replace(pattern)
}

// dated reports whether a URL names a month.
func dated(pattern string) bool {
	return strings.Contains(pattern, "{yyyy}") || strings.Contains(pattern, "{mm}")
}

// monthBefore returns a time in the month before that of t.
func monthBefore(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, -1)
}
